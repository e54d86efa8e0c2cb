//! One target, as the balance knows it.

use std::cmp::Ordering;
use std::time::{Duration, Instant};

use super::penalty::Penalty;
use super::row::Row;

/// The largest weight. A thousand to one is as good as nothing to the one.
pub const MAX_WEIGHT: u32 = 1000;
/// A whole share, in thousandths.
const WHOLE: u32 = 1000;
/// What a member that comes back begins with: enough to show that it holds, little enough to be missed if it does not.
const TRICKLE: u32 = 100;
/// How far a turn moves a member of the smallest weight with a whole share. Divides evenly enough by every weight.
const ROUND: u64 = 1_000_000_000_000;
/// How soon a member is tried after it was taken out: most that fall are up again at once. Each further trial waits twice
/// as long.
pub const FIRST_TRIAL: Duration = Duration::from_millis(250);
/// More than these doublings pass any interval that can be configured.
const MAX_DOUBLINGS: u32 = 20;

/// Tells members apart, also over a change of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct MemberId(pub u64);

/// When a member is taken out, and how it comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// So many failures in a row take it out.
    pub failures: u32,
    /// How often it is tried, in the end, while it is out.
    pub trial: Duration,
    /// How long its share grows once it is back.
    pub ramp: Duration,
    /// Whether probes ask members whether they are well: then nobody else's success brings one back.
    pub checked: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // So many in a row are not bad luck any more (seed section 7, 2.1).
            failures: 3,
            // Little work for a target that is away, and little time lost once it is back.
            trial: Duration::from_secs(5),
            ramp: Duration::from_secs(30),
            checked: false,
        }
    }
}

/// What was found out about a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// A connection to it was made.
    Reached,
    /// It could not be reached.
    Missed,
    /// It was not reached, but had less time for it than it may take.
    Unclear,
    /// This node could not even try. It may be perfectly well.
    NoWay,
    /// The first byte came over a connection.
    Spoke,
    /// It ended a connection that had just been made, without a byte.
    HungUp,
    /// It gave a probe the answer that is expected of it.
    Passed,
    /// It gave a probe another answer, or none.
    Flunked,
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
    penalty: Penalty,
    /// Times that it could not be reached.
    missed: Row,
    /// Probes that it did not pass.
    flunked: Row,
    /// Connections that it ended without a byte.
    hung_up: Row,
    /// Times that this node could not even try.
    no_way: Row,
    state: State,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// Gets connections.
    In(Option<Return>),
    /// Gets none but trials, the next one when it is `due`.
    Out { due: Instant, trials: u32 },
}

/// How a member came back.
#[derive(Debug, Clone, Copy)]
struct Return {
    since: Instant,
    /// How many trials that took.
    trials: u32,
}

impl Member {
    pub(super) fn new(id: MemberId, weight: u32) -> Self {
        Self {
            id,
            weight,
            outstanding: 0,
            turn: 0,
            penalty: Penalty::default(),
            missed: Row::default(),
            flunked: Row::default(),
            hung_up: Row::default(),
            no_way: Row::default(),
            state: State::In(None),
        }
    }

    /// The same with another weight.
    pub(super) fn with_weight(&self, weight: u32) -> Self {
        Self { weight, ..self.clone() }
    }

    pub(super) fn is_in(&self) -> bool {
        matches!(self.state, State::In(_))
    }

    /// Whether this node finds the way to it, a failure or two aside.
    pub(super) fn has_way(&self, limits: &Limits) -> bool {
        !self.no_way.is_illness(limits.failures)
    }

    /// When it may be tried, if it is out.
    pub(super) fn next_trial(&self) -> Option<Instant> {
        match self.state {
            State::In(_) => None,
            State::Out { due, .. } => Some(due),
        }
    }

    /// A trial begins. If nothing is heard of it, the next one is due in its time.
    pub(super) fn tried(&mut self, limits: &Limits, now: Instant) {
        if let State::Out { due, trials } = &mut self.state {
            *trials = trials.saturating_add(1);
            *due = now + pause(*trials, limits);
        }
    }

