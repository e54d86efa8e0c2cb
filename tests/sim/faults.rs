//! What goes wrong, and when: a schedule from a seed.

use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rustbalance::proto::cluster::fitness::Ailment;

use crate::hsdirs::{HSDIRS, Mood};
use crate::world::World;

/// More tickets than this are not made in one life.
const TICKETS: u8 = 200;

/// Something goes wrong, or right again, or an operator does something.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    Crash(usize),
    CrashCoordinator(usize),
    CrashPublisher(usize),
    StartPublisher(usize),
    ShutDown(usize),
    Start {
        node: usize,
        without_memory: bool,
    },
    Freeze(usize),
    Thaw(usize),
    /// The machine was suspended since it froze.
    Resume(usize),
    Part {
        from_rest: u64,
    },
    CutOneWay(usize, usize),
    Heal,
    Points {
        of: usize,
        none: bool,
    },
    Target {
        of: usize,
        well: bool,
    },
    Ail {
        of: usize,
        ailment: Option<Ailment>,
    },
    Drain {
        node: usize,
        draining: bool,
    },
    Clock {
        of: usize,
        ahead_ms: i64,
    },
    Join {
        node: usize,
        via: usize,
        ticket: u8,
        uses: u16,
    },
    Leave(usize),
    Rotate(usize),
    HsDir {
        hsdir: u8,
        mood: Mood,
    },
    HsDirForgets(u8),
    NextPeriod,
}

/// Picks what could go wrong next. Whatever is broken is as likely to be mended as anything else to break.
pub fn pick(world: &World, rng: &mut StdRng) -> Fault {
    let mut choices = of_the_world(world, rng);
    let any = rng.random_range(0..world.nodes.len());
    let of_node = of_a_node(world, any, rng);
    // Most of what happens happens to nodes.
    if !of_node.is_empty() && rng.random_bool(0.75) {
        choices = of_node;
    }
    *choices.choose(rng).unwrap()
}

fn of_the_world(world: &World, rng: &mut StdRng) -> Vec<Fault> {
    let hsdir = rng.random_range(0..HSDIRS);
    let mood = if world.hsdirs.mood(hsdir) == Mood::Well {
        *[Mood::Refusing, Mood::Hanging].choose(rng).unwrap()
    } else {
        Mood::Well
    };
    let mut choices = vec![Fault::HsDir { hsdir, mood }, Fault::HsDirForgets(hsdir), Fault::NextPeriod];
    let nodes = world.nodes.len();
    let (any, distance) = (rng.random_range(0..nodes), rng.random_range(1..nodes.max(2)));
    let parted = !world.network.parts.is_empty() || !world.network.cut.is_empty();
    if parted {
        choices.extend([Fault::Heal; 8]);
    } else {
        let other = (any + distance) % nodes;
        let part = Fault::Part { from_rest: rng.random() };
        choices.extend([part, part, part, Fault::CutOneWay(any, other), Fault::CutOneWay(any, other)]);
    }
    choices
}

fn of_a_node(world: &World, any: usize, rng: &mut StdRng) -> Vec<Fault> {
    let node = &world.nodes[any];
    if node.left {
        return join(world, any, rng).into_iter().collect();
    }
    if node.core.is_none() {
        // Who was let in and has forgotten all about it would have to be let in again.
        let without_memory = !node.peers.is_empty() && rng.random_bool(0.3);
        return vec![Fault::Start { node: any, without_memory }];
    }
    if node.frozen_since.is_some() {
        return vec![Fault::Thaw(any), Fault::Resume(any), Fault::Crash(any)];
    }
    let publisher =
        if node.publisher.runs() { Fault::CrashPublisher(any) } else { Fault::StartPublisher(any) };
    let mut choices = vec![
        Fault::Crash(any),
        Fault::Crash(any),
        Fault::CrashCoordinator(any),
        Fault::ShutDown(any),
        Fault::Freeze(any),
        publisher,
        Fault::Points { of: any, none: rng.random_bool(0.3) },
        Fault::Target { of: any, well: !node.target_well },
        Fault::Ail { of: any, ailment: other_ailment(node.ails, rng) },
        Fault::Drain { node: any, draining: !node.draining },
        Fault::Clock { of: any, ahead_ms: skew(rng) },
    ];
    // Rarer, because a life has room for so many only.
    if rng.random_bool(0.3) {
        choices.push(Fault::Rotate(any));
        if world.nodes.iter().filter(|node| !node.left).count() > 2 {
            choices.push(Fault::Leave(any));
        }
    }
    choices
}

