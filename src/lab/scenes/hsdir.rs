//! `hsdir-forgets`, `hsdir-hangs`, `hsdir-refuses`: one HSDir of the descriptor is ill. As soon as it is well it gets the
//! present descriptor again, and those that had it are left alone.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::load::Played;
use crate::lab::control::{self, AuthKeys, Held};
use crate::lab::error::LabError;
use crate::lab::measure::{Bound, Measure};
use crate::lab::observer::Copies;
use crate::lab::supervisor::Supervised;
use crate::lab::world::{POLL, World};
use crate::proto::onion::hsdir::HsDir;
use crate::tor::controller::Controller;

/// From the beginning of the illness until the HSDir has been given its descriptor again, as a rule.
const QUIET: Duration = Duration::from_secs(90);
/// By then it has it again: HSDirs are looked at every three quarters of a minute, and a failed post is repeated sooner.
const POSTED: f64 = 60.0;
/// After this the figure is missed anyway.
const PATIENCE: Duration = Duration::from_secs(90);
/// How long the healthy HSDirs may take to lose points that are gone. The way to one of them may lead through the relay that
/// hangs, which a tor notices by its silence only: such a post is given up after five seconds, and its repetition after ten.
const GONE: f64 = 20.0;
/// How long they may take to have new points. So may a circuit of a tor that has just started, and it gives that up after
/// some forty seconds.
const CHANGE_LIMIT: Duration = Duration::from_secs(75);
/// How long the control port of a relay that runs may take.
const CONTROL_LIMIT: Duration = Duration::from_secs(5);

/// What is the matter with the HSDir.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Illness {
    /// It restarts: descriptors are only in its memory.
    Forgets,
    /// It says nothing, and closes nothing.
    Hangs,
    /// It takes and gives no descriptors.
    Refuses,
}

pub(super) async fn play(world: &mut World, illness: Illness) -> Result<Played, LabError> {
    world.quiet(QUIET).await?;
    let victim = world.standby().await;
    let hsdir = patient(world, victim).await?;
    let relay = world.ground.network.relay(&hsdir.fingerprint()).ok_or(LabError::NoRelay)?;
    let (tor, control) = (relay.tor.clone(), relay.control());
    world.screen.note(&format!("{}: {illness:?}", relay.name));
    let (missed, changed) = match illness {
        Illness::Forgets => {
            tor.crash().await;
            (until_forgotten(world, hsdir, &tor).await?, None)
        }
        Illness::Hangs => {
            tor.freeze().await;
            let missed = change(world, hsdir, victim).await;
            tor.thaw().await;
            missed?
        }
        Illness::Refuses => {
            let (controller, _events) = control::connect(&control, CONTROL_LIMIT).await?;
            serve_directory(&controller, false).await?;
            let missed = change(world, hsdir, victim).await;
            serve_directory(&controller, true).await?;
            missed?
        }
    };
    let well = Instant::now();
    world.screen.note("the HSDir is well again");
    let before = world.observer.read().await?;
    let posted = until_posted(world, hsdir, well).await?;
    let again = posted_in_vain(&before, &world.observer.read().await?, hsdir);
    world.let_clients_forget().await?;
    let changed = changed.into_iter().flat_map(|Changed { gone, new }| {
        [
            Measure::time("ill: dead points gone on the others", Bound::AtMost(GONE), gone),
            Measure::time("ill: new points on the others", Bound::Shown, Some(new)),
        ]
    });
    Ok(Played {
        measures: vec![
            Measure::count("ill: it lacks the present descriptor", Bound::AtLeast(1.0), usize::from(missed)),
            Measure::time("well again: it has the present descriptor", Bound::AtMost(POSTED), posted),
            Measure::count("other HSDirs that were posted to in vain", Bound::AtMost(0.0), again),
        ]
        .into_iter()
        .chain(changed)
        .collect(),
        notes: Vec::new(),
    })
}