    /// A trial was given up before anything came of it: another one is due at once.
    pub(super) fn untried(&mut self, now: Instant) {
        if let State::Out { due, trials } = &mut self.state {
            *trials = trials.saturating_sub(1);
            *due = now;
        }
    }

    /// Something was found out by what began then. `others`: whether anybody else gets connections.
    pub(super) fn note(
        &mut self,
        finding: Finding,
        began: Instant,
        others: bool,
        limits: &Limits,
        now: Instant,
    ) {
        match finding {
            Finding::Reached | Finding::Passed => {
                self.missed.succeeded(now);
                self.no_way.succeeded(now);
                if finding == Finding::Passed {
                    self.flunked.succeeded(now);
                }
                if finding == Finding::Passed || !limits.checked {
                    self.come_back(now);
                }
            }
            Finding::Spoke => self.hung_up.succeeded(now),
            Finding::Missed => self.missed.failed(began, now),
            Finding::Flunked => self.flunked.failed(began, now),
            Finding::HungUp => self.hung_up.failed(began, now),
            Finding::NoWay => self.no_way.failed(began, now),
            Finding::Unclear => {}
        }
        if matches!(finding, Finding::Missed | Finding::HungUp | Finding::NoWay) {
            self.penalty.add(now);
        }
        let ill = |row: &Row| row.is_illness(limits.failures);
        // What makes one server hang up may be a client's doing: it never costs the last one.
        if ill(&self.missed) || ill(&self.flunked) || (ill(&self.hung_up) && others) {
            self.go_out(limits, now);
        }
    }

    /// Whoever is found ill again while still coming back goes on where it was.
    fn go_out(&mut self, limits: &Limits, now: Instant) {
        if let State::In(back) = self.state {
            let trials = back.filter(|back| now < back.since + limits.ramp).map_or(0, |back| back.trials);
            self.state = State::Out { due: now + pause(trials, limits), trials };
        }
    }

    fn come_back(&mut self, now: Instant) {
        if let State::Out { trials, .. } = self.state {
            self.state = State::In(Some(Return { since: now, trials }));
            // A new chance.
            self.hung_up.succeeded(now);
            self.flunked.succeeded(now);
        }
    }

    /// What it counts for: its weight, in thousandths, less while it is coming back.
    fn capacity(&self, limits: &Limits, now: Instant) -> u64 {
        let share = match self.state {
            State::In(Some(Return { since, .. })) if now < since + limits.ramp => {
                let back = now.saturating_duration_since(since).as_millis();
                let grown = back * u128::from(WHOLE) / limits.ramp.as_millis().max(1);
                u32::try_from(grown).unwrap_or(WHOLE).clamp(TRICKLE, WHOLE)
            }
            _ => WHOLE,
        };
        u64::from(self.weight) * u64::from(share)
    }

    /// Seats that are taken, by connections or in their stead.
    fn load(&self, now: Instant) -> u64 {
        u64::from(self.outstanding) + u64::from(self.penalty.seats(now))
    }

    /// Less: it should get a connection before `other`.
    pub(super) fn compare(&self, other: &Self, limits: &Limits, now: Instant) -> Ordering {
        // a / b < c / d, without dividing.
        let load = self.load(now) * other.capacity(limits, now);
        let others = other.load(now) * self.capacity(limits, now);
        load.cmp(&others).then(self.turn.cmp(&other.turn))
    }

    /// It takes a turn where the one furthest behind stands at `floor`. Being ahead by one turn is all that is remembered:
    /// who was busy for long does not get everything afterwards.
    pub(super) fn take_turn(&mut self, floor: u64, limits: &Limits, now: Instant) {
        self.turn = floor + ROUND / self.capacity(limits, now).max(1);
    }
}

/// How long the next trial waits after so many.
fn pause(trials: u32, limits: &Limits) -> Duration {
    limits.trial.min(FIRST_TRIAL * 2_u32.pow(trials.min(MAX_DOUBLINGS)))
}
