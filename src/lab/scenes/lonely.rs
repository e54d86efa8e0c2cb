//! `lonely`: one node, and nobody else answers. It serves and publishes by itself, after a start too; others come
//! and go, and the address stays.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::load::{Allowed, Load, Played};
use crate::lab::error::LabError;
use crate::lab::measure::{Bound, Measure};
use crate::lab::world::{POLL, World};

/// Pages.
const FETCHES: usize = 150;
/// One other node's coming and going.
const QUIET: Duration = Duration::from_mins(1);
/// Once its tor has introduction points, a node that is alone has published them by then: as in `return`.
const PUBLISHED: f64 = 10.0;
/// By then a dead node's points are gone: as in `kill`.
const VANISHED: f64 = 5.0;
/// After this a figure is missed anyway.
const PATIENCE: Duration = Duration::from_mins(1);
/// The node that stays.
const LONELY: usize = 0;

pub(super) async fn play(world: &mut World) -> Result<Played, LabError> {
    let others: Vec<_> = (0..world.nodes.len()).filter(|node| *node != LONELY).collect();
    for other in &others {
        world.send_away(*other).await;
    }
    let mut measures = vec![start_alone(world).await?];
    world.settle().await?;
    world.screen.doing("scene lonely: others come and go");
    let mut load = Load::start(world, "lonely").await?;
    for other in others {
        world.quiet(QUIET).await?;
        let name = world.nodes[other].machine.name.clone();
        let came = Instant::now();
        world.call_back(other).await;
        let came = world.until_back(other, PATIENCE).await?.map(|()| came.elapsed());
        measures.push(Measure::time(format!("{name} comes: its points everywhere"), Bound::Happens, came));
        world.settle().await?;
        let leaving = world.known_points(other).await?;
        let left = Instant::now();
        load.death();
        world.send_away(other).await;
        let left = world.until_held(left, PATIENCE, |held| held.is_disjoint(&leaving)).await?;
        measures.push(Measure::time(
            format!("{name} is killed: its points gone everywhere"),
            Bound::AtMost(VANISHED),
            left,
        ));
    }
    let mut played = load.finish(FETCHES, Allowed::Repeats).await?;
    played.measures.splice(0..0, measures);
    Ok(played)
}

/// Starts the lonely node from nothing while nobody else is there.
async fn start_alone(world: &mut World) -> Result<Measure, LabError> {
    world.screen.doing("scene lonely: a start without anybody else");
    world.send_away(LONELY).await;
    sleep(POLL).await;
    let started = Instant::now();
    world.call_back(LONELY).await;
    while world.points(LONELY).await.is_empty() && started.elapsed() < PATIENCE {
        sleep(POLL).await;
    }
    let has_points = Instant::now();
    let published = world.until_back(LONELY, PATIENCE).await?.map(|()| has_points.elapsed());
    Ok(Measure::time("started alone: its points everywhere", Bound::AtMost(PUBLISHED), published))
}
