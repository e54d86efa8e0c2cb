//! `spread`: sixty pages, every node serves its share, and every node's canary is answered.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::load::{Allowed, Played, at_least, verdict};
use crate::lab::control::AuthKeys;
use crate::lab::error::LabError;
use crate::lab::measure::{Bound, Measure};
use crate::lab::pool::{Crowd, Pool};
use crate::lab::world::{POLL, World};

/// Pages.
const FETCHES: usize = 60;
/// Nothing changes meanwhile: the shares follow from one descriptor.
const QUIET: Duration = Duration::from_mins(1);
/// A node may serve so many standard deviations more or less than its share. Chance alone goes beyond four in one
/// run of ten thousand.
const DEVIATIONS: f64 = 4.0;
/// A canary asks about once a minute; one that takes an unlucky way may ask again.
const CANARIES: Duration = Duration::from_mins(3);

pub(super) async fn play(world: &mut World) -> Result<Played, LabError> {
    world.quiet(QUIET).await?;
    world.let_clients_forget().await?;
    let shares = shares(world).await?;
    let served_before = world.target.served();
    let before = world.accepted().await?;
    let pool = Pool::start("spread", &world.clients, &world.address(), FETCHES, Crowd::Few, &world.screen);
    let fetches = pool.complete().await;
    let after = world.accepted().await?;
    let served = world.target.served() - served_before;
    let mut played = verdict(&fetches, FETCHES, Allowed::Repeats);
    // Pages come from the target itself: one request each, or more where one was made again.
    let count = usize::try_from(served).unwrap_or(usize::MAX);
    played.measures.push(Measure::count("requests the target has answered", at_least(FETCHES), count));
    for (((node, share), after), before) in world.nodes.iter().zip(shares).zip(after).zip(before) {
        let served = after - before;
        let served = usize::try_from(served).unwrap_or(usize::MAX);
        played.measures.push(Measure::count(format!("served by {}", node.machine.name), fair(share), served));
    }
    let (took, ways) = canaries(world).await;
    played.measures.push(Measure::time(
        "every node's canary was answered, after the pages",
        Bound::Happens,
        took,
    ));
    played.measures.push(Measure::count(
        "ways from a node to one that answered it",
        at_least(world.nodes.len()),
        ways,
    ));
    Ok(played)
}

/// Waits until each node's canary has been answered lately; by how many nodes, all together.
async fn canaries(world: &World) -> (Option<Duration>, usize) {
    let began = Instant::now();
    loop {
        let mut met = Vec::new();
        for node in 0..world.nodes.len() {
            let status = world.coordinator(node).await.and_then(|status| status.canary);
            met.push(status.map_or(0, |canary| canary.met.len()));
        }
        if met.iter().all(|met| *met > 0) {
            return (Some(began.elapsed()), met.iter().sum());
        }
        if began.elapsed() > CANARIES {
            return (None, met.iter().sum());
        }
        sleep(POLL).await;
    }
}

/// Each node's part of the introduction points in the descriptor: clients choose among those by chance.
async fn shares(world: &mut World) -> Result<Vec<f64>, LabError> {
    let copies = world.observer.read().await?;
    let held: AuthKeys = copies.values().flatten().flat_map(|held| held.points.iter().copied()).collect();
    let mut shares = Vec::new();
    for node in 0..world.nodes.len() {
        let points = world.points(node).await;
        #[allow(clippy::cast_precision_loss)] // at most twenty
        shares.push(points.intersection(&held).count() as f64 / held.len().max(1) as f64);
    }
    Ok(shares)
}

/// How many of the fetches a node with that share serves, if chance is kind: never none.
fn fair(share: f64) -> Bound {
    #[allow(clippy::cast_precision_loss)] // sixty
    let number = FETCHES as f64;
    let mean = number * share;
    let spread = DEVIATIONS * (mean * (1.0 - share)).sqrt();
    Bound::Between((mean - spread).ceil().max(1.0), (mean + spread).floor().min(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_third_is_twenty_give_or_take_and_nobody_serves_none() {
        assert_eq!(fair(1.0 / 3.0), Bound::Between(6.0, 34.0));
        assert_eq!(fair(1.0 / 9.0), Bound::Between(1.0, 16.0));
        assert_eq!(fair(0.0), Bound::Between(1.0, 0.0));
    }
}
