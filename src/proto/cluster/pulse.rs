//! Noticing that we did not run.
//!
//! A process that was stopped, starved, or suspended with its machine wakes up in the belief that no time has
//! passed. The others may have declared it dead and given its lease away meanwhile.

use std::time::{Duration, Instant};

/// When we last ran, and when we meant to run again: what lies between and was not meant is a pause.
#[derive(Debug, Clone, Copy)]
pub struct Pulse {
    now: Instant,
    unix_ms: u64,
    due: Option<Instant>,
}

impl Pulse {
    /// We run now, and mean to run again when `due`, or when something happens.
    pub fn new(now: Instant, unix_ms: u64, due: Option<Instant>) -> Self {
        // What was due before now is due now: being asked late is not being late.
        Self { now, unix_ms, due: due.map(|due| due.max(now)) }
    }

    /// When we meant to run again.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// How long the process slept beyond what it meant to.
    ///
    /// The wall clock is looked at as well because the monotonic one stands still while a machine is suspended.
    /// It may be set forward instead; then the lease is verified in vain, which costs nothing.
    pub fn overslept(&self, now: Instant, unix_ms: u64) -> Duration {
        let late = self.due.map_or(Duration::ZERO, |due| now.saturating_duration_since(due));
        let wall = Duration::from_millis(unix_ms.saturating_sub(self.unix_ms));
        late.max(wall.saturating_sub(now.saturating_duration_since(self.now)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_not_meant_counts() {
        let start = Instant::now();
        let secs = Duration::from_secs;
        let pulse = Pulse::new(start, 1_000_000, Some(start + secs(60)));
        assert_eq!(pulse.overslept(start + secs(60), 1_060_000), secs(0));
        assert_eq!(pulse.overslept(start + secs(64), 1_064_000), secs(4));
        assert_eq!(pulse.overslept(start + secs(1), 1_009_000), secs(8), "suspended for eight seconds");
        assert_eq!(pulse.overslept(start + secs(1), 5), secs(0), "the wall clock was set back");
        let idle = Pulse::new(start, 1_000_000, None);
        assert_eq!(idle.overslept(start + secs(1000), 2_000_000), secs(0));
        let overdue = Pulse::new(start, 1_000_000, Some(start.checked_sub(secs(1)).unwrap_or(start)));
        assert_eq!(overdue.overslept(start, 1_000_000), secs(0));
    }
}
