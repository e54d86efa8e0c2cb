//! `target-down`: one node cannot reach the target, while the others can. It leaves the descriptor, and returns by
//! itself.

use std::path::Path;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::load::{Allowed, Load, Played};
use crate::lab::error::LabError;
use crate::lab::measure::{Bound, Measure};
use crate::lab::world::{POLL, World};

/// Pages.
const FETCHES: usize = 60;
/// The failure and what follows.
const QUIET: Duration = Duration::from_mins(1);
/// From the third failed attempt until the node's points are gone.
const LEFT: f64 = 10.0;
/// After this a figure is missed anyway.
const PATIENCE: Duration = Duration::from_mins(1);
/// The way to the target that only this node has: a socket on its own machine.
const OWN_WAY: &str = "/run/target.sock";

pub(super) async fn play(world: &mut World) -> Result<Played, LabError> {
    let victim = world.standby().await;
    let path = world.nodes[victim].machine.outside(Path::new(OWN_WAY));
    let way = world.target.door(&path)?;
    world.nodes[victim].aim(Some(&format!("unix:{OWN_WAY}"))).await?;
    world.note("reaches the target by a way of its own", victim);
    let load = Load::start(world, "target-down").await?;
    world.quiet(QUIET).await?;
    let points = world.known_points(victim).await?;
    world.note("the way to the target is closed", victim);
    drop(way);
    let closed = Instant::now();
    let known = until_target(world, victim, false, closed).await;
    let noticed = Instant::now();
    let left = world.until_held(noticed, PATIENCE, |held| held.is_disjoint(&points)).await?;
    let alarmed = usize::from(world.alarms(victim, "target_away").await);
    world.note("the way to the target is open", victim);
    let _way = world.target.door(&path)?;
    let opened = Instant::now();
    let well = until_target(world, victim, true, opened).await;
    let back = world.until_back(victim, PATIENCE).await?.map(|()| opened.elapsed());
    let played = load.finish(FETCHES, Allowed::Failures).await;
    world.nodes[victim].aim(None).await?;
    let mut played = played?;
    let measures = [
        Measure::time("three attempts have failed", Bound::Happens, known),
        Measure::time("from then to its points gone everywhere", Bound::AtMost(LEFT), left),
        Measure::count("it raises an alarm", Bound::AtLeast(1.0), alarmed),
        Measure::time("open again: the target counts as well", Bound::Happens, well),
        Measure::time("open again: its points back everywhere", Bound::Happens, back),
    ];
    played.measures.splice(0..0, measures);
    Ok(played)
}

/// How long after `since` a node's proxy said that the target is well, or is not; None if not in time.
async fn until_target(world: &World, node: usize, well: bool, since: Instant) -> Option<Duration> {
    while since.elapsed() < PATIENCE {
        if world.proxy(node).await.is_some_and(|status| status.target_well == well) {
            return Some(since.elapsed());
        }
        sleep(POLL).await;
    }
    None
}
