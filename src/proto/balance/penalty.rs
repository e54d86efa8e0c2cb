//! Seats that failed connections keep for a while.
//!
//! A server that refuses, or hangs up at once, is always the least busy one: without this it would be next for nearly every
//! connection. So a failed connection counts as outstanding for half a second to a second. It is counted by halves of a
//! second, so that however many fail, nothing grows.

use std::time::{Duration, Instant};

/// A seat is kept until the end of the period after the one in which the connection failed.
const PERIOD: Duration = Duration::from_millis(500);

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Penalty {
    /// When the period of `latest` began.
    since: Option<Instant>,
    latest: u32,
    before: u32,
}

impl Penalty {
    /// A connection failed.
    pub(super) fn add(&mut self, now: Instant) {
        let since = self.since.unwrap_or(now);
        match now.saturating_duration_since(since) {
            gone if gone < PERIOD => self.since = Some(since),
            gone => {
                self.before = if gone < 2 * PERIOD { self.latest } else { 0 };
                (self.since, self.latest) = (Some(now), 0);
            }
        }
        self.latest = self.latest.saturating_add(1);
    }

    /// How many seats are kept.
    pub(super) fn seats(&self, now: Instant) -> u32 {
        let Some(since) = self.since else { return 0 };
        match now.saturating_duration_since(since) {
            gone if gone < PERIOD => self.latest.saturating_add(self.before),
            gone if gone < 2 * PERIOD => self.latest,
            _ => 0,
        }
    }
}
