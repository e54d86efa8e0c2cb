//! Clients during a scene, and what they say about it.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::lab::client::Fetch;
use crate::lab::error::LabError;
use crate::lab::measure::{Bound, Measure};
use crate::lab::pool::{Memory, Pool};
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

/// Clients that fetch while something happens.
#[derive(Debug)]
pub(super) struct Load(Pool);

impl Load {
    /// Starts the clients and waits until each of them has had a page or two.
    pub(super) async fn start(world: &World, scene: &str) -> Result<Self, LabError> {
        /// Before this many fetches nothing happens.
        const WARM: usize = 12;
        let load = Self(Pool::start(scene, &world.clients, &world.address(), UNBOUNDED, &world.screen));
        load.0.reach(WARM, LOAD_LIMIT).await?;
        Ok(load)
    }

    /// Goes on to at least so many fetches, and says how they went. `judged`: whether a failed fetch fails the
    /// scene.
    pub(super) async fn finish(self, least: usize, judged: bool) -> Result<Played, LabError> {
        self.0.reach(least, LOAD_LIMIT).await?;
        Ok(verdict(&self.0.finish().await, least, if judged { Bound::AtMost(0.0) } else { Bound::Shown }))
    }
}

/// No fewer than this.
pub(super) fn at_least(count: usize) -> Bound {
    #[allow(clippy::cast_precision_loss)] // hundreds
    Bound::AtLeast(count as f64)
}

/// What the fetches say. `failed` is how many of them may fail.
pub(super) fn verdict(fetches: &[(Memory, Fetch)], least: usize, failed: Bound) -> Played {
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
            Measure::count(
                "requests made again",
                Bound::Shown,
                fetches.iter().map(|(_, f)| f.repeated).sum(),
            ),
            Measure::time("a page, median", Bound::Shown, took.get(took.len() / 2).copied()),
            Measure::time("a page, slowest", Bound::Shown, took.last().copied()),
        ],
        notes: reasons.into_iter().map(note).collect(),
    }
}
