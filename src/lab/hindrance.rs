//! A tor that gets no introduction circuit more: each is closed before it is finished.

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
    /// Begins to hinder the tor with this control socket, which may take so long to answer.
    pub(super) async fn of(socket: &Path, limit: Duration) -> Result<Self, LabError> {
        let (tor, mut events) = control::connect(socket, limit).await?;
        // A circuit that was kept for later becomes one of these by a minor event.
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

/// Whether this is an introduction circuit that something happens to, but its end. Nothing happens to those that stand.
fn is_begun(circuit: &CircuitEvent) -> bool {
    circuit.is_introduction() && !matches!(circuit.change.as_str(), "CLOSED" | "FAILED")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tor::event;

    #[test]
    fn introduction_circuits_are_hindered_until_they_end() {
        let begun = |line: &str| is_begun(&event::circuit(line).unwrap());
        assert!(begun("7 LAUNCHED PURPOSE=HS_SERVICE_INTRO HS_STATE=HSSI_CONNECTING"));
        assert!(begun("7 CANNIBALIZED PURPOSE=HS_SERVICE_INTRO HS_STATE=HSSI_CONNECTING"));
        assert!(!begun("7 CLOSED PURPOSE=HS_SERVICE_INTRO HS_STATE=HSSI_CONNECTING REASON=REQUESTED"));
        assert!(!begun("7 LAUNCHED PURPOSE=HS_SERVICE_REND HS_STATE=HSSR_CONNECTING"));
    }
}
