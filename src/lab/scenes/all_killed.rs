//! `all-killed`: every process of every node is killed at the same moment. Each is started again by itself, and nobody
//! does anything else.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::load::Played;
use crate::lab::client::fetch;
use crate::lab::error::LabError;
use crate::lab::measure::{Bound, Measure};
use crate::lab::pool::FETCH_LIMIT;
use crate::lab::world::{POLL, World};

/// The blow and what follows.
const QUIET: Duration = Duration::from_mins(1);
/// By then a client has a page again: tors must learn about the network first.
const PAGE: f64 = 30.0;
/// By then all is as before.
const WELL: f64 = 60.0;
/// After this a figure is missed anyway.
const PATIENCE: Duration = Duration::from_mins(2);

pub(super) async fn play(world: &mut World) -> Result<Played, LabError> {
    world.quiet(QUIET).await?;
    let killed = Instant::now();
    world.screen.note("everything on every node is killed");
    for node in &world.nodes {
        node.crash().await;
    }
    let page = until_page(world, killed).await;
    world.settle().await?;
    let well = Some(killed.elapsed());
    Ok(Played {
        measures: vec![
            Measure::time("a page again", Bound::AtMost(PAGE), page),
            Measure::time("all points everywhere again", Bound::AtMost(WELL), well),
        ],
        notes: Vec::new(),
    })
}

/// How long after `since` a client had a page; None if not in time.
async fn until_page(world: &World, since: Instant) -> Option<Duration> {
    let client = world.clients.first()?;
    for attempt in 0.. {
        let circuit = format!("all-killed-{attempt}");
        if fetch(client.socks, &world.address(), &circuit, FETCH_LIMIT).await.failure.is_none() {
            return Some(since.elapsed());
        }
        if since.elapsed() > PATIENCE {
            break;
        }
        sleep(POLL).await;
    }
    None
}
