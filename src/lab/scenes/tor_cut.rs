//! `tor-cut`: both tors of a node lose the network, while its mesh lives; first those of a standby node, then of the one that
//! publishes. Nobody closes anything: relays go on believing in its introduction points. Others must publish without it,
//! until it comes back by itself.

use std::time::{Duration, Instant};

use super::load::{Allowed, Load, Played};
use crate::lab::error::LabError;
use crate::lab::measure::{Bound, Measure};
use crate::lab::world::World;

/// Pages.
const FETCHES: usize = 60;
/// Both cuts and what follows.
const QUIET: Duration = Duration::from_secs(85);
/// From the cut until its points are gone: a tor that hears nothing is believed to be cut off after fifteen seconds.
const GONE: f64 = 20.0;
/// From the mending until its points are back.
const BACK: f64 = 30.0;
/// After this a figure is missed anyway.
const PATIENCE: Duration = Duration::from_mins(2);

pub(super) async fn play(world: &mut World) -> Result<Played, LabError> {
    world.quiet(QUIET).await?;
    let load = Load::start(world, "tor-cut").await?;
    let standby = world.standby().await;
    let (gone, back) = cut(world, standby).await?;
    world.settle().await?;
    let holder = world.publishing().await.first().copied().unwrap_or(0);
    let (taken_over, returned) = cut(world, holder).await?;
    let mut played = load.finish(FETCHES, Allowed::Failures).await?;
    let measures = [
        Measure::time("cut off: its points gone everywhere", Bound::AtMost(GONE), gone),
        Measure::time("it reaches Tor: its points back everywhere", Bound::AtMost(BACK), back),
        Measure::time("the one that publishes, cut off: gone everywhere", Bound::AtMost(GONE), taken_over),
        Measure::time("that reaches Tor: its points back everywhere", Bound::AtMost(BACK), returned),
    ];
    played.measures.splice(0..0, measures);
    Ok(played)
}

/// Cuts a node off from Tor until its points are gone from all HSDirs: after how long they were, and after how long they were
/// back.
pub(super) async fn cut(
    world: &mut World,
    victim: usize,
) -> Result<(Option<Duration>, Option<Duration>), LabError> {
    let number = world.nodes[victim].machine.name.number;
    let points = world.known_points(victim).await?;
    world.note("cut off from Tor", victim);
    world.ground.wires.tor(number, false).await?;
    let began = Instant::now();
    let gone = world.until_held(began, PATIENCE, |held| held.is_disjoint(&points)).await?;
    world.note("reaches Tor", victim);
    world.ground.wires.tor(number, true).await?;
    let joined = Instant::now();
    let back = world.until_back(victim, PATIENCE).await?.map(|()| joined.elapsed());
    Ok((gone, back))
}
