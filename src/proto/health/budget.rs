//! How often a part may be treated: a few times, each later than the one before, and then not again until it was calm.

use std::time::{Duration, Instant};

/// So many remedies, then people have to look (R1.2).
pub const TRIES: u32 = 3;
/// How long the first remedy has before the next one; a tor is back within seconds, a daemon at once.
const FIRST_WAIT: Duration = Duration::from_secs(15);
/// The next one has so many times as long.
const GROWTH: u32 = 4;
/// A part that has been well for so long gets a new budget. Shorter, and one that fails every few minutes would be
/// treated for ever.
pub const CALM: Duration = Duration::from_mins(10);

/// The budget of one part.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Budget {
    spent: u32,
    next: Option<Instant>,
    well_since: Option<Instant>,
}

impl Budget {
    /// Whether a remedy may be tried now.
    pub fn allows(&self, now: Instant) -> bool {
        self.spent < TRIES && self.next.is_none_or(|next| next <= now)
    }

    /// Whether there will be no more remedy, and the last one has had its time.
    pub fn is_spent(&self, now: Instant) -> bool {
        self.spent >= TRIES && self.next.is_none_or(|next| next <= now)
    }

    /// A remedy is tried.
    pub fn spend(&mut self, now: Instant) {
        let wait = FIRST_WAIT * GROWTH.saturating_pow(self.spent);
        self.spent = self.spent.saturating_add(1);
        self.next = Some(now + wait);
        self.well_since = None;
    }

    /// The part fails, or does not. After long enough without a failure the budget is whole again.
    pub fn note(&mut self, now: Instant, fails: bool) {
        if fails {
            self.well_since = None;
            return;
        }
        let since = *self.well_since.get_or_insert(now);
        if now.saturating_duration_since(since) >= CALM {
            *self = Self { well_since: Some(since), ..Self::default() };
        }
    }

    /// How many remedies were tried since it was calm.
    pub fn spent(&self) -> u32 {
        self.spent
    }

    /// When the next one may be tried.
    pub fn next(&self) -> Option<Instant> {
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries_come_later_and_later_and_end() {
        let start = Instant::now();
        let mut budget = Budget::default();
        let mut tried = Vec::new();
        for second in 0..3600 {
            let now = start + Duration::from_secs(second);
            budget.note(now, true);
            if budget.allows(now) {
                budget.spend(now);
                tried.push(second);
            }
        }
        assert_eq!(tried, [0, 15, 75]);
        assert!(budget.is_spent(start + Duration::from_hours(1)));
        assert!(!budget.is_spent(start + Duration::from_secs(76)), "the last one has its time, too");
    }

    #[test]
    fn only_calm_brings_it_back() {
        let start = Instant::now();
        let mut budget = Budget::default();
        budget.spend(start);
        let at = |seconds| start + Duration::from_secs(seconds);
        budget.note(at(1), false);
        budget.note(at(599), false);
        budget.note(at(600), true);
        budget.note(at(601), false);
        budget.note(at(1200), false);
        assert_eq!(budget.spent(), 1);
        budget.note(at(1201), false);
        assert_eq!(budget, Budget { well_since: Some(at(601)), ..Budget::default() });
    }
}
