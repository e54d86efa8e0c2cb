//! What one consensus says that matters to an onion service, and which descriptors are live under it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::proto::onion::hsdir::HsDir;
use crate::proto::onion::period::TimePeriod;
use crate::proto::onion::shared_random::SharedRandom;

/// Votes in one phase (commit or reveal) of the shared-random protocol.
const VOTES_PER_PHASE: u64 = 12;
/// Votes in one run of it: commit and reveal. A day, when the authorities vote every hour.
const VOTES_PER_RUN: u64 = 2 * VOTES_PER_PHASE;
/// `hsdir_interval` where the consensus has none, in minutes.
pub const DEFAULT_PERIOD_LENGTH_MINUTES: u64 = 1440;
/// The public network's voting interval, in seconds.
pub const DEFAULT_VOTING_INTERVAL_SECS: u64 = 3600;

/// How long all time periods are. A testing network (`TestingTorNetwork 1`) ignores `hsdir_interval`, so that periods
/// rotate while one looks: its periods last one run of the shared-random protocol.
pub fn period_length_minutes(
    testing_network: bool,
    voting_interval_secs: u64,
    hsdir_interval: Option<u64>,
) -> u64 {
    if testing_network {
        (voting_interval_secs.saturating_mul(VOTES_PER_RUN) / 60).max(1)
    } else {
        hsdir_interval.unwrap_or(DEFAULT_PERIOD_LENGTH_MINUTES)
    }
}

/// How much later than the epoch period 0 starts: one phase of the shared-random protocol, 12:00 UTC on the public
/// network.
pub fn rotation_offset_secs(voting_interval_secs: u64) -> u64 {
    voting_interval_secs.saturating_mul(VOTES_PER_PHASE)
}

/// The consensus parameters of the hash ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HsDirParams {
    /// `hsdir_n_replicas`: places on the ring for one descriptor.
    pub replicas: u8,
    /// `hsdir_spread_store`: HSDirs at each place that a service posts to.
    pub spread_store: u8,
    /// `hsdir_spread_fetch`: HSDirs at each place that a client asks.
    pub spread_fetch: u8,
}

impl Default for HsDirParams {
    /// What tor assumes where the consensus says nothing.
    fn default() -> Self {
        Self { replicas: 2, spread_store: 4, spread_fetch: 3 }
    }
}

/// One consensus, reduced to what the hash ring needs. Times are Unix seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkView {
    /// When the consensus became valid. All reckoning of periods is by this, not by the clock.
    pub valid_after: u64,
    /// When the next one is due.
    pub fresh_until: u64,
    /// When it is of no use any more.
    pub valid_until: u64,
    /// `fresh_until - valid_after`, as tor takes it; seconds, not 0.
    pub voting_interval_secs: u64,
    /// See [`period_length_minutes`].
    pub period_length_minutes: u64,
    /// See [`rotation_offset_secs`].
    pub rotation_offset_secs: u64,
    /// The shared random value of the run that ended last.
    pub srv_current: Option<SharedRandom>,
    /// The one before it.
    pub srv_previous: Option<SharedRandom>,
    /// The ring's parameters.
    pub params: HsDirParams,
    /// The relays that store descriptors: flag `HSDir`, protocol `HSDir=2`, Ed25519 key known.
    pub hsdirs: Vec<HsDir>,
    /// RSA identities of all running relays.
    pub relays: BTreeSet<[u8; 20]>,
}

/// Which of the two descriptors a service keeps at every moment (rend-spec-v3, section 2.2.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SlotKind {
    /// Tor's `desc_current`: the older period with the previous shared random value.
    First,
    /// Tor's `desc_next`: the newer period with the current shared random value.
    Second,
}

/// One of the two live descriptors: where it lies on which ring, and how its counters run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// First or second.
    pub which: SlotKind,
    /// The period its key is blinded for.
    pub period: TimePeriod,
    /// The value its ring is made with.
    pub srv: SharedRandom,
    /// Revision counters count from here, in Unix seconds: the start of the previous run of the shared-random
    /// protocol for the first slot, of the present run for the second. That is when `srv` was published, so the epoch
    /// stays the same while a period's descriptor moves from the second slot to the first.
    pub counter_epoch: u64,
    /// Whether clients with this consensus fetch this one.
    pub client_fetches: bool,
}

impl NetworkView {
    /// The period at this consensus' time: the one clients fetch.
    pub fn period(&self) -> TimePeriod {
        TimePeriod::at(self.valid_after, self.period_length_minutes, self.rotation_offset_secs)
    }

    /// When the present run of the shared-random protocol began, in Unix seconds: 00:00 UTC on the public network.
    pub fn srv_run_start(&self) -> u64 {
        let interval = self.voting_interval_secs.max(1);
        let round = self.valid_after / interval % VOTES_PER_RUN;
        self.valid_after - round * interval
    }

    /// How long such a run takes, in seconds: a day on the public network.
    pub fn srv_run_secs(&self) -> u64 {
        self.voting_interval_secs.saturating_mul(VOTES_PER_RUN)
    }

    /// Whether a new shared random value has come but the new period has not: 00:00 to 12:00 UTC.
    fn is_between_srv_and_period(&self) -> bool {
        let start = self.srv_run_start();
        let next = TimePeriod::at(start, self.period_length_minutes, self.rotation_offset_secs).next();
        self.valid_after < next.start(self.rotation_offset_secs)
    }

    /// The two descriptors that are live under this consensus, first and second.
    pub fn slots(&self) -> [Slot; 2] {
        let early = self.is_between_srv_and_period();
        let now = self.period();
        let (older, newer) = if early { (now, now.next()) } else { (now.previous(), now) };
        let run_start = self.srv_run_start();
        [
            Slot {
                which: SlotKind::First,
                period: older,
                srv: self.srv_previous.unwrap_or_else(|| SharedRandom::disaster(older)),
                counter_epoch: run_start.saturating_sub(self.srv_run_secs()),
                client_fetches: early,
            },
            Slot {
                which: SlotKind::Second,
                period: newer,
                srv: self.srv_current.unwrap_or_else(|| SharedRandom::disaster(newer)),
                counter_epoch: run_start,
                client_fetches: !early,
            },
        ]
    }
}
