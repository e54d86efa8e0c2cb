//! Circuits over which clients went on asking for too much: the proxy names them, the serving tor closes them. No other
//! daemon has a way to do both.

use tokio::sync::watch;
use tracing::{debug, info};

use crate::tor::controller::Controller;

/// The circuits that the proxy names, and those of them that are closed.
#[derive(Debug)]
pub(super) struct Abusive {
    named: watch::Receiver<Vec<u32>>,
    closed: Vec<u32>,
}

impl Abusive {
    /// Those that are named there.
    pub(super) fn new(named: watch::Receiver<Vec<u32>>) -> Self {
        Self { named, closed: Vec::new() }
    }

    /// Waits until others are named. Safe to drop in a `select!`.
    pub(super) async fn changed(&mut self) {
        if self.named.changed().await.is_err() {
            // Nobody will name any more.
            std::future::pending::<()>().await;
        }
    }

    /// Closes those that were not closed yet. What tor does not know any more is closed already.
    pub(super) async fn close(&mut self, tor: &Controller) {
        let named = self.named.borrow_and_update().clone();
        let mut count = 0;
        for circuit in named.iter().filter(|circuit| !self.closed.contains(circuit)) {
            match tor.close_circuit(&circuit.to_string()).await {
                Ok(()) => count += 1,
                Err(error) => debug!(%error, "a circuit was not closed"),
            }
        }
        if count > 0 {
            info!(count, "closed circuits over which clients went on asking for too much");
        }
        self.closed = named;
    }
}
