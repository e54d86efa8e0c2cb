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

/// Until then the cluster is left alone.
const FIRST_FAULT: Duration = Duration::from_secs(6);

/// What kind of life a world has.
#[derive(Clone, Copy)]
pub struct Life {
    /// How long it is.
    pub length: Duration,
    /// How many nodes there are all the time; from a seed, and with others that come and go, if not said.
    pub nodes: Option<usize>,
    /// Between some faults there is so much quiet time more, at most.
    pub quiet: Duration,
    /// How patient the cluster is.
    pub timing: Timing,
}

impl Life {
    /// Short and full of faults.
    pub fn short() -> Self {
        let (length, quiet) = (Duration::from_mins(1), Duration::ZERO);
        Self { length, nodes: None, quiet, timing: Timing::default() }
    }

    /// An afternoon of many kinds of weather.
    pub fn long() -> Self {
        Self { length: Duration::from_mins(20), quiet: Duration::from_mins(1), ..Self::short() }
    }

    /// Hours in which little happens.
    pub fn quiet() -> Self {
        Self { length: Duration::from_hours(1), quiet: Duration::from_mins(10), ..Self::short() }
    }

    /// The same in slow motion, with the timing of the system that this one replaces.
    pub fn slowly(self) -> Self {
        let secs = Duration::from_secs;
        let slow = |time: Duration| time * SLOWER;
        let timing = Timing::new(secs(10), secs(30), secs(90)).unwrap();
        Self { length: slow(self.length), quiet: slow(self.quiet), timing, ..self }
    }

    /// How much slower than by default everything is.
    fn pace(&self) -> u32 {
        if self.timing == Timing::default() { 1 } else { SLOWER }
    }
}

/// A dead holder's lease is taken after some 120 seconds with the old timing, instead of after two and a half.
const SLOWER: u32 = 40;

/// Lets the world run until then, the laws watching.
pub fn watch(world: &mut World, laws: &mut Laws, until: Duration) {
    while world.now < until {
        world.run_until((world.now + STEP).min(until));
        if world.let_applicants_in() {
            laws.disturbed();
        }
        laws.check(world);
    }
}

/// One random life.
pub fn live(seed: u64, life: Life) -> World {
    let mut rng = StdRng::seed_from_u64(!seed);
    let founders = life.nodes.unwrap_or_else(|| rng.random_range(2..=5));
    let others = if life.nodes.is_some() { 0 } else { rng.random_range(0..=2) };
    let mut world = World::new(seed, founders + others, Network::random(&mut rng), life.timing);
    // Whether a ticket has expired is looked at before a core hears of it.
    world.ticket_life = life.length * 2 + Duration::from_hours(2);
    let mut laws = Laws::new(BOUND * life.pace());
    for node in 0..founders {
        world.introduce(node, (0..founders).filter(|other| *other != node).collect());
        world.start(node);
    }
    for node in founders..founders + others {
        world.introduce(node, Vec::new());
        world.nodes[node].left = true;
    }
    let mut next_fault = FIRST_FAULT * life.pace();
    while world.now < life.length {
        watch(&mut world, &mut laws, next_fault.min(life.length));
        let fault = faults::pick(&world, &mut rng);
        faults::apply(&mut world, fault);
        laws.disturbed();
        let quiet = life.quiet.mul_f64(rng.random::<f64>().powi(3));
        next_fault = world.now + faults::pause(&mut rng) * life.pace() + quiet;
    }
    Laws::check_traffic(&world);
    world
}
