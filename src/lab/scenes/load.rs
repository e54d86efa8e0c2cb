//! Clients during a scene, and what they say about it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::lab::client::{Fetch, FetchError};
use crate::lab::error::LabError;
use crate::lab::measure::{Bound, Measure};
use crate::lab::pool::{Crowd, Memory, Pool};
use crate::lab::rotations::{LOST, Rotations};
use crate::lab::world::World;

/// How long a pool may take to its last fetch, however loaded the machine is.
const LOAD_LIMIT: Duration = Duration::from_mins(5);
/// No bound on the number of fetches: the scene says when it is enough.
const UNBOUNDED: usize = usize::MAX;

/// What a scene brings.
#[derive(Debug, Default)]
pub(super) struct Played {
    /// What was measured.
    pub(super) measures: Vec<Measure>,
    /// What failed clients were told.
    pub(super) notes: Vec<String>,
}

/// How many connections a scene's clients may have to open again although nothing happens to their nodes. A client's tor closes
/// its circuit to a point that the descriptor, which it has just fetched anew, does not have any more
/// (`consider_sending_introduce1`), and says so to whoever waits for it.
const REOPENED: f64 = 3.0;

/// What may happen to clients' requests without failing the scene.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Allowed {
    /// Failures, which are shown.
    Failures,
    /// A request whose node dies before it answers is made again, as a browser does, and succeeds.
    Repeats,
    /// Nothing: no request notices anything.
    Nothing,
}

/// Clients that fetch while something happens.
#[derive(Debug)]
pub(super) struct Load {
    pool: Pool,
    /// When nodes were killed.
    deaths: Vec<Instant>,
    rotations: Rotations,
}

impl Load {
    /// Starts a few clients and waits until each of them has had a page or two.
    pub(super) async fn start(world: &World, scene: &str) -> Result<Self, LabError> {
        Self::begin(world, scene, Crowd::Few).await
    }

    /// Starts many clients and waits until each of them has had a page or two.
    pub(super) async fn start_crowd(world: &World, scene: &str) -> Result<Self, LabError> {
        Self::begin(world, scene, Crowd::Many).await
    }

    async fn begin(world: &World, scene: &str, crowd: Crowd) -> Result<Self, LabError> {
        /// Before this many fetches nothing happens.
        const WARM: usize = 12;
        let address = world.address();
        let pool = Pool::start(scene, &world.clients, &address, UNBOUNDED, crowd, &world.screen);
        pool.reach(WARM, LOAD_LIMIT).await?;
        Ok(Self { pool, deaths: Vec::new(), rotations: world.watch_rotations() })
    }

    /// A node is killed now, under the requests that it is at: what becomes of those is shown, not judged.
    pub(super) fn death(&mut self) {
        self.deaths.push(Instant::now());
    }

    /// Goes on to at least so many fetches, and says how they went.
    pub(super) async fn finish(self, least: usize, allowed: Allowed) -> Result<Played, LabError> {
        self.pool.reach(least, LOAD_LIMIT).await?;
        let fetches = self.pool.finish().await;
        let (caught, others) = apart(fetches, |fetch| was_at(fetch, &self.deaths));
        let (lost, others) = apart(others, |fetch| self.rotations.was_during(fetch));
        let least = least.saturating_sub(caught.len() + lost.len());
        let mut played = verdict(&others, least, allowed);
        if !self.deaths.is_empty() {
            let what = "failed, under way when a node was killed";
            played.measures.push(Measure::count(what, Bound::Shown, caught.len()));
        }
        if self.rotations.count() > 0 {
            // In the tenth of a second that matters each tor has a client or none.
            let one_each = at_most(self.rotations.count());
            let bound = if allowed == Allowed::Failures { Bound::Shown } else { one_each };
            played.measures.push(Measure::count(LOST, bound, lost.len()));
        }
        Ok(played)
    }
}

/// Fetches, in the order of their ends.
type Fetches = Vec<(Memory, Fetch)>;

/// The failed fetches of this kind, and all others.
fn apart(fetches: Fetches, is_of_the_kind: impl Fn(&Fetch) -> bool) -> (Fetches, Fetches) {
    fetches.into_iter().partition(|(_, fetch)| fetch.failure.is_some() && is_of_the_kind(fetch))
}

