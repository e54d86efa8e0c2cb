//! `rotate`: time period and shared random value change. In the real network one of them does every twelve hours,
//! and with a new shared random value every node's introduction points die at once.

use std::time::Duration;

use tokio::time::sleep;

use super::load::{Allowed, Load, Played};
use crate::lab::error::LabError;
use crate::lab::world::World;

/// Pages.
const FETCHES: usize = 300;
/// Fetching begins this long before a boundary.
const BEFORE: Duration = Duration::from_secs(10);
/// And ends this long after the next one: by then the last node has rotated and published.
const AFTER: Duration = Duration::from_secs(35);

pub(super) async fn play(world: &mut World) -> Result<Played, LabError> {
    let half = world.observer.half_period().await?;
    let until = world.observer.until_boundary().await?;
    world.screen.doing("scene rotate: waiting for the first boundary");
    sleep(until.checked_sub(BEFORE).unwrap_or((until + half).saturating_sub(BEFORE))).await;
    let load = Load::start(world, "rotate").await?;
    world.screen.doing("scene rotate: across two boundaries");
    sleep(BEFORE + half + AFTER).await;
    load.finish(FETCHES, Allowed::Repeats).await
}
