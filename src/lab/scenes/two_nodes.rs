//! `two-nodes`: two nodes and no others. Either dies, the other goes on alone, and they are two again.
//!
//! Nodes beyond the first two are away meanwhile: for those two that is as if they were the whole cluster, since
//! nothing counts votes. `--nodes 2` plays it with two that know of no third.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::load::{Allowed, Load, Played};
use crate::lab::error::LabError;
use crate::lab::measure::{Bound, Measure};
use crate::lab::pool::FETCH_LIMIT;
use crate::lab::world::World;

/// Pages.
const FETCHES: usize = 200;
/// One death, its return, and what follows.
const QUIET: Duration = Duration::from_mins(1);
/// By then the survivor's points, and no others, are everywhere: as in the scenes `kill` and `kill-holder`.
const ALONE: f64 = 5.0;
/// After this a figure is missed anyway.
const PATIENCE: Duration = Duration::from_mins(1);

pub(super) async fn play(world: &mut World) -> Result<Played, LabError> {
    for other in 2..world.nodes.len() {
        world.send_away(other).await;
    }
    world.settle().await?;
    world.screen.doing("scene two-nodes: with two");
    let mut load = Load::start(world, "two-nodes").await?;
    let mut measures = Vec::new();
    for what in ["holder", "standby"] {
        world.quiet(QUIET).await?;
        let holder = world.publishing().await.first().copied().unwrap_or(0);
        let victim = if what == "holder" { holder } else { 1 - holder };
        let (alone, back) = lose_and_regain(world, &mut load, victim).await?;
        let bound = Bound::AtMost(ALONE);
        measures.push(Measure::time(
            format!("{what} killed: the other's points alone everywhere"),
            bound,
            alone,
        ));
        measures.push(Measure::time(
            format!("{what} started: both nodes' points everywhere"),
            Bound::Happens,
            back,
        ));
        world.settle().await?;
        // A client that was just being introduced when the node died tries again after seven seconds. It shall not meet the second death too.
        sleep(FETCH_LIMIT).await;
    }
    let mut played = load.finish(FETCHES, Allowed::Repeats).await?;
    played.measures.splice(0..0, measures);
    Ok(played)
}

/// Kills one of the two and starts it again: how long until the descriptor was the survivor's alone, and until it was
/// everybody's again.
async fn lose_and_regain(
    world: &mut World,
    load: &mut Load,
    victim: usize,
) -> Result<(Option<Duration>, Option<Duration>), LabError> {
    let dead = world.known_points(victim).await?;
    let killed = Instant::now();
    load.death();
    world.send_away(victim).await;
    let alone = world.until_held(killed, PATIENCE, |held| held.is_disjoint(&dead)).await?;
    let started = Instant::now();
    world.call_back(victim).await;
    let back = world.until_back(victim, PATIENCE).await?.map(|()| started.elapsed());
    Ok((alone, back))
}
