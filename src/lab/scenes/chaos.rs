//! `chaos`: every few seconds something happens to some node, whether or not it is over what happened before. Then nothing
//! more happens, and all is well again without a hand.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::time::sleep;

use super::load::{Allowed, Load, Played};
use crate::lab::error::LabError;
use crate::lab::measure::{Bound, Measure};
use crate::lab::node::Daemon;
use crate::lab::world::World;

/// Pages.
const FETCHES: usize = 100;
/// Blows.
const BLOWS: usize = 30;
/// Between two of them.
const BEAT: Duration = Duration::from_secs(3);
/// From the last blow until all is well.
const WELL: f64 = 60.0;

/// Something that happens to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blow {
    /// The serving tor crashes.
    TorA,
    /// The other tor crashes.
    TorB,
    /// A daemon crashes.
    Crash(Daemon),
    /// Everything crashes.
    Everything,
    /// Nothing on it runs until the next blow.
    Freeze,
    /// It is cut off from the others until the next blow.
    Cut,
}

const KINDS: [Blow; 9] = [
    Blow::TorA,
    Blow::TorB,
    Blow::Crash(Daemon::Proxy),
    Blow::Crash(Daemon::Coordinator),
    Blow::Crash(Daemon::Publisher),
    Blow::Crash(Daemon::Watchdog),
    Blow::Everything,
    Blow::Freeze,
    Blow::Cut,
];

pub(super) async fn play(world: &mut World) -> Result<Played, LabError> {
    let load = Load::start(world, "chaos").await?;
    let seed = rand::random();
    let mut rng = StdRng::seed_from_u64(seed);
    let mut struck = 0;
    for _ in 0..BLOWS {
        let victim = rng.random_range(0..world.nodes.len());
        let blow = KINDS[rng.random_range(0..KINDS.len())];
        world.note(&format!("{blow:?}"), victim);
        strike(world, victim, blow).await?;
        struck += 1;
        sleep(BEAT).await;
        relieve(world, victim, blow).await?;
    }
    world.screen.note("nothing more happens");
    let last = Instant::now();
    world.settle().await?;
    let well = last.elapsed();
    let mut played = load.finish(FETCHES, Allowed::Failures).await?;
    let measures = [
        Measure::count("blows", Bound::Shown, struck),
        Measure::time("after the last one: all well again", Bound::AtMost(WELL), Some(well)),
    ];
    played.measures.splice(0..0, measures);
    played.notes.push(format!("the blows follow from the number {seed}"));
    Ok(played)
}

async fn strike(world: &World, victim: usize, blow: Blow) -> Result<(), LabError> {
    let node = &world.nodes[victim];
    match blow {
        Blow::TorA => node.tor_a.crash().await,
        Blow::TorB => node.tor_b.crash().await,
        Blow::Crash(daemon) => node.crash_daemon(daemon).await,
        Blow::Everything => node.crash().await,
        Blow::Freeze => node.freeze().await,
        Blow::Cut => world.ground.wires.mesh(node.machine.name.number, false).await?,
    }
    Ok(())
}

/// Ends what lasts.
async fn relieve(world: &World, victim: usize, blow: Blow) -> Result<(), LabError> {
    let node = &world.nodes[victim];
    match blow {
        Blow::Freeze => node.thaw().await,
        Blow::Cut => world.ground.wires.mesh(node.machine.name.number, true).await?,
        Blow::TorA | Blow::TorB | Blow::Crash(_) | Blow::Everything => {}
    }
    Ok(())
}
