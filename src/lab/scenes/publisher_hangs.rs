//! `publisher-hangs`: the publisher of the node that holds the lease hangs, and again whenever it is started. The node is
//! alive and serves, but cannot publish: another one does, and the lease does not go to and fro.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::load::{Allowed, Load, Played};
use crate::lab::error::LabError;
use crate::lab::measure::{Bound, Measure};
use crate::lab::node::Daemon;
use crate::lab::world::{POLL, World};

/// Pages.
const FETCHES: usize = 60;
/// From the first time it hangs until it is left alone.
const QUIET: Duration = Duration::from_mins(3);
/// For so long it hangs again and again: the watchdog has given up on it by then.
const ILL: Duration = Duration::from_mins(2);
/// A publisher that is asked and does not answer is given up after ten seconds.
const PUBLISHED: f64 = 20.0;
/// The watchdog asks every other second.
const TOLD: f64 = 10.0;
/// After this a figure is missed anyway.
const PATIENCE: Duration = Duration::from_mins(1);
/// The node rests for half a minute the first time, for a minute the second.
const BACK_PATIENCE: Duration = Duration::from_mins(3);

pub(super) async fn play(world: &mut World) -> Result<Played, LabError> {
    world.quiet(QUIET).await?;
    let load = Load::start(world, "publisher-hangs").await?;
    let holder = world.publishing().await.first().copied().unwrap_or(0);
    let watcher = world.present().into_iter().find(|node| *node != holder).unwrap_or(0);
    let (points, epoch) = (world.known_points(holder).await?, epoch(world, watcher).await);
    let hung = Instant::now();
    world.note("its publisher hangs, and does so whenever it is started", holder);
    world.nodes[holder].hang_daemon(Daemon::Publisher).await;
    // Nobody knows any more at which points it serves, so a descriptor that has them is not its successor's.
    let published = world.until_held(hung, PATIENCE, |held| held.is_disjoint(&points)).await?;
    let told = until_told(world, holder).await?;
    let mut starts = 0;
    while hung.elapsed() < ILL {
        starts = world.nodes[holder].hang_daemon(Daemon::Publisher).await;
        sleep(POLL).await;
    }
    let handed_over = self::epoch(world, watcher).await.saturating_sub(epoch);
    world.note("its publisher crashes, and is well from now on", holder);
    let mended = Instant::now();
    world.nodes[holder].crash_daemon(Daemon::Publisher).await;
    let back = until_it_publishes(world, holder, mended).await;
    let mut played = load.finish(FETCHES, Allowed::Repeats).await?;
    let handed_over = usize::try_from(handed_over).unwrap_or(usize::MAX);
    let measures = [
        Measure::time("another node has published everywhere", Bound::AtMost(PUBLISHED), published),
        Measure::time("and then `status --why` tells it", Bound::AtMost(TOLD), told),
        Measure::count(
            "times its publisher was started",
            Bound::Shown,
            starts.try_into().unwrap_or(usize::MAX),
        ),
        Measure::count("times the lease was taken meanwhile", Bound::Between(1.0, 1.0), handed_over),
        Measure::time("well: it holds the lease again", Bound::Happens, back),
    ];
    played.measures.splice(0..0, measures);
    Ok(played)
}

/// The epoch of the lease, as a node has heard: each node that takes it makes it higher.
async fn epoch(world: &World, node: usize) -> u64 {
    world.coordinator(node).await.map_or(0, |status| status.cluster.epoch)
}

/// Waits until the operator's tool says that the node stands back.
async fn until_told(world: &World, node: usize) -> Result<Option<Duration>, LabError> {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        if world.operate(node, &["status", "--why"]).await?.contains("stands back from the lease") {
            return Ok(Some(began.elapsed()));
        }
        sleep(POLL).await;
    }
    Ok(None)
}

async fn until_it_publishes(world: &World, node: usize, since: Instant) -> Option<Duration> {
    while since.elapsed() < BACK_PATIENCE {
        if world.publishing().await == [node] {
            return Some(since.elapsed());
        }
        sleep(POLL).await;
    }
    None
}
