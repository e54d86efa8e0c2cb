//! `targets-down`: nobody can reach the target. Leaving the descriptor would help no client, so no node does; clients get
//! a page that says so, and every node raises an alarm.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::load::{Allowed, Load, Played, at_least};
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

pub(super) async fn play(world: &mut World) -> Result<Played, LabError> {
    let target = format!("http://{}", world.plan.target);
    for node in &world.nodes {
        node.aim(Some(&target)).await?;
    }
    let played = lose_target(world).await;
    world.target.open()?;
    for node in &world.nodes {
        node.aim(None).await?;
    }
    played
}

async fn lose_target(world: &mut World) -> Result<Played, LabError> {
    let load = Load::start(world, "targets-down").await?;
    world.quiet(QUIET).await?;
    world.screen.note("the target is down");
    world.target.close();
    let closed = Instant::now();
    let mut gone = BTreeSet::new();
    while with_target(world, false).await.len() < world.nodes.len() && closed.elapsed() < PATIENCE {
        gone.extend(missing(world).await?);
    }
    let known = closed.elapsed();
    sleep(DOWN).await;
    let still_gone = missing(world).await?;
    let mut pages = 0;
    for page in 0..PAGES {
        let client = &world.clients[page % world.clients.len()];
        let fetch = fetch(client.socks, &world.address(), &format!("down-{page}"), FETCH_LIMIT).await;
        pages += usize::from(matches!(fetch.failure, Some(FetchError::NotThePage(text)) if is_503(&text)));
    }
    let mut alarms = 0;
    for node in 0..world.nodes.len() {
        alarms += usize::from(world.alarms(node, "target_away").await == Some(true));
    }
    world.screen.note("the target is up");
    world.target.open()?;
    let opened = Instant::now();
    while with_target(world, true).await.len() < world.nodes.len() && opened.elapsed() < PATIENCE {
        sleep(POLL).await;
    }
    let well = (with_target(world, true).await.len() == world.nodes.len()).then(|| opened.elapsed());
    let mut played = load.finish(FETCHES, Allowed::Failures).await?;
    let measures = [
        Measure::time("every node knows", Bound::AtMost(PATIENCE.as_secs_f64()), Some(known)),
        Measure::count("nodes out of the descriptor until then", Bound::Shown, gone.len()),
        Measure::count("nodes out of the descriptor afterwards", Bound::AtMost(0.0), still_gone.len()),
        Measure::count("pages with status 503", at_least(PAGES), pages),
        Measure::count("nodes that raise an alarm", at_least(world.nodes.len()), alarms),
        Measure::time("up again: every node knows", Bound::Happens, well),
    ];
    played.measures.splice(0..0, measures);
    Ok(played)
}

fn is_503(page: &str) -> bool {
    page.starts_with("HTTP/1.1 503 ")
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
