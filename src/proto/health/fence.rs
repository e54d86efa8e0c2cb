//! The fence: a node that is alive but useless stops serving, so that clients get a quick refusal and go to another node.
//!
//! A proxy that hangs, or is away and is not started again, leaves every client that comes in through this node's
//! introduction points waiting, and one that cannot reach the target can only say so. Clients with an old descriptor go on
//! coming, and relays go on believing in the introduction points, as long as tor answers. Without tor they refuse at once.
//!
//! Where no other node would do better, this one serves: a page that says what is wrong is more than a refusal.

use std::time::{Duration, Instant};

use super::budget::{CALM, TRIES};

/// How long the proxy may be away before clients are sent elsewhere: a restart takes a fraction of a second, and
/// connections wait for it in the listener meanwhile. As long for the target, lest all nodes go before each has heard that
/// the others cannot reach it either.
const FENCE_AFTER: Duration = Duration::from_secs(15);
/// Stopping tor takes less than this: who serves after it was started by somebody, who will have had a reason.
const STOPPED_WITHIN: Duration = Duration::from_mins(1);
/// How long all must be well before this node serves again, the first time; twice as long each time after that.
const LIFT_AFTER: Duration = Duration::from_secs(10);
/// It is not kept waiting longer than this.
const LONGEST_WAIT: Duration = Duration::from_mins(10);

/// What the fence is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Situation {
    /// Whether the proxy answers; `None` while that is not known.
    pub proxy_well: Option<bool>,
    /// Whether the target can be reached, as far as that is known.
    pub target_well: bool,
    /// Whether there is a tor to be stopped.
    pub tor_serves: bool,
    /// Whether clients find another node, which reaches the target.
    pub others_serve: bool,
}

/// Which way it turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Stop serving.
    Fence,
    /// Serve again.
    Unfence,
}

/// Who is useful to clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    /// This node.
    Own,
    /// Only others.
    Others,
    /// Nobody that is known.
    Nobody,
}

/// The fence.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fence {
    /// Since when it is closed.
    closed: Option<Instant>,
    /// Since when this node is useful to clients, or others are and it is not, or nobody is.
    since: Option<(Use, Instant)>,
    /// How often it was closed since it was calm.
    times: u32,
    /// How often of these it was opened although this node was not well: no other one served, or somebody started tor.
    undone: u32,
    /// How often it could not be turned.
    refused: u32,
}

impl Fence {
    /// Whether this node does not serve.
    pub fn is_closed(&self) -> bool {
        self.closed.is_some()
    }

    /// Whether anything is remembered that time will change.
    pub fn is_calm(&self) -> bool {
        self.closed.is_none() && self.times == 0
    }

    /// It could not be turned: tor serves as before, or does not. That is tried again, as often as any remedy.
    pub fn refused(&mut self, now: Instant, turn: Turn) {
        self.refused = self.refused.saturating_add(1);
        match turn {
            Turn::Fence => (self.closed, self.since) = (None, Some((Use::Others, now))),
            // Given up: from now on tor is a part that is away.
            Turn::Unfence if self.refused > TRIES => {}
            Turn::Unfence => (self.closed, self.since) = (Some(now), None),
        }
    }

    /// Looks at the situation, and turns where it must.
    pub fn consider(&mut self, now: Instant, situation: Situation) -> Option<Turn> {
        let proxy_well = situation.proxy_well?;
        let useful = match situation {
            Situation { target_well: true, .. } if proxy_well => Use::Own,
            Situation { others_serve: true, .. } => Use::Others,
            _ => Use::Nobody,
        };
        let since = match self.since {
            Some((was, since)) if was == useful => since,
            _ => now,
        };
        self.since = Some((useful, since));
        let lasted = now.saturating_duration_since(since);
        match (self.closed, useful) {
            // Alone it would only make things worse: nobody else answers, and the listener keeps clients for the proxy.
            (None, Use::Others)
                if lasted >= self.close_after() && self.refused < TRIES && situation.tor_serves =>
            {
                self.closed = Some(now);
                self.times = self.times.saturating_add(1);
                Some(Turn::Fence)
            }
            (Some(_), Use::Own) if lasted >= self.lift_after() => Some(self.open(now, useful)),
            // Where nobody else serves any more there is nothing to wait for.
            (Some(closed), _)
                if proxy_well
                    && !situation.others_serve
                    && now.saturating_duration_since(closed) >= LIFT_AFTER =>
            {
                self.undone = self.undone.saturating_add(1);
                Some(self.open(now, useful))
            }
            (Some(closed), _)
                if situation.tor_serves && now.saturating_duration_since(closed) >= STOPPED_WITHIN =>
            {
                self.undone = self.undone.saturating_add(1);
                self.open(now, useful);
                None
            }
            (None, Use::Own) if lasted >= CALM => {
                (self.times, self.undone, self.refused) = (0, 0, 0);
                None
            }
            _ => None,
        }
    }

    /// This node must prove itself anew, or the others must, from here on.
    fn open(&mut self, now: Instant, useful: Use) -> Turn {
        self.closed = None;
        self.since = Some((useful, now));
        Turn::Unfence
    }

    fn lift_after(&self) -> Duration {
        doubled(LIFT_AFTER, self.times.saturating_sub(1))
    }

    /// Longer each time, where the others come and go.
    fn close_after(&self) -> Duration {
        doubled(FENCE_AFTER, self.undone)
    }
}

