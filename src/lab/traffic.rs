//! What other people do: in the real Tor network something goes from each relay to each other one all the time.
//!
//! Tor hands on the first of several DESTROY cells, and the others with whatever goes to the same relay next (see
//! `tor::destroys`). In a network where nothing else goes, a relay would hear minutes later that an introduction point is no
//! more, and acknowledge introductions that nobody gets.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::control;
use super::error::LabError;
use super::place::Place;
use super::tor_network::{TorNetwork, tor_directory};
use super::torrc::CONTROL;
use crate::tor::controller::Controller;

/// Whose tor it is.
const NAME: &str = "others";
/// Between two circuits: the twelve relays have all been asked to reach all others within ten seconds.
const PAUSE: Duration = Duration::from_millis(75);
/// So many circuits are left for a while, which they need to get to their second relay.
const KEPT: usize = 20;

/// Begins it. It ends with the lab.
pub(super) async fn begin(network: &TorNetwork, place: &Arc<Place>, limit: Duration) -> Result<(), LabError> {
    let directory = tor_directory(NAME);
    let torrc = network.torrc(NAME, &directory).no_socks();
    network.run(NAME, place, &directory, &torrc)?;
    let (tor, _) = control::connect(&directory.join(CONTROL), limit).await?;
    let relays = network.identities();
    tokio::spawn(async move { go_on(&tor, &relays).await });
    Ok(())
}

/// Makes circuits from each relay to each other one, in turn, until tor ends.
async fn go_on(tor: &Controller, relays: &[[u8; 20]]) {
    let pairs = relays.iter().flat_map(|from| relays.iter().map(move |to| [*from, *to]));
    let pairs: Vec<_> = pairs.filter(|[from, to]| from != to).collect();
    let mut ticks = interval(PAUSE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut circuits = VecDeque::new();
    for path in pairs.iter().cycle() {
        ticks.tick().await;
        if tor.closed().is_some() {
            return;
        }
        // A relay that a scene has hurt is not reached; it is tried again in its turn.
        circuits.extend(tor.extend_circuit_by(path).await.ok());
        if circuits.len() > KEPT
            && let Some(circuit) = circuits.pop_front()
        {
            // It may have failed by itself.
            let _ = tor.close_circuit(&circuit).await;
        }
    }
}
