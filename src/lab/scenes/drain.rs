//! `drain`: a node is drained under load and long downloads, killed once it is, started again, and taken back. No client
//! notices any of it.

use std::time::{Duration, Instant};

use super::burden::Burden;
use super::departure::{carried, until_drained};
use super::load::Played;
use crate::lab::error::LabError;
use crate::lab::measure::{Bound, Measure};
use crate::lab::world::World;

/// From the command until the node's points are gone, and that nothing else changes meanwhile.
const QUIET: Duration = Duration::from_secs(45);
/// By then the points of a drained node are gone everywhere: the others were in the descriptor all the time.
const LEFT: f64 = 5.0;
/// After this its points' going is missed anyway.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a node that was started may take to be back.
const BACK_PATIENCE: Duration = Duration::from_mins(1);

pub(super) async fn play(world: &mut World) -> Result<Played, LabError> {
    world.quiet(QUIET).await?;
    let burden = Burden::start(world, "drain").await?;
    let burden = burden.add_downloads(world).await;
    let victim = world.standby().await;
    let name = world.nodes[victim].machine.name.to_string();
    let points = world.known_points(victim).await?;
    let carries = carried(world, victim).await?;
    let told = Instant::now();
    // Any node may be told.
    world.operate(0, &["drain", &name]).await?;
    let left = world.until_held(told, PATIENCE, |held| held.is_disjoint(&points)).await?;
    let drained = until_drained(world, victim, told).await;
    world.send_away(victim).await;
    world.call_back(victim).await;
    world.nodes[victim].ready(BACK_PATIENCE).await?;
    let taken_back = Instant::now();
    world.operate(victim, &["undrain"]).await?;
    let back = world.until_back(victim, BACK_PATIENCE).await?.map(|()| taken_back.elapsed());
    let mut played = burden.finish().await?;
    let measures = [
        Measure::count("connections it carried when told to drain", Bound::AtLeast(1.0), carries),
        Measure::time("its points gone everywhere", Bound::AtMost(LEFT), left),
        Measure::time("its last connection ended by itself", Bound::Happens, drained),
        Measure::time("started and taken back: its points everywhere", Bound::Happens, back),
    ];
    played.measures.splice(0..0, measures);
    Ok(played)
}
