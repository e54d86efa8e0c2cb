//! Which of the node's tors uploads, and when to read its view of the network.
//!
//! The tor that does not serve uploads while it is there: a serving tor silently kills uploads of its own service at
//! each refresh. A view is read when the tor comes, when it has a new consensus, and some times after that, because
//! microdescriptors of new relays arrive late and the ring is only right with all of them.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::proto::publish::plan::Plan;
use crate::proto::publish::report::TorState;

/// When to read the view again after a new consensus: tor has fetched the missing microdescriptors by then.
const AFTER_CONSENSUS: [Duration; 3] =
    [Duration::from_secs(2), Duration::from_secs(15), Duration::from_mins(2)];
/// The tor that serves has more urgent things to tell in the second after a new consensus: its own new descriptor.
const SERVING_DELAY: Duration = Duration::from_secs(3);
/// The pause after the first failed read; a starting tor has its first consensus after some seconds.
const RETRY_FIRST: Duration = Duration::from_millis(500);
/// The longest pause.
const RETRY_MAX: Duration = Duration::from_secs(5);
/// When a view is no longer waited for: twice what the control connection allows for a document.
const READ_LIMIT: Duration = Duration::from_mins(2);

/// The two tors of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TorRole {
    /// It serves the onion service.
    Serving,
    /// It carries uploads and the way to the target; the serving one carries uploads, too, while this one is away.
    Standby,
}

/// One of them.
#[derive(Debug, Default)]
struct Tor {
    connected: bool,
    plan: Option<Plan>,
    /// Ticket of the read under way, and until when it is waited for.
    reading: Option<(u64, Instant)>,
    /// Times of the reads to come, ascending; at most one more than the list above is long.
    reads: VecDeque<Instant>,
    failures: u32,
}

/// Both tors, as far as uploading goes.
#[derive(Debug, Default)]
pub(super) struct Uplink {
    serving: Tor,
    standby: Tor,
    /// The serving tor was found to be the better one for now.
    prefer_serving: bool,
    tickets: u64,
}

impl Uplink {
    /// The tor that uploads, and its view.
    pub(super) fn uploader(&self) -> Option<(TorRole, &Plan)> {
        let [first, second] = if self.prefer_serving {
            [TorRole::Serving, TorRole::Standby]
        } else {
            [TorRole::Standby, TorRole::Serving]
        };
        let usable = |role| self.tor(role).plan.as_ref().map(|plan| (role, plan));
        usable(first).or_else(|| usable(second))
    }

    /// Whether a relay is in no view that is known. While none is, nothing is lost.
    pub(super) fn has_lost(&self, relay: &[u8; 20]) -> bool {
        let mut plans =
            [&self.serving, &self.standby].into_iter().filter_map(|tor| tor.plan.as_ref()).peekable();
        plans.peek().is_some() && plans.all(|plan| !plan.relays.contains(relay))
    }

    /// For the report.
    pub(super) fn state(&self, role: TorRole) -> TorState {
        match self.tor(role) {
            Tor { connected: false, .. } => TorState::Away,
            Tor { plan: None, .. } => TorState::Connected,
            Tor { .. } => TorState::Ready,
        }
    }

    /// A control connection is up.
    pub(super) fn connected(&mut self, role: TorRole, now: Instant) {
        // It may have had its consensus for just a moment, so it is read as after a new one.
        *self.tor_mut(role) =
            Tor { connected: true, reads: reads_after(now, Duration::ZERO), ..Tor::default() };
        self.prefer_serving = false;
    }

    /// A control connection is gone.
    pub(super) fn lost(&mut self, role: TorRole) {
        *self.tor_mut(role) = Tor::default();
    }

    /// There is a new consensus, or events were missed.
    pub(super) fn new_consensus(&mut self, role: TorRole, now: Instant) {
        let uploads = self.uploader().is_none_or(|(uploader, _)| uploader == role);
        let first = if uploads { Duration::ZERO } else { SERVING_DELAY };
        let tor = self.tor_mut(role);
        if tor.connected {
            tor.reads = reads_after(now, first);
        }
        self.prefer_serving = false;
    }

    /// Uploads fail one after the other: the other tor shall try, if it can.
    pub(super) fn try_the_other(&mut self) {
        if self.serving.plan.is_some() && self.standby.plan.is_some() {
            self.prefer_serving = !self.prefer_serving;
        }
    }

    /// The reads that are due, with their tickets.
    pub(super) fn due(&mut self, now: Instant) -> Vec<(TorRole, u64)> {
        let mut due = Vec::new();
        for role in [TorRole::Standby, TorRole::Serving] {
            let ticket = self.tickets + 1;
            let tor = self.tor_mut(role);
            if tor.reading.is_some_and(|(_, until)| until <= now) {
                tor.reading = None;
                tor.reads.push_front(now);
            }
            if tor.reading.is_none() && tor.reads.front().is_some_and(|&at| at <= now) {
                tor.reads.retain(|&at| at > now);
                tor.reading = Some((ticket, now + READ_LIMIT));
                self.tickets = ticket;
                due.push((role, ticket));
            }
        }
        due
    }

    /// The outcome of a read; `None` if the view could not be read. The one before is kept then. Says whether it
    /// is news: an answer to an older ticket comes from a connection that is gone.
    pub(super) fn read(&mut self, role: TorRole, ticket: u64, plan: Option<Plan>, now: Instant) -> bool {
        let tor = self.tor_mut(role);
        if tor.reading.is_none_or(|(asked, _)| asked != ticket) {
            return false;
        }
        tor.reading = None;
        let Some(plan) = plan else {
            let pause =
                RETRY_FIRST.saturating_mul(1u32.checked_shl(tor.failures).unwrap_or(u32::MAX)).min(RETRY_MAX);
            tor.failures = tor.failures.saturating_add(1);
            tor.reads.push_front(now + pause);
            tor.reads.make_contiguous().sort_unstable();
            tor.reads.truncate(AFTER_CONSENSUS.len() + 1);
            return false;
        };
        tor.failures = 0;
        tor.plan = Some(plan);
        true
    }

    /// When [`Uplink::due`] has something to say.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let next = |tor: &Tor| tor.reading.map(|(_, until)| until).or(tor.reads.front().copied());
        [&self.serving, &self.standby].into_iter().filter_map(next).min()
    }

    fn tor(&self, role: TorRole) -> &Tor {
        match role {
            TorRole::Serving => &self.serving,
            TorRole::Standby => &self.standby,
        }
    }

    fn tor_mut(&mut self, role: TorRole) -> &mut Tor {
        match role {
            TorRole::Serving => &mut self.serving,
            TorRole::Standby => &mut self.standby,
        }
    }
}

/// When to read the view of a tor that may have a new consensus since `now`, the first time after `first`.
fn reads_after(now: Instant, first: Duration) -> VecDeque<Instant> {
    let begin = now + first;
    [begin].into_iter().chain(AFTER_CONSENSUS.map(|delay| begin + delay)).collect()
}
