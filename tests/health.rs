//! Random lives of a node: a thousand failures each, and what the health core must keep to in all of them.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rustbalance::proto::health::budget::{CALM, TRIES};
use rustbalance::proto::health::core::{Action, Event, Health};
use rustbalance::proto::health::failure::Remedy;
use rustbalance::proto::health::part::{Daemon, Part, Tor};
use rustbalance::proto::health::report::{HealthReport, Stage};
use rustbalance::proto::health::vitals::{
    Answer, ClusterVitals, Observation, Publishing, TorVitals, Traffic,
};

/// The wall clock of these lives, which stands: their consensus is always valid.
const NOW: u64 = 1_800_000_000;

/// A small generator of numbers: the same seed lives the same life (Marsaglia's xorshift64).
struct Dice(u64);

impl Dice {
    /// Neighbouring seeds live quite different lives.
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// What is really the matter with a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ill {
    Hangs,
    Dead,
    /// A tor without circuits.
    Deaf,
    /// A tor that does not get through its start.
    Stuck,
}

/// What ends an illness.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cure {
    /// So many remedies.
    Remedies(u32),
    /// So many seconds.
    Time(u64),
    Nothing,
}

/// A tor that is well, but for its circuits.
fn tor_with(circuits: bool) -> TorVitals {
    TorVitals {
        bootstrap_percent: 100,
        circuits,
        consensus_valid_until: Some(NOW + 7200),
        ..TorVitals::default()
    }
}

/// A node, its failures, and everything that was done to it.
struct World {
    health: Health,
    start: Instant,
    second: u64,
    ill: BTreeMap<Part, (Ill, Cure)>,
    /// Seconds for which there is no network.
    outage: u64,
    /// The first one without.
    outage_began: u64,
    target_well: bool,
    /// What the core was told of that last.
    told_target_well: bool,
    fenced: bool,
    /// What the core was told of each part last, which may be a second ago.
    told: BTreeMap<Part, Answer>,
    /// Whether it was told that the onion's key could not be installed.
    told_key: bool,
    others_serve: bool,
    /// What the coordinator said of that last, which may be away since.
    heard_of_others: bool,
    done: Vec<(u64, Remedy)>,
    /// Of a hundred remedies so many are refused.
    refused: u64,
    fate: Dice,
}

impl World {
    fn new() -> Self {
        let (health, ill) = (Health::default(), BTreeMap::new());
        Self {
            health,
            start: Instant::now(),
            second: 0,
            ill,
            outage: 0,
            outage_began: 0,
            target_well: true,
            told_target_well: true,
            fenced: false,
            told: BTreeMap::new(),
            told_key: false,
            others_serve: true,
            heard_of_others: true,
            done: Vec::new(),
            refused: 0,
            fate: Dice::new(99),
        }
    }

    fn answer(&self, part: Part) -> Answer {
        match self.ill.get(&part) {
            _ if self.fenced && part == Part::Tor(Tor::Serving) => Answer::Away,
            Some((Ill::Hangs, _)) => Answer::Silent,
            Some((Ill::Dead, _)) => Answer::Away,
            Some((Ill::Deaf | Ill::Stuck, _)) | None => Answer::Answers,
        }
    }

    /// All that would be observed in this second.
    fn observations(&self) -> Vec<Observation> {
        let mut seen: Vec<_> = Part::ALL.map(|part| Observation::Answer(part, self.answer(part))).to_vec();
        seen.push(Observation::KeyInstalled(!self.ill.contains_key(&Part::KeyInstaller)));
        let answers = |part| self.answer(part) == Answer::Answers;
        let is = |tor, what| self.ill.get(&Part::Tor(tor)).is_some_and(|(ill, _)| *ill == what);
        let deaf = |tor| self.outage > 0 || is(tor, Ill::Deaf) || is(tor, Ill::Stuck);
        for tor in Tor::ALL.into_iter().filter(|tor| answers(Part::Tor(*tor))) {
            let bootstrap_percent = if is(tor, Ill::Stuck) { 45 } else { 100 };
            seen.push(Observation::Tor(tor, TorVitals { bootstrap_percent, ..tor_with(!deaf(tor)) }));
        }
        if answers(Part::Daemon(Daemon::Publisher)) {
            let points = u32::from(answers(Part::Tor(Tor::Serving)) && !deaf(Tor::Serving)) * 3;
            seen.push(Observation::Publishing(Publishing { points, ..Publishing::default() }));
        }
        if answers(Part::Daemon(Daemon::Coordinator)) {
            let others_serving = u32::from(self.others_serve);
            seen.push(Observation::Cluster(ClusterVitals {
                led: true,
                others_serving,
                ..ClusterVitals::default()
            }));
        }
        if answers(Part::Daemon(Daemon::Proxy)) {
            seen.push(Observation::Traffic(Traffic { target_well: self.target_well, ..Traffic::default() }));
        }
        seen
    }

