//! `relay-gone`, `relay-unreplaced`: a relay at which a node has an introduction point dies. The node's tor takes another one,
//! or cannot for some time, and clients hear of it.

use std::time::{Duration, Instant};

use data_encoding::HEXUPPER;
use tokio::time::sleep;

use super::load::{Allowed, Load, Played};
use crate::lab::control::{self, AuthKeys};
use crate::lab::error::LabError;
use crate::lab::hindrance::Hindrance;
use crate::lab::measure::{Bound, Measure};
use crate::lab::world::{POLL, World};

/// Pages, from before the blow until long after it.
const FETCHES: usize = 40;
/// The blow and what follows.
const QUIET: Duration = Duration::from_secs(75);
/// Tor tries the old one four times first.
const GONE: f64 = 30.0;
/// After this a figure is missed anyway. The node's way to the target may have led through the dead relay as well, and its tor
/// find another one so late that the node leaves the descriptor meanwhile.
const PATIENCE: Duration = Duration::from_mins(2);
/// How long the control port of a tor that runs may take.
const CONTROL_LIMIT: Duration = Duration::from_secs(5);
/// How long a relay may take to start.
const START_LIMIT: Duration = Duration::from_secs(30);

/// Whether the node's tor may take another relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Replacement {
    /// At once.
    AtOnce,
    /// As long as the dead one's point is in the descriptor, it does not succeed. Its attempts are counted: it makes no others
    /// in five minutes (`can_service_launch_intro_circuit`), unless it is started anew.
    Hindered,
}

pub(super) async fn play(world: &mut World, replacement: Replacement) -> Result<Played, LabError> {
    world.quiet(QUIET).await?;
    let load = Load::start(world, "relay-gone").await?;
    let victim = world.standby().await;
    let (key, fingerprint) = introducer(world, victim).await?;
    let relay = world.ground.network.relay(&fingerprint).ok_or(LabError::NoRelay)?;
    let (name, tor) = (relay.name.clone(), relay.tor.clone());
    let before = world.known_points(victim).await?.len();
    world.screen.note(&format!("{name}, at which {} has a point, killed", world.nodes[victim].machine.name));
    let mut hindrance = match replacement {
        Replacement::AtOnce => None,
        Replacement::Hindered => {
            Some(Hindrance::of(&world.nodes[victim].tor_a_control(), CONTROL_LIMIT).await?)
        }
    };
    let died = Instant::now();
    tor.kill().await;
    let is_gone = |held: &AuthKeys, _: &AuthKeys| !held.contains(&key);
    let gone = until_others(world, victim, &fingerprint, died, is_gone).await?;
    if hindrance.take().is_some() {
        world.note("tor a crashed, which had built as many circuits as it may in five minutes", victim);
        world.nodes[victim].tor_a.crash().await;
    }
    // Not all of them: one that is at the same relay as another node's is left out.
    let is_whole = |held: &AuthKeys, own: &AuthKeys| {
        own.len() >= before && !own.contains(&key) && !own.is_disjoint(held)
    };
    let whole = until_others(world, victim, &fingerprint, died, is_whole).await?;
    world.screen.note(&format!("{name} started"));
    tor.start().await;
    tor.ready(START_LIMIT).await?;
    let mut played = load.finish(FETCHES, Allowed::Failures).await?;
    world.let_clients_forget().await?;
    let measures = [
        Measure::time("the dead relay's point gone", Bound::AtMost(GONE), gone),
        Measure::time("as many points as before, and in the descriptor everywhere", Bound::Happens, whole),
    ];
    played.measures.splice(0..0, measures);
    Ok(played)
}

/// One of a node's introduction points in the descriptor, at a relay that is no authority, and that relay's fingerprint; if
/// there is one, at a relay through which neither the node's tor nor clients go: a tor that loses its only guard reaches nothing
/// for a while.
async fn introducer(world: &mut World, node: usize) -> Result<([u8; 32], String), LabError> {
    let copies = world.observer.read().await?;
    let is_published = |key: &[u8; 32]| copies.values().flatten().any(|held| held.points.contains(key));
    let (tor, _events) = control::connect(&world.nodes[node].tor_a_control(), CONTROL_LIMIT).await?;
    let mut guards = control::first_hops(&tor).await?;
    for client in &world.clients {
        guards.append(&mut control::first_hops(&client.controller).await?);
    }
    let points = world.introducers(node).await.into_iter().filter(|(key, _)| is_published(key));
    let spare = points.map(|(key, relay)| (guards.contains(&relay), key, HEXUPPER.encode(&relay)));
    let relays = spare.filter(|(_, _, name)| world.ground.network.relay(name).is_some());
    relays.min().map(|(_, key, name)| (key, name)).ok_or(LabError::NoRelay)
}

/// How long after `since` all HSDirs but the dead relay held what is wanted, which is told of what each holds and of the node's
/// own points; None if not in time.
async fn until_others(
    world: &mut World,
    node: usize,
    dead: &str,
    since: Instant,
    wanted: impl Fn(&AuthKeys, &AuthKeys) -> bool,
) -> Result<Option<Duration>, LabError> {
    while since.elapsed() < PATIENCE {
        let own = world.points(node).await;
        let copies = world.observer.read().await?;
        let mut others = copies.iter().filter(|(hsdir, _)| hsdir.fingerprint() != dead).map(|(_, held)| held);
        if others.all(|held| held.as_ref().is_some_and(|held| wanted(&held.points, &own))) {
            return Ok(Some(since.elapsed()));
        }
        sleep(POLL).await;
    }
    Ok(None)
}
