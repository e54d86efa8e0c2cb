//! `targets-down`, `target-hangs`: nobody can reach the target. Leaving the descriptor would help no client, so no node
//! does; clients get a page that says so, and every node raises an alarm.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::load::{Allowed, Load, Played, at_least, at_most};
use crate::lab::client::{FetchError, fetch};
use crate::lab::error::LabError;
use crate::lab::measure::{Bound, Measure};
use crate::lab::pool::FETCH_LIMIT;
use crate::lab::world::{POLL, World};

/// Pages, from before it goes until after it is back.
const FETCHES: usize = 60;
/// Pages while it is down.
const PAGES: usize = 20;
/// The failure and what follows.
const QUIET: Duration = Duration::from_secs(90);
/// How long it stays down after everybody knows.
const DOWN: Duration = Duration::from_secs(15);
/// After this a figure is missed anyway.
const PATIENCE: Duration = Duration::from_mins(1);
/// How long the proxies let one attempt to reach the target take here. By default it is thirty seconds, but a tor that was
/// stopped for three times as long has no descriptor any more in a network whose days last four minutes.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// The same, for their configuration.
const IMPATIENT: &str = "connect_timeout_secs = 5";
/// So much longer may the page take that says it: the client's own way through Tor.
const WAY: Duration = Duration::from_secs(10);

/// Why the target cannot be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outage {
    /// It refuses: nothing listens.
    Refuses,
    /// Its tor takes everything and says nothing.
    Hangs,
}

pub(super) async fn play(world: &mut World, outage: Outage) -> Result<Played, LabError> {
    let target = format!("http://{}", world.plan.target);
    for node in &world.nodes {
        node.aim(Some(&target), IMPATIENT).await?;
    }
    let played = lose_target(world, outage).await;
    end(world, outage).await?;
    for node in &world.nodes {
        node.aim(None, "").await?;
    }
    played
}

async fn lose_target(world: &mut World, outage: Outage) -> Result<Played, LabError> {
    world.quiet(QUIET).await?;
    let load = Load::start(world, "targets-down").await?;
    begin(world, outage).await;
    let closed = Instant::now();
    let first = first_answer(world);
    let (mut most_gone, mut known) = (0, None);
    while known.is_none() && closed.elapsed() < outage.patience() {
        most_gone = most_gone.max(missing(world).await?.len());
        known = (with_target(world, false).await.len() == world.nodes.len()).then(|| closed.elapsed());
    }
    sleep(DOWN).await;
    let still_gone = missing(world).await?;
    let pages = pages_that_say_it(world).await;
    let mut alarms = 0;
    for node in 0..world.nodes.len() {
        alarms += usize::from(world.alarms(node, "target_away").await == Some(true));
    }
    let first = first.await.ok().flatten();
    end(world, outage).await?;
    let opened = Instant::now();
    while with_target(world, true).await.len() < world.nodes.len() && opened.elapsed() < outage.patience() {
        sleep(POLL).await;
    }
    let well = (with_target(world, true).await.len() == world.nodes.len()).then(|| opened.elapsed());
    let mut played = load.finish(FETCHES, Allowed::Failures).await?;
    let bound = |limit: Duration| Bound::AtMost(limit.as_secs_f64());
    let measures = [
        Measure::time("a client is told", bound(CONNECT_LIMIT + WAY), first),
        Measure::time("every node knows", bound(outage.patience()), known),
        // Each that knows leaves while others seem to reach theirs; whoever would be the last one stays.
        Measure::count(
            "nodes out of the descriptor at once until then",
            at_most(world.nodes.len().saturating_sub(1)),
            most_gone,
        ),
        Measure::count("nodes out of the descriptor afterwards", Bound::AtMost(0.0), still_gone.len()),
        Measure::count("pages with status 503 or 504", at_least(PAGES), pages),
        Measure::count("nodes that raise an alarm", at_least(world.nodes.len()), alarms),
        Measure::time("up again: every node knows", Bound::Happens, well),
    ];
    played.measures.splice(0..0, measures);
    Ok(played)
}

impl Outage {
    /// How long until every node knows; after it the figure is missed.
    fn patience(self) -> Duration {
        match self {
            Self::Refuses => PATIENCE,
            // Three attempts, one after the other.
            Self::Hangs => PATIENCE + 3 * CONNECT_LIMIT,
        }
    }
}

async fn begin(world: &mut World, outage: Outage) {
    world.screen.note(&format!("the target is away: {outage:?}"));
    match outage {
        Outage::Refuses => world.target.close(),
        Outage::Hangs => world.target_tor.freeze().await,
    }
}

async fn end(world: &mut World, outage: Outage) -> Result<(), LabError> {
    world.screen.note("the target is there again");
    match outage {
        Outage::Refuses => world.target.open()?,
        Outage::Hangs => world.target_tor.thaw().await,
    }
    Ok(())
}

/// A client that asks now and waits for as long as it takes; when it was told that the target is away.
fn first_answer(world: &World) -> JoinHandle<Option<Duration>> {
    let (socks, host) = (world.clients[0].socks, world.address());
    tokio::spawn(async move {
        let fetch = fetch(socks, &host, "down-first", CONNECT_LIMIT + 2 * WAY).await;
        matches!(fetch.failure, Some(FetchError::NotThePage(text)) if says_away(&text)).then_some(fetch.took)
    })
}

/// How many of some pages say that the target is away. Most are told at once; the one with whom it is tried again waits for
/// as long as that takes.
async fn pages_that_say_it(world: &World) -> usize {
    let mut pages = 0;
    for (page, client) in world.clients.iter().cycle().take(PAGES).enumerate() {
        let fetch = fetch(client.socks, &world.address(), &format!("down-{page}"), FETCH_LIMIT).await;
        pages += usize::from(matches!(fetch.failure, Some(FetchError::NotThePage(text)) if says_away(&text)));
    }
    pages
}

/// Whether that page says that the target cannot be reached, or was not in time.
fn says_away(page: &str) -> bool {
    page.starts_with("HTTP/1.1 503 ") || page.starts_with("HTTP/1.1 504 ")
}

/// The nodes to which the target is well, or is not.
async fn with_target(world: &World, well: bool) -> BTreeSet<usize> {
    let mut nodes = BTreeSet::new();
    for node in world.present() {
        if world.proxy(node).await.is_some_and(|status| status.target_well == well) {
            nodes.insert(node);
        }
    }
    nodes
}

/// The nodes of whose points some HSDir has none.
async fn missing(world: &mut World) -> Result<BTreeSet<usize>, LabError> {
    let mut nodes = BTreeSet::new();
    for node in world.present() {
        let points = world.points(node).await;
        let copies = world.observer.read().await?;
        if copies.values().flatten().any(|held| held.points.is_disjoint(&points)) {
            nodes.insert(node);
        }
    }
    Ok(nodes)
}
