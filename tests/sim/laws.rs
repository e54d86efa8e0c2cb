//! What must be true, and how soon after something went wrong.
//!
//! A law of the bounded kind says "within so long": its clock runs while it is broken and the world is left
//! alone, and starts anew with every fault. A law of the other kind holds at every step.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rustbalance::proto::cluster::events::PublishOrder;
use rustbalance::proto::cluster::note::Note;
use rustbalance::proto::node::NodeId;

use crate::merged::Merged;
use crate::node::Node;
use crate::world::World;

/// The promise of the issue: a clean descriptor, one holder, within five seconds of the worst fault.
pub const BOUND: Duration = Duration::from_secs(5);
/// Until an order is carried out at every HSDir that is well: the least time between two contents, the way there, and
/// once more, because the counter may have been taken by another publisher.
const PUBLISHING: Duration = Duration::from_secs(5);
/// An HSDir that does not answer holds a drained node up no longer than this.
const DRAINING: Duration = Duration::from_secs(35);
/// What a publisher complains of may pass by itself for so long.
const AILING: Duration = Duration::from_secs(30);
/// How often the world is looked at while nothing happens in it.
const QUIET_STEP: Duration = Duration::from_secs(5);
/// Most datagrams a node may send in a minute, per node of the cluster; quiet ones send about a third of it.
const SENT_PER_MINUTE_AND_NODE: u64 = 1_000;
/// Most posts a publisher may make in a minute: two descriptors, renewed at most twice a second, and repeated.
const POSTS_PER_MINUTE: u64 = 300;

/// Watches a world.
#[derive(Default)]
pub struct Laws {
    bound: Duration,
    broken_since: BTreeMap<&'static str, Duration>,
    merged: Merged,
    /// What had happened when it last looked, and when that was.
    seen: u64,
    looked: Duration,
}

type Law = fn(&World, &[usize]) -> Result<(), String>;

/// What holds again within the bound, in every component.
const BOUNDED: [(&str, Law); 8] = [
    // First, because others follow from it.
    ("everyone in a component lets everyone else in", full_mesh),
    ("exactly one node of a component holds the lease", one_holder),
    ("the holder orders every serving node's points, and nobody else's", exact_order),
    ("the best node holds the lease", best_holder),
    (ABLE, able_holder),
    ("everyone in a component knows the same of it", equal_knowledge),
    ("everyone in a component speaks under the newest token", same_token),
    ("an invitation lets in as many as it is for", tickets_spent),
];

/// What holds again when an ailment has had its time.
const ABLE: &str = "who cannot publish leaves the lease to others";
/// What holds again when a descriptor without them has been published, also where an HSDir does not answer.
const DRAINED: &str = "a drained node gives up its points once others are published";
/// What holds again when there was time to publish, too.
const DESCRIPTOR: &str = "clients find every serving node's points, and nobody else's";

impl Laws {
    /// Laws that must hold again within `bound`.
    pub fn new(bound: Duration) -> Self {
        Self { bound, ..Self::default() }
    }

    /// Something went wrong just now: what was promised is promised from now on.
    pub fn disturbed(&mut self) {
        self.broken_since.clear();
        self.seen = 0;
    }

    /// Looks at the world; panics with its story where a law is broken. Where nothing has happened, what was right is
    /// right, so that quiet times cost little.
    pub fn check(&mut self, world: &World) {
        let quiet = self.seen == world.happened && self.broken_since.is_empty();
        if quiet && world.now < self.looked + QUIET_STEP {
            return;
        }
        (self.seen, self.looked) = (world.happened, world.now);
        let components = components(world);
        // What must find its way through others depends on whom they happen to talk to.
        let bound = if world.network.cut.is_empty() { self.bound } else { self.bound * 2 };
        let later = |name| if name == ABLE { AILING } else { Duration::ZERO };
        for (name, law) in BOUNDED {
            let outcome = components.iter().try_for_each(|component| law(world, component));
            self.judge(world, name, bound + later(name), outcome);
        }
        let outcome = components.iter().try_for_each(|component| drained_leave(world, component));
        self.judge(world, DRAINED, bound + DRAINING, outcome);
        if let [component] = &components[..] {
            let outcome = self.descriptor(world, component);
            self.judge(world, DESCRIPTOR, bound + PUBLISHING, outcome);
        }
        for (number, node) in world.nodes.iter().enumerate() {
            if let Some(order) = &node.order {
                sound(world, number, order);
            }
        }
        bounded_memory(world);
    }

    /// Where nobody serves, or nobody can publish, the last descriptor stays.
    fn descriptor(&mut self, world: &World, component: &[usize]) -> Result<(), String> {
        let nodes = lineup(world, component);
        let publishing = holders(world, component).iter().any(|holder| world.nodes[*holder].publisher.runs());
        let leaving = drained_leave(world, component).is_err();
        if nodes.is_empty() || !publishing || leaving {
            Ok(())
        } else {
            self.merged.is_everywhere(world, &nodes)
        }
    }