    /// One second passes.
    fn step(&mut self) {
        self.second += 1;
        self.outage = self.outage.saturating_sub(1);
        self.ill.retain(|_, (_, cure)| match cure {
            Cure::Time(left) => {
                *left = left.saturating_sub(1);
                *left > 0
            }
            _ => true,
        });
        for observation in self.observations() {
            match &observation {
                Observation::Answer(part, answer) => _ = self.told.insert(*part, *answer),
                Observation::Traffic(traffic) => self.told_target_well = traffic.target_well,
                Observation::KeyInstalled(success) => self.told_key = !success,
                _ => {}
            }
            self.handle(Event::Observed(observation));
        }
        self.handle(Event::Timeout);
        if self.answer(Part::Daemon(Daemon::Coordinator)) == Answer::Answers {
            self.heard_of_others = self.others_serve;
        }
    }

    fn handle(&mut self, event: Event) {
        let now = self.start + Duration::from_secs(self.second);
        for action in self.health.handle(now, NOW, event) {
            if let Action::Perform(remedy) = action {
                self.perform(remedy);
            }
        }
    }

    fn perform(&mut self, remedy: Remedy) {
        self.check(remedy);
        self.done.push((self.second, remedy));
        if self.fate.below(100) < self.refused {
            return self.handle(Event::Tried(remedy, Err("access denied".to_owned())));
        }
        if matches!(remedy, Remedy::Start(Part::Tor(Tor::Serving))) {
            self.fenced = false;
        }
        match remedy {
            Remedy::Fence => self.fenced = true,
            Remedy::Unfence => self.fenced = false,
            Remedy::Kill(part) | Remedy::Start(part) | Remedy::Restart(part) => {
                if let Some((_, Cure::Remedies(left))) = self.ill.get_mut(&part) {
                    *left = left.saturating_sub(1);
                    if *left == 0 {
                        self.ill.remove(&part);
                    }
                }
            }
        }
    }

    /// Only what fails is treated, and nothing that follows from something else.
    fn check(&self, remedy: Remedy) {
        match remedy {
            Remedy::Kill(part) => assert_eq!(self.told[&part], Answer::Silent, "{remedy:?}"),
            Remedy::Start(Part::KeyInstaller) => assert!(self.told_key, "{remedy:?}"),
            Remedy::Start(part) => assert_eq!(self.told[&part], Answer::Away, "{remedy:?}"),
            // One tor alone cannot tell whether it is the network, nor can both in the second in which it goes.
            Remedy::Restart(Part::Tor(tor)) => {
                let other = if tor == Tor::Serving { Tor::Standby } else { Tor::Serving };
                let told = self.told[&Part::Tor(other)] == Answer::Answers && self.second > self.outage_began;
                assert!(self.outage == 0 || !told, "no restart mends a network");
            }
            Remedy::Restart(part) => panic!("{part:?} was not the matter"),
            Remedy::Fence => {
                assert!(self.told[&Part::Daemon(Daemon::Proxy)] != Answer::Answers || !self.told_target_well);
                assert!(self.others_serve || self.heard_of_others, "clients would find nobody");
            }
            Remedy::Unfence => assert_eq!(self.told[&Part::Daemon(Daemon::Proxy)], Answer::Answers),
        }
    }

    fn pass(&mut self, seconds: u64) {
        (0..seconds).for_each(|_| self.step());
    }

