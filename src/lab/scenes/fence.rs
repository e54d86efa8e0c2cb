//! `fence`: a node's proxy dies and cannot be started, since its configuration is damaged. The watchdog tries, and then
//! stops the tor that serves, so that clients are refused at once and go to another node. With a whole configuration the
//! node serves again by itself.

use std::fs;
use std::time::{Duration, Instant};

use super::load::{Allowed, Load, Played};
use crate::lab::error::{LabError, io as doing};
use crate::lab::measure::{Bound, Measure};
use crate::lab::node::Daemon;
use crate::lab::world::World;

/// Pages.
const FETCHES: usize = 60;
/// From the blow until the points are gone.
const QUIET: Duration = Duration::from_mins(1);
/// A proxy that is restarted is away for less than the fifteen seconds after which the node gives up.
const FENCED: f64 = 30.0;
/// The third try to start the proxy comes a minute and a half after its death, and then it must be well for a while.
const BACK_PATIENCE: Duration = Duration::from_mins(3);
/// After this the points' going is missed anyway.
const PATIENCE: Duration = Duration::from_mins(1);

pub(super) async fn play(world: &mut World) -> Result<Played, LabError> {
    world.quiet(QUIET).await?;
    let load = Load::start(world, "fence").await?;
    let victim = world.standby().await;
    let points = world.known_points(victim).await?;
    let machine = &world.nodes[victim].machine;
    let configuration = machine.files.configuration();
    let whole = fs::read(machine.outside(&configuration)).map_err(doing("reading a configuration"))?;
    machine.write(&configuration, b"[proxy\n")?;
    world.note("configuration damaged, proxy crashed", victim);
    let crashed = Instant::now();
    world.nodes[victim].crash_daemon(Daemon::Proxy).await;
    let left = world.until_held(crashed, PATIENCE, |held| held.is_disjoint(&points)).await;
    world.note("configuration whole again", victim);
    world.nodes[victim].machine.write(&configuration, &whole)?;
    let mended = Instant::now();
    let left = left?;
    let back = world.until_back(victim, BACK_PATIENCE).await?.map(|()| mended.elapsed());
    let mut played = load.finish(FETCHES, Allowed::Failures).await?;
    let measures = [
        Measure::time("its points gone everywhere", Bound::AtMost(FENCED), left),
        Measure::time("whole again: its points back everywhere", Bound::Happens, back),
    ];
    played.measures.splice(0..0, measures);
    Ok(played)
}
