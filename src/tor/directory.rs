//! Fetches the view of the network from a running tor.

use tracing::debug;

use crate::proto::onion::network::NetworkView;
use crate::tor::consensus::{self, ConsensusError};
use crate::tor::controller::Controller;
use crate::tor::error::ControlError;

/// Why there is no view of the network. Keep the one before.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DirectoryError {
    /// Tor does not have enough microdescriptors yet; rings made from what it has would be wrong. Wait for
    /// `STATUS_CLIENT ENOUGH_DIR_INFO` or the next `NEWCONSENSUS`.
    #[error("tor has not yet learned enough about the network")]
    NotEnough,
    /// A new consensus came while the parts of the old one were fetched. Fetch again.
    #[error("the consensus changed while it was fetched")]
    Changed,
    /// Tor could not be asked.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// What tor has cannot be used.
    #[error(transparent)]
    Consensus(#[from] ConsensusError),
    /// This process is ending.
    #[error("the consensus was not read to its end")]
    Interrupted,
}

/// Fetches consensus and microdescriptors and reads them, outside the async threads.
pub async fn fetch(controller: &Controller) -> Result<NetworkView, DirectoryError> {
    if controller.getinfo("status/enough-dir-info").await? != "1" {
        return Err(DirectoryError::NotEnough);
    }
    let testing = controller.getconf("TestingTorNetwork").await?;
    let testing = testing.iter().any(|(_, value)| value.as_deref() == Some("1"));
    let before = controller.getinfo("consensus/valid-after").await?;
    let consensus = controller.getinfo("dir/status-vote/current/consensus-microdesc").await?;
    let microdescs = controller.getinfo("md/all").await?;
    if controller.getinfo("consensus/valid-after").await? != before {
        return Err(DirectoryError::Changed);
    }
    let parsed =
        tokio::task::spawn_blocking(move || consensus::parse(&consensus, &microdescs, testing)).await;
    let view = parsed.map_err(|_| DirectoryError::Interrupted)??;
    debug!(relays = view.relays.len(), hsdirs = view.hsdirs.len(), "read the consensus");
    Ok(view)
}
