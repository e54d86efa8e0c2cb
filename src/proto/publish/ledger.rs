//! The revision counters used so far, for each time period. They only ever rise.

use std::collections::BTreeMap;

use crate::proto::onion::counter::RevisionCounter;

/// Counters at or above this are not believed when another node names them: no publisher counts that far (tor stays
/// below 2^34, milliseconds are at 2^41), and with the largest of all nothing could be posted until the period ends.
const IMPLAUSIBLE: u64 = 1 << 62;

/// Most periods remembered: two are live, and a neighbour may be ahead or behind by one. More are noise.
const MAX_PERIODS: usize = 6;

/// The last counter known for each period, whoever used it.
#[derive(Debug, Clone, Default)]
pub(super) struct Ledger {
    last: BTreeMap<u64, u64>,
}

impl Ledger {
    /// Takes the next counter for a post: tor's own value for this moment, or one more than the last, whichever is
    /// greater. `None` when the counters of the period are used up.
    pub(super) fn next(&mut self, period: u64, tors_own: RevisionCounter) -> Option<RevisionCounter> {
        let after_last = self.last(period).map_or(Some(0), |last| last.checked_add(1))?;
        let next = tors_own.0.max(after_last);
        self.last.insert(period, next);
        Some(RevisionCounter(next))
    }

    /// The last counter known.
    pub(super) fn last(&self, period: u64) -> Option<u64> {
        self.last.get(&period).copied()
    }

    /// Learns a counter that was seen on an HSDir, under a signature by our own key.
    pub(super) fn saw(&mut self, period: u64, counter: u64) {
        let last = self.last.entry(period).or_default();
        *last = counter.max(*last);
    }

    /// Learns what other nodes say they have used, as far as it is plausible.
    pub(super) fn told(&mut self, counters: &[(u64, u64)]) {
        for &(period, counter) in counters {
            let room = self.last.len() < MAX_PERIODS || self.last.contains_key(&period);
            if counter < IMPLAUSIBLE && room {
                self.saw(period, counter);
            }
        }
    }

    /// Jumps ahead, when an HSDir stores a higher counter that cannot be read.
    pub(super) fn lift(&mut self, period: u64, by: u64) {
        let last = self.last.entry(period).or_default();
        *last = last.saturating_add(by).min(IMPLAUSIBLE.max(*last));
    }

    /// Forgets the periods that are neither live nor next to one that is.
    pub(super) fn keep_near(&mut self, first_live: u64, last_live: u64) {
        self.last.retain(|&period, _| {
            period.saturating_add(1) >= first_live && period <= last_live.saturating_add(1)
        });
    }

    /// All of it, as (period, counter).
    pub(super) fn all(&self) -> Vec<(u64, u64)> {
        self.last.iter().map(|(&period, &counter)| (period, counter)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_tor_and_never_repeats() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.next(7, RevisionCounter(1000)), Some(RevisionCounter(1000)));
        // A burst within the second: tor's value stands still.
        assert_eq!(ledger.next(7, RevisionCounter(1000)), Some(RevisionCounter(1001)));
        assert_eq!(ledger.next(7, RevisionCounter(5000)), Some(RevisionCounter(5000)));
        // The clock was set back.
        assert_eq!(ledger.next(7, RevisionCounter(10)), Some(RevisionCounter(5001)));
        assert_eq!(ledger.next(8, RevisionCounter(3)), Some(RevisionCounter(3)));
    }

    #[test]
    fn goes_above_what_others_used_unless_that_is_absurd() {
        let mut ledger = Ledger::default();
        ledger.told(&[(7, 900), (7, 800), (8, u64::MAX)]);
        assert_eq!(ledger.all(), [(7, 900)]);
        assert_eq!(ledger.next(7, RevisionCounter(5)), Some(RevisionCounter(901)));
        ledger.saw(7, 2000);
        ledger.lift(7, 50);
        assert_eq!(ledger.next(7, RevisionCounter(5)), Some(RevisionCounter(2051)));
        ledger.saw(7, u64::MAX);
        assert_eq!(ledger.next(7, RevisionCounter(5)), None);
    }

    #[test]
    fn is_bounded_and_forgets_old_periods() {
        let mut ledger = Ledger::default();
        ledger.told(&(0..100).map(|period| (period, 1)).collect::<Vec<_>>());
        assert_eq!(ledger.all().len(), MAX_PERIODS);
        ledger.keep_near(4, 5);
        assert_eq!(ledger.all(), [(3, 1), (4, 1), (5, 1)]);
    }
}
