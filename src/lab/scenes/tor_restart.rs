//! `tor-restart`: a node's serving tor crashes and is started again.

use std::time::{Duration, Instant};

use super::load::{Allowed, Load, Played};
use crate::lab::error::LabError;
use crate::lab::measure::{Bound, Measure};
use crate::lab::world::World;

/// Pages.
const FETCHES: usize = 60;
/// The crash and what follows.
const QUIET: Duration = Duration::from_secs(40);
/// The publisher survives and notices.
const NOTICED: f64 = 2.0;
/// After this the figure is missed anyway.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) async fn play(world: &mut World) -> Result<Played, LabError> {
    let load = Load::start(world, "tor-restart").await?;
    world.quiet(QUIET).await?;
    let victim = world.standby().await;
    let dead = world.known_points(victim).await?;
    let crashed = Instant::now();
    world.note("tor a crashed", victim);
    world.nodes[victim].tor_a.crash().await;
    let clean = world.until_held(crashed, PATIENCE, |held| held.is_disjoint(&dead)).await?;
    let back = world.until_back(victim, PATIENCE).await?.map(|()| crashed.elapsed());
    let mut played = load.finish(FETCHES, Allowed::Repeats).await?;
    let measures = [
        Measure::time("dead points gone everywhere", Bound::AtMost(NOTICED), clean),
        Measure::time("crash to new points everywhere", Bound::Shown, back),
    ];
    played.measures.splice(0..0, measures);
    Ok(played)
}
