//! `partition`: a node is cut off from the others, but not from Tor. Both sides serve, both may publish.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::load::{Allowed, Load, Played};
use crate::lab::error::LabError;
use crate::lab::measure::{Bound, Measure};
use crate::lab::world::{POLL, World};

/// Pages.
const FETCHES: usize = 100;
/// How long the mesh is cut: long enough for both sides to have a holder.
const CUT: Duration = Duration::from_secs(15);
/// The cut and the healing.
const QUIET: Duration = Duration::from_secs(40);
/// By then there is one holder again.
const HEALED: f64 = 5.0;
/// After this the figure is missed anyway.
const PATIENCE: Duration = Duration::from_secs(30);
/// One holder for so long counts as settled.
const STEADY: Duration = Duration::from_secs(3);

pub(super) async fn play(world: &mut World) -> Result<Played, LabError> {
    world.quiet(QUIET).await?;
    let load = Load::start(world, "partition").await?;
    let standby = world.standby().await;
    let victim = world.nodes[standby].machine.name.number;
    world.note("mesh cut", standby);
    world.ground.wires.mesh(victim, false).await?;
    sleep(CUT).await;
    let holders = world.publishing().await.len();
    world.note("mesh healed", standby);
    world.ground.wires.mesh(victim, true).await?;
    let one = until_one_holder(world).await;
    let mut played = load.finish(FETCHES, Allowed::Repeats).await?;
    played.measures.insert(0, Measure::count("holders while cut", Bound::AtLeast(1.0), holders));
    let bound = Bound::AtMost(HEALED);
    played.measures.insert(1, Measure::time("healed: one holder again", bound, one));
    Ok(played)
}

/// How long until there is one holder and no other for a while.
async fn until_one_holder(world: &World) -> Option<Duration> {
    let began = Instant::now();
    let mut since: Option<Instant> = None;
    while began.elapsed() < PATIENCE {
        if world.publishing().await.len() == 1 {
            let since = *since.get_or_insert_with(Instant::now);
            if since.elapsed() >= STEADY {
                return Some(since.duration_since(began));
            }
        } else {
            since = None;
        }
        sleep(POLL).await;
    }
    None
}
