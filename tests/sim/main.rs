//! The cluster in virtual time: real cores, a network that loses, delays, repeats and parts, nodes that crash,
//! freeze, drain and return, all from a seed. A failure prints its seed and what happened.
//!
//! One seed again: `SIM_SEED=17 cargo test --test sim random_faults`. More: `SIM_SEEDS=10000 cargo test --test sim`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, unreachable_pub)]

mod faults;
mod laws;
mod network;
mod scenes;
mod world;

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rustbalance::proto::cluster::timing::Timing;

use crate::laws::{BOUND, Laws};
use crate::network::Network;
use crate::world::World;

/// How often the laws are looked at.
const STEP: Duration = Duration::from_millis(100);
/// Seeds of an ordinary `cargo test`: seconds.
const SEEDS: u64 = 200;
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
fn live(seed: u64) -> World {
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

#[test]
fn random_faults() {
    if let Ok(seed) = std::env::var("SIM_SEED") {
        let world = live(seed.parse().expect("SIM_SEED is a number"));
        println!("{}", world.story("nothing is wrong"));
        return;
    }
    let seeds =
        std::env::var("SIM_SEEDS").map_or(SEEDS, |seeds| seeds.parse().expect("SIM_SEEDS is a number"));
    let threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for first in (0..seeds).take(threads) {
            scope.spawn(move || (first..seeds).step_by(threads).for_each(|seed| drop(live(seed))));
        }
    });
}

#[test]
fn the_same_seed_is_the_same_story() {
    let story = |seed| live(seed).story("");
    assert_eq!(story(3), story(3));
    assert_ne!(story(3), story(4));
}