/// One of the descriptor's HSDirs to which something may happen: no authority, and no relay through which this node's tor a goes.
/// Started anew while such a guard hangs, a tor waits for it as long as a circuit may take.
async fn patient(world: &mut World, node: usize) -> Result<HsDir, LabError> {
    let (tor, _events) = control::connect(&world.nodes[node].tor_a_control(), CONTROL_LIMIT).await?;
    let guards = control::first_hops(&tor).await?;
    let copies = world.observer.read().await?;
    let is_spare = |hsdir: &&HsDir| {
        !guards.contains(&hsdir.rsa_id) && world.ground.network.relay(&hsdir.fingerprint()).is_some()
    };
    copies.keys().find(is_spare).copied().ok_or(LabError::NoRelay)
}

/// Whether a relay takes and hands out what directories have.
async fn serve_directory(controller: &Controller, serve: bool) -> Result<(), LabError> {
    Ok(controller.setconf(&[("DirCache", Some(if serve { "1" } else { "0" }))]).await?)
}

/// Waits until an HSDir that was restarted says that it has nothing; whether it did.
async fn until_forgotten(world: &mut World, hsdir: HsDir, tor: &Supervised) -> Result<bool, LabError> {
    tor.ready(PATIENCE).await?;
    let began = Instant::now();
    while began.elapsed() < CHANGE_LIMIT {
        if world.observer.read().await?.get(&hsdir).is_some_and(Option::is_none) {
            return Ok(true);
        }
        sleep(POLL).await;
    }
    Ok(false)
}

/// How long healthy HSDirs took to have a change.
struct Changed {
    /// Points of before were gone everywhere; None if that was not seen before the new ones.
    gone: Option<Duration>,
    /// New points were everywhere.
    new: Duration,
}

/// Crashes this node's tor a, so that the descriptor changes, and waits until all HSDirs but this one have the change; whether
/// this one lacks it, and how long the others took.
async fn change(world: &mut World, ill: HsDir, victim: usize) -> Result<(bool, Option<Changed>), LabError> {
    let dead = world.known_points(victim).await?;
    world.note("tor a crashed, so that the descriptor changes", victim);
    world.nodes[victim].tor_a.crash().await;
    let (began, limit, mut gone) = (Instant::now(), CHANGE_LIMIT, None);
    while began.elapsed() < limit {
        let points = world.points(victim).await;
        let copies = world.observer.read().await?;
        let others = |good: &dyn Fn(&AuthKeys) -> bool| {
            let mut others = copies.iter().filter(|(id, _)| **id != ill);
            others.all(|(_, held)| held.as_ref().is_some_and(|held| good(&held.points)))
        };
        if gone.is_none() && others(&|held| dead.is_disjoint(held)) {
            gone = Some(began.elapsed());
        }
        let is_new = |held: &AuthKeys| !points.is_disjoint(held) && dead.is_disjoint(held);
        if others(&is_new) {
            let has_it = copies.get(&ill).and_then(Option::as_ref).is_some_and(|held| is_new(&held.points));
            return Ok((!has_it, Some(Changed { gone, new: began.elapsed() })));
        }
        sleep(POLL).await;
    }
    Err(LabError::TimedOut { what: "a change on the other HSDirs".to_owned(), limit })
}

/// How many other HSDirs got anew what they had. One whose upload had been stuck in the relay that was ill gets something else.
fn posted_in_vain(before: &Copies, after: &Copies, but: HsDir) -> usize {
    let in_vain = |(hsdir, held): &(&HsDir, &Option<Held>)| {
        let (Some(held), Some(Some(had))) = (held, before.get(hsdir)) else { return false };
        **hsdir != but && held.points == had.points && held.counter != had.counter
    };
    after.iter().filter(in_vain).count()
}

/// How long after `since` the HSDir had what the others have; None if not in time.
async fn until_posted(world: &mut World, hsdir: HsDir, since: Instant) -> Result<Option<Duration>, LabError> {
    while since.elapsed() < PATIENCE {
        let copies = world.observer.read().await?;
        let own = copies.get(&hsdir).and_then(Option::as_ref);
        let mut others = copies.iter().filter(|(id, _)| **id != hsdir).filter_map(|(_, held)| held.as_ref());
        if own.is_some_and(|own| others.any(|other| other.points == own.points)) {
            return Ok(Some(since.elapsed()));
        }
        sleep(POLL).await;
    }
    Ok(None)
}
