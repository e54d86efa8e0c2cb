//! `io.rustbalance.Coordinator`: what this node knows of the cluster.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::call::{Answer, Fault, Interface, Parameters, Responder, Taken};
use super::client::{Client, ClientError};
use crate::proto::cluster::status::ClusterStatus;
use crate::proto::cluster::token::TokenName;
use crate::proto::join::canary::CanaryStatus;
use crate::proto::join::joiner::JoiningStatus;
use crate::proto::join::secret::SecretDigest;
use crate::proto::node::NodeId;

/// A call to the coordinator.
#[derive(Debug)]
pub enum CoordinatorCall {
    /// `Status`: the cluster and the mesh, as this node sees them now.
    Status(Responder<CoordinatorStatus>),
    /// `CheckSecret`: does a request with this secret in its path ask to join?
    CheckSecret {
        /// What the secret was hashed to; the secret itself goes through no control socket.
        digest: SecretDigest,
        /// To say so.
        reply: Responder<Checked>,
    },
    /// `Join`: somebody who knows the join secret sent this body.
    Join {
        /// The body.
        body: String,
        /// To answer, or to say that the target shall.
        reply: Responder<JoinReply>,
    },
    /// `Drain`: take a node out of the descriptor, or take that back.
    Drain {
        /// The operator's wish.
        wish: DrainWish,
        /// To say that it was noted.
        reply: Responder<Taken>,
    },
    /// `RotateToken`: make a new cluster token, and let all nodes change to it.
    RotateToken(Responder<Rotated>),
    /// `Leave`: leave the cluster for good.
    Leave(Responder<Taken>),
}

/// Whether a secret is the cluster's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// It is: the request's head and body may be read.
    pub ours: bool,
}

/// What becomes of a request to join.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinReply {
    /// What to answer; `None`: the target shall get the request, as any other.
    pub answer: Option<JoinHttpAnswer>,
}

/// An answer to a request to join, as HTTP has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinHttpAnswer {
    /// The status.
    pub status: u16,
    /// `Retry-After`, in seconds.
    pub retry_after_secs: Option<u64>,
    /// The body, JSON.
    pub body: String,
}

/// What the operator wants of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DrainWish {
    /// Which node; this one if none is named.
    pub node: Option<NodeId>,
    /// Out of the descriptor (`true`), or in it again.
    pub draining: bool,
    /// How long its connections may last after its introduction points are out.
    pub deadline_secs: u32,
    /// It goes only when this node's introduction points are in.
    pub after: Option<NodeId>,
}

/// A new token was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotated {
    /// Its name, which is no secret; every node's status tells which one it has.
    pub token: TokenName,
}

/// Parameters of `CheckSecret`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CheckSecret {
    digest: SecretDigest,
}

/// Parameters of `Join`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Join {
    body: String,
}

/// The coordinator's view. It holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoordinatorStatus {
    /// How far joining is, while this node is not in the cluster yet; what follows is then about itself alone.
    pub joining: Option<JoiningStatus>,
    /// Nodes, lease, introduction points.
    pub cluster: ClusterStatus,
    /// The tunnel and its datagrams.
    pub mesh: MeshStatus,
    /// Who answers at the service's address; `None` where nobody asks.
    #[serde(default)]
    pub canary: Option<CanaryStatus>,
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
    /// How many milliseconds this node's clock is ahead of the others', as their datagrams tell; `None` while none comes.
    #[serde(default)]
    pub clock_ahead_ms: Option<i64>,
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
            "CheckSecret" => {
                let CheckSecret { digest } = parameters.parse()?;
                let (reply, answer) = Responder::new();
                Ok((Self::CheckSecret { digest, reply }, answer))
            }
            "Join" => {
                let Join { body } = parameters.parse()?;
                let (reply, answer) = Responder::new();
                Ok((Self::Join { body, reply }, answer))
            }
            "Drain" => {
                let wish = parameters.parse()?;
                let (reply, answer) = Responder::new();
                Ok((Self::Drain { wish, reply }, answer))
            }
            "RotateToken" => {
                parameters.none()?;
                let (reply, answer) = Responder::new();
                Ok((Self::RotateToken(reply), answer))
            }
            "Leave" => {
                parameters.none()?;
                let (reply, answer) = Responder::new();
                Ok((Self::Leave(reply), answer))
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

    /// Asks whether a secret, given by its digest, is the cluster's join secret.
    pub async fn check_secret(&mut self, digest: SecretDigest) -> Result<Checked, ClientError> {
        self.0.call("io.rustbalance.Coordinator.CheckSecret", &CheckSecret { digest }).await
    }

    /// Hands over the body of a request to join.
    pub async fn join(&mut self, body: String) -> Result<JoinReply, ClientError> {
        self.0.call("io.rustbalance.Coordinator.Join", &Join { body }).await
    }

    /// Has a node taken out of the descriptor, or into it again.
    pub async fn drain(&mut self, wish: &DrainWish) -> Result<Taken, ClientError> {
        self.0.call("io.rustbalance.Coordinator.Drain", wish).await
    }

    /// Has a new cluster token made.
    pub async fn rotate_token(&mut self) -> Result<Rotated, ClientError> {
        self.0.call("io.rustbalance.Coordinator.RotateToken", &()).await
    }

    /// Has this node leave the cluster for good.
    pub async fn leave(&mut self) -> Result<Taken, ClientError> {
        self.0.call("io.rustbalance.Coordinator.Leave", &()).await
    }
}
