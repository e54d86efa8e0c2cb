//! `io.rustbalance.Coordinator`: what this node knows of the cluster.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::call::{Answer, Fault, Interface, Parameters, Responder};
use super::client::{Client, ClientError};
use crate::proto::cluster::status::ClusterStatus;

/// A call to the coordinator.
#[derive(Debug)]
pub enum CoordinatorCall {
    /// `Status`: the cluster and the mesh, as this node sees them now.
    Status(Responder<CoordinatorStatus>),
}

/// The coordinator's view. It holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoordinatorStatus {
    /// Nodes, lease, introduction points.
    pub cluster: ClusterStatus,
    /// The tunnel and its datagrams.
    pub mesh: MeshStatus,
}

/// The tunnel and its datagrams.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeshStatus {
    /// The interface's name.
    pub interface: String,
    /// Whether the kernel carries the packets, and not this process.
    pub kernel: bool,
    /// This node's address in the tunnel.
    pub tunnel_address: IpAddr,
    /// Datagrams that were authentic and timely.
    pub accepted: u64,
    /// Datagrams that were refused: foreign, forged, repeated, or with a clock too far from ours.
    pub refused: u64,
    /// Of these, the ones whose sender's clock is more than five seconds away from ours.
    pub refused_for_clock: u64,
    /// Authentic datagrams that came from another tunnel address than their sender's.
    pub refused_for_address: u64,
    /// Datagrams that could not be sent: the receiver is unknown, or the tunnel has no way to it.
    pub unsent: u64,
    /// What WireGuard knows of each peer, a few seconds old at most.
    pub tunnels: Vec<TunnelStatus>,
}

/// What WireGuard knows of a peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TunnelStatus {
    /// The peer's address in the tunnel.
    pub tunnel_address: IpAddr,
    /// Where its last authentic packet came from, or where it was said to be.
    pub endpoint: Option<SocketAddr>,
    /// Seconds since the last handshake; above 180 there is no session.
    pub handshake_secs_ago: Option<u64>,
    /// Bytes received from it.
    pub received_bytes: u64,
    /// Bytes sent to it.
    pub sent_bytes: u64,
}

impl Interface for CoordinatorCall {
    const NAME: &'static str = "io.rustbalance.Coordinator";

    fn accept(method: &str, parameters: Parameters) -> Result<(Self, Answer), Fault> {
        match method {
            "Status" => {
                parameters.none()?;
                let (reply, answer) = Responder::new();
                Ok((Self::Status(reply), answer))
            }
            other => Err(Fault::MethodNotFound(other.to_owned())),
        }
    }
}

/// The coordinator, as its callers see it.
#[derive(Debug)]
pub struct CoordinatorClient(Client);

impl CoordinatorClient {
    /// Connects to the coordinator's control socket.
    pub async fn connect(path: &Path) -> Result<Self, ClientError> {
        Client::connect(path).await.map(Self)
    }

    /// Asks what this node knows of the cluster.
    pub async fn status(&mut self) -> Result<CoordinatorStatus, ClientError> {
        self.0.call("io.rustbalance.Coordinator.Status", &()).await
    }
}
