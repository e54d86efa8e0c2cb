//! What will happen, in the order in which it will.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

/// Things that will happen; of those at the same time, the one planned first comes first.
pub struct Queue<T> {
    heap: BinaryHeap<Reverse<Entry<T>>>,
    serial: u64,
}

struct Entry<T> {
    key: (u64, u64),
    what: T,
}

impl<T> Queue<T> {
    pub fn new() -> Self {
        Self { heap: BinaryHeap::new(), serial: 0 }
    }

    /// Plans something.
    pub fn push(&mut self, at: Duration, what: T) {
        self.serial += 1;
        self.heap.push(Reverse(Entry { key: (nanos(at), self.serial), what }));
    }

    /// Takes what happens next, if it does until then.
    pub fn pop_until(&mut self, until: Duration) -> Option<(Duration, T)> {
        let Reverse(next) = self.heap.peek()?;
        if next.key.0 > nanos(until) {
            return None;
        }
        let Reverse(entry) = self.heap.pop()?;
        Some((Duration::from_nanos(entry.key.0), entry.what))
    }
}

/// Centuries fit.
fn nanos(at: Duration) -> u64 {
    at.as_secs() * 1_000_000_000 + u64::from(at.subsec_nanos())
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl<T> Eq for Entry<T> {}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key.cmp(&other.key)
    }
}
