//! The life of a world: what goes wrong in it, and the laws watching.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rustbalance::proto::cluster::timing::Timing;

use crate::faults;
use crate::laws::{BOUND, Laws};
use crate::network::Network;
use crate::world::World;

/// How often the laws are looked at.
const STEP: Duration = Duration::from_millis(100);
/// How long a random world lives.
const LIFE: Duration = Duration::from_secs(40);

/// Lets the world run until then, the laws watching.
pub fn watch(world: &mut World, laws: &mut Laws, until: Duration) {
    while world.now < until {
        world.run_until((world.now + STEP).min(until));
        laws.check(world);
    }
}

/// One random life.
pub fn live(seed: u64) -> World {
    let mut rng = StdRng::seed_from_u64(!seed);
    let nodes = rng.random_range(2..=6);
    let mut world = World::new(seed, nodes, Network::random(&mut rng), Timing::default());
    let mut laws = Laws::new(BOUND);
    for node in 0..nodes {
        world.start(node);
    }
    let mut next_fault = Duration::from_secs(6);
    while world.now < LIFE {
        watch(&mut world, &mut laws, next_fault.min(LIFE));
        let fault = faults::pick(&world, &mut rng);
        faults::apply(&mut world, fault);
        laws.disturbed();
        next_fault = world.now + faults::pause(&mut rng);
    }
    Laws::check_traffic(&world);
    world
}
