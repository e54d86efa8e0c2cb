//! A tor that gets no more introduction circuits: each is closed as soon as its first hop is there.

use std::path::Path;
use std::time::Duration;

use tokio::task::JoinSet;

use super::control;
use super::error::LabError;
use crate::tor::event::{CircuitEvent, EventKind, TorEvent};

/// Hinders a tor until it is dropped.
#[derive(Debug)]
pub(super) struct Hindrance {
    _closer: JoinSet<()>,
}

impl Hindrance {
    /// Begins to hinder the tor with this control socket, which must answer within `limit`.
    pub(super) async fn of(socket: &Path, limit: Duration) -> Result<Self, LabError> {
        let (tor, mut events) = control::connect(socket, limit).await?;
        // One that is established all the same, before it could be closed, is told of by a minor event.
        tor.setevents(&[EventKind::Circ, EventKind::CircMinor]).await?;
        let mut closer = JoinSet::new();
        closer.spawn(async move {
            while let Some(event) = events.recv().await {
                if let TorEvent::Circ(circuit) | TorEvent::CircMinor(circuit) = event
                    && is_begun(&circuit)
                {
                    // It may have failed by itself.
                    let _ = tor.close_circuit(&circuit.id).await;
                }
            }
        });
        Ok(Self { _closer: closer })
    }
}

/// Whether this event is about an introduction circuit, and not its end. Those that stand have no further ones. A circuit
/// that ends before its first hop is there would be held against the guard.
fn is_begun(circuit: &CircuitEvent) -> bool {
    let ended = matches!(circuit.change.as_str(), "CLOSED" | "FAILED");
    circuit.is_introduction() && !circuit.path.is_empty() && !ended
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tor::event;

    #[test]
    fn introduction_circuits_are_hindered_until_they_end() {
        let begun = |line: &str| is_begun(&event::circuit(line).unwrap());
        let guard = format!("${}~guard", "A".repeat(40));
        assert!(!begun("7 LAUNCHED PURPOSE=HS_SERVICE_INTRO HS_STATE=HSSI_CONNECTING"));
        assert!(begun(&format!("7 EXTENDED {guard} PURPOSE=HS_SERVICE_INTRO HS_STATE=HSSI_CONNECTING")));
        assert!(begun(&format!(
            "7 PURPOSE_CHANGED {guard} PURPOSE=HS_SERVICE_INTRO HS_STATE=HSSI_ESTABLISHED"
        )));
        assert!(!begun(&format!("7 CLOSED {guard} PURPOSE=HS_SERVICE_INTRO REASON=REQUESTED")));
        assert!(!begun(&format!("7 EXTENDED {guard} PURPOSE=HS_SERVICE_REND HS_STATE=HSSR_CONNECTING")));
    }
}
