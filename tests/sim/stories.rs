//! Telling stories: worlds to begin with, waiting for something, and what one asks them.

use std::time::Duration;

use rustbalance::proto::cluster::timing::Timing;
use rustbalance::proto::node::Priority;

use crate::laws::{BOUND, Laws};
use crate::life::watch;
use crate::network::Network;
use crate::world::World;

pub fn secs(secs: f64) -> Duration {
    Duration::from_secs_f64(secs)
}

/// `nodes` nodes of falling rank (0 is the best), settled for ten seconds.
pub fn settled(seed: u64, nodes: usize, network: Network) -> World {
    let mut world = World::new(seed, nodes, network, Timing::default());
    for node in 0..nodes {
        world.nodes[node].priority = Priority(u32::try_from(node).unwrap() + 1);
        world.start(node);
    }
    watch(&mut world, &mut Laws::new(BOUND), secs(10.0));
    world
}

pub fn holders(world: &World) -> Vec<usize> {
    (0..world.nodes.len()).filter(|node| world.nodes[*node].order.is_some()).collect()
}

/// Whose points the holder wants published.
pub fn ordered(world: &World, holder: usize) -> Vec<usize> {
    let order = world.nodes[holder].order.as_ref().expect("it holds the lease");
    let bringing = order.candidates.iter().filter(|(_, points)| !points.is_empty());
    bringing.map(|(node, _)| world.number(node)).collect()
}

/// Runs on until that is so; how long it took.
pub fn until(world: &mut World, limit: Duration, what: &str, so: impl Fn(&World) -> bool) -> Duration {
    let begin = world.now;
    while !so(world) {
        assert!(world.now < begin + limit, "{}", world.story(&format!("still not so: {what}")));
        world.run_until(world.now + Duration::from_millis(10));
    }
    world.now.saturating_sub(begin)
}

/// Runs on; that must stay so.
pub fn throughout(world: &mut World, time: Duration, what: &str, so: impl Fn(&World) -> bool) {
    let end = world.now + time;
    while world.now < end {
        world.run_until(world.now + Duration::from_millis(10));
        assert!(so(world), "{}", world.story(&format!("no longer so: {what}")));
    }
}

/// The one in the middle and the last, of sorted times.
pub fn median_and_worst(mut times: Vec<Duration>) -> (Duration, Duration) {
    times.sort_unstable();
    (times[times.len() / 2], times[times.len() - 1])
}
