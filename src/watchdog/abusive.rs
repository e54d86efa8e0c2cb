//! Circuits over which clients went on asking for too much: the proxy names them, the serving tor closes them. No other
//! daemon has a way to do both.
//!
//! Only circuits to clients of the onion service are closed, whatever is named: a proxy that was taken over can cut what goes
//! through it anyway, and no introduction point.

use tokio::sync::watch;
use tracing::{debug, info};

use crate::tor::controller::Controller;
use crate::tor::event::CircuitEvent;

/// What tor calls a circuit to a client of its onion service.
const TO_A_CLIENT: &str = "HS_SERVICE_REND";

/// The circuits that the proxy names.
#[derive(Debug)]
pub(super) struct Abusive {
    named: watch::Receiver<Vec<u32>>,
}

impl Abusive {
    /// Those that are named there.
    pub(super) fn new(named: watch::Receiver<Vec<u32>>) -> Self {
        Self { named }
    }

    /// Waits until others are named. Safe to drop in a `select!`.
    pub(super) async fn changed(&mut self) {
        if self.named.changed().await.is_err() {
            // Nobody will name any more.
            std::future::pending::<()>().await;
        }
    }

    /// Closes those that are still there.
    pub(super) async fn close(&mut self, tor: &Controller) {
        let named = self.named.borrow_and_update().clone();
        let open = match tor.circuits().await {
            Ok(open) => open,
            Err(error) => return debug!(%error, "tor does not say which circuits it has"),
        };
        let mut count = 0;
        for circuit in named.iter().filter(|circuit| leads_to_client(&open, **circuit)) {
            match tor.close_circuit(&circuit.to_string()).await {
                Ok(()) => count += 1,
                Err(error) => debug!(%error, "a circuit was not closed"),
            }
        }
        if count > 0 {
            info!(count, "closed circuits over which clients went on asking for too much");
        }
    }
}

/// Whether a circuit is there, and one to a client.
fn leads_to_client(open: &[CircuitEvent], circuit: u32) -> bool {
    let id = circuit.to_string();
    open.iter().any(|open| open.id == id && open.purpose.as_deref() == Some(TO_A_CLIENT))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tor::event;

    #[test]
    fn circuits_that_are_no_clients_cannot_be_named() {
        let open: Vec<_> = [
            "7 BUILT PURPOSE=HS_SERVICE_REND HS_STATE=HSSR_JOINED",
            "8 BUILT PURPOSE=HS_SERVICE_INTRO HS_STATE=HSSI_ESTABLISHED",
            "77 BUILT PURPOSE=GENERAL",
        ]
        .iter()
        .map(|line| event::circuit(line).unwrap())
        .collect();
        let may_go: Vec<u32> = [7, 8, 77, 70].into_iter().filter(|id| leads_to_client(&open, *id)).collect();
        assert_eq!(may_go, [7]);
    }
}
