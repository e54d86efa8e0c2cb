//! The cluster in virtual time: real cores, a network that loses, delays, repeats and parts, nodes that crash,
//! freeze, drain and return, all from a seed. A failure prints its seed and what happened.
//!
//! One seed again: `SIM_SEED=17 cargo test --test sim random_faults`. More: `SIM_SEEDS=10000 cargo test --test sim`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, unreachable_pub)]
#![allow(dead_code)] // `command.rs` uses the rest of the modules

mod deeds;
mod failures;
mod faults;
mod hsdirs;
mod laws;
mod life;
mod merged;
mod network;
mod node;
mod publishing;
mod queue;
mod scenes;
mod scenes_draining;
mod scenes_fitness;
mod scenes_joining;
mod scenes_tokens;
mod stories;
mod timer;
mod world;

use crate::life::{Life, live};

/// Seeds of an ordinary `cargo test`, two minutes of two processors; `tests/all` lives ten thousand more, optimised.
const SEEDS: u64 = 2000;

#[test]
fn random_faults() {
    if let Ok(seed) = std::env::var("SIM_SEED") {
        let world = live(seed.parse().expect("SIM_SEED is a number"), Life::short());
        println!("{}", world.story("nothing is wrong"));
        return;
    }
    let seeds =
        std::env::var("SIM_SEEDS").map_or(SEEDS, |seeds| seeds.parse().expect("SIM_SEEDS is a number"));
    let threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for first in (0..seeds).take(threads) {
            scope.spawn(move || {
                (first..seeds).step_by(threads).for_each(|seed| drop(live(seed, Life::short())));
            });
        }
    });
}

#[test]
fn the_same_seed_is_the_same_story() {
    let story = |seed| live(seed, Life::short()).story("");
    assert_eq!(story(3), story(3));
    assert_ne!(story(3), story(4));
}
