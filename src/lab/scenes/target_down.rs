//! `target-down`: one node cannot reach the target, while the others can. It leaves the descriptor; and since clients with
//! an old one go on coming, it stops serving, so that they go to another node. With the target it returns by itself.

use std::path::Path;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::load::{Allowed, Load, Played};
use crate::lab::client::fetch;
use crate::lab::error::LabError;
use crate::lab::measure::{Bound, Measure};
use crate::lab::pool::FETCH_LIMIT;
use crate::lab::target::Door;
use crate::lab::world::{POLL, World};

/// Pages.
const FETCHES: usize = 60;
/// Pages once the node has stopped serving. None of them may fail, whichever descriptor a client has.
const PAGES: usize = 20;
/// The failure and what follows.
const QUIET: Duration = Duration::from_secs(85);
/// From the third failed attempt until the node's points are gone.
const LEFT: f64 = 10.0;
/// From then until it has stopped serving: the others might have lost the target, too.
const FENCED: f64 = 20.0;
/// After this a figure is missed anyway.
const PATIENCE: Duration = Duration::from_mins(1);
/// The way to the target that only this node has: a socket on its own machine.
const OWN_WAY: &str = "/run/target.sock";

pub(super) async fn play(world: &mut World) -> Result<Played, LabError> {
    let victim = world.standby().await;
    let path = world.nodes[victim].machine.outside(Path::new(OWN_WAY));
    let way = world.target.door(&path)?;
    world.nodes[victim].aim(Some(&format!("unix:{OWN_WAY}")), "").await?;
    world.note("reaches the target by a way of its own", victim);
    let played = lose_way(world, victim, &path, way).await;
    world.nodes[victim].aim(None, "").await?;
    played
}

async fn lose_way(world: &mut World, victim: usize, path: &Path, way: Door) -> Result<Played, LabError> {
    world.quiet(QUIET).await?;
    let load = Load::start(world, "target-down").await?;
    let points = world.known_points(victim).await?;
    world.note("the way to the target is closed", victim);
    drop(way);
    let closed = Instant::now();
    let known = until_target(world, victim, false, closed).await;
    let noticed = Instant::now();
    let left = world.until_held(noticed, PATIENCE, |held| held.is_disjoint(&points)).await?;
    let alarmed = world.until_alarm(victim, "target_away", true, noticed, PATIENCE).await;
    let fenced = until_fenced(world, victim, noticed).await;
    let failed = failed_pages(world).await;
    world.note("the way to the target is open", victim);
    let _way = world.target.door(path)?;
    let opened = Instant::now();
    let well = until_target(world, victim, true, opened).await;
    let back = world.until_back(victim, PATIENCE).await?.map(|()| opened.elapsed());
    let mut played = load.finish(FETCHES, Allowed::Failures).await?;
    let measures = [
        Measure::time("three attempts have failed", Bound::Happens, known),
        Measure::time("from then to its points gone everywhere", Bound::AtMost(LEFT), left),
        Measure::time("from then to an alarm", Bound::AtMost(LEFT), alarmed),
        Measure::time("from then to its refusing clients", Bound::AtMost(FENCED), fenced),
        Measure::count("pages that failed after that", Bound::AtMost(0.0), failed),
        Measure::time("open again: the target counts as well", Bound::Happens, well),
        Measure::time("open again: its points back everywhere", Bound::Happens, back),
    ];
    played.measures.splice(0..0, measures);
    Ok(played)
}

/// How long after `since` a node's serving tor had ended; None if not in time.
async fn until_fenced(world: &World, node: usize, since: Instant) -> Option<Duration> {
    while since.elapsed() < PATIENCE {
        if world.nodes[node].tor_a.state().pid.is_none() {
            world.note("stopped serving", node);
            return Some(since.elapsed());
        }
        sleep(POLL).await;
    }
    None
}

/// How many of some pages did not come.
async fn failed_pages(world: &World) -> usize {
    let mut failed = 0;
    for (page, client) in world.clients.iter().cycle().take(PAGES).enumerate() {
        let circuit = format!("target-down-after-{page}");
        let fetch = fetch(client.socks, &world.address(), &circuit, FETCH_LIMIT).await;
        failed += usize::from(fetch.failure.is_some());
    }
    failed
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
