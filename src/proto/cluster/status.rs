//! What a node can tell about the cluster, for operators and other daemons.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::drain::DrainPhase;
use super::fitness::Ailment;
use super::membership::Liveness;
use super::record::NodeRecord;
use super::token::TokenName;
use crate::proto::node::{NodeId, Priority};

/// Where a node is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lifecycle {
    /// It is known, but has never answered.
    Joining,
    /// It is there and has no introduction points yet.
    Initializing,
    /// It is there and serves.
    Healthy,
    /// It did not answer lately.
    Unhealthy,
    /// It is there, and the operator drains it.
    Draining,
    /// It is there and about to go.
    Leaving,
    /// It is dead, or has left.
    Dead,
}

impl Lifecycle {
    /// From what membership, the node itself and the operator say.
    pub fn of(liveness: Option<Liveness>, record: Option<&NodeRecord>, draining: bool) -> Self {
        match (liveness, record) {
            (None, _) => Self::Joining,
            (Some(Liveness::Down), _) => Self::Dead,
            (Some(Liveness::Suspect), _) => Self::Unhealthy,
            (Some(Liveness::Alive), Some(record)) if record.leaving => Self::Leaving,
            (Some(Liveness::Alive), _) if draining => Self::Draining,
            (Some(Liveness::Alive), Some(record)) if !record.points.is_empty() => Self::Healthy,
            (Some(Liveness::Alive), _) => Self::Initializing,
        }
    }
}

impl fmt::Display for Lifecycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Joining => "joining",
            Self::Initializing => "initializing",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
            Self::Draining => "draining",
            Self::Leaving => "leaving",
            Self::Dead => "dead",
        })
    }
}

/// One node, as another one sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Its name.
    pub node: NodeId,
    /// Where it is in its life.
    pub lifecycle: Lifecycle,
    /// Its wish for the lease; `None` until its record has arrived.
    pub priority: Option<Priority>,
    /// How many introduction points it has.
    pub points: usize,
    /// The epoch of the lease it believes to hold.
    pub lease_epoch: Option<u64>,
    /// Its address inside the mesh, once known.
    pub tunnel_address: Option<IpAddr>,
    /// Where its WireGuard listens, where it says so.
    pub endpoint: Option<SocketAddr>,
    /// Milliseconds since its last datagram; `None` for ourselves, and where there was none.
    pub heard_ms_ago: Option<u64>,
    /// Whether the operator drains it.
    pub draining: bool,
    /// How far it is then.
    pub drain_phase: Option<DrainPhase>,
    /// Why it stands back from the lease; `None`: it could publish, or its record has not arrived.
    pub stands_back: Option<Ailment>,
    /// Whether its proxy reaches the target; `None` until its record has arrived.
    pub target_well: Option<bool>,
    /// The newest token it holds; `None` until its record has arrived.
    pub token: Option<TokenName>,
    /// If it holds the lease: the nodes with a point in the descriptor that every HSDir asked by clients has accepted.
    pub published: Vec<NodeId>,
}

/// The cluster, as one node sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterStatus {
    /// Who says so.
    pub node: NodeId,
    /// Who holds the lease, as far as we know.
    pub holder: Option<NodeId>,
    /// The highest lease epoch heard of.
    pub epoch: u64,
    /// Whether we are still finding out, after a start or a pause, who is there.
    pub discovering: bool,
    /// Whether the publisher is there.
    pub publisher: bool,
    /// How often this node has stood back from the lease since its start.
    pub stood_back: u64,
    /// All nodes, ourselves included, by name.
    pub nodes: Vec<NodeStatus>,
    /// What came and went.
    pub traffic: Traffic,
    /// What has happened lately, the latest last.
    pub past: Vec<Past>,
}

impl ClusterStatus {
    /// Whether any other node serves.
    pub fn serves_besides(&self, node: &NodeId) -> bool {
        self.nodes.iter().any(|other| other.node != *node && other.lifecycle == Lifecycle::Healthy)
    }

    /// The nodes that clients are told of, as the holder of the lease says, and how many introduction points each has.
    pub fn published_points(&self) -> BTreeMap<NodeId, usize> {
        let holder = self.nodes.iter().find(|node| Some(&node.node) == self.holder.as_ref());
        let published =
            |node: &&NodeStatus| holder.is_some_and(|holder| holder.published.contains(&node.node));
        self.nodes.iter().filter(published).map(|node| (node.node.clone(), node.points)).collect()
    }
}

/// Something that has happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Past {
    /// When, Unix time in milliseconds, by this node's clock.
    pub unix_ms: u64,
    /// What, in words.
    pub text: String,
    /// Whether something is wrong that an operator may have to mend.
    pub alarming: bool,
}

impl fmt::Display for ClusterStatus {
    /// One line for operators.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let serving = self.nodes.iter().filter(|node| node.lifecycle == Lifecycle::Healthy).count();
        match &self.holder {
            Some(holder) if *holder == self.node => write!(f, "holds the lease, epoch {}", self.epoch)?,
            Some(holder) => write!(f, "{holder} holds the lease")?,
            None if self.discovering => f.write_str("looking for the other nodes")?,
            None => f.write_str("nobody holds the lease")?,
        }
        write!(f, "; {serving} of {} nodes serve", self.nodes.len())?;
        let own = self.nodes.iter().find(|node| node.node == self.node);
        match own.and_then(|own| own.stands_back) {
            Some(ailment) if self.stood_back > 0 => write!(f, "; this node stands back from it: {ailment}"),
            _ if self.publisher => Ok(()),
            _ => f.write_str("; this node's publisher is away"),
        }
    }
}

/// Datagrams since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Sent.
    pub sent: u64,
    /// Received and understood.
    pub received: u64,
    /// Dropped because they did not decode, or claimed to be from ourselves.
    pub malformed: u64,
    /// Dropped by membership.
    pub refused: u64,
    /// Records that were not believed.
    pub records_refused: u64,
}
