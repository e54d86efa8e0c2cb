//! `flood`: one client asks for far more than a circuit may have. It is refused, and in the end its circuit is closed;
//! the others notice nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::sleep;

use super::load::{Allowed, Load, Played, at_least};
use crate::lab::client::page;
use crate::lab::control;
use crate::lab::error::LabError;
use crate::lab::measure::{Bound, Measure};
use crate::lab::world::{POLL, World};

/// What a circuit may have meanwhile. The other clients, who fetch one page after the other, stay far below.
const LIMITS: &str = "requests_per_second = 5\nburst = 20\nconnections = 10\nclose_after = 100\n";
/// The same as numbers.
const PER_SECOND: f64 = 5.0;
const BURST: f64 = 20.0;
const CLOSE_AFTER: usize = 100;
/// Streams that the flooding client opens at the same time, again and again.
const FLOODING: usize = 16;
/// Pages of the others.
const FETCHES: usize = 60;
/// The flood and what follows.
const QUIET: Duration = Duration::from_mins(1);
/// The watchdog asks the proxy every two seconds.
const CLOSED: f64 = 5.0;
/// A tor that runs lets the lab in at once.
const CONTROL_LIMIT: Duration = Duration::from_secs(10);
/// After this a figure is missed anyway.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two streams of one task: a refusal takes milliseconds, and two processors have more to do.
const PAUSE: Duration = Duration::from_millis(20);

pub(super) async fn play(world: &mut World) -> Result<Played, LabError> {
    for node in &world.nodes {
        node.limit_circuits(Some(LIMITS)).await?;
    }
    let played = flood(world).await;
    for node in &world.nodes {
        node.limit_circuits(None).await?;
    }
    played
}

async fn flood(world: &mut World) -> Result<Played, LabError> {
    world.settle().await?;
    world.quiet(QUIET).await?;
    let load = Load::start(world, "flood").await?;
    let began = Instant::now();
    let flood = Flood::start(world);
    let named = until_named(world, began).await;
    let closed = match named {
        Some((node, circuit)) => {
            world.note("names a circuit that is to be closed", node);
            until_closed(world, node, circuit).await?
        }
        None => None,
    };
    let lasted = began.elapsed();
    let (served, refused) = flood.stop().await;
    let mut played = load.finish(FETCHES, Allowed::Nothing).await?;
    let most = BURST + PER_SECOND * lasted.as_secs_f64();
    let measures = [
        Measure::count("refusals of the client that floods", at_least(CLOSE_AFTER), refused),
        Measure::count("pages it got all the same", Bound::AtMost(most.floor()), served),
        Measure::time("its circuit named", Bound::Happens, named.map(|_| lasted)),
        Measure::time("its circuit closed after that", Bound::AtMost(CLOSED), closed),
    ];
    played.measures.splice(0..0, measures);
    Ok(played)
}

/// The circuit that a proxy wants closed, and its node.
async fn until_named(world: &World, began: Instant) -> Option<(usize, u32)> {
    while began.elapsed() < PATIENCE {
        for node in 0..world.nodes.len() {
            let named = world.proxy(node).await.and_then(|status| status.abusive_circuits.first().copied());
            if let Some(circuit) = named {
                return Some((node, circuit));
            }
        }
        sleep(POLL).await;
    }
    None
}

/// How long it takes until tor has it no more. Its client goes on with it, so nobody else closes it.
async fn until_closed(world: &World, node: usize, circuit: u32) -> Result<Option<Duration>, LabError> {
    let (tor, _) = control::connect(&world.nodes[node].tor_a_control(), CONTROL_LIMIT).await?;
    let (named, id) = (Instant::now(), circuit.to_string());
    while named.elapsed() < PATIENCE {
        if tor.circuits().await?.iter().all(|circuit| circuit.id != id) {
            return Ok(Some(named.elapsed()));
        }
        sleep(POLL).await;
    }
    Ok(None)
}

/// A client that floods.
struct Flood {
    tasks: JoinSet<()>,
    served: Arc<AtomicUsize>,
    refused: Arc<AtomicUsize>,
}

impl Flood {
    /// Begins to open streams over one circuit.
    fn start(world: &World) -> Self {
        let (served, refused): (Arc<AtomicUsize>, Arc<AtomicUsize>) = Default::default();
        let mut tasks = JoinSet::new();
        for client in world.clients.iter().take(1).cycle().take(FLOODING) {
            let (socks, address) = (client.socks, world.address());
            let (served, refused) = (Arc::clone(&served), Arc::clone(&refused));
            tasks.spawn(async move {
                loop {
                    let count =
                        if page(socks, &address, "flooding").await.is_ok() { &served } else { &refused };
                    count.fetch_add(1, Ordering::Relaxed);
                    sleep(PAUSE).await;
                }
            });
        }
        Self { tasks, served, refused }
    }

    /// Ends it; pages and refusals.
    async fn stop(mut self) -> (usize, usize) {
        self.tasks.shutdown().await;
        (self.served.load(Ordering::Relaxed), self.refused.load(Ordering::Relaxed))
    }
}
