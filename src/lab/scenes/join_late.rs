//! `join-late`: a node is to join, and cannot reach anybody for longer than the older system went on asking. It does not
//! serve alone; it goes on asking, and is let in as soon as it reaches the others.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::load::Played;
use super::newcomer::{invite, join, leave, until_joined};
use crate::lab::error::LabError;
use crate::lab::measure::{Bound, Measure};
use crate::lab::world::World;

/// How long the new node is cut off from Tor. The older system gave up after 75 seconds.
const CUT: Duration = Duration::from_secs(80);
/// From then until its points are on every HSDir: its tors, too, have waited longer and longer between two tries.
const JOINED: f64 = 120.0;
/// After this a figure is missed anyway.
const PATIENCE: Duration = Duration::from_mins(4);

pub(super) async fn play(world: &mut World) -> Result<Played, LabError> {
    let inviter = world.standby().await;
    let invitation = invite(world, inviter).await?;
    let number = world.machines + 1;
    let node = join(world, &invitation).await?;
    world.ground.wires.tor(number, false).await?;
    world.note("cut off from Tor", node);
    sleep(CUT).await;
    let served = usize::from(!world.points(node).await.is_empty());
    world.note("reaches Tor", node);
    world.ground.wires.tor(number, true).await?;
    let reached = Instant::now();
    until_joined(world, node, PATIENCE).await?;
    let is_in = reached.elapsed();
    let back = world.until_back(node, PATIENCE).await?.map(|()| reached.elapsed());

    leave(world, node, PATIENCE).await?;
    let measures = vec![
        Measure::count("cut off: points of its own", Bound::AtMost(0.0), served),
        Measure::time("reached Tor: it is let in", Bound::Shown, Some(is_in)),
        Measure::time("reached Tor: its points everywhere", Bound::AtMost(JOINED), back),
    ];
    Ok(Played { measures, notes: Vec::new() })
}
