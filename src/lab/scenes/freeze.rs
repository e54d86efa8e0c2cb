//! `freeze`: a node hangs without closing anything.
//!
//! The costly failure: its relays go on acknowledging introductions that nobody answers, so clients with the old
//! descriptor wait. How they fare is shown, not judged; the descriptor is.

use std::time::{Duration, Instant};

use super::load::{Allowed, Load, Played};
use crate::lab::error::LabError;
use crate::lab::measure::{Bound, Measure};
use crate::lab::world::World;

/// Pages.
const FETCHES: usize = 40;
/// The freeze and what follows.
const QUIET: Duration = Duration::from_secs(30);
/// By then its points are gone.
const CLEAN: f64 = 5.0;
/// After this the figure is missed anyway.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) async fn play(world: &mut World) -> Result<Played, LabError> {
    world.quiet(QUIET).await?;
    let load = Load::start(world, "freeze").await?;
    let victim = world.standby().await;
    let frozen = world.known_points(victim).await?;
    let now = Instant::now();
    world.note("frozen", victim);
    world.nodes[victim].freeze().await;
    let clean = world.until_held(now, PATIENCE, |held| held.is_disjoint(&frozen)).await?;
    let played = load.finish(FETCHES, Allowed::Failures).await;
    let now = Instant::now();
    world.note("thawed", victim);
    world.nodes[victim].thaw().await;
    let mut played = played?;
    let back = world.until_held(now, PATIENCE, |held| !held.is_disjoint(&frozen)).await?;
    played.measures.insert(0, Measure::time("frozen points gone everywhere", Bound::AtMost(CLEAN), clean));
    played.measures.push(Measure::time("thawed: its points back everywhere", Bound::Shown, back));
    Ok(played)
}