    fn judge(&mut self, world: &World, name: &'static str, bound: Duration, outcome: Result<(), String>) {
        match outcome {
            Ok(()) => _ = self.broken_since.remove(name),
            Err(why) => {
                let since = self.broken_since.entry(name).or_insert(world.now);
                let broken_for = world.now.saturating_sub(*since);
                let story = || world.story(&format!("for {broken_for:?}, not: {name}: {why}"));
                assert!(broken_for <= bound, "{}", story());
            }
        }
    }

    /// Looks at the whole run: nobody may have talked or posted too much.
    pub fn check_traffic(world: &World) {
        let minutes = world.now.as_secs() / 60 + 1;
        for (number, node) in world.nodes.iter().enumerate() {
            let limit = SENT_PER_MINUTE_AND_NODE * minutes * world.nodes.len() as u64;
            let story = |what: &str| world.story(&format!("{number} sent too many {what}"));
            assert!(node.sent <= limit, "{}: {}", story("datagrams"), node.sent);
            let posts = node.publisher.posts;
            assert!(posts <= POSTS_PER_MINUTE * minutes, "{}: {posts}", story("descriptors"));
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

/// A node keeps one note of each matter, however often it has heard of it, and nothing of what never was.
fn bounded_memory(world: &World) {
    let nodes = world.nodes.len();
    let matters = [world.asked, nodes, world.tokens_made, nodes];
    for (number, node) in world.nodes.iter().enumerate() {
        let mut kept = [0; 4];
        for note in &node.memory.notes {
            let kind = match note {
                Note::Admission(_) => 0,
                Note::Departure(_) => 1,
                Note::Rotation(_) => 2,
                Note::Drain(_) => 3,
            };
            kept[kind] += 1;
        }
        let bounded =
            node.memory.peers.len() < nodes && kept.iter().zip(matters).all(|(kept, of)| *kept <= of);
        let story = || {
            world.story(&format!("memory is bounded: {number} keeps {kept:?} notes of {matters:?} matters"))
        };
        assert!(bounded || world.was_tampered, "{}", story());
    }
}

/// The running nodes, by who can reach whom, if need be through others. A node and one that was let in while it was out of
/// reach cannot know of each other until somebody tells them.
pub fn components(world: &World) -> Vec<Vec<usize>> {
    let mut left: BTreeSet<usize> =
        (0..world.nodes.len()).filter(|node| world.nodes[*node].is_up()).collect();
    let mut components = Vec::new();
    while let Some(first) = left.pop_first() {
        let mut component = vec![first];
        let mut next = 0;
        while let Some(from) = component.get(next).copied() {
            next += 1;
            let reached: Vec<usize> = left.iter().copied().filter(|to| linked(world, from, *to)).collect();
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

fn linked(world: &World, a: usize, b: usize) -> bool {
    let knows = |a: &Node, b: usize| a.known.contains(&b) || a.wireguard.contains_key(&world.nodes[b].id);
    knows(&world.nodes[a], b) && knows(&world.nodes[b], a) && world.network.links(a, b)
}

/// The nodes of a component whose points belong into the descriptor: those that serve well, or if there are none, the
/// drained ones whose target is well, or all that are not drained, or what is left.
fn lineup<'a>(world: &'a World, component: &'a [usize]) -> Vec<&'a Node> {
    let nodes: Vec<&Node> = component.iter().map(|node| &world.nodes[*node]).collect();
    let classes: [fn(&Node) -> bool; 4] = [
        |node| !node.draining && node.target_well,
        |node| node.draining && node.target_well,
        |node| !node.draining,
        |_| true,
    ];
    let of = |class: &fn(&Node) -> bool| {
        let with_points = nodes.iter().filter(|node| !node.shown_points().is_empty());
        with_points.filter(|node| class(node)).copied().collect::<Vec<_>>()
    };
    classes.iter().map(of).find(|class| !class.is_empty()).unwrap_or_default()
}

/// The drained nodes of a component that have not left the descriptor for good: they wait until others are in it.
fn on_their_way_out<'a>(world: &'a World, component: &'a [usize]) -> BTreeSet<&'a NodeId> {
    let nodes = component.iter().map(|node| &world.nodes[*node]);
    nodes.filter(|node| node.draining && !node.shown_points().is_empty()).map(|node| &node.id).collect()
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

/// The classes of the election, as its documentation has them: who can publish before who stands back.
fn class(node: &Node) -> u8 {
    match (!node.shown_points().is_empty(), !node.stands_back()) {
        (true, true) if !node.draining && node.target_well => 0,
        (true, true) => 1,
        (false, true) if !node.draining => 2,
        (true, false) => 3,
        _ => 4,
    }
}

/// Where somebody serves, whoever is best holds the lease; but among those that stand back it stays where it is.
fn best_holder(world: &World, component: &[usize]) -> Result<(), String> {
    let nodes = || component.iter().map(|node| &world.nodes[*node]);
    let serving = nodes().any(|node| !node.shown_points().is_empty());
    let Some(best) = nodes()
        .filter(|node| serving && class(node) < 4)
        .min_by_key(|node| (class(node), node.priority, &node.id))
    else {
        return Ok(());
    };
    let as_good = |node: &Node| node.order.is_some() && best.stands_back() && class(node) == class(best);
    if best.order.is_some() || nodes().any(as_good) {
        return Ok(());
    }
    Err(format!("{} should, in {component:?}", best.id))
}

/// Where another node can publish and has been well for long, a node that cannot does not hold the lease.
fn able_holder(world: &World, component: &[usize]) -> Result<(), String> {
    let nodes = || component.iter().map(|node| &world.nodes[*node]);
    let fit = |node: &Node| node.can_publish() && !node.stands_back() && !node.shown_points().is_empty();
    match nodes().find(|node| node.order.is_some() && !node.can_publish()) {
        Some(holder) if nodes().any(fit) => Err(format!("{} holds it", holder.id)),
        _ => Ok(()),
    }
}

fn exact_order(world: &World, component: &[usize]) -> Result<(), String> {
    let mut wanted: BTreeMap<&NodeId, BTreeSet<[u8; 32]>> = BTreeMap::new();
    for node in lineup(world, component) {
        wanted.insert(&node.id, node.points.iter().map(|point| point.auth_key).collect());
    }
    let leaving = on_their_way_out(world, component);
    for holder in holders(world, component) {
        let order = world.nodes[holder].order.as_ref().unwrap();
        let mut ordered: BTreeMap<&NodeId, BTreeSet<[u8; 32]>> = BTreeMap::new();
        for (node, points) in order.candidates.iter().filter(|(_, points)| !points.is_empty()) {
            if wanted.contains_key(node) || !leaving.contains(node) {
                ordered.insert(node, points.iter().map(|point| point.auth_key).collect());
            }
        }
        if ordered != wanted {
            return Err(format!("{holder} orders {:?} instead of {:?}", ordered.keys(), wanted.keys()));
        }
    }
    Ok(())
}

/// A drained node gives up its points, unless nobody who stays can stand in for it.
fn drained_leave(world: &World, component: &[usize]) -> Result<(), String> {
    let lineup = lineup(world, component);
    if !lineup.iter().any(|other| !other.draining) {
        return Ok(());
    }
    let mut nodes = component.iter().map(|node| &world.nodes[*node]);
    match nodes.find(|node| node.draining && !node.shown_points().is_empty()) {
        Some(node) => Err(format!("{} is drained and still takes clients", node.id)),
        None => Ok(()),
    }
}

fn equal_knowledge(world: &World, component: &[usize]) -> Result<(), String> {
    for viewer in component {
        let known = world.nodes[*viewer].core.as_ref().unwrap().node_statuses(world.instant(*viewer));
        for seen in component {
            let truth = &world.nodes[*seen];
            let told = known.iter().find(|node| node.node == truth.id);
            let points = told.map(|told| told.points);
            if points != Some(truth.shown_points().len()) {
                return Err(format!("{viewer} believes that {seen} has {points:?} points"));
            }
        }
    }
    Ok(())
}

fn full_mesh(world: &World, component: &[usize]) -> Result<(), String> {
    for (from, to) in component.iter().flat_map(|from| component.iter().map(move |to| (from, to))) {
        let peer = &world.nodes[*to];
        if from != to && world.nodes[*from].wireguard.get(&peer.id) != Some(&peer.wireguard_key) {
            return Err(format!("{from} does not let {to} in"));
        }
    }
    Ok(())
}

fn same_token(world: &World, component: &[usize]) -> Result<(), String> {
    let newest = component.iter().map(|node| world.nodes[*node].tokens.last());
    let held: BTreeSet<_> = newest.collect();
    if held.len() > 1 { Err(format!("{held:?}")) } else { Ok(()) }
}

fn tickets_spent(world: &World, component: &[usize]) -> Result<(), String> {
    let mut spent: BTreeMap<u8, usize> = BTreeMap::new();
    for ticket in component.iter().filter_map(|node| world.nodes[*node].ticket) {
        *spent.entry(ticket).or_default() += 1;
    }
    match spent.iter().find(|(ticket, spent)| **spent > world.uses(**ticket)) {
        Some((ticket, spent)) => Err(format!("{spent} are there with ticket {ticket}")),
        None => Ok(()),
    }
}
