//! By how much this node's clock differs from the others', as their datagrams tell.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::proto::node::NodeId;

/// Who was heard longer ago says nothing about now: clocks are set.
const LATELY: Duration = Duration::from_secs(30);

/// The latest difference to each node that was heard lately.
#[derive(Debug, Default)]
pub struct Clocks(BTreeMap<NodeId, (Instant, i64)>);

impl Clocks {
    /// An authentic datagram came in; this clock is so many milliseconds ahead of its sender's, its way included.
    pub fn heard(&mut self, now: Instant, sender: &NodeId, ahead_ms: i64) {
        self.0.retain(|_, (at, _)| now.saturating_duration_since(*at) < LATELY);
        self.0.insert(sender.clone(), (now, ahead_ms));
    }

    /// How many milliseconds this clock is ahead of the others': the middle one of all differences, so that one wrong clock
    /// among many is not taken for our own. Of two nodes neither can know whose is wrong. `None` while nobody is heard.
    pub fn ahead_ms(&self, now: Instant) -> Option<i64> {
        let lately = self.0.values().filter(|(at, _)| now.saturating_duration_since(*at) < LATELY);
        let mut all: Vec<i64> = lately.map(|(_, ahead)| *ahead).collect();
        all.sort_unstable_by_key(|ahead| ahead.unsigned_abs());
        all.get(all.len().checked_sub(1)? / 2).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_wrong_clock_among_many_is_not_ours_and_old_words_do_not_count() {
        let (start, mut clocks) = (Instant::now(), Clocks::default());
        assert_eq!(clocks.ahead_ms(start), None);
        let names: Vec<NodeId> = ["a", "b", "c"].iter().map(|name| name.parse().unwrap()).collect();
        for (name, ahead) in names.iter().zip([3, -4_500, -20]) {
            clocks.heard(start, name, ahead);
        }
        assert_eq!(clocks.ahead_ms(start), Some(-20));
        for (name, ahead) in names.iter().zip([2_600, 2_500, 30]) {
            clocks.heard(start, name, ahead);
        }
        assert_eq!(clocks.ahead_ms(start), Some(2_500));
        assert_eq!(clocks.ahead_ms(start + LATELY), None);
    }
}
