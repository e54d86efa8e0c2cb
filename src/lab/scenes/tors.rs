//! `tor-restart`, `tor-hung`, `tors-killed`: a node's tors crash or hang under load, and are started again. Nobody but
//! the node itself does anything about it.

use std::time::{Duration, Instant};

use super::load::{Allowed, Load, Played};
use crate::lab::error::LabError;
use crate::lab::measure::{Bound, Measure};
use crate::lab::world::World;

/// Pages, from before the blow until long after it.
const FETCHES: usize = 200;
/// The blow and what follows.
const QUIET: Duration = Duration::from_secs(40);
/// The publisher survives and notices.
const NOTICED: f64 = 2.0;
/// A tor that hangs closes nothing: the watchdog must find out that it gives no answer, and kill it.
const CLEAN: f64 = 5.0;
/// After this a figure is missed anyway.
const PATIENCE: Duration = Duration::from_secs(30);

/// What happens to a standby node's tors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blow {
    /// The serving one crashes.
    Crash,
    /// The serving one stops, and keeps its connections.
    Hang,
    /// Both crash.
    CrashBoth,
}

pub(super) async fn play(world: &mut World, blow: Blow) -> Result<Played, LabError> {
    let (scene, what, limit) = match blow {
        Blow::Crash => ("tor-restart", "tor a crashed", NOTICED),
        Blow::Hang => ("tor-hung", "tor a hangs", CLEAN),
        Blow::CrashBoth => ("tors-killed", "both tors crashed", NOTICED),
    };
    world.quiet(QUIET).await?;
    let load = Load::start(world, scene).await?;
    let victim = world.standby().await;
    let dead = world.known_points(victim).await?;
    let began = Instant::now();
    world.note(what, victim);
    let node = &world.nodes[victim];
    match blow {
        Blow::Crash => node.tor_a.crash().await,
        Blow::Hang => node.tor_a.freeze().await,
        Blow::CrashBoth => {
            node.tor_a.crash().await;
            node.tor_b.crash().await;
        }
    }
    let clean = world.until_held(began, PATIENCE, |held| held.is_disjoint(&dead)).await?;
    let back = world.until_back(victim, PATIENCE).await?.map(|()| began.elapsed());
    let mut played = load.finish(FETCHES, Allowed::Repeats).await?;
    let measures = [
        Measure::time("dead points gone everywhere", Bound::AtMost(limit), clean),
        Measure::time("its new points everywhere", Bound::Happens, back),
    ];
    played.measures.splice(0..0, measures);
    Ok(played)
}
