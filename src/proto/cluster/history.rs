//! What has happened lately, for operators who look afterwards.

use std::collections::VecDeque;

use super::events::StateChange;
use super::status::Past;

/// How many changes are kept: a bad night of a small cluster. The journal has them all.
const MAX_PAST: usize = 64;

/// The latest changes.
#[derive(Debug, Default)]
pub struct History(VecDeque<(u64, StateChange)>);

impl History {
    /// Something has changed.
    pub fn add(&mut self, unix_ms: u64, change: StateChange) {
        if self.0.len() == MAX_PAST {
            self.0.pop_front();
        }
        self.0.push_back((unix_ms, change));
    }

    /// In words, the latest last.
    pub fn tell(&self) -> Vec<Past> {
        let in_words = |(unix_ms, change): &(u64, StateChange)| Past {
            unix_ms: *unix_ms,
            text: change.to_string(),
            alarming: change.is_alarming(),
        };
        self.0.iter().map(in_words).collect()
    }
}
