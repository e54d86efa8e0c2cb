//! `tunnel-gone`: somebody deletes the interface `wg-rb` of the node that publishes. Its coordinator makes it anew.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::load::{Allowed, Load, Played};
use super::newcomer::until_full_mesh;
use crate::lab::error::LabError;
use crate::lab::measure::{Bound, Measure};
use crate::lab::world::{POLL, World};

/// Pages.
const FETCHES: usize = 60;
/// The blow and what follows.
const QUIET: Duration = Duration::from_secs(45);
/// The coordinator starts anew in less than a second, and the others hear it within some more.
const MESH: f64 = 10.0;
/// After this a figure is missed anyway.
const PATIENCE: Duration = Duration::from_mins(1);
/// All must be well for so long.
const STEADY: Duration = Duration::from_secs(3);

pub(super) async fn play(world: &mut World) -> Result<Played, LabError> {
    world.quiet(QUIET).await?;
    let load = Load::start(world, "tunnel-gone").await?;
    let victim = world.publishing().await.first().copied().unwrap_or(0);
    world.note("tunnel deleted", victim);
    world.ground.wires.remove_tunnel(&world.nodes[victim].machine.place).await?;
    let deleted = Instant::now();
    let noticed = until_lost(world, victim, deleted).await;
    let mesh = until_full_mesh(world, deleted, PATIENCE).await;
    sleep(STEADY).await;
    let holders = world.publishing().await.len();
    let mut played = load.finish(FETCHES, Allowed::Nothing).await?;
    let measures = [
        Measure::time("its coordinator has noticed", Bound::Happens, noticed),
        Measure::time("the mesh is whole again", Bound::AtMost(MESH), mesh),
        Measure::count("nodes that publish afterwards, beside one", Bound::AtMost(0.0), holders.abs_diff(1)),
    ];
    played.measures.splice(0..0, measures);
    Ok(played)
}

/// How long after `since` a node heard nobody any more; None if not in time. Before that the mesh still looks whole.
async fn until_lost(world: &World, node: usize, since: Instant) -> Option<Duration> {
    while since.elapsed() < PATIENCE {
        if !world.is_full_mesh().await {
            world.note("hears nobody", node);
            return Some(since.elapsed());
        }
        sleep(POLL).await;
    }
    None
}
