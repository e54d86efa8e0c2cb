//! The directories of the onion service: what they were given, and what clients would get from them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use rustbalance::proto::onion::blinding::{HsBlindId, HsBlindKeypair};
use rustbalance::proto::onion::descriptor::intro_point::IntroPoint;
use rustbalance::proto::onion::hsdir::HsDir;
use rustbalance::proto::onion::identity::HsIdKeypair;
use rustbalance::proto::onion::network::{Slot, SlotKind};
use rustbalance::proto::onion::period::TimePeriod;
use rustbalance::proto::onion::shared_random::SharedRandom;
use rustbalance::proto::publish::plan::{Plan, SlotPlan};

use crate::world::EPOCH_MS;

/// So many relays are directories.
pub const HSDIRS: u8 = 12;
/// So many of them are responsible for one period's descriptor.
const RESPONSIBLE: u8 = 4;
/// So many relays are there to have introduction points at: few enough that nodes often choose the same.
pub const RELAYS: u8 = 60;
/// So long before the world the first period began. Tor waits a day; what counters cost grows with it.
const PERIOD_SECS: u64 = 100;
/// The first period that clients fetch.
pub const FIRST_PERIOD: u64 = 20_000;

/// How an HSDir treats those that ask it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    Well,
    /// It answers, but takes nothing.
    Refusing,
    /// It takes nothing and does not even say so.
    Hanging,
}

/// One descriptor at one HSDir.
#[derive(Debug, Clone)]
pub struct Stored {
    pub counter: u64,
    pub points: Vec<IntroPoint>,
    /// The node that posted it.
    pub by: usize,
}

/// All directories.
pub struct HsDirs {
    pub moods: Vec<Mood>,
    /// Since when each has been as it is, and has had what it has.
    pub undisturbed_since: Vec<Duration>,
    pub stored: BTreeMap<(u8, u64), Stored>,
    /// The period that clients fetch.
    pub period: u64,
    /// When the counters of each period began to count, Unix time in seconds.
    epochs: BTreeMap<u64, u64>,
    /// How much longer everything takes than usual.
    pub slowness: Duration,
    /// Posts that came with a counter that was not the highest.
    pub rejected: u64,
}

impl HsDirs {
    pub fn new() -> Self {
        Self {
            moods: vec![Mood::Well; usize::from(HSDIRS)],
            undisturbed_since: vec![Duration::ZERO; usize::from(HSDIRS)],
            stored: BTreeMap::new(),
            period: FIRST_PERIOD,
            epochs: BTreeMap::from([
                (FIRST_PERIOD, EPOCH_MS / 1000 - PERIOD_SECS),
                (FIRST_PERIOD + 1, EPOCH_MS / 1000),
            ]),
            slowness: Duration::ZERO,
            rejected: 0,
        }
    }

    /// How it is with this one.
    pub fn mood(&self, hsdir: u8) -> Mood {
        self.moods[usize::from(hsdir)]
    }

    /// Falls ill, or is well again.
    pub fn change_mood(&mut self, hsdir: u8, mood: Mood, now: Duration) {
        self.moods[usize::from(hsdir)] = mood;
        self.undisturbed_since[usize::from(hsdir)] = now;
    }

    /// Loses all descriptors, as at a restart.
    pub fn forget(&mut self, hsdir: u8, now: Duration) {
        self.stored.retain(|(at, _), _| *at != hsdir);
        self.undisturbed_since[usize::from(hsdir)] = now;
    }

    /// Takes a descriptor in, if its counter is higher than that of what is there; whether it is.
    pub fn offer(&mut self, hsdir: u8, period: u64, descriptor: Stored) -> bool {
        let stored = self.stored.get(&(hsdir, period));
        let fresh = stored.is_none_or(|stored| stored.counter < descriptor.counter);
        if fresh {
            self.stored.insert((hsdir, period), descriptor);
        } else {
            self.rejected += 1;
        }
        fresh
    }

    /// What clients find at the HSDirs that are well and have been left alone for so long.
    pub fn fetched(&self, now: Duration, alone_for: Duration) -> Vec<(u8, Option<&Stored>)> {
        let asked = responsible(self.period).into_iter().filter(|hsdir| {
            self.mood(*hsdir) == Mood::Well && self.undisturbed_since[usize::from(*hsdir)] + alone_for <= now
        });
        asked.map(|hsdir| (hsdir, self.stored.get(&(hsdir, self.period)))).collect()
    }

    /// Clients fetch the next period from now on, and the one after it begins.
    pub fn next_period(&mut self, now: Duration) {
        self.period += 1;
        let period = self.period;
        self.stored.retain(|(_, stored), _| stored + 1 >= period);
        self.epochs.retain(|begun, _| begun + 1 >= period);
        self.epochs.insert(period + 1, EPOCH_MS / 1000 + now.as_secs());
    }

    /// What a tor says of the network.
    pub fn plan(&self) -> Plan {
        let slot = |which, num| SlotPlan {
            slot: Slot {
                which,
                period: time_period(num),
                srv: SharedRandom([0; 32]),
                counter_epoch: self.epochs[&num],
                client_fetches: num == self.period,
            },
            keys: keys(num),
            hsdirs: responsible(num).into_iter().map(relay).collect(),
            replicas: Vec::new(),
        };
        Plan {
            slots: [slot(SlotKind::First, self.period), slot(SlotKind::Second, self.period + 1)],
            relays: relays(),
        }
    }
}

/// The HSDirs of a period.
pub fn responsible(period: u64) -> BTreeSet<u8> {
    let first = u8::try_from(period * 5 % u64::from(HSDIRS)).unwrap();
    (0..RESPONSIBLE).map(|next| (first + next) % HSDIRS).collect()
}

/// The keys of a period. Blinding takes a while, and all worlds share one identity.
fn keys(num: u64) -> Arc<HsBlindKeypair> {
    static KEYS: OnceLock<Mutex<BTreeMap<u64, Arc<HsBlindKeypair>>>> = OnceLock::new();
    static IDENTITY: OnceLock<HsIdKeypair> = OnceLock::new();
    let identity = IDENTITY.get_or_init(|| HsIdKeypair::from_seed([1; 32]).unwrap());
    let mut keys = KEYS.get_or_init(Mutex::default).lock().unwrap();
    Arc::clone(keys.entry(num).or_insert_with(|| Arc::new(identity.blind(time_period(num)).unwrap())))
}

fn time_period(num: u64) -> TimePeriod {
    TimePeriod { num, length_minutes: 1440 }
}

/// The running relays, by RSA identity.
pub fn relays() -> BTreeSet<[u8; 20]> {
    (0..RELAYS).map(|relay| [relay; 20]).collect()
}

/// A period's blinded key.
pub fn blinded(period: u64) -> HsBlindId {
    keys(period).id()
}

fn relay(id: u8) -> HsDir {
    HsDir { rsa_id: [id; 20], ed_id: [id; 32] }
}