    /// Something breaks.
    fn fail(&mut self, dice: &mut Dice, repairable: bool) {
        let cure = match dice.below(3) {
            _ if !repairable => Cure::Nothing,
            0 => Cure::Time(1 + dice.below(400)),
            number => Cure::Remedies(u32::try_from(number).unwrap()),
        };
        let drawn = usize::try_from(dice.below(6)).unwrap();
        let Some(part) = Part::ALL.get(drawn).copied() else {
            self.ill.insert(Part::KeyInstaller, (Ill::Dead, cure));
            return;
        };
        match dice.below(if repairable { 6 } else { 4 }) {
            0 | 1 => _ = self.ill.insert(part, (Ill::Hangs, cure)),
            2 => _ = self.ill.insert(part, (Ill::Dead, cure)),
            3 => match part {
                Part::Tor(_) => {
                    let ill = if dice.below(2) == 0 { Ill::Deaf } else { Ill::Stuck };
                    self.ill.insert(part, (ill, cure));
                }
                Part::Daemon(_) | Part::KeyInstaller => _ = self.ill.insert(part, (Ill::Dead, cure)),
            },
            4 => (self.outage, self.outage_began) = (dice.below(600), self.second + 1),
            _ => self.target_well = !self.target_well,
        }
    }

    fn heal(&mut self) {
        self.ill.clear();
        self.outage = 0;
        self.target_well = true;
        self.others_serve = true;
    }

    /// However it went: no part was treated more often than it may be.
    fn assert_no_loop(&self, seed: u64) {
        for part in Part::ALL.into_iter().chain([Part::KeyInstaller]) {
            let fence = |remedy: &Remedy| matches!(remedy, Remedy::Fence | Remedy::Unfence);
            let times: Vec<u64> = self
                .done
                .iter()
                .filter(|(_, remedy)| remedy.part() == part && !fence(remedy))
                .map(|(second, _)| *second)
                .collect();
            for window in times.windows(TRIES as usize + 1) {
                let took = window[TRIES as usize] - window[0];
                assert!(took >= CALM.as_secs(), "seed {seed}: {part:?} at {window:?}");
            }
        }
        let fences = self.done.iter().filter(|(_, remedy)| *remedy == Remedy::Fence);
        let times: Vec<u64> = fences.map(|(second, _)| *second).collect();
        for window in times.windows(MOST_FENCES + 1) {
            assert!(window[MOST_FENCES] - window[0] >= 3600, "seed {seed}: the fence turned at {window:?}");
        }
    }

    /// Whatever fails now has been given up, and says so, and nothing more is done about it.
    fn assert_steady(&mut self, seed: u64) {
        // Patience of the slowest, and all waits of a budget: 15, 60 and 240 s; a fence closes within ten minutes.
        self.pass(300 + 15 + 60 + 240 + 60 + 600);
        let (done, before) = (self.done.len(), self.report());
        assert!(before.alarms(), "seed {seed}: {before:#?}");
        for complaint in &before.complaints {
            assert!(
                matches!(complaint.stage, Stage::Alarm | Stage::Consequence),
                "seed {seed}: {complaint:?}"
            );
            let told = match complaint.stage {
                // Both tors are stuck: nothing that the watchdog can do helps against that.
                Stage::Alarm if complaint.failure == "no_network" => "look after this machine's network",
                Stage::Alarm => "no more will be tried",
                _ => "follows from",
            };
            assert!(complaint.text.contains(told), "seed {seed}: {}", complaint.text);
        }
        self.pass(3600);
        let after = self.report();
        assert_eq!(self.done.len(), done, "seed {seed}: nothing more was done: {:?}", &self.done[done..]);
        assert_eq!(after.past, before.past, "seed {seed}: nothing more is told");
        let texts = |report: &HealthReport| -> Vec<String> {
            report.complaints.iter().map(|complaint| complaint.text.clone()).collect()
        };
        assert_eq!(texts(&after), texts(&before), "seed {seed}");
    }

    fn report(&self) -> HealthReport {
        self.health.report(self.start + Duration::from_secs(self.second))
    }
}

/// How many lives: each is some days long.
const LIVES: u64 = 4;
/// So often within an hour the fence may close at most. Each time that others or this node come and go it waits twice as long,
/// from fifteen seconds and from ten on, for whichever it was.
const MOST_FENCES: usize = 14;

