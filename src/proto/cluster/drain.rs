//! How a node that is drained leaves the descriptor, and its clients with it.
//!
//! ```text
//! Draining ──► Muted ──► Drained        all of it is taken back when the operator takes the wish back, or when
//!  others       no new    no more        nobody else could serve any longer
//!  come in      clients   connections
//! ```

use std::fmt;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// How long a drained node waits, after others could have taken its place, for its points to be out of the descriptor
/// everywhere. Longer than posting to all HSDirs takes with a few repetitions; a silent HSDir must not hold it up.
pub const MUTE_PATIENCE: Duration = Duration::from_secs(15);
/// How long no connection may be seen before a drained node counts as idle. A client that has just been let in opens its
/// stream within a round trip over six relays.
pub const QUIET: Duration = Duration::from_secs(3);

/// How far a drained node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DrainPhase {
    /// Its points are in the descriptor until others can serve in its place, and until all HSDirs know.
    Draining,
    /// Its points are out: it takes no new clients, and carries on with those it has.
    Muted,
    /// It carries nothing any more, or its time is up: it may be stopped.
    Drained,
}

impl fmt::Display for DrainPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Draining => "draining",
            Self::Muted => "muted",
            Self::Drained => "drained",
        })
    }
}

/// What a drained node sees.
#[derive(Debug, Clone, Copy)]
pub struct View {
    /// Another node can serve in its place.
    pub replaceable: bool,
    /// And its replacement is in the descriptor everywhere, so that the holder leaves its points out.
    pub replaced: bool,
    /// Its own points are still in the descriptor somewhere.
    pub published: bool,
    /// How long its connections may last after its points are out.
    pub deadline: Duration,
}

/// This node's own way out.
#[derive(Debug, Default)]
pub struct DrainWatch {
    phase: Option<DrainPhase>,
    /// Since when its points should be out.
    replaced_since: Option<Instant>,
    muted_since: Option<Instant>,
    quiet_since: Option<Instant>,
    due: Option<Instant>,
}

impl DrainWatch {
    /// How far it is; `None` while it is not drained.
    pub fn phase(&self) -> Option<DrainPhase> {
        self.phase
    }

