//! `rotate-token`: the cluster changes to a new token under load, while one node is away. No datagram that matters is
//! lost: no node is taken for dead. The node that was away catches up.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::load::{Allowed, Load, Played};
use crate::lab::error::LabError;
use crate::lab::measure::{Bound, Measure};
use crate::lab::world::{POLL, World};
use crate::proto::cluster::status::Lifecycle;
use crate::proto::cluster::token::TokenName;

/// Pages.
const FETCHES: usize = 200;
/// By then every node that is there has the new token, and every other one knows.
const CHANGED: f64 = 5.0;
/// It is watched for so long afterwards whether anybody is taken for dead: longer than that takes.
const WATCHED: Duration = Duration::from_secs(10);
/// After this a figure is missed anyway.
const PATIENCE: Duration = Duration::from_mins(1);

pub(super) async fn play(world: &mut World) -> Result<Played, LabError> {
    let away = world.standby().await;
    world.send_away(away).await;
    world.settle().await?;
    let load = Load::start(world, "rotate-token").await?;
    let by = world.present().into_iter().next_back().unwrap_or(0);
    let before = own_token(world, by).await;

    let told = Instant::now();
    world.operate(by, &["rotate-token"]).await?;
    let (mut changed, mut missed) = (None, 0);
    while told.elapsed() < PATIENCE && changed.is_none_or(|changed| told.elapsed() < changed + WATCHED) {
        let look = look(world, before).await;
        missed += look.missed;
        if look.changed && changed.is_none() {
            changed = Some(told.elapsed());
        }
        sleep(POLL).await;
    }

    let new = own_token(world, by).await;
    let back = Instant::now();
    world.call_back(away).await;
    let mut caught_up = None;
    while back.elapsed() < PATIENCE && caught_up.is_none() {
        sleep(POLL).await;
        caught_up = (new.is_some() && own_token(world, away).await == new).then(|| back.elapsed());
    }
    world.settle().await?;
    // A client's own tor loses a stream now and then ("Bug: Updating a circuit with seemingly incompatible isolation
    // flags" in its log), and no page for it.
    let mut played = load.finish(FETCHES, Allowed::Repeats).await?;
    let measures = [
        Measure::time("every node has the new token, and the others know", Bound::AtMost(CHANGED), changed),
        Measure::count("times a node seemed unwell to another", Bound::AtMost(0.0), missed),
        Measure::time("the node that was away, started: it has it too", Bound::Happens, caught_up),
    ];
    played.measures.splice(0..0, measures);
    Ok(played)
}

/// The newest token that a node holds, as it says itself.
async fn own_token(world: &World, node: usize) -> Option<TokenName> {
    let status = world.coordinator(node).await?.cluster;
    status.nodes.iter().find(|seen| seen.node == status.node)?.token
}

/// What the nodes that are there say about each other.
struct Look {
    /// Each knows of each that it has a newer token than there was, and all the same one.
    changed: bool,
    /// How often one of them seemed unwell to another.
    missed: usize,
}

async fn look(world: &World, before: Option<TokenName>) -> Look {
    let present = world.present();
    let names: Vec<_> = present.iter().map(|node| &world.nodes[*node].machine.name.id).collect();
    let (mut tokens, mut missed) = (Vec::new(), 0);
    for node in &present {
        let Some(status) = world.coordinator(*node).await else { continue };
        for seen in status.cluster.nodes.iter().filter(|seen| names.contains(&&seen.node)) {
            tokens.push(seen.token);
            missed += usize::from(matches!(seen.lifecycle, Lifecycle::Unhealthy | Lifecycle::Dead));
        }
    }
    let one = tokens.first().copied().flatten();
    let changed = one.is_some()
        && one > before
        && tokens.len() == names.len() * names.len()
        && tokens.iter().all(|token| *token == one);
    Look { changed, missed }
}
