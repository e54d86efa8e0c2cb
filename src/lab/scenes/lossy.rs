//! `lossy`: a fifth of all datagrams between the lease holder and the others are lost, each way, and a fifth of the others
//! come twice. Nobody is given up, and nobody takes over.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::load::{Allowed, Load, Played};
use crate::lab::control::AuthKeys;
use crate::lab::error::LabError;
use crate::lab::measure::{Bound, Measure};
use crate::lab::world::{POLL, World};

/// Pages.
const FETCHES: usize = 60;
/// How long datagrams are lost: some forty rounds of probes.
const LOSS: Duration = Duration::from_secs(40);
/// The loss, and the load's beginning.
const QUIET: Duration = Duration::from_mins(1);
/// So many of a hundred, each way: of a question and its answer a third arrives less than whole.
const LOST: u8 = 20;

pub(super) async fn play(world: &mut World) -> Result<Played, LabError> {
    world.quiet(QUIET).await?;
    let load = Load::start(world, "lossy").await?;
    let before = world.publishing().await;
    let victim = before.first().copied().unwrap_or(0);
    world.note("a fifth of its datagrams is lost, a fifth comes twice", victim);
    world.ground.wires.disturb(&world.nodes[victim].machine.place, LOST).await?;
    let seen = watch(world, &before).await;
    world.note("its datagrams come once again", victim);
    world.ground.wires.leave_alone(&world.nodes[victim].machine.place).await?;
    let seen = seen?;
    let mut played = load.finish(FETCHES, Allowed::Nothing).await?;
    let measures = [
        Measure::count("looks at the descriptor and the lease", Bound::AtLeast(20.0), seen.looks),
        Measure::count("looks at which a node's points were missing", Bound::AtMost(0.0), seen.missing),
        Measure::count("looks at which another node published", Bound::AtMost(0.0), seen.other),
        Measure::time("points missing, at most", Bound::AtMost(0.0), Some(seen.longest)),
    ];
    played.measures.splice(0..0, measures);
    Ok(played)
}

/// What was seen while datagrams were lost.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    looks: usize,
    missing: usize,
    other: usize,
    /// The longest row of looks at which points were missing.
    longest: Duration,
}

async fn watch(world: &mut World, publishing: &[usize]) -> Result<Seen, LabError> {
    let mut points: Vec<AuthKeys> = Vec::new();
    for node in world.present() {
        points.push(world.known_points(node).await?);
    }
    let (mut seen, began) = (Seen::default(), Instant::now());
    let mut gone: Option<Instant> = None;
    while began.elapsed() < LOSS {
        let copies = world.observer.read().await?;
        let lacks = |points: &AuthKeys| copies.values().flatten().any(|held| held.points.is_disjoint(points));
        if points.iter().any(lacks) {
            let since = *gone.get_or_insert_with(Instant::now);
            (seen.missing, seen.longest) = (seen.missing + 1, seen.longest.max(since.elapsed()));
        } else {
            gone = None;
        }
        seen.other += usize::from(world.publishing().await != publishing);
        seen.looks += 1;
        sleep(POLL).await;
    }
    Ok(seen)
}
