//! `chain`: nodes that let each other in one after the other, while the rest is away, become a full mesh.
//!
//! ```text
//! alpha ── b ── c ── …       alpha let b in; while alpha was away, b let c in; all others were away
//! ```

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::load::{Allowed, Load, Played};
use super::newcomer::{invite, join, until_full_mesh, until_joined};
use crate::lab::error::LabError;
use crate::lab::measure::{Bound, Measure};
use crate::lab::world::World;

/// Pages.
const FETCHES: usize = 100;
/// Once nodes can reach each other, they all do by then: somebody has to tell them first.
const MESHED: f64 = 15.0;
/// By then relays have heard that a node is dead.
const HEARD: Duration = Duration::from_secs(1);
/// After this a figure is missed anyway.
const PATIENCE: Duration = Duration::from_mins(2);
/// The node with which it begins.
const FIRST: usize = 0;

pub(super) async fn play(world: &mut World) -> Result<Played, LabError> {
    let others: Vec<_> = (0..world.nodes.len()).filter(|node| *node != FIRST).collect();
    for other in &others {
        world.send_away(*other).await;
    }
    world.settle().await?;
    let mut load = Load::start(world, "chain").await?;

    let second = link(world, FIRST).await?;
    only_one_dies(world, &mut load, FIRST).await;
    world.settle().await?;
    let third = link(world, second).await?;

    // Neither of the two that are there now knows of the other, except that the third was told of the first.
    only_one_dies(world, &mut load, second).await;
    world.call_back(FIRST).await;
    world.nodes[FIRST].ready(PATIENCE).await?;
    let began = Instant::now();
    world.call_back(second).await;
    world.nodes[second].ready(PATIENCE).await?;
    let three = until_full_mesh(world, began, PATIENCE).await;

    // And the others, which were away when they were let in.
    for other in &others {
        world.call_back(*other).await;
    }
    for other in &others {
        world.nodes[*other].ready(PATIENCE).await?;
    }
    let began = Instant::now();
    let all = until_full_mesh(world, began, PATIENCE).await;
    world.settle().await?;
    let mut played = load.finish(FETCHES, Allowed::Repeats).await?;
    for node in [third, second] {
        world.operate(node, &["leave", "--yes"]).await?;
        world.remove(node).await;
    }
    let measures = [
        Measure::time("a chain of three to a full mesh", Bound::AtMost(MESHED), three),
        Measure::time("with those who were away: full mesh", Bound::AtMost(MESHED), all),
    ];
    played.measures.splice(0..0, measures);
    Ok(played)
}

/// The only node that clients know dies. Who asks for it before its relays have heard of that, waits until its own tor gives up,
/// which takes that about as long as our clients have patience.
async fn only_one_dies(world: &mut World, load: &mut Load, node: usize) {
    load.death();
    world.send_away(node).await;
    sleep(HEARD).await;
    load.death();
}

/// One more node, let in by that one, which is the only one there; its place among the nodes.
async fn link(world: &mut World, by: usize) -> Result<usize, LabError> {
    world.screen.doing(format!("scene chain: {} lets somebody in", world.nodes[by].machine.name));
    let invitation = invite(world, by).await?;
    let node = join(world, &invitation).await?;
    until_joined(world, node, PATIENCE).await?;
    world.settle().await?;
    Ok(node)
}
