//! `silent-guard`: a node's tors lose the network for a moment, after which they take to other guards; soon after that the
//! shared random value changes. Tor closes all introduction circuits of the old descriptor then, and relays must hear of it,
//! also those that go by the guard of before: else they acknowledge introductions that nobody hears, and clients with the old
//! descriptor get nowhere until the next time period.

use std::time::Duration;

use tokio::time::sleep;

use super::load::Played;
use super::tor_cut::cut;
use crate::lab::client::fetch;
use crate::lab::error::LabError;
use crate::lab::measure::{Bound, Measure};
use crate::lab::pool::FETCH_LIMIT;
use crate::lab::world::World;

/// Pages, each time: ten for each client.
const PAGES: usize = 20;
/// So long before the change it begins, at least: first pages, a cut of a quarter of a minute, and the way back.
const BEFORE: Duration = Duration::from_mins(1);
/// So long after any change all nodes have rotated and published.
const AFTER: Duration = Duration::from_secs(25);

pub(super) async fn play(world: &mut World) -> Result<Played, LabError> {
    until_it_can_begin(world).await?;
    let (failed_before, _) = pages(world, "before").await;
    let victim = world.standby().await;
    let (_, back) = cut(world, victim).await?;
    world.screen.doing("scene silent-guard: waiting until the shared random value has changed");
    let left = world.observer.until_new_value().await?;
    sleep(left + AFTER).await;
    let (failed, slowest) = pages(world, "after").await;
    let measures = vec![
        Measure::count("pages that failed before", Bound::AtMost(0.0), failed_before),
        Measure::time("cut off, and then: its points back everywhere", Bound::Happens, back),
        Measure::count("pages that failed after the change", Bound::AtMost(0.0), failed),
        Measure::time(
            "a page after the change, slowest",
            Bound::AtMost(FETCH_LIMIT.as_secs_f64()),
            Some(slowest),
        ),
    ];
    Ok(Played { measures, notes: Vec::new() })
}

/// Waits until the time period has changed lately, and the shared random value will soon: what clients fetch now, they keep.
async fn until_it_can_begin(world: &mut World) -> Result<(), LabError> {
    let half = world.observer.half_period().await?;
    let until = world.observer.until_new_value().await?;
    let longest = half.saturating_sub(AFTER);
    if until < BEFORE {
        world.screen.doing("scene silent-guard: waiting for the next time period");
        sleep(until + half + AFTER).await;
    } else if until > longest {
        world.screen.doing("scene silent-guard: waiting for the next time period");
        sleep(until.saturating_sub(longest)).await;
    }
    Ok(())
}

/// Fetches some pages with every client: how many did not come, and how long the slowest of them all took.
async fn pages(world: &World, when: &str) -> (usize, Duration) {
    let (mut failed, mut slowest) = (0, Duration::ZERO);
    for (page, client) in world.clients.iter().cycle().take(PAGES).enumerate() {
        let circuit = format!("silent-guard-{when}-{page}");
        let fetch = fetch(client.socks, &world.address(), &circuit, FETCH_LIMIT).await;
        failed += usize::from(fetch.failure.is_some());
        slowest = slowest.max(fetch.took);
    }
    (failed, slowest)
}
