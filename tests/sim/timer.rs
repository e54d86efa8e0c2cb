//! Being woken when one wants to be.

use std::time::Duration;

/// One wish to be woken, and the rings that are planned for it: most events put the wish off, and that need not be
/// planned anew each time.
#[derive(Debug, Default)]
pub struct Timer {
    wanted: Option<Duration>,
    planned: Option<Duration>,
}

/// What a planned ring means when it comes.
#[derive(Debug, PartialEq, Eq)]
pub enum Ring {
    /// Nothing: it is not wanted any more.
    Idle,
    /// Too early; ring again then.
    Again(Duration),
    /// Now.
    Due,
}

impl Timer {
    /// Wants to be woken then, or not at all. When to plan a ring for it, if none is planned that comes in time.
    pub fn want(&mut self, at: Option<Duration>) -> Option<Duration> {
        self.wanted = at;
        let at = at.filter(|at| self.planned.is_none_or(|planned| *at < planned))?;
        self.planned = Some(at);
        Some(at)
    }

    /// A planned ring has come.
    pub fn ring(&mut self, now: Duration) -> Ring {
        if self.planned != Some(now) {
            return Ring::Idle;
        }
        self.planned = self.wanted.filter(|at| *at > now);
        match (self.planned, self.wanted) {
            (Some(at), _) => Ring::Again(at),
            (None, Some(_)) => {
                self.wanted = None;
                Ring::Due
            }
            (None, None) => Ring::Idle,
        }
    }
}
