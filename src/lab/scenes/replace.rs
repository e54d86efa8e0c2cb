//! `replace`: a new node takes the place of the lease holder, under load and long downloads. No client notices.

use std::cell::Cell;
use std::time::{Duration, Instant};

use super::burden::Burden;
use super::departure::{carried, until_drained};
use super::load::Played;
use super::newcomer::{invite, join, until_joined};
use crate::lab::error::LabError;
use crate::lab::measure::{Bound, Measure};
use crate::lab::world::World;

/// From the invitation until the new node's points are there and the old one's are gone.
const QUIET: Duration = Duration::from_mins(1);
/// After this a figure is missed anyway.
const PATIENCE: Duration = Duration::from_mins(1);

pub(super) async fn play(world: &mut World) -> Result<Played, LabError> {
    world.quiet(QUIET).await?;
    let burden = Burden::start(world, "replace").await?;
    let old = world.publishing().await.first().copied().unwrap_or(0);
    let invitation = invite(world, old).await?;
    let new = join(world, &invitation).await?;
    until_joined(world, new, PATIENCE).await?;
    let burden = burden.add_downloads(world).await;
    let name = world.nodes[new].machine.name.to_string();
    let leaving = world.known_points(old).await?;
    let carries = carried(world, old).await?;

    // Its tor has only just started.
    let told = Instant::now();
    world.operate(old, &["drain", "--after", &name]).await?;
    let arrived = world.until_back(new, PATIENCE).await?.map(|()| told.elapsed());
    let coming = world.points(new).await;
    let neither = Cell::new(0);
    let left = world.until_held(told, PATIENCE, |held| {
        let old_is_out = held.is_disjoint(&leaving);
        if old_is_out && held.is_disjoint(&coming) {
            neither.set(neither.get() + 1);
        }
        old_is_out
    });
    let left = left.await?;
    let drained = until_drained(world, old, told).await;
    world.operate(old, &["leave", "--yes"]).await?;
    world.remove(old).await;
    let mut played = burden.finish().await?;
    let measures = [
        Measure::count("connections the old node carried when told", Bound::AtLeast(1.0), carries),
        Measure::time("the new node's points everywhere", Bound::Happens, arrived),
        Measure::time("the old node's points gone everywhere", Bound::Happens, left),
        Measure::count("copies without either's points", Bound::AtMost(0.0), neither.get()),
        Measure::time("its last connection ended by itself", Bound::Happens, drained),
    ];
    played.measures.splice(0..0, measures);
    Ok(played)
}