/// Whether one of these moments fell into the fetch.
fn was_at(fetch: &Fetch, moments: &[Instant]) -> bool {
    moments.iter().any(|moment| (fetch.began..fetch.began + fetch.took).contains(moment))
}

/// No fewer than this.
pub(super) fn at_least(count: usize) -> Bound {
    #[allow(clippy::cast_precision_loss)] // hundreds
    Bound::AtLeast(count as f64)
}

/// No more than this.
pub(super) fn at_most(count: usize) -> Bound {
    #[allow(clippy::cast_precision_loss)] // a few
    Bound::AtMost(count as f64)
}

/// What the fetches say.
pub(super) fn verdict(fetches: &[(Memory, Fetch)], least: usize, allowed: Allowed) -> Played {
    let none_unless = |allowed: bool| if allowed { Bound::Shown } else { Bound::AtMost(0.0) };
    let failed = none_unless(allowed == Allowed::Failures);
    let repeats = none_unless(allowed != Allowed::Nothing);
    let reopened = if allowed == Allowed::Nothing { Bound::AtMost(REOPENED) } else { Bound::Shown };
    let ends = || fetches.iter().flat_map(|(_, fetch)| &fetch.repeats).map(|(_, error)| error);
    let unopened = ends().filter(|error| matches!(error, FetchError::CircuitDestroyed)).count();
    let failures = |memory: Memory| {
        fetches.iter().filter(|(of, fetch)| *of == memory && fetch.failure.is_some()).count()
    };
    let mut took: Vec<_> =
        fetches.iter().filter(|(_, fetch)| fetch.failure.is_none()).map(|(_, fetch)| fetch.took).collect();
    took.sort_unstable();
    let began = fetches.iter().map(|(_, fetch)| fetch.began).min();
    let mut reasons: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for (_, fetch) in fetches {
        if let Some((error, began)) = fetch.failure.as_ref().zip(began) {
            reasons.entry(error.to_string()).or_default().push(fetch.began.duration_since(began).as_secs());
        }
    }
    let note = |(reason, mut at): (String, Vec<u64>)| {
        at.sort_unstable();
        let (first, last) = (at.first().copied().unwrap_or(0), at.last().copied().unwrap_or(0));
        format!("{} × {reason}, begun {first} to {last} s into the load", at.len())
    };
    Played {
        measures: vec![
            Measure::count("client fetches", at_least(least), fetches.len()),
            Measure::count("failed, cached descriptor", failed, failures(Memory::Cached)),
            Measure::count("failed, fresh descriptor", failed, failures(Memory::Fresh)),
            Measure::count("connections opened again", reopened, unopened),
            Measure::count("requests made again", repeats, ends().count() - unopened),
            Measure::time("a page, median", Bound::Shown, took.get(took.len() / 2).copied()),
            Measure::time("a page, slowest", Bound::Shown, took.last().copied()),
        ],
        notes: reasons.into_iter().map(note).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names of the figures that are missed when one fetch ended so before its page came.
    fn missed(ends: &[FetchError], allowed: Allowed) -> Vec<String> {
        let repeats = ends.iter().map(|end| (Duration::ZERO, end.clone())).collect();
        let fetch = Fetch { began: Instant::now(), took: Duration::ZERO, repeats, failure: None };
        let measures = verdict(&[(Memory::Fresh, fetch)], 1, allowed).measures;
        measures.into_iter().filter(|measure| !measure.ok).map(|measure| measure.what).collect()
    }

    #[test]
    fn a_request_that_a_node_hung_up_on_counts_and_a_few_that_reached_none_do_not() {
        let (hung_up, unopened) = (FetchError::NoAnswer, FetchError::CircuitDestroyed);
        assert_eq!(missed(std::slice::from_ref(&hung_up), Allowed::Nothing), ["requests made again"]);
        assert!(missed(&vec![hung_up; 9], Allowed::Repeats).is_empty());
        assert!(missed(&vec![unopened.clone(); 3], Allowed::Nothing).is_empty());
        assert_eq!(missed(&vec![unopened; 4], Allowed::Nothing), ["connections opened again"]);
    }
}
