//! What goes wrong, and when: a schedule from a seed.

use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use crate::world::World;

/// Something goes wrong, or right again.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    Crash(usize),
    ShutDown(usize),
    Start(usize),
    Freeze(usize),
    Thaw(usize),
    Part { from_rest: u64 },
    CutOneWay(usize, usize),
    Heal,
    Points { of: usize, none: bool },
    Drain(usize, bool),
}

/// Picks what could go wrong next. Whatever is broken is as likely to be mended as anything else to break.
pub fn pick(world: &World, rng: &mut StdRng) -> Fault {
    let any = rng.random_range(0..world.nodes.len());
    let node = &world.nodes[any];
    let mut choices = vec![Fault::Points { of: any, none: rng.random_bool(0.3) }];
    choices.push(Fault::Drain(any, !node.draining));
    if node.core.is_none() {
        choices = vec![Fault::Start(any)];
    } else if node.frozen_since.is_some() {
        choices = vec![Fault::Thaw(any), Fault::Crash(any)];
    } else {
        choices.extend([Fault::Crash(any), Fault::Crash(any), Fault::ShutDown(any), Fault::Freeze(any)]);
    }
    let parted = !world.network.parts.is_empty() || !world.network.cut.is_empty();
    if parted {
        choices.extend([Fault::Heal, Fault::Heal]);
    } else {
        let other = (any + rng.random_range(1..world.nodes.len())) % world.nodes.len();
        choices.extend([Fault::Part { from_rest: rng.random() }, Fault::CutOneWay(any, other)]);
    }
    *choices.choose(rng).unwrap()
}

/// Lets it happen.
pub fn apply(world: &mut World, fault: Fault) {
    world.note(&format!("-- {fault:?}"));
    match fault {
        Fault::Crash(node) => world.crash(node),
        Fault::ShutDown(node) => world.shut_down(node),
        Fault::Start(node) => world.start(node),
        Fault::Freeze(node) => world.freeze(node),
        Fault::Thaw(node) => world.thaw(node),
        Fault::Part { from_rest } => {
            for node in 0..world.nodes.len() {
                world.network.parts.insert(node, u8::from(from_rest & (1 << node) != 0));
            }
        }
        Fault::CutOneWay(from, to) => _ = world.network.cut.insert((from, to)),
        Fault::Heal => {
            world.network.parts.clear();
            world.network.cut.clear();
        }
        Fault::Points { of, none } => world.change_points(of, none),
        Fault::Drain(node, draining) => world.drain(node, draining),
    }
}

/// How long it takes until the next fault: often too short for the cluster to settle, sometimes long enough.
pub fn pause(rng: &mut StdRng) -> Duration {
    let millis =
        if rng.random_bool(0.5) { rng.random_range(0..2_000) } else { rng.random_range(6_000..12_000) };
    Duration::from_millis(millis)
}
