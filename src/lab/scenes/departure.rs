//! A node that goes in order.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::ipc::proxy::ProxyClient;
use crate::lab::error::LabError;
use crate::lab::node::Daemon;
use crate::lab::world::{POLL, World};
use crate::proto::cluster::drain::DrainPhase;

/// A drained node is waited for so long: it goes on with its connections until the last of them ends.
const PATIENCE: Duration = Duration::from_mins(3);

/// How many connections a node carries now.
pub(super) async fn carried(world: &World, node: usize) -> Result<usize, LabError> {
    let mut proxy = ProxyClient::connect(&world.nodes[node].control_socket(Daemon::Proxy)).await?;
    Ok(usize::try_from(proxy.status().await?.active).unwrap_or(usize::MAX))
}

/// How long after `since` a node said that it is drained; None if not in time.
pub(super) async fn until_drained(world: &World, node: usize, since: Instant) -> Option<Duration> {
    while since.elapsed() < PATIENCE {
        if phase(world, node).await == Some(DrainPhase::Drained) {
            world.note("drained", node);
            return Some(since.elapsed());
        }
        sleep(POLL).await;
    }
    None
}

/// How far a drained node is, as it says itself.
async fn phase(world: &World, node: usize) -> Option<DrainPhase> {
    let status = world.coordinator(node).await?.cluster;
    status.nodes.iter().find(|seen| seen.node == status.node)?.drain_phase
}
