//! Whether this node can do the work of who holds the lease: have a publisher whose descriptors HSDirs accept.
//!
//! ```text
//!          ails for longer than its patience
//!   fit ───────────────────────────────────────► stands back ◄─┐
//!    ▲                                                │   │    │ ails again: the rest begins anew
//!    └────── has been well for as long as its rest ───┘   └────┘
//! ```
//!
//! A node that stands back goes on serving, and others that are fit come before it in the election; where nobody is, it is
//! as good as any other. Each rest is twice as long as the one before, so that a node that falls ill whenever it holds the
//! lease drags it along a few times and not for ever.

use std::fmt;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// How long what the publisher complains of may last: a tor that restarts is back by then, and so is a consensus.
const PATIENCE: Duration = Duration::from_secs(30);
/// The first rest after an ailment that also shows where the lease is not held. Longer than it takes to notice that a
/// publisher hangs, or one that hangs whenever it is started would seem well in between.
const SHORT_REST: Duration = Duration::from_secs(30);
/// The first rest after one that only the holder's work brings to light: whoever rests cannot prove to be well, and the
/// next trial costs clients some minutes of a descriptor that nobody can change.
const LONG_REST: Duration = Duration::from_mins(15);
/// The longest rest: a node that was mended hours ago should not have to be told so by people.
pub const MOST_REST: Duration = Duration::from_hours(1);
/// Who has been fit for so long has shown it, and begins with a short rest the next time. More than the quarter of an hour
/// after which a publisher complains that nobody accepts its descriptor.
pub const PROVEN: Duration = Duration::from_hours(1);

/// What keeps a node from publishing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ailment {
    /// Its publisher is not there, or says nothing.
    PublisherAway,
    /// Neither of its tors has a usable view of the network.
    NoNetwork,
    /// No HSDir accepts what it posts.
    NotAccepted,
    /// It cannot make a descriptor, or makes one that tor refuses.
    NotMade,
}

impl Ailment {
    fn patience(self) -> Duration {
        match self {
            // Whoever says so has waited already, and has withdrawn the node's introduction points.
            Self::PublisherAway => Duration::ZERO,
            Self::NoNetwork | Self::NotAccepted | Self::NotMade => PATIENCE,
        }
    }

    fn first_rest(self) -> Duration {
        match self {
            Self::PublisherAway | Self::NoNetwork => SHORT_REST,
            Self::NotAccepted | Self::NotMade => LONG_REST,
        }
    }
}

impl fmt::Display for Ailment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PublisherAway => "its publisher is away, or hangs",
            Self::NoNetwork => "neither of its tors has a usable view of the network",
            Self::NotAccepted => "no HSDir accepts its descriptors",
            Self::NotMade => "it cannot make a descriptor that tor takes",
        })
    }
}

/// A node that stands back.
#[derive(Debug, Clone, Copy)]
struct Back {
    why: Ailment,
    rest: Duration,
}

/// What is known of this node's fitness.
#[derive(Debug)]
pub struct Fitness {
    /// What is wrong now, and since when anything is.
    ails: Option<(Ailment, Instant)>,
    /// Since when nothing is.
    well_since: Option<Instant>,
    back: Option<Back>,
    fit_since: Option<Instant>,
    /// How often it stood back since it last was fit for long.
    times: u32,
    total: u64,
    due: Option<Instant>,
}

impl Default for Fitness {
    /// A node whose publisher has not been heard yet. It is fit as soon as that speaks.
    fn default() -> Self {
        let back = Back { why: Ailment::PublisherAway, rest: Duration::ZERO };
        Self {
            ails: None,
            well_since: None,
            back: Some(back),
            fit_since: None,
            times: 0,
            total: 0,
            due: None,
        }
    }
}

impl Fitness {
    /// Why it stands back; `None`: it is fit.
    pub fn stands_back(&self) -> Option<Ailment> {
        self.back.map(|back| back.why)
    }

