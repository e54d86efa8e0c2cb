//! `control-broken`: the control connections of a node's serving tor break, while tor and daemons live. The publisher cannot
//! know that this is no death: it takes the points back, and tells of them again once it is connected.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::load::{Allowed, Load, Played};
use crate::lab::control::Held;
use crate::lab::error::LabError;
use crate::lab::measure::{Bound, Measure};
use crate::lab::node::{Daemon, Node};
use crate::lab::sever::{connections, sever};
use crate::lab::world::{POLL, World};

/// Pages.
const FETCHES: usize = 60;
/// The break and what follows.
const QUIET: Duration = Duration::from_secs(50);
/// Who has control connections, at all times.
const CALLERS: [Daemon; 2] = [Daemon::Publisher, Daemon::Watchdog];
/// The publisher tries again after a tenth of a second, the watchdog after half a one.
const CONNECTED: f64 = 2.0;
/// Until the node's points are everywhere for good: two uploads, at most.
const WHOLE: f64 = 5.0;
/// How long its points are looked for: what is withdrawn too late would show.
const LOOKED: Duration = Duration::from_secs(20);

pub(super) async fn play(world: &mut World) -> Result<Played, LabError> {
    world.quiet(QUIET).await?;
    let load = Load::start(world, "control-broken").await?;
    let victim = world.standby().await;
    let points = world.known_points(victim).await?;
    let starts = world.nodes[victim].tor_a.state().starts;
    world.note("tor a's control connections broken", victim);
    let began = Instant::now();
    let broken = sever(tor(&world.nodes[victim])?, &callers(&world.nodes[victim]))?;
    let connected = until_connected(&world.nodes[victim], broken, began).await?;
    // When one of the copies last was without a point of the node, or was not to be had.
    let (mut missing, mut looks) = (Duration::ZERO, 0);
    while began.elapsed() < LOOKED {
        let copies = world.observer.read().await?;
        let whole = |held: &Option<Held>| held.as_ref().is_some_and(|held| !held.points.is_disjoint(&points));
        if !copies.values().all(whole) {
            missing = began.elapsed();
        }
        looks += 1;
        sleep(POLL).await;
    }
    let restarts = world.nodes[victim].tor_a.state().starts - starts;
    let mut played = load.finish(FETCHES, Allowed::Nothing).await?;
    let measures = [
        Measure::count("control connections broken", Bound::AtLeast(2.0), broken),
        Measure::count("looks at the descriptor", Bound::AtLeast(10.0), looks),
        Measure::time("connected again", Bound::AtMost(CONNECTED), connected),
        Measure::time("its points everywhere for good", Bound::AtMost(WHOLE), Some(missing)),
        Measure::count("starts of its tor meanwhile", Bound::AtMost(0.0), restarts as usize),
    ];
    played.measures.splice(0..0, measures);
    Ok(played)
}

/// How long after `since` the daemons had as many connections as were broken; None if not while it was looked.
async fn until_connected(node: &Node, broken: usize, since: Instant) -> Result<Option<Duration>, LabError> {
    // Tor takes a moment to see that they are broken.
    let mut seen_broken = false;
    while since.elapsed() < LOOKED {
        let there = connections(tor(node)?, &callers(node))?.len();
        if seen_broken && there >= broken {
            return Ok(Some(since.elapsed()));
        }
        seen_broken |= there < broken;
        sleep(Duration::from_millis(5)).await;
    }
    Ok(None)
}

/// The serving tor's process.
fn tor(node: &Node) -> Result<i32, LabError> {
    node.tor_a.state().pid.ok_or(LabError::NoProcess)
}

fn callers(node: &Node) -> Vec<i32> {
    CALLERS.iter().filter_map(|daemon| node.daemon(*daemon).state().pid).collect()
}
