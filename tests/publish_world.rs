//! The schedule in a small world of HSDirs that lose, delay, reject and forget, with changes at any time.
//!
//! Each world is a seed. While it is faulty the laws of every moment are checked; then it becomes calm, and after one
//! refresh every responsible HSDir must hold the present content of both descriptors.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rustbalance::proto::onion::blinding::{HsBlindId, HsBlindKeypair};
use rustbalance::proto::onion::counter::RevisionCounter;
use rustbalance::proto::onion::descriptor::capabilities::Capabilities;
use rustbalance::proto::onion::descriptor::intro_point::IntroPoint;
use rustbalance::proto::onion::hsdir::HsDir;
use rustbalance::proto::onion::identity::HsIdKeypair;
use rustbalance::proto::onion::network::{Slot, SlotKind};
use rustbalance::proto::onion::period::TimePeriod;
use rustbalance::proto::onion::shared_random::SharedRandom;
use rustbalance::proto::publish::exchange::{
    HsDirAnswer, Launch, Material, Post, PostId, ScheduleAction, ScheduleEvent,
};
use rustbalance::proto::publish::order::Candidate;
use rustbalance::proto::publish::plan::{Plan, SlotPlan};
use rustbalance::proto::publish::schedule::Schedule;

const START: u64 = 1_800_000_000;
const FAULTY: Duration = Duration::from_mins(4);
/// More than one refresh, because a descriptor that cannot be read back is only renewed by it.
const CALM: Duration = Duration::from_mins(12);
const HSDIRS: u8 = 10;

type Keys = BTreeSet<u8>;

/// What will happen.
#[derive(Debug, Clone)]
enum Coming {
    /// A post reaches an HSDir, whose answer takes some time, or is lost.
    Arrival { id: u8, period: u64, counter: u64, keys: Keys, answer_after: Option<Duration>, tor: u32 },
    /// An answer reaches us, if the tor that asked is still there.
    Answer { id: u8, blinded: HsBlindId, named: bool, answer: HsDirAnswer, tor: u32 },
    /// Our tor says that it did not launch a post.
    Launched { id: PostId, launch: Launch, hsdirs: Vec<u8>, tor: u32 },
    /// An HSDir gives what it has of a period.
    LookedAt { id: u8, period: u64, tor: u32 },
    /// The next change of material, network or tor.
    Change,
}

struct World {
    random: StdRng,
    identity: HsIdKeypair,
    keys: BTreeMap<u64, Arc<HsBlindKeypair>>,
    schedule: Schedule,
    start: Instant,
    now: Instant,
    coming: BTreeMap<(Instant, u64), Coming>,
    events: u64,
    /// What each HSDir stores: (HSDir, period) → counter and points.
    stored: BTreeMap<(u8, u64), (u64, Keys)>,
    /// The present plan: period → HSDirs; and the period that clients fetch.
    responsible: BTreeMap<u64, Vec<u8>>,
    clients: u64,
    wanted: Option<Keys>,
    /// The uploading tor; odd numbers are tors, even ones stand for none.
    tor: u32,
    counters: BTreeMap<u64, u64>,
    open: BTreeMap<u8, Instant>,
    posts: u32,
}

impl World {
    fn new(seed: u64) -> Self {
        let now = Instant::now();
        let mut schedule = Schedule::default();
        schedule.renew_every(Duration::from_mins(10));
        Self {
            random: StdRng::seed_from_u64(seed),
            identity: HsIdKeypair::from_seed([1; 32]).unwrap(),
            keys: BTreeMap::new(),
            schedule,
            start: now,
            now,
            coming: BTreeMap::new(),
            events: 0,
            stored: BTreeMap::new(),
            responsible: BTreeMap::new(),
            clients: 0,
            wanted: None,
            tor: 0,
            counters: BTreeMap::new(),
            open: BTreeMap::new(),
            posts: 0,
        }
    }

    fn faulty(&self) -> bool {
        self.now < self.start + FAULTY
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.faulty() && self.random.random_range(0..100) < percent
    }

    fn millis(&mut self, range: std::ops::Range<u64>) -> Duration {
        Duration::from_millis(self.random.random_range(range))
    }

    fn blinded(&self, period: u64) -> HsBlindId {
        self.keys[&period].id()
    }

    fn later(&mut self, after: Duration, what: Coming) {
        self.events += 1;
        self.coming.insert((self.now + after, self.events), what);
    }

    fn run(mut self) {
        self.new_plan(5);
        self.new_material();
        self.later(Duration::ZERO, Coming::Change);
        let end = self.start + FAULTY + CALM;
        while self.now < end {
            let world = self.coming.first_key_value().map(|((at, _), _)| *at);
            let timeout = self.schedule.next_timeout();
            self.now = [world, timeout].into_iter().flatten().min().unwrap_or(end).min(end);
            match self.coming.first_entry().filter(|entry| entry.key().0 <= self.now) {
                Some(entry) => {
                    let what = entry.remove();
                    self.happen(what);
                }
                None => self.tell(ScheduleEvent::Timeout),
            }
        }
        self.check_outcome();
    }

