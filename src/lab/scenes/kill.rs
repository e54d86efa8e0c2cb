//! `kill`: a standby node loses its serving tor, then everything.

use std::time::{Duration, Instant};

use super::load::{Allowed, Load, Played};
use crate::lab::error::LabError;
use crate::lab::measure::{Bound, Measure};
use crate::lab::world::World;

/// Pages, from before the first blow until after the last.
const FETCHES: usize = 200;
/// Both blows and what follows.
const QUIET: Duration = Duration::from_secs(45);
/// A process of the node survives and notices.
const NOTICED: f64 = 2.0;
/// The whole node vanished: only its peers can notice.
const VANISHED: f64 = 5.0;
/// After this a figure is missed anyway.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) async fn play(world: &mut World) -> Result<Played, LabError> {
    world.quiet(QUIET).await?;
    let load = Load::start(world, "kill").await?;
    let victim = world.standby().await;
    let mut measures = Vec::new();

    let dead = world.known_points(victim).await?;
    let now = Instant::now();
    world.note("tor a killed", victim);
    world.nodes[victim].tor_a.kill().await;
    let clean = world.until_held(now, PATIENCE, |held| held.is_disjoint(&dead)).await?;
    measures.push(Measure::time(
        "its tor killed: dead points gone everywhere",
        Bound::AtMost(NOTICED),
        clean,
    ));
    world.note("tor a started", victim);
    world.nodes[victim].tor_a.start().await;
    world.until_back(victim, PATIENCE).await?;

    let dead = world.known_points(victim).await?;
    let now = Instant::now();
    world.note("everything killed", victim);
    world.nodes[victim].kill().await;
    let clean = world.until_held(now, PATIENCE, |held| held.is_disjoint(&dead)).await?;
    measures.push(Measure::time("node killed: dead points gone everywhere", Bound::AtMost(VANISHED), clean));

    let mut played = load.finish(FETCHES, Allowed::Repeats).await?;
    world.note("everything started", victim);
    world.nodes[victim].revive().await;
    played.measures.splice(0..0, measures);
    Ok(played)
}