    /// When [`DrainWatch::advance`] must be asked, if nothing happens before.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.due
    }

    /// So many connections are carried now.
    pub fn connections(&mut self, now: Instant, count: u64) {
        self.quiet_since = if count > 0 { None } else { self.quiet_since.or(Some(now)) };
    }

    /// Goes on as far as possible; `None`: it is not drained.
    pub fn advance(&mut self, now: Instant, view: Option<View>) {
        self.due = None;
        let Some(view) = view else { return *self = Self::default() };
        let phase = *self.phase.get_or_insert(DrainPhase::Draining);
        if !view.replaceable {
            *self =
                Self { phase: Some(DrainPhase::Draining), quiet_since: self.quiet_since, ..Self::default() };
            return;
        }
        if phase == DrainPhase::Draining {
            if !view.replaced {
                return self.replaced_since = None;
            }
            let until = *self.replaced_since.get_or_insert(now) + MUTE_PATIENCE;
            if view.published && now < until {
                return self.due = Some(until);
            }
            self.phase = Some(DrainPhase::Muted);
            self.muted_since = Some(now);
        }
        if self.phase == Some(DrainPhase::Muted) {
            let muted_since = self.muted_since.unwrap_or(now);
            let idle = self.quiet_since.map(|since| since.max(muted_since) + QUIET);
            let end = [idle, Some(muted_since + view.deadline)].into_iter().flatten().min();
            match end {
                Some(at) if now < at => self.due = Some(at),
                _ => self.phase = Some(DrainPhase::Drained),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEADLINE: Duration = Duration::from_mins(1);
    /// Nobody else serves.
    const ALONE: View = View { replaceable: false, replaced: false, published: true, deadline: DEADLINE };
    /// Others serve, but are not in the descriptor.
    const EARLY: View = View { replaceable: true, ..ALONE };
    /// They are, and so is this node.
    const BOTH: View = View { replaced: true, ..EARLY };
    /// Only they are.
    const OUT: View = View { published: false, ..BOTH };

    fn after(watch: &mut DrainWatch, now: Instant, view: View) -> Option<DrainPhase> {
        watch.advance(now, Some(view));
        watch.phase()
    }

    #[test]
    fn a_node_stays_until_others_are_in_the_descriptor_and_it_is_out() {
        let start = Instant::now();
        let mut watch = DrainWatch::default();
        assert_eq!(after(&mut watch, start, ALONE), Some(DrainPhase::Draining));
        assert_eq!(after(&mut watch, start + DEADLINE * 9, ALONE), Some(DrainPhase::Draining));
        assert_eq!(after(&mut watch, start + DEADLINE * 9, EARLY), Some(DrainPhase::Draining));
        assert_eq!(watch.next_timeout(), None);
        let now = start + DEADLINE * 10;
        assert_eq!(after(&mut watch, now, BOTH), Some(DrainPhase::Draining));
        assert_eq!(watch.next_timeout(), Some(now + MUTE_PATIENCE));
        assert_eq!(after(&mut watch, now + Duration::from_secs(1), OUT), Some(DrainPhase::Muted));
    }

    #[test]
    fn a_silent_hsdir_does_not_hold_it_up_for_ever() {
        let start = Instant::now();
        let mut watch = DrainWatch::default();
        after(&mut watch, start, BOTH);
        // The holder lost its way in between: the patience begins anew.
        after(&mut watch, start + MUTE_PATIENCE / 2, EARLY);
        after(&mut watch, start + MUTE_PATIENCE / 2, BOTH);
        assert_eq!(after(&mut watch, start + MUTE_PATIENCE, BOTH), Some(DrainPhase::Draining));
        assert_eq!(after(&mut watch, start + MUTE_PATIENCE * 3 / 2, BOTH), Some(DrainPhase::Muted));
    }

    #[test]
    fn it_is_drained_when_it_is_quiet_or_its_time_is_up() {
        let start = Instant::now();
        let mut idle = DrainWatch::default();
        idle.connections(start, 0);
        let muted = start + Duration::from_secs(10);
        assert_eq!(
            after(&mut idle, muted, OUT),
            Some(DrainPhase::Muted),
            "quiet counts from when it is muted"
        );
        assert_eq!(idle.next_timeout(), Some(muted + QUIET));
        idle.connections(muted + QUIET / 2, 3);
        assert_eq!(after(&mut idle, muted + QUIET, OUT), Some(DrainPhase::Muted));
        assert_eq!(idle.next_timeout(), Some(muted + DEADLINE));
        idle.connections(muted + QUIET * 2, 0);
        idle.connections(muted + QUIET * 5 / 2, 0);
        assert_eq!(after(&mut idle, muted + QUIET * 3, OUT), Some(DrainPhase::Drained));
        assert_eq!(idle.next_timeout(), None);

        let mut busy = DrainWatch::default();
        after(&mut busy, start, OUT);
        busy.connections(start, 1);
        assert_eq!(after(&mut busy, start + DEADLINE / 2, OUT), Some(DrainPhase::Muted));
        assert_eq!(after(&mut busy, start + DEADLINE, OUT), Some(DrainPhase::Drained));
    }

    #[test]
    fn a_muted_node_stays_muted_while_the_holder_changes() {
        let start = Instant::now();
        let mut watch = DrainWatch::default();
        after(&mut watch, start, OUT);
        for view in [EARLY, BOTH, OUT] {
            assert_eq!(after(&mut watch, start, view), Some(DrainPhase::Muted));
        }
    }

    #[test]
    fn it_comes_back_when_it_is_wanted_or_nobody_else_is_left() {
        let start = Instant::now();
        let mut watch = DrainWatch::default();
        after(&mut watch, start, OUT);
        after(&mut watch, start + DEADLINE, OUT);
        assert_eq!(after(&mut watch, start + DEADLINE, ALONE), Some(DrainPhase::Draining));
        assert_eq!(after(&mut watch, start + DEADLINE, OUT), Some(DrainPhase::Muted));
        watch.advance(start + DEADLINE, None);
        assert_eq!(watch.phase(), None);
        assert_eq!(watch.next_timeout(), None);
    }
}
