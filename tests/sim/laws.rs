//! What must be true, and how soon after something went wrong.
//!
//! A law of the bounded kind says "within so long": its clock runs while it is broken and the world is left
//! alone, and starts anew with every fault. A law of the other kind holds at every step.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rustbalance::proto::cluster::events::PublishOrder;
use rustbalance::proto::node::NodeId;

use crate::node::Node;
use crate::world::World;

/// The promise of the issue: a clean descriptor, one holder, within five seconds of the worst fault.
pub const BOUND: Duration = Duration::from_secs(5);
/// Most datagrams a node may send in a minute, per node of the cluster; quiet ones send about a third of it.
const SENT_PER_MINUTE_AND_NODE: u64 = 1_000;

/// Watches a world.
pub struct Laws {
    bound: Duration,
    broken_since: BTreeMap<&'static str, Duration>,
}

type Law = fn(&World, &[usize]) -> Result<(), String>;

const BOUNDED: [(&str, Law); 4] = [
    ("exactly one node of a component holds the lease", one_holder),
    ("the holder orders every serving node's points, and nobody else's", exact_order),
    ("the best node holds the lease", best_holder),
    ("everyone in a component knows the same of it", equal_knowledge),
];

impl Laws {
    /// Laws that must hold again within `bound`.
    pub fn new(bound: Duration) -> Self {
        Self { bound, broken_since: BTreeMap::new() }
    }

    /// Something went wrong just now: what was promised is promised from now on.
    pub fn disturbed(&mut self) {
        self.broken_since.clear();
    }

    /// Looks at the world; panics with its story where a law is broken.
    pub fn check(&mut self, world: &World) {
        let components = components(world);
        for (name, law) in BOUNDED {
            match components.iter().try_for_each(|component| law(world, component)) {
                Ok(()) => _ = self.broken_since.remove(name),
                Err(why) => {
                    let since = self.broken_since.entry(name).or_insert(world.now);
                    let broken_for = world.now.saturating_sub(*since);
                    let story = || world.story(&format!("for {broken_for:?}, not: {name}: {why}"));
                    assert!(broken_for <= self.bound, "{}", story());
                }
            }
        }
        for (number, node) in world.nodes.iter().enumerate() {
            if let Some(order) = &node.order {
                sound(world, number, order);
            }
        }
    }

    /// Looks at the whole run: nobody may have talked too much.
    pub fn check_traffic(world: &World) {
        let minutes = world.now.as_secs() / 60 + 1;
        let limit = SENT_PER_MINUTE_AND_NODE * minutes * world.nodes.len() as u64;
        for (number, node) in world.nodes.iter().enumerate() {
            let story = || world.story(&format!("{number} sent {} datagrams, more than {limit}", node.sent));
            assert!(node.sent <= limit, "{}", story());
        }
    }
}

/// An order never names a node twice, nor brings points that its node never had.
fn sound(world: &World, number: usize, order: &PublishOrder) {
    let names: BTreeSet<&NodeId> = order.candidates.iter().map(|(node, _)| node).collect();
    assert!(
        names.len() == order.candidates.len(),
        "{}",
        world.story(&format!("{number} names a node twice"))
    );
    for (node, points) in &order.candidates {
        let mark = [u8::try_from(world.number(node)).unwrap(); 32];
        let own = points.iter().all(|point| point.relay_ed25519_id() == Some(mark));
        assert!(own, "{}", world.story(&format!("{number} takes another's points for {node}'s")));
    }
}

/// The running nodes, by who can reach whom, if need be through others.
pub fn components(world: &World) -> Vec<Vec<usize>> {
    let mut left: BTreeSet<usize> =
        (0..world.nodes.len()).filter(|node| world.nodes[*node].is_up()).collect();
    let mut components = Vec::new();
    while let Some(first) = left.pop_first() {
        let mut component = vec![first];
        let mut next = 0;
        while let Some(from) = component.get(next).copied() {
            next += 1;
            let reached: Vec<usize> =
                left.iter().copied().filter(|to| world.network.links(from, *to)).collect();
            for node in reached {
                left.remove(&node);
                component.push(node);
            }
        }
        component.sort_unstable();
        components.push(component);
    }
    components
}

/// The nodes of a component whose points belong into the descriptor: all that serve, and drained ones only where nobody
/// else does.
fn lineup<'a>(world: &'a World, component: &'a [usize]) -> Vec<&'a Node> {
    let all = || component.iter().map(|node| &world.nodes[*node]);
    let serving: Vec<&Node> = all().filter(|node| node.serves()).collect();
    if serving.is_empty() {
        all().filter(|node| node.is_up() && !node.shown_points().is_empty()).collect()
    } else {
        serving
    }
}

fn holders(world: &World, component: &[usize]) -> Vec<usize> {
    component.iter().copied().filter(|node| world.nodes[*node].order.is_some()).collect()
}

fn one_holder(world: &World, component: &[usize]) -> Result<(), String> {
    let holders = holders(world, component);
    let serving = !lineup(world, component).is_empty();
    // Where nobody serves, an old holder may keep the lease; nobody has to take it.
    if holders.len() == 1 || (holders.is_empty() && !serving) {
        return Ok(());
    }
    Err(format!("{holders:?} of {component:?}"))
}

fn best_holder(world: &World, component: &[usize]) -> Result<(), String> {
    match lineup(world, component).into_iter().min_by_key(|node| (node.priority, &node.id)) {
        Some(best) if best.order.is_none() => Err(format!("{} should, in {component:?}", best.id)),
        _ => Ok(()),
    }
}

fn exact_order(world: &World, component: &[usize]) -> Result<(), String> {
    let mut wanted: BTreeMap<&NodeId, BTreeSet<[u8; 32]>> = BTreeMap::new();
    for node in lineup(world, component) {
        wanted.insert(&node.id, node.points.iter().map(|point| point.auth_key).collect());
    }
    for holder in holders(world, component) {
        let order = world.nodes[holder].order.as_ref().unwrap();
        let mut ordered: BTreeMap<&NodeId, BTreeSet<[u8; 32]>> = BTreeMap::new();
        for (node, points) in order.candidates.iter().filter(|(_, points)| !points.is_empty()) {
            ordered.insert(node, points.iter().map(|point| point.auth_key).collect());
        }
        if ordered != wanted {
            return Err(format!("{holder} orders {:?} instead of {:?}", ordered.keys(), wanted.keys()));
        }
    }
    Ok(())
}

fn equal_knowledge(world: &World, component: &[usize]) -> Result<(), String> {
    for viewer in component {
        let status = world.nodes[*viewer].core.as_ref().unwrap().status(world.instant(*viewer));
        for seen in component {
            let truth = &world.nodes[*seen];
            let told = status.nodes.iter().find(|node| node.node == truth.id);
            let points = told.map(|told| told.points);
            if points != Some(truth.shown_points().len()) {
                return Err(format!("{viewer} believes that {seen} has {points:?} points"));
            }
        }
    }
    Ok(())
}
