//! `open-key`: others could read the onion's key on a node. The watchdog has it closed to them while tor serves on.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::load::{Allowed, Load, Played};
use crate::lab::error::{LabError, io as doing};
use crate::lab::measure::{Bound, Measure};
use crate::lab::world::World;

/// Pages.
const FETCHES: usize = 40;
/// The blow and what follows.
const QUIET: Duration = Duration::from_secs(40);
/// Open to all users of the machine.
const OPEN: u32 = 0o755;
/// The rights of all but tor.
const OTHERS: u32 = 0o077;
/// Tor is asked about everything every ten seconds.
const CLOSED: f64 = 15.0;
/// Once more until that is seen.
const OVER: f64 = 25.0;
/// What the watchdog calls it.
const FAILURE: &str = "open_key_directory";
/// After this a figure is missed anyway.
const PATIENCE: Duration = Duration::from_mins(1);
/// Between two looks at it.
const LOOK: Duration = Duration::from_millis(50);

pub(super) async fn play(world: &mut World) -> Result<Played, LabError> {
    world.quiet(QUIET).await?;
    let load = Load::start(world, "open-key").await?;
    let victim = world.standby().await;
    let machine = &world.nodes[victim].machine;
    let service = machine.outside(&machine.files.service());
    world.note("the onion's directory can be read by everybody", victim);
    let (opened, starts) = (Instant::now(), world.nodes[victim].tor_a.state().starts);
    fs::set_permissions(&service, Permissions::from_mode(OPEN)).map_err(doing("changing permissions"))?;
    let closed = until_closed(&service, opened).await?;
    let over = world.until_over(victim, FAILURE, opened, PATIENCE).await;
    let restarts = world.nodes[victim].tor_a.state().starts - starts;
    let mut played = load.finish(FETCHES, Allowed::Nothing).await?;
    let measures = [
        Measure::time("private again", Bound::AtMost(CLOSED), closed),
        Measure::time("private again, and the watchdog knows", Bound::AtMost(OVER), over),
        Measure::count("starts of its tor meanwhile", Bound::AtMost(0.0), restarts as usize),
    ];
    played.measures.splice(0..0, measures);
    Ok(played)
}

/// How long it took until nobody but tor may look into a directory.
async fn until_closed(directory: &Path, since: Instant) -> Result<Option<Duration>, LabError> {
    while since.elapsed() < PATIENCE {
        let found = fs::metadata(directory).map_err(doing("looking at the onion's directory"))?;
        if found.permissions().mode() & OTHERS == 0 {
            return Ok(Some(since.elapsed()));
        }
        sleep(LOOK).await;
    }
    Ok(None)
}