    fn happen(&mut self, what: Coming) {
        match what {
            Coming::Arrival { id, period, counter, keys, answer_after, tor } => {
                let fresh = self.stored.get(&(id, period)).is_none_or(|(held, _)| counter > *held);
                if fresh {
                    self.stored.insert((id, period), (counter, keys));
                }
                let answer = if fresh { HsDirAnswer::Uploaded } else { HsDirAnswer::Rejected };
                let blinded = self.blinded(period);
                if let Some(after) = answer_after {
                    self.later(after, Coming::Answer { id, blinded, named: !fresh, answer, tor });
                }
            }
            Coming::Answer { id, blinded, named, answer, tor } if tor == self.tor => {
                if self.open.contains_key(&id) && !matches!(answer, HsDirAnswer::NotFound) {
                    self.open.remove(&id);
                }
                self.tell(ScheduleEvent::Answer([id; 20], named.then_some(blinded), answer));
            }
            Coming::LookedAt { id, period, tor } if tor == self.tor => {
                let blinded = self.blinded(period);
                match self.stored.get(&(id, period)).map(|(counter, _)| *counter) {
                    Some(counter) => {
                        self.tell(ScheduleEvent::ReadBack([id; 20], blinded, RevisionCounter(counter)));
                    }
                    None => self.tell(ScheduleEvent::Answer([id; 20], Some(blinded), HsDirAnswer::NotFound)),
                }
            }
            Coming::Launched { id, launch, hsdirs, tor } if tor == self.tor => {
                self.open.retain(|open, _| !hsdirs.contains(open));
                self.tell(ScheduleEvent::PostLaunched(id, launch));
            }
            Coming::Answer { .. } | Coming::LookedAt { .. } | Coming::Launched { .. } => {}
            Coming::Change => self.change(),
        }
    }

    fn change(&mut self) {
        if !self.faulty() {
            // The last word before the calm.
            self.new_plan(self.clients);
            return self.new_material();
        }
        match self.random.random_range(0..100) {
            0..40 => self.new_material(),
            40..45 => {
                self.wanted = None;
                self.tell(ScheduleEvent::Material(None, Vec::new()));
            }
            45..60 => self.new_plan(self.clients),
            60..70 => self.new_plan(self.clients + 1),
            70..80 => {
                // HSDirs restart.
                let id = self.random.random_range(1..=HSDIRS);
                self.stored.retain(|(hsdir, _), _| *hsdir != id);
            }
            _ => {
                self.tor += 2;
                self.open.clear();
                self.tell(ScheduleEvent::UploaderLost);
                self.new_plan(self.clients);
            }
        }
        let next = self.millis(50..20_000);
        self.later(next, Coming::Change);
    }

    fn new_material(&mut self) {
        let keys: Keys =
            (0..self.random.random_range(1..30)).map(|_| self.random.random_range(100..180)).collect();
        let candidate = |name: &str, keys: Vec<u8>| Candidate {
            node: name.parse().unwrap(),
            points: keys.into_iter().map(point).collect(),
        };
        let (a, b) = keys.iter().partition(|key| **key % 2 == 0);
        let candidates = vec![candidate("a", a), candidate("b", b)];
        self.wanted = Some(keys);
        let material = Material { epoch: 1, candidates, capabilities: Capabilities::default() };
        self.tell(ScheduleEvent::Material(Some(material), Vec::new()));
    }

    fn new_plan(&mut self, clients: u64) {
        let clients_fetch_first = self.random.random();
        let first = if clients_fetch_first { clients } else { clients - 1 };
        self.clients = clients;
        self.responsible.clear();
        let mut slots = Vec::new();
        for (which, num) in [(SlotKind::First, first), (SlotKind::Second, first + 1)] {
            // A period's ring changes a little from consensus to consensus.
            let ids: BTreeSet<u8> = (0..5)
                .map(|_| 1 + (self.random.random_range(0..6) + u8::try_from(num).unwrap() * 3) % HSDIRS)
                .collect();
            let period = TimePeriod { num, length_minutes: 8 };
            let counter_epoch = START - 100;
            let slot = Slot {
                which,
                period,
                srv: SharedRandom([0; 32]),
                counter_epoch,
                client_fetches: num == clients,
            };
            let hsdirs = ids.iter().map(|&id| HsDir { rsa_id: [id; 20], ed_id: [id; 32] }).collect();
            let blind = || Arc::new(self.identity.blind(period).unwrap());
            let keys = Arc::clone(self.keys.entry(num).or_insert_with(blind));
            slots.push(SlotPlan { slot, keys, hsdirs, replicas: Vec::new() });
            self.responsible.insert(num, ids.into_iter().collect());
        }
        let plan = Plan { slots: slots.try_into().unwrap(), relays: (0..=255).map(|id| [id; 20]).collect() };
        self.tor |= 1;
        self.tell(ScheduleEvent::Plan(plan));
    }