/// A node asks to be let in: with the ticket it has, or with a new one, or with one that others use, too.
fn join(world: &World, node: usize, rng: &mut StdRng) -> Option<Fault> {
    let members: Vec<usize> = (0..world.nodes.len()).filter(|via| world.nodes[*via].is_up()).collect();
    let via = *members.choose(rng)?;
    let waits = world.applicants.iter().any(|(applicant, ..)| *applicant == node);
    let last = world.uses.last_key_value().map(|(ticket, uses)| (*ticket, *uses));
    let new = (last.map_or(1, |(ticket, _)| ticket + 1), rng.random_range(1..=2));
    let other = last.filter(|_| rng.random_bool(0.4)).unwrap_or(new);
    let own = world.nodes[node].asked_with.map(|ticket| (ticket, world.uses[&ticket]));
    let (ticket, uses) = own.unwrap_or(other);
    (!waits && ticket <= TICKETS).then_some(Fault::Join { node, via, ticket, uses })
}

/// Whoever is well falls ill, and the other way round.
fn other_ailment(ails: Option<Ailment>, rng: &mut StdRng) -> Option<Ailment> {
    let all = [Ailment::NoNetwork, Ailment::NotAccepted, Ailment::NotMade];
    if ails.is_none() { all.choose(rng).copied() } else { None }
}

/// How far a clock may be ahead: a little, as clocks are, or grossly, as where nobody has set it.
fn skew(rng: &mut StdRng) -> i64 {
    if rng.random_bool(0.8) {
        rng.random_range(-2_000..=2_000)
    } else {
        rng.random_range(-3_600_000..=3_600_000)
    }
}

/// Lets it happen.
pub fn apply(world: &mut World, fault: Fault) {
    world.note(&format!("-- {fault:?}"));
    match fault {
        Fault::Crash(node) => world.crash(node),
        Fault::CrashCoordinator(node) => world.crash_coordinator(node),
        Fault::CrashPublisher(node) => world.crash_publisher(node),
        Fault::StartPublisher(node) => world.start_publisher(node),
        Fault::ShutDown(node) => world.shut_down(node),
        Fault::Start { node, without_memory } => {
            if without_memory {
                world.forget(node);
            }
            world.start(node);
        }
        Fault::Freeze(node) => world.freeze(node),
        Fault::Thaw(node) => world.thaw(node),
        Fault::Resume(node) => world.resume(node),
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
        Fault::Target { of, well } => world.change_target(of, well),
        Fault::Ail { of, ailment } => world.ail(of, ailment),
        Fault::Drain { node, draining } => world.drain(node, draining),
        Fault::Clock { of, ahead_ms } => world.nodes[of].clock_ahead_ms = ahead_ms,
        Fault::Join { node, via, ticket, uses } => world.apply_for(node, via, ticket, uses),
        Fault::Leave(node) => world.leave(node),
        Fault::Rotate(node) => _ = world.rotate(node),
        Fault::HsDir { hsdir, mood } => world.hsdirs.change_mood(hsdir, mood, world.now),
        Fault::HsDirForgets(hsdir) => world.hsdirs.forget(hsdir, world.now),
        Fault::NextPeriod => world.next_period(),
    }
}

/// How long it takes until the next fault: often too short for the cluster to settle, sometimes long enough.
pub fn pause(rng: &mut StdRng) -> Duration {
    let millis =
        if rng.random_bool(0.5) { rng.random_range(0..2_000) } else { rng.random_range(6_000..16_000) };
    Duration::from_millis(millis)
}
