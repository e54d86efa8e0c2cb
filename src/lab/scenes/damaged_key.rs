//! `damaged-key`: the onion's key in tor's directory is cut off, and then deleted, and tor starts anew each time. It gets the
//! right one again before it reads it.

use std::time::{Duration, Instant};
use std::{fs, path::Path};

use tokio::time::sleep;

use super::load::{Allowed, Load, Played};
use crate::lab::error::{LabError, io as doing};
use crate::lab::measure::{Bound, Measure};
use crate::lab::world::World;

/// Pages.
const FETCHES: usize = 60;
/// Both blows and what follows.
const QUIET: Duration = Duration::from_secs(80);
/// As after any crash of a tor.
const BACK: f64 = 30.0;
/// After this a figure is missed anyway.
const PATIENCE: Duration = Duration::from_mins(1);
/// Between the two.
const BETWEEN: Duration = Duration::from_secs(25);
/// So much of the key is left.
const LEFT: u64 = 50;

pub(super) async fn play(world: &mut World) -> Result<Played, LabError> {
    world.quiet(QUIET).await?;
    let load = Load::start(world, "damaged-key").await?;
    let victim = world.standby().await;
    let machine = &world.nodes[victim].machine;
    let key = machine.outside(&machine.files.service().join("hs_ed25519_secret_key"));
    let damaged = damage(world, victim, &key, "cut off", |key| {
        fs::File::options().write(true).open(key)?.set_len(LEFT)
    });
    let damaged = damaged.await?;
    // For clients one crash after the other, with time to forget the points of the first.
    sleep(BETWEEN).await;
    let deleted = damage(world, victim, &key, "deleted", |key| fs::remove_file(key)).await?;
    let mut played = load.finish(FETCHES, Allowed::Repeats).await?;
    let measures = [
        Measure::time("key cut off: its points back everywhere", Bound::AtMost(BACK), damaged),
        Measure::time("key deleted: its points back everywhere", Bound::AtMost(BACK), deleted),
    ];
    played.measures.splice(0..0, measures);
    Ok(played)
}

/// Does something to the key, and has tor read it; how long until the node's points were back.
async fn damage(
    world: &mut World,
    victim: usize,
    key: &Path,
    how: &str,
    harm: impl Fn(&Path) -> std::io::Result<()>,
) -> Result<Option<Duration>, LabError> {
    let dead = world.known_points(victim).await?;
    world.note(&format!("key {how}, tor a crashed"), victim);
    harm(key).map_err(doing("damaging a key"))?;
    world.nodes[victim].tor_a.crash().await;
    let crashed = Instant::now();
    world.until_held(crashed, PATIENCE, |held| held.is_disjoint(&dead)).await?;
    Ok(world.until_back(victim, PATIENCE).await?.map(|()| crashed.elapsed()))
}
