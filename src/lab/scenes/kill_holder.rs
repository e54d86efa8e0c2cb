//! `kill-holder`: the node that publishes is killed, another one takes over.

use std::time::{Duration, Instant};

use super::load::{Allowed, Load, Played};
use crate::lab::error::LabError;
use crate::lab::measure::{Bound, Measure};
use crate::lab::world::World;

/// Pages.
const FETCHES: usize = 60;
/// The blow and what follows.
const QUIET: Duration = Duration::from_secs(30);
/// By then the new holder's descriptor is everywhere.
const PUBLISHED: f64 = 5.0;
/// After this the figure is missed anyway.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) async fn play(world: &mut World) -> Result<Played, LabError> {
    world.quiet(QUIET).await?;
    let load = Load::start(world, "kill-holder").await?;
    let holder = world.publishing().await.first().copied().unwrap_or(0);
    let dead = world.known_points(holder).await?;
    let now = Instant::now();
    world.note("holder: everything killed", holder);
    world.nodes[holder].kill().await;
    // The dead holder cannot have posted this: its successor has.
    let published = world.until_held(now, PATIENCE, |held| held.is_disjoint(&dead)).await?;
    let mut played = load.finish(FETCHES, Allowed::Failures).await?;
    world.note("everything started", holder);
    world.nodes[holder].revive().await;
    let bound = Bound::AtMost(PUBLISHED);
    played.measures.insert(0, Measure::time("new holder has published everywhere", bound, published));
    Ok(played)
}
