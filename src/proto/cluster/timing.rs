//! Every period and patience of the cluster, and why it is as long as it is.

use std::time::Duration;

use thiserror::Error;

/// How often a node probes one other. Half a second: a dead node is asked for within a second or so, and
/// replies from the other side of the planet (0.3 s) still arrive within the round.
pub const DEFAULT_HEARTBEAT_INTERVAL: Duration = Duration::from_millis(500);
/// About how long after its last sign of life a node counts as dead: the wait until somebody probes it, the
/// unanswered round, and time to refute.
pub const DEFAULT_HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a lease stays with a dead holder, in case the verdict is wrong. Short, because a lease taken too
/// early costs one superfluous descriptor and one taken too late costs clients.
pub const DEFAULT_TAKEOVER_GRACE: Duration = Duration::from_millis(500);

/// How long a token that was replaced is still good for everything: a node that cannot be reached for a working day
/// comes back as if nothing had happened, and one that is away for longer only needs a moment more.
pub const DEFAULT_TOKEN_OVERLAP: Duration = Duration::from_hours(24);

/// Shortest round that leaves room for a direct and an indirect question.
pub const MIN_HEARTBEAT_INTERVAL: Duration = Duration::from_millis(100);
/// Longest round; beyond it a node is dead for minutes before anyone notices.
pub const MAX_HEARTBEAT_INTERVAL: Duration = Duration::from_mins(1);
/// Longest grace: an hour without a publisher is the life of a descriptor on an HSDir, nearly.
pub const MAX_TAKEOVER_GRACE: Duration = Duration::from_hours(1);

/// Least time to refute a suspicion: two gossip rounds and a round trip around the planet.
const MIN_SUSPICION: Duration = Duration::from_millis(500);
/// Rounds that pass, on average and before any suspicion, between a node's death and the verdict of the first
/// who asks: one and a half until it is asked, one without an answer.
const HALF_ROUNDS_UNTIL_SUSPECTED: u32 = 5;

/// The operator's three numbers, and everything that follows from them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    heartbeat_interval: Duration,
    heartbeat_timeout: Duration,
    takeover_grace: Duration,
}

/// Why three numbers are no [`Timing`]. Nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TimingError {
    /// `heartbeat_interval_secs` is outside 0.1 to 60 seconds.
    #[error("heartbeat_interval_secs must lie between 0.1 and 60")]
    Interval,
    /// `heartbeat_timeout_secs` is below three intervals: a single lost round would kill.
    #[error("heartbeat_timeout_secs must be at least three times heartbeat_interval_secs, and at most 3600")]
    Timeout,
    /// `takeover_grace_secs` is longer than an hour.
    #[error("takeover_grace_secs must be at most 3600")]
    Grace,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            heartbeat_interval: DEFAULT_HEARTBEAT_INTERVAL,
            heartbeat_timeout: DEFAULT_HEARTBEAT_TIMEOUT,
            takeover_grace: DEFAULT_TAKEOVER_GRACE,
        }
    }
}

impl Timing {
    /// Checks the three numbers an operator may configure.
    pub fn new(interval: Duration, timeout: Duration, grace: Duration) -> Result<Self, TimingError> {
        if !(MIN_HEARTBEAT_INTERVAL..=MAX_HEARTBEAT_INTERVAL).contains(&interval) {
            return Err(TimingError::Interval);
        }
        if !(interval * 3..=Duration::from_hours(1)).contains(&timeout) {
            return Err(TimingError::Timeout);
        }
        if grace > MAX_TAKEOVER_GRACE {
            return Err(TimingError::Grace);
        }
        Ok(Self { heartbeat_interval: interval, heartbeat_timeout: timeout, takeover_grace: grace })
    }

    /// One probe round.
    pub fn heartbeat_interval(&self) -> Duration {
        self.heartbeat_interval
    }

    /// About how long a silent node counts as alive.
    pub fn heartbeat_timeout(&self) -> Duration {
        self.heartbeat_timeout
    }

    /// How long a lease stays with a dead holder, and how long a better node must be well before it takes over.
    pub fn takeover_grace(&self) -> Duration {
        self.takeover_grace
    }

    /// How long a direct answer may take before others are asked to ask.
    pub fn probe_rtt(&self) -> Duration {
        (self.heartbeat_interval * 3 / 10).min(Duration::from_secs(1))
    }

    /// How long a suspected node may take to object, in a cluster of `nodes`.
    ///
    /// News needs about log(nodes) hops both ways, so beyond ten nodes the time grows with the logarithm.
    pub fn suspicion(&self, nodes: usize) -> Duration {
        let unsuspected = self.heartbeat_interval * HALF_ROUNDS_UNTIL_SUSPECTED / 2;
        let base = self.heartbeat_timeout.saturating_sub(unsuspected).max(MIN_SUSPICION);
        if nodes <= 10 {
            return base;
        }
        base.mul_f64(f64::from(u32::try_from(nodes).unwrap_or(u32::MAX)).log10())
    }

    /// How often membership news is passed on while there is any.
    pub fn gossip_interval(&self) -> Duration {
        (self.heartbeat_interval * 2 / 5).min(Duration::from_millis(200))
    }

    /// How often a node calls the peers it does not see, and so how soon a healed partition is noticed.
    pub fn announce_interval(&self) -> Duration {
        self.heartbeat_interval.clamp(Duration::from_millis(250), Duration::from_secs(2))
    }

    /// How long a node that knows peers listens before it believes to be alone: two calls.
    pub fn discovery(&self) -> Duration {
        self.announce_interval() * 2
    }

    /// How often a node tells one other, at random, which versions of which records it has.
    pub fn digest_interval(&self) -> Duration {
        (self.heartbeat_interval * 2).clamp(Duration::from_millis(500), Duration::from_secs(5))
    }

    /// A pause of our own after which the others may have declared us dead and given the lease away.
    pub fn frozen_after(&self) -> Duration {
        self.heartbeat_interval + self.suspicion(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_schedule_and_our_own_are_both_accepted() {
        let secs = Duration::from_secs;
        let seed = Timing::new(secs(10), secs(30), secs(90)).unwrap();
        assert_eq!(seed.suspicion(3), secs(5));
        assert_eq!(seed.probe_rtt(), secs(1));
        let own = Timing::new(DEFAULT_HEARTBEAT_INTERVAL, DEFAULT_HEARTBEAT_TIMEOUT, DEFAULT_TAKEOVER_GRACE)
            .unwrap();
        assert_eq!(own, Timing::default());
        assert_eq!(own.suspicion(3), Duration::from_millis(750));
        assert!(own.suspicion(50) > own.suspicion(10));
        assert!(own.probe_rtt() * 3 < own.heartbeat_interval());
    }

    #[test]
    fn numbers_that_would_kill_the_living_are_refused() {
        let secs = Duration::from_secs;
        assert_eq!(Timing::new(secs(0), secs(2), secs(0)), Err(TimingError::Interval));
        assert_eq!(Timing::new(secs(61), secs(200), secs(0)), Err(TimingError::Interval));
        assert_eq!(Timing::new(secs(10), secs(29), secs(0)), Err(TimingError::Timeout));
        assert_eq!(Timing::new(secs(1), secs(3), secs(3601)), Err(TimingError::Grace));
    }
}
