//! Whether the target can be reached: by what becomes of connections, and of probes where there are none.

use std::time::Duration;

use tokio::time::Instant;

/// How many failures in a row mean that the target is down: one may be a circuit's, two bad luck.
const DOWN_AFTER: u32 = 3;
/// How soon a failed attempt is followed by a probe, so that a target that is back is noticed.
const PROBE_AFTER_FAILURE: Duration = Duration::from_secs(5);

/// The target's health. It counts as well until it has failed three times in a row.
#[derive(Debug)]
pub struct TargetHealth {
    failures: u32,
    every: Duration,
    probe_at: Instant,
}

impl TargetHealth {
    /// Nothing is known; the first probe is due at once. `every` is the pause between probes of a target that is well.
    pub fn new(now: Instant, every: Duration) -> Self {
        Self { failures: 0, every, probe_at: now }
    }

    /// Whether it is well.
    pub fn is_well(&self) -> bool {
        self.failures < DOWN_AFTER
    }

    /// When the next probe is due.
    pub fn probe_at(&self) -> Instant {
        self.probe_at
    }

    /// It was reached, or it was not.
    pub fn tried(&mut self, now: Instant, reached: bool) {
        self.failures = if reached { 0 } else { self.failures.saturating_add(1) };
        self.probe_at = now + if reached { self.every } else { PROBE_AFTER_FAILURE.min(self.every) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_failures_in_a_row_are_down_and_one_success_is_well() {
        let (now, minute) = (Instant::now(), Duration::from_mins(1));
        let mut health = TargetHealth::new(now, minute);
        assert_eq!((health.is_well(), health.probe_at()), (true, now));
        for (reached, well, wait) in [
            (false, true, 5),
            (false, true, 5),
            (true, true, 60),
            (false, true, 5),
            (false, true, 5),
            (false, false, 5),
            (false, false, 5),
            (true, true, 60),
        ] {
            health.tried(now, reached);
            assert_eq!((health.is_well(), health.probe_at()), (well, now + Duration::from_secs(wait)));
        }
    }
}