#[test]
fn a_thousand_failures_are_never_a_loop_and_end_calm_when_mended() {
    for seed in 1..=LIVES {
        let mut dice = Dice::new(seed);
        let mut world = World::new();
        world.refused = 10;
        world.pass(60);
        for _ in 0..1000 {
            world.fail(&mut dice, true);
            world.others_serve = dice.below(4) > 0;
            let seconds = dice.below(200);
            world.pass(seconds);
        }
        // At last, what nobody mends.
        (world.outage, world.target_well, world.others_serve) = (0, true, true);
        for _ in 0..=dice.below(3) {
            world.fail(&mut dice, false);
        }
        world.assert_steady(seed);
        world.assert_no_loop(seed);
        assert!(world.done.len() > 100, "seed {seed}: something was done");
        assert!(world.report().past.len() <= 64);
        world.refused = 0;
        world.heal();
        // A budget's calm, and the longest that a fence stays closed before.
        world.pass(2 * CALM.as_secs() + 60);
        let report = world.report();
        assert!(
            report.complaints.is_empty() && report.tried.is_empty() && !report.fenced,
            "seed {seed}: {report:#?}"
        );
        assert_eq!(world.health.next_timeout(), None, "seed {seed}: nothing is waited for");
    }
}

#[test]
fn what_cannot_be_mended_ends_steady_alarmed_and_explained_within_its_budget() {
    for seed in 1..=60 {
        let mut dice = Dice::new(seed);
        let mut world = World::new();
        world.pass(60);
        world.fail(&mut dice, false);
        world.assert_steady(seed);
        world.assert_no_loop(seed);
    }
}

#[test]
fn a_tor_that_hangs_is_killed_in_the_moment_in_which_that_is_seen() {
    let mut world = World::new();
    world.pass(60);
    world.ill.insert(Part::Tor(Tor::Serving), (Ill::Hangs, Cure::Remedies(1)));
    world.step();
    assert_eq!(world.done, [(world.second, Remedy::Kill(Part::Tor(Tor::Serving)))]);
    world.pass(5);
    assert!(world.report().complaints.is_empty());
}

#[test]
fn what_is_only_suspected_again_and_again_is_no_calm() {
    let mut world = World::new();
    world.pass(60);
    let tor = Part::Tor(Tor::Standby);
    world.ill.insert(tor, (Ill::Deaf, Cure::Remedies(1)));
    world.pass(150);
    assert_eq!(world.done.len(), 1, "{:?}", world.done);
    // Each time it is over before it is treated, and all of it lasts longer than a calm.
    for _ in 0..10 {
        world.ill.insert(tor, (Ill::Deaf, Cure::Time(100)));
        world.pass(101);
    }
    assert_eq!(world.report().tried.len(), 1, "the remedy of before still counts");
    assert_eq!(world.done.len(), 1);
    world.pass(CALM.as_secs() + 10);
    assert!(world.report().tried.is_empty());
}

#[test]
fn a_start_that_is_slow_is_left_alone_as_long_as_it_goes_on() {
    let start = Instant::now();
    let mut health = Health::default();
    let mut restarted = Vec::new();
    for second in 0..3600 {
        let bootstrap_percent = u8::try_from(second / 60).unwrap().min(40);
        let vitals = TorVitals { bootstrap_percent, ..tor_with(false) };
        let now = start + Duration::from_secs(second);
        for event in [
            Event::Observed(Observation::Answer(Part::Tor(Tor::Standby), Answer::Answers)),
            Event::Observed(Observation::Tor(Tor::Standby, vitals)),
        ] {
            for action in health.handle(now, NOW, event) {
                if let Action::Perform(remedy) = action {
                    restarted.push((second, remedy));
                }
            }
        }
    }
    // It stands still from the fortieth minute on, and is given five.
    let first = restarted.first().copied();
    assert_eq!(first, Some((2700, Remedy::Restart(Part::Tor(Tor::Standby)))), "{restarted:?}");
}

