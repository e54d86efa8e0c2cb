//! `return`: a killed node comes back.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::load::Played;
use crate::lab::error::LabError;
use crate::lab::measure::{Bound, Measure};
use crate::lab::world::{POLL, World};

/// From the blow to its return, and what follows.
const QUIET: Duration = Duration::from_mins(1);
/// How long it stays dead after the others have noticed.
const DEAD: Duration = Duration::from_secs(3);
/// Once its tor has introduction points, they are in the descriptor by then.
const BACK: f64 = 10.0;
/// After this the figure is missed anyway.
const PATIENCE: Duration = Duration::from_mins(1);

pub(super) async fn play(world: &mut World) -> Result<Played, LabError> {
    world.quiet(QUIET).await?;
    let victim = world.standby().await;
    let dead = world.known_points(victim).await?;
    world.note("everything killed", victim);
    world.nodes[victim].kill().await;
    world.until_held(Instant::now(), PATIENCE, |held| held.is_disjoint(&dead)).await?;
    sleep(DEAD).await;

    let revived = Instant::now();
    world.note("everything started", victim);
    world.nodes[victim].revive().await;
    while world.points(victim).await.is_empty() && revived.elapsed() < PATIENCE {
        sleep(POLL).await;
    }
    let has_points = Instant::now();
    let started = has_points.duration_since(revived);
    let back = world.until_back(victim, PATIENCE).await?.map(|()| has_points.elapsed());
    Ok(Played {
        measures: vec![
            Measure::time("started: its tor has points", Bound::Shown, Some(started)),
            Measure::time("its points back everywhere", Bound::AtMost(BACK), back),
        ],
        notes: Vec::new(),
    })
}