/// So often twice as long, and no longer than [`LONGEST_WAIT`].
fn doubled(wait: Duration, times: u32) -> Duration {
    wait.saturating_mul(2_u32.saturating_pow(times)).min(LONGEST_WAIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WELL: Situation =
        Situation { proxy_well: Some(true), target_well: true, tor_serves: true, others_serve: true };
    const ILL: Situation = Situation { proxy_well: Some(false), ..WELL };
    const TARGETLESS: Situation = Situation { target_well: false, ..WELL };

    /// The seconds at which it turns, given the situation at each second.
    fn turns(seconds: u64, situation: impl Fn(u64) -> Situation) -> Vec<(u64, Turn)> {
        let start = Instant::now();
        let mut fence = Fence::default();
        let turn = |second| {
            let situation = situation(second);
            let situation = Situation { tor_serves: situation.tor_serves && !fence.is_closed(), ..situation };
            fence.consider(start + Duration::from_secs(second), situation).map(|t| (second, t))
        };
        (0..seconds).filter_map(turn).collect()
    }

    #[test]
    fn it_closes_on_a_proxy_that_stays_away_and_opens_when_that_is_well() {
        let seen = turns(100, |second| if (20..60).contains(&second) { ILL } else { WELL });
        assert_eq!(seen, [(35, Turn::Fence), (70, Turn::Unfence)]);
    }

    #[test]
    fn it_stays_open_alone_and_where_nothing_serves_and_where_nothing_is_known() {
        for situation in [
            Situation { others_serve: false, ..ILL },
            Situation { tor_serves: false, ..ILL },
            Situation { proxy_well: None, ..ILL },
        ] {
            assert_eq!(turns(100, |_| situation), []);
        }
    }

    #[test]
    fn it_closes_without_a_target_while_others_have_one() {
        let seen = turns(100, |second| if (20..60).contains(&second) { TARGETLESS } else { WELL });
        assert_eq!(seen, [(35, Turn::Fence), (70, Turn::Unfence)]);
        let alone = Situation { others_serve: false, ..TARGETLESS };
        assert_eq!(turns(100, |_| alone), [], "nobody has one");
        // The others lose it later, and have it back later.
        let seen = turns(100, |second| if (30..60).contains(&second) { alone } else { TARGETLESS });
        assert_eq!(seen, [(15, Turn::Fence), (30, Turn::Unfence), (90, Turn::Fence)]);
    }

    #[test]
    fn it_opens_at_once_when_nobody_else_serves_any_more() {
        let seen = turns(100, |second| match second {
            0..40 => ILL,
            40..43 => WELL,
            _ => Situation { others_serve: false, ..WELL },
        });
        assert_eq!(seen, [(15, Turn::Fence), (43, Turn::Unfence)]);
    }

    #[test]
    fn others_that_come_and_go_turn_it_less_and_less_often() {
        let alone = Situation { others_serve: false, ..TARGETLESS };
        let seen = turns(7200, |second| if second % 40 < 30 { TARGETLESS } else { alone });
        assert_eq!(
            seen,
            [(15, Turn::Fence), (30, Turn::Unfence)],
            "the others never last as long as is asked now"
        );
        let seen = turns(7200, |second| if second % 700 < 690 { TARGETLESS } else { alone });
        let fences = seen.iter().filter(|(_, turn)| *turn == Turn::Fence).count();
        assert!((7..=11).contains(&fences), "{seen:?}");
    }

    #[test]
    fn a_tor_that_somebody_has_started_serves_for_a_while() {
        let stopped = Situation { tor_serves: false, ..ILL };
        let start = Instant::now();
        let mut fence = Fence::default();
        let mut seen = Vec::new();
        for second in 0..180 {
            // It is stopped within ten seconds, and somebody starts it at the hundredth.
            let situation = if (25..100).contains(&second) { stopped } else { ILL };
            let turn = fence.consider(start + Duration::from_secs(second), situation);
            seen.extend(turn.map(|turn| (second, turn)));
            assert_eq!(fence.is_closed(), (15..100).contains(&second) || second >= 130, "{second}");
        }
        assert_eq!(seen, [(15, Turn::Fence), (130, Turn::Fence)]);
    }

    #[test]
    fn what_is_refused_is_not_believed_and_tried_a_few_times() {
        let start = Instant::now();
        let mut fence = Fence::default();
        let mut tried = Vec::new();
        for second in 0..600 {
            let now = start + Duration::from_secs(second);
            if fence.consider(now, ILL).is_some() {
                tried.push(second);
                fence.refused(now, Turn::Fence);
            }
            assert!(!fence.is_closed());
        }
        assert_eq!(tried, [15, 30, 45]);
    }

    #[test]
    fn a_node_that_could_not_be_let_serve_again_is_let_a_few_times() {
        let start = Instant::now();
        let (mut fence, mut tried) = (Fence::default(), Vec::new());
        for second in 0..600 {
            let now = start + Duration::from_secs(second);
            let situation = if second < 16 { ILL } else { Situation { tor_serves: false, ..WELL } };
            if fence.consider(now, situation) == Some(Turn::Unfence) {
                tried.push(second);
                fence.refused(now, Turn::Unfence);
            }
        }
        assert_eq!(tried, [26, 37, 48, 59]);
        assert!(!fence.is_closed(), "whoever looks sees that tor is away");
    }

    #[test]
    fn a_proxy_that_comes_and_goes_must_be_well_for_longer_and_longer() {
        let seen = turns(2000, |second| if second % 50 < 20 { ILL } else { WELL });
        let fences = seen.iter().filter(|(_, turn)| *turn == Turn::Fence).count();
        assert!(fences <= 4, "{seen:?}");
        assert_eq!(seen.last().map(|(_, turn)| *turn), Some(Turn::Fence), "it ends closed: {seen:?}");
    }
}
