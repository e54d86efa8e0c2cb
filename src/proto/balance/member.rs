//! One target, as the balance knows it.

use std::cmp::Ordering;
use std::time::{Duration, Instant};

/// The largest weight. A thousand to one is as good as nothing to the one.
pub const MAX_WEIGHT: u32 = 1000;
/// A whole share, in thousandths.
const WHOLE: u32 = 1000;
/// What a member that comes back begins with: enough to show that it holds, little enough to be missed if it does not.
const TRICKLE: u32 = 100;
/// How far a turn moves a member of the smallest weight with a whole share. Divides evenly enough by every weight.
const ROUND: u64 = 1_000_000_000_000;

/// Tells members apart, also over a change of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct MemberId(pub u64);

/// When a member is taken out, and how it comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// So many failures in a row take it out.
    pub failures: u32,
    /// How often it is tried while it is out.
    pub trial: Duration,
    /// How long its share grows once it is back.
    pub ramp: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // So many in a row are not bad luck any more (seed section 7, 2.1).
            failures: 3,
            // A target that hangs costs a client its patience; one in five seconds is little.
            trial: Duration::from_secs(5),
            ramp: Duration::from_secs(30),
        }
    }
}

/// One target.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) id: MemberId,
    pub(super) weight: u32,
    /// Connections on their way to it, or with it.
    pub(super) outstanding: u32,
    /// How far its turns have brought it; who is behind is next.
    pub(super) turn: u64,
    /// In a row.
    pub(super) failures: u32,
    state: State,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// Gets connections; `since` if it had been out.
    In { since: Option<Instant> },
    /// Gets none but trials; `tried` is when it was found ill or last tried.
    Out { tried: Instant },
}

impl Member {
    pub(super) fn new(id: MemberId, weight: u32) -> Self {
        let state = State::In { since: None };
        Self { id, weight, outstanding: 0, turn: 0, failures: 0, state }
    }

    /// The same with another weight.
    pub(super) fn with_weight(&self, weight: u32) -> Self {
        Self { weight, ..self.clone() }
    }

    pub(super) fn is_in(&self) -> bool {
        matches!(self.state, State::In { .. })
    }

    /// When it may be tried, if it is out.
    pub(super) fn next_trial(&self, limits: &Limits) -> Option<Instant> {
        match self.state {
            State::In { .. } => None,
            State::Out { tried } => Some(tried + limits.trial),
        }
    }

    /// A trial begins.
    pub(super) fn tried(&mut self, now: Instant) {
        if let State::Out { tried } = &mut self.state {
            *tried = now;
        }
    }

    pub(super) fn succeeded(&mut self, now: Instant) {
        self.failures = 0;
        if !self.is_in() {
            self.state = State::In { since: Some(now) };
        }
    }

    pub(super) fn failed(&mut self, limits: &Limits, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        if self.is_in() && self.failures >= limits.failures {
            self.state = State::Out { tried: now };
        }
    }

    /// What it counts for: its weight, in thousandths, less while it is coming back.
    fn capacity(&self, limits: &Limits, now: Instant) -> u64 {
        let share = match self.state {
            State::In { since: Some(since) } if now < since + limits.ramp => {
                let back = now.saturating_duration_since(since).as_millis();
                let grown = back * u128::from(WHOLE) / limits.ramp.as_millis().max(1);
                u32::try_from(grown).unwrap_or(WHOLE).clamp(TRICKLE, WHOLE)
            }
            _ => WHOLE,
        };
        u64::from(self.weight) * u64::from(share)
    }

    /// Less: it should get a connection before `other`.
    pub(super) fn compare(&self, other: &Self, limits: &Limits, now: Instant) -> Ordering {
        // a / b < c / d, without dividing.
        let load = u64::from(self.outstanding) * other.capacity(limits, now);
        let others = u64::from(other.outstanding) * self.capacity(limits, now);
        load.cmp(&others).then(self.turn.cmp(&other.turn))
    }

    /// It takes a turn where the one furthest behind stands at `floor`. Being ahead by one turn is all that is remembered:
    /// who was busy for long does not get everything afterwards.
    pub(super) fn take_turn(&mut self, floor: u64, limits: &Limits, now: Instant) {
        self.turn = floor + ROUND / self.capacity(limits, now).max(1);
    }
}
