//! Has the tor that asks the network for this node fetch the service's descriptor anew now and then, while others publish it.
//!
//! A client tor goes on with the descriptor that it has until that leads nowhere, for a day or longer. What this node learns
//! of its service by asking through that tor (`proto::join::canary`: which nodes clients meet) would be about the nodes of
//! yesterday. The node that publishes reads its descriptors back anyway.

use std::time::{Duration, Instant};

use crate::proto::onion::hsdir::HsDir;
use crate::proto::publish::plan::Plan;

/// How often: some twenty kilobytes each time, from one HSDir.
const EVERY: Duration = Duration::from_mins(10);

/// When which HSDir is asked.
#[derive(Debug, Default)]
pub(super) struct Refetch {
    next: Option<Instant>,
    asked: usize,
}

impl Refetch {
    /// When [`Self::due`] should be called again.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.next
    }

    /// The HSDir to ask now, each time another one. `plan` is that of the tor that asks; `None`: nobody need be asked, or can.
    pub(super) fn due(&mut self, now: Instant, plan: Option<&Plan>) -> Option<HsDir> {
        let Some(plan) = plan else {
            self.next = None;
            return None;
        };
        if now < *self.next.get_or_insert(now + EVERY) {
            return None;
        }
        self.next = Some(now + EVERY);
        self.asked = self.asked.wrapping_add(1);
        let hsdirs = &plan.clients_slot().hsdirs;
        hsdirs.iter().nth(self.asked.checked_rem(hsdirs.len())?).copied()
    }
}
