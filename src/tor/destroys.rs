//! Gets DESTROY cells out of tor that it would keep to itself.
//!
//! When tor closes several circuits over one connection in the same moment, it sends the first DESTROY cell; the others wait
//! until any other cell goes the same way (`circuitmux_append_destroy_cell` of tor 0.4.8 and 0.4.9 tells no scheduler of
//! them). With each new shared random value tor closes all introduction circuits of the old descriptor at once. If it has
//! taken to another guard since it made them, as it does for ten minutes when one was silent, nothing else goes to the old
//! one. Relays then acknowledge introductions that nobody hears, and a client with the old descriptor never learns that it
//! should fetch a new one. A circuit of one hop to that guard sends all that waits.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tokio::time::sleep;
use tracing::debug;

use crate::tor::controller::Controller;
use crate::tor::event::TorEvent;

/// After the first of several circuits was closed; by then tor has closed the others.
const WAIT: Duration = Duration::from_millis(500);
/// How long the circuit is left there: tor writes to a connection every ten milliseconds.
const LIFE: Duration = Duration::from_secs(2);

/// The guards to which cells are just being pushed, at most as many as a tor has.
#[derive(Debug, Clone, Default)]
pub struct Destroys {
    begun: BTreeMap<[u8; 20], Instant>,
}

impl Destroys {
    /// Takes in an event, and has what may wait for one of tor's guards sent.
    pub fn push(&mut self, tor: &Controller, event: &TorEvent) {
        if let Some(guard) = self.take(Instant::now(), event) {
            tokio::spawn(push(tor.clone(), guard));
        }
    }

    /// Takes in an event; the guard by which an introduction circuit went that was closed, once for all that are closed
    /// together.
    fn take(&mut self, now: Instant, event: &TorEvent) -> Option<[u8; 20]> {
        let TorEvent::Circ(circuit) = event else { return None };
        let closed = matches!(circuit.change.as_str(), "CLOSED" | "FAILED");
        if !closed || circuit.purpose.as_deref() != Some("HS_SERVICE_INTRO") {
            return None;
        }
        let guard = *circuit.path.first()?;
        self.begun.retain(|_, begun| now.saturating_duration_since(*begun) < WAIT);
        let is_new = !self.begun.contains_key(&guard);
        self.begun.entry(guard).or_insert(now);
        is_new.then_some(guard)
    }
}

/// Sends a guard a cell, so that all others are sent, too.
async fn push(tor: Controller, guard: [u8; 20]) {
    sleep(WAIT).await;
    match tor.extend_circuit_by(&[guard]).await {
        Ok(circuit) => {
            sleep(LIFE).await;
            let closed = tor.close_circuit(&circuit).await;
            debug!(circuit, ?closed, "a guard was sent a cell, as others may have waited for one");
        }
        // One that is in no consensus any more, or a tor that ends: whose connections end, too.
        Err(error) => debug!(%error, "tor sends no cell to a guard of closed circuits"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tor::event;

    fn closed(guard: char, purpose: &str, change: &str) -> TorEvent {
        let path = format!("${}~a,${}~b", guard.to_string().repeat(40), "F".repeat(40));
        TorEvent::Circ(event::circuit(&format!("7 {change} {path} PURPOSE={purpose}")).unwrap())
    }

    #[test]
    fn each_guard_is_sent_one_cell_for_circuits_that_are_closed_together() {
        let (mut destroys, now) = (Destroys::default(), Instant::now());
        let mut told = |after_ms, event: &TorEvent| {
            destroys.take(now + Duration::from_millis(after_ms), event).map(|guard| guard[0])
        };
        assert_eq!(told(0, &closed('A', "HS_SERVICE_INTRO", "CLOSED")), Some(0xaa));
        assert_eq!(told(1, &closed('A', "HS_SERVICE_INTRO", "CLOSED")), None);
        assert_eq!(told(2, &closed('B', "HS_SERVICE_INTRO", "FAILED")), Some(0xbb));
        assert_eq!(told(499, &closed('A', "HS_SERVICE_INTRO", "CLOSED")), None);
        // That one has been sent; what is closed now waits anew.
        assert_eq!(told(500, &closed('A', "HS_SERVICE_INTRO", "CLOSED")), Some(0xaa));
    }

    #[test]
    fn other_circuits_and_events_are_no_reason() {
        let (mut destroys, now) = (Destroys::default(), Instant::now());
        let line = "7 CLOSED PURPOSE=HS_SERVICE_INTRO";
        for event in [
            closed('A', "HS_SERVICE_REND", "CLOSED"),
            closed('A', "HS_SERVICE_INTRO", "BUILT"),
            TorEvent::Circ(event::circuit(line).unwrap()),
            TorEvent::Bandwidth { read: 1 },
        ] {
            assert_eq!(destroys.take(now, &event), None, "{event:?}");
        }
    }
}
