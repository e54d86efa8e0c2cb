//! `join`: one more node comes, with nothing but an invitation, and leaves again.

use std::time::{Duration, Instant};

use super::load::{Allowed, Load, Played};
use super::newcomer::{invite, join, leave, until_full_mesh, until_joined};
use crate::lab::error::LabError;
use crate::lab::measure::{Bound, Measure};
use crate::lab::world::World;

/// Pages.
const FETCHES: usize = 100;
/// Coming and leaving.
const QUIET: Duration = Duration::from_mins(1);
/// From the invitation to the new node's points on every HSDir.
const JOINED: f64 = 30.0;
/// From the command to leave until the node's points are gone everywhere.
const LEFT: f64 = 5.0;
/// After this a figure is missed anyway.
const PATIENCE: Duration = Duration::from_mins(2);

pub(super) async fn play(world: &mut World) -> Result<Played, LabError> {
    world.quiet(QUIET).await?;
    let load = Load::start(world, "join").await?;
    let inviter = world.standby().await;
    let invitation = invite(world, inviter).await?;
    let began = Instant::now();
    let node = join(world, &invitation).await?;
    until_joined(world, node, PATIENCE).await?;
    let is_in = began.elapsed();
    let joined = world.until_back(node, PATIENCE).await?.map(|()| began.elapsed());
    let mesh = until_full_mesh(world, began, PATIENCE).await;

    let left = leave(world, node, PATIENCE).await?;
    let mut played = load.finish(FETCHES, Allowed::Repeats).await?;
    let measures = [
        Measure::time("invitation to being let in", Bound::Shown, Some(is_in)),
        Measure::time("invitation to its points everywhere", Bound::AtMost(JOINED), joined),
        Measure::time("invitation to a full mesh", Bound::AtMost(JOINED), mesh),
        Measure::time("left: its points gone everywhere", Bound::AtMost(LEFT), left),
    ];
    played.measures.splice(0..0, measures);
    Ok(played)
}
