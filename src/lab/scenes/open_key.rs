//! `open-key`: others could read the onion's key on a node. Nothing is mended behind an operator's back, but the watchdog
//! raises an alarm, and takes it back by itself.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use super::load::Played;
use crate::lab::error::{LabError, io as doing};
use crate::lab::measure::{Bound, Measure};
use crate::lab::world::World;

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
    let told = world.until_alarm(victim, FAILURE, true, Instant::now(), PATIENCE).await;
    set_mode(&service, 0o700)?;
    world.note("the onion's directory is private", victim);
    let over = world.until_alarm(victim, FAILURE, false, Instant::now(), PATIENCE).await;
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
