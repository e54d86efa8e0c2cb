//! Failures in a row, as far as they are evidence.

use std::time::{Duration, Instant};

/// How long a row must have lasted before it is an illness, and how much later than another one a failure must have begun
/// to say anything new. A server that is started again refuses connections for a moment, and many clients can meet that
/// moment.
pub const SPAN: Duration = Duration::from_secs(1);

/// Failures since the last success.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Row {
    length: u32,
    /// When the first one ended.
    since: Option<Instant>,
    /// When the last one began and ended.
    last: Option<(Instant, Instant)>,
    success: Option<Instant>,
}

impl Row {
    pub(super) fn succeeded(&mut self, now: Instant) {
        *self = Self { success: Some(now), ..Self::default() };
    }

    /// What began before the last success, or together with a failure that counts already, is no news.
    pub(super) fn failed(&mut self, began: Instant, now: Instant) {
        let outdated = self.success.is_some_and(|success| began < success);
        let known = self.last.is_some_and(|(begin, end)| began < end && began < begin + SPAN);
        if outdated || known {
            return;
        }
        self.length = self.length.saturating_add(1);
        self.since.get_or_insert(now);
        self.last = Some((began, now));
    }

    /// Whether so many failures are enough, and far enough apart. One alone cannot be.
    pub(super) fn is_illness(&self, failures: u32) -> bool {
        let ends = self.since.zip(self.last);
        let lasted = ends.is_some_and(|(since, (_, last))| last.saturating_duration_since(since) >= SPAN);
        self.length >= failures && (lasted || failures <= 1)
    }
}