#[test]
fn without_its_key_a_tor_is_not_started_and_with_it_it_is() {
    let mut world = World::new();
    world.pass(60);
    let (tor, key) = (Part::Tor(Tor::Serving), Part::KeyInstaller);
    world.ill.insert(key, (Ill::Dead, Cure::Time(900)));
    world.pass(31);
    assert_eq!(world.done, [(world.second, Remedy::Start(key))]);
    world.ill.insert(tor, (Ill::Dead, Cure::Remedies(1)));
    world.pass(860);
    let started = |part| world.done.iter().filter(|(_, remedy)| *remedy == Remedy::Start(part)).count();
    assert_eq!((started(key), started(tor)), (3, 0), "{:?}", world.done);
    world.pass(30);
    assert_eq!(world.done.last().map(|(_, remedy)| *remedy), Some(Remedy::Start(tor)));
    assert!(world.report().complaints.is_empty());
}

#[test]
fn a_key_that_others_could_read_is_installed_anew_in_the_moment_in_which_that_is_seen() {
    let mut world = World::new();
    world.pass(60);
    world.told_key = true;
    let open = TorVitals { key_directory_private: Some(false), ..tor_with(true) };
    world.handle(Event::Observed(Observation::Tor(Tor::Serving, open)));
    assert_eq!(world.done, [(world.second, Remedy::Start(Part::KeyInstaller))]);
    world.pass(5);
    assert!(world.report().complaints.is_empty());
}

#[test]
fn a_fence_that_is_refused_is_not_believed() {
    let mut world = World::new();
    world.pass(60);
    world.ill.insert(Part::Daemon(Daemon::Proxy), (Ill::Hangs, Cure::Nothing));
    while !world.fenced {
        world.step();
    }
    world.fenced = false;
    world.handle(Event::Tried(Remedy::Fence, Err("access denied".to_owned())));
    assert!(!world.report().fenced);
}

#[test]
fn nothing_is_over_while_the_part_that_told_of_it_says_nothing() {
    let mut world = World::new();
    world.pass(60);
    world.others_serve = false;
    world.target_well = false;
    world.pass(10);
    let over = |world: &World| {
        world
            .report()
            .past
            .iter()
            .filter(|deed| deed.text == "over: the target cannot be reached from this node")
            .count()
    };
    world.ill.insert(Part::Daemon(Daemon::Proxy), (Ill::Hangs, Cure::Time(30)));
    world.pass(25);
    assert_eq!(over(&world), 0, "nobody knows");
    let complaint = |world: &World| {
        world.report().complaints.into_iter().find(|complaint| complaint.failure == "target_away").unwrap()
    };
    assert_eq!(complaint(&world).stage, Stage::Consequence);
    world.pass(15);
    assert_eq!((complaint(&world).stage, over(&world)), (Stage::Alarm, 0), "it has gone on all the time");
    world.ill.insert(Part::Daemon(Daemon::Proxy), (Ill::Hangs, Cure::Time(20)));
    world.pass(5);
    world.target_well = true;
    world.pass(30);
    assert_eq!(over(&world), 1, "its end is told although it was only a consequence at last");
}

#[test]
fn a_node_whose_proxy_is_lost_stops_serving_and_comes_back() {
    let mut world = World::new();
    world.pass(60);
    world.ill.insert(Part::Daemon(Daemon::Proxy), (Ill::Hangs, Cure::Time(100)));
    world.pass(30);
    assert!(world.fenced && world.report().fenced);
    world.pass(120);
    assert!(!world.fenced && !world.report().fenced);
    let fencing: Vec<_> =
        world.done.iter().filter(|(_, remedy)| remedy.part() == Part::Tor(Tor::Serving)).collect();
    assert_eq!(fencing.len(), 2, "{:?}", world.done);
}

#[test]
fn a_remedy_that_is_refused_is_told_with_its_reason() {
    let mut world = World::new();
    world.pass(60);
    world.ill.insert(Part::Tor(Tor::Standby), (Ill::Hangs, Cure::Nothing));
    world.step();
    world.handle(Event::Tried(Remedy::Kill(Part::Tor(Tor::Standby)), Err("access denied".to_owned())));
    let report = world.report();
    assert!(report.complaints[0].text.contains("could not be carried out: access denied"), "{report:#?}");
    assert!(
        report.past.iter().any(|deed| deed.alarming && deed.text.contains("could not kill the standby tor"))
    );
}
