//! Which datagrams were seen already: a sliding window per session, a bounded number of sessions.

use std::collections::BTreeMap;

use crate::proto::node::NodeId;

/// Farthest a sender's clock may be from ours, in milliseconds, inclusive. Nodes run NTP; 5 s is the system
/// description's bound, far above any honest error and short enough to keep the memory of replays small.
pub const CLOCK_TOLERANCE_MS: u64 = 5_000;
/// How far behind the newest counter a datagram may arrive: UDP reorders neighbours, not hundreds.
pub const WINDOW: u64 = 128;
/// Most senders remembered: several times the largest cluster that is simulated (20).
pub const MAX_SENDERS: usize = 128;
/// Most sessions remembered per sender. A session is one process; a daemon in a crash loop starts one
/// every two seconds, so five can lie within the ten seconds that a silent one is remembered.
pub const MAX_SESSIONS_PER_SENDER: usize = 8;

/// After this many milliseconds of silence a session may be forgotten: whatever it sent was stamped at most
/// one tolerance after our clock, so by now the clock check refuses it.
const HORIZON_MS: u64 = 2 * CLOCK_TOLERANCE_MS;

/// Why a datagram does not count as new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// Its counter was accepted before.
    Before,
    /// Its counter lies so far behind the newest one that nobody knows.
    TooOldToTell,
}

/// The newest counter of a session, and which of the [`WINDOW`] counters up to it were accepted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    newest: u64,
    /// Bit `n` stands for the counter `newest - n`.
    accepted: u128,
}

impl Window {
    /// A window after its first datagram.
    pub(super) fn starting_at(counter: u64) -> Self {
        Self { newest: counter, accepted: 1 }
    }

    /// Marks a counter as accepted, unless it was or cannot be known.
    pub(super) fn accept(&mut self, counter: u64) -> Result<(), Seen> {
        if let Some(ahead) = counter.checked_sub(self.newest).filter(|ahead| *ahead > 0) {
            let shift = u32::try_from(ahead).unwrap_or(u32::MAX);
            self.accepted = self.accepted.checked_shl(shift).unwrap_or(0) | 1;
            self.newest = counter;
            return Ok(());
        }
        let behind = self.newest - counter;
        if behind >= WINDOW {
            return Err(Seen::TooOldToTell);
        }
        let bit = 1 << behind;
        if self.accepted & bit != 0 {
            return Err(Seen::Before);
        }
        self.accepted |= bit;
        Ok(())
    }
}

/// One session as the receiver remembers it, with whatever else belongs to it (its cipher).
struct Remembered<K, T> {
    key: K,
    window: Window,
    last_seen_ms: u64,
    value: T,
}

/// The sessions of all senders, bounded in number.
pub(super) struct Sessions<K, T> {
    by_sender: BTreeMap<NodeId, Vec<Remembered<K, T>>>,
}

impl<K: PartialEq, T> Sessions<K, T> {
    pub(super) fn new() -> Self {
        Self { by_sender: BTreeMap::new() }
    }

    /// What is kept with a session, if it is remembered.
    pub(super) fn get(&self, sender: &NodeId, key: &K) -> Option<&T> {
        self.by_sender.get(sender)?.iter().find(|s| s.key == *key).map(|s| &s.value)
    }

    /// Judges an authenticated datagram of a remembered session; `None` when the session is not remembered.
    pub(super) fn accept(
        &mut self,
        sender: &NodeId,
        key: &K,
        counter: u64,
        now_ms: u64,
    ) -> Option<Result<(), Seen>> {
        let session = self.by_sender.get_mut(sender)?.iter_mut().find(|s| s.key == *key)?;
        let verdict = session.window.accept(counter);
        if verdict.is_ok() {
            session.last_seen_ms = session.last_seen_ms.max(now_ms);
        }
        Some(verdict)
    }

