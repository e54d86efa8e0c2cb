//! `full-disk`: a node's disk is full. It says so, and goes on serving, also after its tor and its coordinator have crashed;
//! what it knew before it knows afterwards.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::load::{Allowed, Load, Played};
use super::newcomer::until_full_mesh;
use crate::lab::error::LabError;
use crate::lab::measure::{Bound, Measure};
use crate::lab::node::Daemon;
use crate::lab::world::{POLL, World};

/// Pages.
const FETCHES: usize = 60;
/// All of it, as a rule.
const QUIET: Duration = Duration::from_secs(90);
/// What the watchdog calls it.
const FAILURE: &str = "full_disk";
/// The watchdog looks every fifteen seconds.
const TOLD: f64 = 20.0;
/// As on a disk with room.
const BACK: f64 = 30.0;
/// After this a figure is missed anyway.
const PATIENCE: Duration = Duration::from_mins(1);

pub(super) async fn play(world: &mut World) -> Result<Played, LabError> {
    world.quiet(QUIET).await?;
    let load = Load::start(world, "full-disk").await?;
    let victim = world.standby().await;
    world.note("disk full", victim);
    world.nodes[victim].machine.fill_disk()?;
    let fared = fare(world, victim).await;
    world.note("disk has room", victim);
    world.nodes[victim].machine.empty_disk()?;
    let fared = fared?;
    let over = world.until_alarm(victim, FAILURE, false, Instant::now(), PATIENCE).await;
    let mut played = load.finish(FETCHES, Allowed::Repeats).await?;
    let measures = [
        Measure::time("to an alarm", Bound::AtMost(TOLD), fared.told),
        Measure::time("full, coordinator crashed: the mesh is whole", Bound::AtMost(BACK), fared.mesh),
        Measure::time("full, tor a crashed: its points back everywhere", Bound::AtMost(BACK), fared.back),
        Measure::time("room again: the alarm is over", Bound::AtMost(TOLD), over),
    ];
    played.measures.splice(0..0, measures);
    Ok(played)
}

/// How the node fared with a full disk.
struct Fared {
    told: Option<Duration>,
    mesh: Option<Duration>,
    back: Option<Duration>,
}

async fn fare(world: &mut World, victim: usize) -> Result<Fared, LabError> {
    let told = world.until_alarm(victim, FAILURE, true, Instant::now(), PATIENCE).await;
    world.note("coordinator crashed", victim);
    world.nodes[victim].crash_daemon(Daemon::Coordinator).await;
    sleep(POLL).await;
    let mesh = until_full_mesh(world, Instant::now(), PATIENCE).await;
    let dead = world.known_points(victim).await?;
    world.note("tor a crashed", victim);
    world.nodes[victim].tor_a.crash().await;
    let crashed = Instant::now();
    world.until_held(crashed, PATIENCE, |held| held.is_disjoint(&dead)).await?;
    let back = world.until_back(victim, PATIENCE).await?.map(|()| crashed.elapsed());
    Ok(Fared { told, mesh, back })
}