    /// How often it has stood back.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// When [`Fitness::advance`] must be asked, if nothing is noted before.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.due
    }

    /// What is wrong now; `None`: nothing.
    pub fn note(&mut self, now: Instant, ailment: Option<Ailment>) {
        match ailment {
            None => {
                self.ails = None;
                self.well_since.get_or_insert(now);
            }
            Some(ailment) => {
                self.ails = Some((ailment, self.ails.map_or(now, |(_, since)| since)));
                self.well_since = None;
            }
        }
    }

    /// Draws the conclusions; whether they are others than before.
    pub fn advance(&mut self, now: Instant) -> bool {
        let before = self.stands_back();
        self.due = match (self.ails, self.back, self.well_since) {
            (Some((why, since)), back, _) => {
                let ripe = since + why.patience();
                if now < ripe {
                    Some(ripe)
                } else {
                    self.stand_back(now, why, back);
                    None
                }
            }
            (None, Some(Back { rest, .. }), Some(well_since)) if now < well_since + rest => {
                Some(well_since + rest)
            }
            (None, Some(_), Some(_)) => {
                self.back = None;
                self.fit_since = Some(now);
                None
            }
            _ => None,
        };
        self.stands_back() != before
    }

    fn stand_back(&mut self, now: Instant, why: Ailment, back: Option<Back>) {
        // At first it stands back without having been ill.
        if back.is_none() || self.times == 0 {
            if self.fit_since.take().is_some_and(|since| now.saturating_duration_since(since) >= PROVEN) {
                self.times = 0;
            }
            self.times = self.times.saturating_add(1);
            self.total = self.total.saturating_add(1);
        }
        let factor = 2_u32.saturating_pow(self.times.saturating_sub(1));
        let rest = why.first_rest().saturating_mul(factor).min(MOST_REST);
        self.back = Some(Back { why, rest: back.map_or(rest, |back| back.rest.max(rest)) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The seconds at which it stands back or is fit again, given what ails it at each second.
    fn turns(seconds: u64, ails: impl Fn(u64) -> Option<Ailment>) -> Vec<(u64, Option<Ailment>)> {
        let start = Instant::now();
        let mut fitness = Fitness::default();
        let mut turns = Vec::new();
        for second in 0..seconds {
            let now = start + Duration::from_secs(second);
            fitness.note(now, ails(second));
            if fitness.advance(now) {
                turns.push((second, fitness.stands_back()));
            }
            assert!(fitness.next_timeout().is_none_or(|due| due > now), "it would be asked for ever");
        }
        turns
    }

    #[test]
    fn a_node_is_fit_as_soon_as_its_publisher_speaks() {
        let start = Instant::now();
        let mut fitness = Fitness::default();
        assert!(!fitness.advance(start));
        assert_eq!(fitness.stands_back(), Some(Ailment::PublisherAway));
        fitness.note(start, None);
        assert!(fitness.advance(start) && fitness.stands_back().is_none() && fitness.total() == 0);
        // Its first word may be that it is ill.
        let mut ill = Fitness::default();
        ill.note(start, Some(Ailment::NotMade));
        assert!(!ill.advance(start) && ill.next_timeout() == Some(start + PATIENCE));
        assert!(ill.advance(start + PATIENCE) && ill.stands_back() == Some(Ailment::NotMade));
        ill.note(start + PATIENCE, None);
        assert!(!ill.advance(start + PATIENCE) && ill.total() == 1, "it rests");
    }

    #[test]
    fn it_stands_back_until_it_has_been_well_for_its_rest() {
        let away = |second| (10..20).contains(&second).then_some(Ailment::PublisherAway);
        assert_eq!(turns(100, away), [(0, None), (10, Some(Ailment::PublisherAway)), (50, None)]);
        // In between it ails once more, and differently.
        let again = |second| match second {
            10..20 => Some(Ailment::PublisherAway),
            40..41 => Some(Ailment::NotMade),
            _ => None,
        };
        assert_eq!(turns(100, again), [(0, None), (10, Some(Ailment::PublisherAway)), (71, None)]);
    }

    #[test]
    fn what_passes_by_itself_is_nothing() {
        let short = |second| (10..39).contains(&second).then_some(Ailment::NotAccepted);
        assert_eq!(turns(100, short), [(0, None)]);
        // Its name may change meanwhile.
        let long = |second| match second {
            10..30 => Some(Ailment::NoNetwork),
            30..60 => Some(Ailment::NotAccepted),
            _ => None,
        };
        let rest = LONG_REST.as_secs();
        assert_eq!(turns(2000, long), [(0, None), (40, Some(Ailment::NotAccepted)), (60 + rest, None)]);
    }

    #[test]
    fn whoever_falls_ill_again_and_again_rests_longer_and_longer() {
        // Well for a minute whenever it is fit, then ill until it stands back.
        let start = Instant::now();
        let mut fitness = Fitness::default();
        let (mut fit_since, mut backs) = (0, Vec::new());
        for second in 0..24 * 3600 {
            let now = start + Duration::from_secs(second);
            let ill = fitness.stands_back().is_none() && second >= fit_since + 60;
            fitness.note(now, ill.then_some(Ailment::PublisherAway));
            if fitness.advance(now) {
                match fitness.stands_back() {
                    Some(_) => backs.push(second),
                    None => fit_since = second,
                }
            }
        }
        let rests: Vec<u64> = backs.windows(2).map(|pair| (pair[1] - pair[0]) / 60).collect();
        assert_eq!(rests[..7], [1, 2, 3, 5, 9, 17, 33]);
        assert!(rests[7..].iter().all(|rest| (60..=62).contains(rest)), "{rests:?}");
        assert_eq!(fitness.total(), backs.len() as u64);
    }

    #[test]
    fn long_fitness_is_believed() {
        let proven = PROVEN.as_secs();
        let away = move |second| {
            let at = [10, 100, 200 + proven];
            at.iter().any(|at| (*at..at + 5).contains(&second)).then_some(Ailment::PublisherAway)
        };
        let fits: Vec<u64> =
            turns(400 + proven, away).iter().filter(|(_, back)| back.is_none()).map(|(at, _)| *at).collect();
        assert_eq!(fits, [0, 45, 165, 235 + proven]);
    }
}