    /// Remembers a session by its first datagram. Gives `false`, and remembers nothing, when there is no room.
    pub(super) fn remember(&mut self, sender: &NodeId, key: K, counter: u64, now_ms: u64, value: T) -> bool {
        self.forget_silent(now_ms);
        if !self.by_sender.contains_key(sender) && self.by_sender.len() >= MAX_SENDERS {
            return false;
        }
        let sessions = self.by_sender.entry(sender.clone()).or_default();
        if sessions.len() >= MAX_SESSIONS_PER_SENDER {
            // Only after our clock was set back can a session be farther in the future than the horizon; it
            // would block its place until then, and what it sent is refused by the clock check for that long.
            let Some(stranded) =
                sessions.iter().position(|s| s.last_seen_ms > now_ms.saturating_add(HORIZON_MS))
            else {
                return false;
            };
            sessions.swap_remove(stranded);
        }
        sessions.push(Remembered { key, window: Window::starting_at(counter), last_seen_ms: now_ms, value });
        true
    }

    fn forget_silent(&mut self, now_ms: u64) {
        self.by_sender.retain(|_, sessions| {
            sessions.retain(|s| now_ms.saturating_sub(s.last_seen_ms) <= HORIZON_MS);
            !sessions.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_window_slides_and_knows_its_edges() {
        let mut window = Window::starting_at(1000);
        assert_eq!(window.accept(1000), Err(Seen::Before));
        assert_eq!(window.accept(1000 - (WINDOW - 1)), Ok(()));
        assert_eq!(window.accept(1000 - (WINDOW - 1)), Err(Seen::Before));
        assert_eq!(window.accept(1000 - WINDOW), Err(Seen::TooOldToTell));
        assert_eq!(window.accept(1001), Ok(()));
        assert_eq!(window.accept(1000), Err(Seen::Before));
        assert_eq!(window.accept(1000 - (WINDOW - 1)), Err(Seen::TooOldToTell));
        assert_eq!(window.accept(u64::MAX), Ok(()));
        assert_eq!(window.accept(u64::MAX - 1), Ok(()));
        assert_eq!(window.accept(1001), Err(Seen::TooOldToTell));
    }

    proptest! {
        /// Against a plain set: nothing is accepted twice, and within the window everything new is.
        #[test]
        fn a_window_agrees_with_a_set(counters in prop::collection::vec(0u64..400, 1..400)) {
            let mut seen = BTreeSet::from([counters[0]]);
            let mut window = Window::starting_at(counters[0]);
            for &counter in &counters[1..] {
                let newest = *seen.last().unwrap();
                let expected = if seen.contains(&counter) && newest - counter < WINDOW {
                    Err(Seen::Before)
                } else if counter + WINDOW <= newest {
                    Err(Seen::TooOldToTell)
                } else {
                    Ok(())
                };
                prop_assert_eq!(window.accept(counter), expected);
                seen.insert(counter);
            }
        }
    }

    fn node(n: usize) -> NodeId {
        format!("n{n}").parse().unwrap()
    }

    #[test]
    fn the_number_of_sessions_and_senders_is_bounded_until_some_fall_silent() {
        let mut sessions = Sessions::new();
        for key in 0..MAX_SESSIONS_PER_SENDER {
            assert!(sessions.remember(&node(0), key, 0, 1000, ()));
        }
        assert!(!sessions.remember(&node(0), 99, 0, 1000 + HORIZON_MS, ()));
        assert!(sessions.remember(&node(0), 99, 0, 1001 + HORIZON_MS, ()));

        for n in 1..MAX_SENDERS {
            assert!(sessions.remember(&node(n), 0, 0, 1001 + HORIZON_MS, ()));
        }
        assert!(!sessions.remember(&node(MAX_SENDERS), 0, 0, 1001 + HORIZON_MS, ()));
        assert!(sessions.remember(&node(MAX_SENDERS), 0, 0, 1002 + 2 * HORIZON_MS, ()));
        assert_eq!(sessions.by_sender.len(), 1);
    }

    #[test]
    fn a_clock_set_back_neither_forgets_a_session_nor_locks_its_sender_out() {
        let mut sessions = Sessions::new();
        let (later, now) = (10_000_000, 1_000_000);
        for key in 0..MAX_SESSIONS_PER_SENDER {
            assert!(sessions.remember(&node(0), key, 7, later, ()));
        }
        assert_eq!(sessions.accept(&node(0), &0, 7, now), Some(Err(Seen::Before)));
        assert!(sessions.remember(&node(0), 99, 0, now, ()));
        assert_eq!(sessions.by_sender[&node(0)].len(), MAX_SESSIONS_PER_SENDER);
    }
}
