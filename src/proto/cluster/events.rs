//! The grammar of the cluster: what happens to it, and what it wants done.

use std::fmt;
use std::time::Duration;

use super::roster::{Peer, RosterError};
use crate::proto::node::NodeId;
use crate::proto::onion::descriptor::capabilities::Capabilities;
use crate::proto::onion::descriptor::intro_point::IntroPoint;

/// Something has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event<'a> {
    /// The mesh is up: call the peers. Happens once, first.
    Start,
    /// An opened datagram has arrived.
    Datagram {
        /// Who sealed it.
        from: &'a NodeId,
        /// What was inside.
        bytes: &'a [u8],
    },
    /// `next_timeout` has passed. Datagrams that have arrived by then must be handled first, so that a late loop
    /// does not mistake an answer in the queue for silence.
    Timer,
    /// The publisher said at which introduction points this node serves.
    OwnPoints(Vec<IntroPoint>),
    /// The publisher said what this node's own descriptor says besides points.
    OwnCapabilities(Capabilities),
    /// The publisher said which revision counters it saw accepted, per time period number.
    OwnCounters(Vec<(u64, u64)>),
    /// The publisher can be reached and will report.
    PublisherFound,
    /// The publisher cannot be reached any more; what it said last may have become wrong.
    PublisherLost,
    /// The operator configured a peer.
    PeerConfigured(Peer),
    /// The operator removed a peer from the configuration.
    PeerLost(NodeId),
    /// The operator wants this node out of the descriptor (`true`), or in it again.
    Drain(bool),
    /// The daemon ends: hand over and leave. Nothing may follow.
    Shutdown,
}

/// Something must be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Seal these bytes and send them to a node.
    Send {
        /// To whom.
        to: NodeId,
        /// At most [`super::message::MAX_DATAGRAM`] bytes.
        bytes: Vec<u8>,
    },
    /// Make WireGuard reach this node so, whatever it did before.
    SetPeer(Peer),
    /// Make WireGuard forget this peer.
    RemovePeer(Peer),
    /// Tell the publisher what to publish; `None`: nothing. Lasts until the next.
    Order(Option<PublishOrder>),
    /// Tell the operator.
    StateChanged(StateChange),
}

/// What a publisher whose node holds the lease is to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishOrder {
    /// The lease's epoch.
    pub epoch: u64,
    /// The nodes to merge, by name, with their introduction points: all that are alive, serve and do not leave. Our
    /// own node is among them even without points, because the publisher knows its own better.
    pub candidates: Vec<(NodeId, Vec<IntroPoint>)>,
    /// What all of them can do; `None` while no publisher of theirs has read its descriptor.
    pub capabilities: Option<Capabilities>,
    /// The highest revision counter any node saw accepted, per time period number.
    pub last_counters: Vec<(u64, u64)>,
}

/// Something an operator may want to read about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StateChange {
    /// A node is there.
    NodeUp(NodeId),
    /// A node is dead, or has left.
    NodeDown(NodeId),
    /// We took the lease.
    LeaseTaken {
        /// Its epoch.
        epoch: u64,
    },
    /// We let the lease go.
    LeaseReleased {
        /// The holder we gave way to, if that was the reason.
        to: Option<NodeId>,
    },
    /// Others hold the lease now, or nobody does.
    HolderChanged(Option<NodeId>),
    /// The others had taken us for dead, or remembered a later life of ours.
    Renewed,
    /// We were asleep so long that others may have taken the lease; it is verified before we act again.
    Woke {
        /// For how long, at least.
        asleep: Duration,
    },
    /// A node says it is reached in a way that is not believed; its record is ignored.
    RecordRefused {
        /// Which node.
        node: NodeId,
        /// Why.
        reason: RosterError,
    },
    /// The publisher has been away for too long: our introduction points are withdrawn until it reports.
    PointsWithdrawn,
}

impl StateChange {
    /// Whether something is wrong that an operator may have to mend.
    pub fn is_alarming(&self) -> bool {
        match self {
            Self::NodeDown(_) | Self::Woke { .. } | Self::RecordRefused { .. } | Self::PointsWithdrawn => {
                true
            }
            Self::NodeUp(_)
            | Self::LeaseTaken { .. }
            | Self::LeaseReleased { .. }
            | Self::HolderChanged(_)
            | Self::Renewed => false,
        }
    }
}

impl fmt::Display for StateChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NodeUp(node) => write!(f, "node {node} is there"),
            Self::NodeDown(node) => {
                write!(f, "node {node} is gone; its introduction points leave the descriptor")
            }
            Self::LeaseTaken { epoch } => {
                write!(f, "this node holds the lease, epoch {epoch}, and publishes")
            }
            Self::LeaseReleased { to: Some(node) } => write!(f, "the lease goes to {node}"),
            Self::LeaseReleased { to: None } => f.write_str("this node gave up the lease"),
            Self::HolderChanged(Some(node)) => write!(f, "{node} holds the lease"),
            Self::HolderChanged(None) => f.write_str("nobody is known to hold the lease"),
            Self::Renewed => f.write_str("the others had taken this node for dead; it has come back"),
            Self::Woke { asleep } => {
                write!(f, "this process did not run for {:.1} s; verifying the lease", asleep.as_secs_f64())
            }
            Self::RecordRefused { node, reason } => {
                write!(f, "what {node} says about itself is ignored: {reason}")
            }
            Self::PointsWithdrawn => {
                f.write_str("the publisher is away; this node's introduction points leave the descriptor")
            }
        }
    }
}
