//! Whether this node's publisher is there, and how long what it said last is believed without it.

use std::time::{Duration, Instant};

/// How long the points of a publisher that went away stay: this long until it is back, and again until it reports.
/// A restart takes less, and must not make the descriptor flap; longer, and a node whose publisher died together
/// with its tors would keep dead points in it.
pub const PUBLISHER_GRACE: Duration = Duration::from_secs(1);
/// The most a publisher that comes and goes can draw that out.
pub const PUBLISHER_PATIENCE: Duration = Duration::from_secs(3);

/// What is known of the publisher.
#[derive(Debug, Clone, Copy, Default)]
pub struct PublisherWatch {
    found: bool,
    /// Whether it has said anything since it was found.
    spoken: bool,
    lost_at: Option<Instant>,
    withdraw_at: Option<Instant>,
}

impl PublisherWatch {
    /// Whether it is there.
    pub fn is_found(&self) -> bool {
        self.found
    }

    /// It is there; it has not reported yet.
    pub fn found(&mut self, now: Instant) {
        self.found = true;
        if let (Some(lost_at), Some(_)) = (self.lost_at, self.withdraw_at) {
            self.withdraw_at = Some((now + PUBLISHER_GRACE).min(lost_at + PUBLISHER_PATIENCE));
        }
    }

    /// Whether it has said anything since it was found.
    pub fn has_spoken(&self) -> bool {
        self.spoken
    }

    /// It said something, though perhaps not yet at which points it serves.
    pub fn spoke(&mut self) {
        self.spoken = true;
    }

    /// It went away.
    pub fn lost(&mut self, now: Instant) {
        self.found = false;
        self.spoken = false;
        if self.lost_at.is_none() {
            self.lost_at = Some(now);
            self.withdraw_at = Some(now + PUBLISHER_GRACE);
        }
    }

    /// It reported: what it says counts again.
    pub fn reported(&mut self) {
        self.lost_at = None;
        self.withdraw_at = None;
    }

    /// Whether what it said last is not believed any more. Says so once.
    pub fn is_overdue(&mut self, now: Instant) -> bool {
        let overdue = self.withdraw_at.is_some_and(|at| now >= at);
        if overdue {
            (self.lost_at, self.withdraw_at) = (None, None);
        }
        overdue
    }

    /// When [`PublisherWatch::is_overdue`] must be asked.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.withdraw_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restart_is_waited_for_and_a_crash_loop_is_not() {
        let start = Instant::now();
        let mut watch = PublisherWatch::default();
        watch.found(start);
        assert_eq!(watch.next_timeout(), None);
        watch.lost(start);
        watch.found(start + PUBLISHER_GRACE / 2);
        assert!(!watch.is_overdue(start + PUBLISHER_GRACE));
        watch.reported();
        assert_eq!(watch.next_timeout(), None);

        watch.lost(start);
        let mut at = start;
        while !watch.is_overdue(at) {
            at += PUBLISHER_GRACE / 4;
            watch.found(at);
            watch.lost(at);
        }
        assert!(at >= start + PUBLISHER_GRACE && at <= start + PUBLISHER_PATIENCE);
        assert!(!watch.is_overdue(at), "said once");
    }
}