    fn tell(&mut self, event: ScheduleEvent) {
        let unix_secs = START + (self.now - self.start).as_secs();
        let actions = self.schedule.handle(self.now, unix_secs, event);
        assert!(self.schedule.next_timeout().is_none_or(|at| at > self.now), "the shell would spin");
        assert!(actions.len() <= 5);
        for action in actions {
            match action {
                ScheduleAction::Post(post) => self.posted(&post),
                ScheduleAction::Look(hsdirs) => self.looked(&hsdirs),
                ScheduleAction::MetAnotherPublisher => panic!("nobody else publishes in this world"),
            }
        }
    }

    /// The laws of a post, and its fate.
    fn posted(&mut self, post: &Post) {
        let period = post.period.num;
        let ids: Vec<u8> = post.hsdirs.iter().map(|dir| dir.rsa_id[0]).collect();
        self.posts += 1;
        assert_eq!(self.tor % 2, 1, "posted without a tor");
        assert!(self.wanted.is_some(), "posted after standing down");
        assert!((1..=20).contains(&post.points.len()));
        let relays: BTreeSet<_> = post.points.iter().map(IntroPoint::relay_id).collect();
        assert_eq!(relays.len(), post.points.len(), "one relay twice");
        let before = self.counters.insert(period, post.counter.0);
        assert!(before.is_none_or(|before| before < post.counter.0), "the counter fell");
        let responsible = &self.responsible[&period];
        assert!(!ids.is_empty() && ids.iter().all(|id| responsible.contains(id)));
        for id in &ids {
            let open = self.open.insert(*id, self.now);
            assert!(
                open.is_none_or(|since| self.now >= since + Duration::from_secs(5)),
                "two at once to {id}"
            );
        }
        if self.chance(5) {
            let culprit = ids[self.random.random_range(0..ids.len())];
            let launch = [Launch::NotSent, Launch::Refused, Launch::UnknownHsDir([culprit; 20])];
            let launch = launch[self.random.random_range(0..launch.len())];
            let after = self.millis(1..20);
            return self.later(after, Coming::Launched { id: post.id(), launch, hsdirs: ids, tor: self.tor });
        }
        let keys: Keys = post.points.iter().map(|point| point.auth_key[0]).collect();
        for id in ids {
            let (tor, counter, keys, blinded) = (self.tor, post.counter.0, keys.clone(), post.keys.id());
            let travel = self.millis(20..400);
            let mut arrival = Coming::Arrival { id, period, counter, keys, answer_after: Some(travel), tor };
            if let Coming::Arrival { answer_after, .. } = &mut arrival {
                let late = self.millis(3_000..120_000); // tor gives up after 150 s
                match self.random.random_range(0..10) {
                    0 if self.faulty() => *answer_after = None,
                    1 if self.faulty() => *answer_after = Some(late),
                    _ => {}
                }
            }
            if self.chance(10) {
                let answer = HsDirAnswer::Failed;
                self.later(travel, Coming::Answer { id, blinded, named: true, answer, tor });
            } else if !self.chance(10) {
                self.later(travel, arrival);
            }
        }
    }

    fn looked(&mut self, hsdirs: &[HsDir]) {
        for id in hsdirs.iter().map(|dir| dir.rsa_id[0]) {
            let (travel, tor, period) = (self.millis(20..400), self.tor, self.clients);
            assert!(self.responsible[&period].contains(&id), "looked where it cannot be");
            if self.chance(10) {
                let (blinded, answer) = (self.blinded(period), HsDirAnswer::Failed);
                self.later(travel, Coming::Answer { id, blinded, named: true, answer, tor });
            } else if !self.chance(10) {
                self.later(travel, Coming::LookedAt { id, period, tor });
            }
        }
    }

    fn check_outcome(&self) {
        let wanted = self.wanted.as_ref().unwrap();
        for (period, ids) in &self.responsible {
            for id in ids {
                let (_, keys) = self.stored.get(&(*id, *period)).expect("an HSDir has nothing");
                assert_eq!(keys.len(), wanted.len().min(20), "HSDir {id}, period {period}");
                assert!(keys.is_subset(wanted), "HSDir {id} is behind in period {period}");
            }
        }
        assert_eq!(self.schedule.alarms().iter().count(), 0, "{:?}", self.schedule.alarms());
        let minutes = u32::try_from((FAULTY + CALM).as_secs() / 60).unwrap();
        assert!(self.posts < minutes * 60, "{} posts", self.posts);
    }
}

fn point(key: u8) -> IntroPoint {
    let mut enc_key = [0; 32];
    enc_key[0] = 9;
    IntroPoint {
        link_specifiers: [&[1, 2, 20][..], &[key; 20]].concat(),
        onion_key: [key; 32],
        auth_key: [key; 32],
        enc_key,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, max_shrink_iters: 0, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_world_ends_well(seed: u64) {
        World::new(seed).run();
    }
}
