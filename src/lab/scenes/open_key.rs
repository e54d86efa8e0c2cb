//! `open-key`: others could read the onion's key on a node. Nothing is mended behind an operator's back, but the watchdog
//! raises an alarm, and takes it back by itself.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::load::Played;
use crate::lab::error::{LabError, io as doing};
use crate::lab::measure::{Bound, Measure};
use crate::lab::world::{POLL, World};

/// What the watchdog calls it.
const FAILURE: &str = "open_key_directory";
/// Tor is asked about everything every ten seconds.
const TOLD: f64 = 15.0;
/// After this a figure is missed anyway.
const PATIENCE: Duration = Duration::from_mins(1);

pub(super) async fn play(world: &mut World) -> Result<Played, LabError> {
    let victim = world.standby().await;
    let machine = &world.nodes[victim].machine;
    let service = machine.outside(&machine.files.service());
    world.note("the onion's directory can be read by everybody", victim);
    set_mode(&service, 0o755)?;
    let told = until_alarm(world, victim, true).await;
    set_mode(&service, 0o700)?;
    world.note("the onion's directory is private", victim);
    let over = until_alarm(world, victim, false).await;
    Ok(Played {
        measures: vec![
            Measure::time("to an alarm", Bound::AtMost(TOLD), told),
            Measure::time("private again: the alarm is over", Bound::AtMost(TOLD), over),
        ],
        notes: Vec::new(),
    })
}

fn set_mode(directory: &Path, mode: u32) -> Result<(), LabError> {
    fs::set_permissions(directory, Permissions::from_mode(mode)).map_err(doing("changing permissions"))
}

/// How long until there is an alarm, or none any more; None if not in time.
async fn until_alarm(world: &World, node: usize, wanted: bool) -> Option<Duration> {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        if world.alarms(node, FAILURE).await == Some(wanted) {
            return Some(began.elapsed());
        }
        sleep(POLL).await;
    }
    None
}
