//! The grammar of the cluster: what happens to it, and what it wants done.

use std::fmt;
use std::time::Duration;

use super::drain::DrainPhase;
use super::fitness::Ailment;
use super::memory::Memory;
use super::note::{Admission, Drain, Rotation};
use super::roster::{Peer, RosterError};
use super::token::TokenName;
use crate::proto::node::{NodeId, Priority};
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
        /// Under which token.
        under: TokenName,
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
    /// The publisher said how it is: what keeps it from publishing, if anything does. Told with everything that it says.
    PublisherSpoke(Option<Ailment>),
    /// The operator configured a peer.
    PeerConfigured(Peer),
    /// The operator removed a peer from the configuration.
    PeerLost(NodeId),
    /// The operator gave this node another wish for the lease.
    Priority(Priority),
    /// The operator wants a node out of the descriptor, or in it again. Any node may be told.
    Drain(Drain),
    /// The bearer of a valid ticket asks to be let in. [`Action::Admitted`] answers under the same number.
    Admit {
        /// Any number that tells this request from others under way.
        number: u64,
        /// What is to be noted; its time is made later where older facts about the name or key say so.
        admission: Admission,
    },
    /// This node has made a new token. [`Action::Adopt`] follows, as for anybody's.
    RotateToken {
        /// The token, sealed under the newest one so far.
        rotation: Rotation,
    },
    /// The rotation that brought this token could be opened, and datagrams under it can be sealed and opened.
    TokenAdopted(TokenName),
    /// The rotation that brought this token cannot be opened. It is dropped.
    TokenRefused(TokenName),
    /// Whether the proxy reaches the target.
    TargetWell(bool),
    /// The publisher said which nodes have a point in the descriptor that every HSDir asked by clients has accepted.
    Published(Vec<NodeId>),
    /// The proxy carries so many connections now. Wanted only while this node is drained.
    Connections(u64),
    /// This node leaves the cluster for good. [`Action::Left`] follows when the others know, or do not answer. Drain the
    /// node before, if its clients should not notice.
    Leave,
    /// The daemon ends: hand over and leave. Nothing may follow.
    Shutdown,
}

/// Something must be done. What is done may bring about events: they are told after all the actions at hand are done,
/// which were decided without them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Seal these bytes and send them to a node.
    Send {
        /// To whom.
        to: NodeId,
        /// At most [`super::message::MAX_DATAGRAM`] bytes.
        bytes: Vec<u8>,
        /// Under which token.
        under: TokenName,
    },
    /// Make WireGuard reach this node so, whatever it did before.
    SetPeer(Peer),
    /// Make WireGuard forget this peer.
    RemovePeer(Peer),
    /// Tell the publisher what to publish; `None`: nothing. Lasts until the next.
    Order(Option<PublishOrder>),
    /// Answer [`Event::Admit`].
    Admitted {
        /// The number of the request.
        number: u64,
        /// The answer.
        verdict: Verdict,
    },
    /// Open this token, and say [`Event::TokenAdopted`] or [`Event::TokenRefused`].
    Adopt(Rotation),
    /// Keep this over a restart, instead of what was kept before.
    Remember(Memory),
    /// Tell the publisher to close this node's introduction circuits and build no more (`true`), or to build them again.
    /// Lasts until the next; `false` at the start.
    Mute(bool),
    /// This node is drained: cut what the proxy still carries.
    Drained,
    /// This node does not belong to the cluster any more: forget what was kept, do not serve. Nothing follows.
    Left,
    /// Tell the operator.
    StateChanged(StateChange),
}

/// What becomes of a request to be let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The node is in. A repeated request is answered in the same way.
    Welcome(Welcome),
    /// A node that is alive has this name, key or tunnel address.
    NameTaken,
    /// The ticket has been spent by others.
    Spent,
    /// The cluster has [`super::record::MAX_NODES`] nodes.
    Full,
}

/// What a new node is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    /// Every other node but the one that answers.
    pub peers: Vec<Peer>,
    /// The token rotations so far, the oldest first.
    pub rotations: Vec<Rotation>,
}

/// What a publisher whose node holds the lease is to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishOrder {
    /// The lease's epoch.
    pub epoch: u64,
    /// The nodes to merge, by name, with their introduction points: all that are alive and serve, but for those that are
    /// drained and whose target is down, as long as others are left. Our own node is among them even without points,
    /// because the publisher knows its own better.
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
    /// This node stands back from the lease, or does not any more.
    StandsBack(Option<Ailment>),
    /// A node was let in.
    Admitted(NodeId),
    /// A node was let in with a ticket that others had spent; it is sent away.
    Expelled(NodeId),
    /// A node left for good.
    Departed(NodeId),
    /// The operator drains a node, or takes it back.
    Drain {
        /// Which node.
        node: NodeId,
        /// Whether it is drained.
        draining: bool,
    },
    /// This node is further on its way out.
    DrainPhase(DrainPhase),
    /// There is a newer token.
    TokenChanged(TokenName),
    /// A new token could not be opened, or does not follow the newest one.
    TokenRefused(TokenName),
    /// The proxy reaches the target, or does not any more.
    TargetWell(bool),
}

impl StateChange {
    /// Whether something is wrong that an operator may have to mend.
    pub fn is_alarming(&self) -> bool {
        match self {
            Self::NodeDown(_)
            | Self::Woke { .. }
            | Self::RecordRefused { .. }
            | Self::PointsWithdrawn
            | Self::StandsBack(Some(_))
            | Self::Expelled(_)
            | Self::TokenRefused(_)
            | Self::TargetWell(false) => true,
            Self::NodeUp(_)
            | Self::StandsBack(None)
            | Self::Admitted(_)
            | Self::Departed(_)
            | Self::Drain { .. }
            | Self::DrainPhase(_)
            | Self::TokenChanged(_)
            | Self::TargetWell(true)
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
            Self::StandsBack(Some(ailment)) => {
                write!(f, "this node stands back from the lease, for others that can publish: {ailment}")
            }
            Self::StandsBack(None) => {
                f.write_str("this node may hold the lease again: it has been well for long")
            }
            Self::Admitted(node) => write!(f, "{node} was let in"),
            Self::Expelled(node) => {
                write!(f, "{node} is sent away: its invitation was spent by another node before")
            }
            Self::Departed(node) => write!(f, "{node} has left the cluster for good"),
            Self::Drain { node, draining: true } => write!(f, "{node} is being drained"),
            Self::Drain { node, draining: false } => write!(f, "{node} is in use again"),
            Self::DrainPhase(DrainPhase::Draining) => {
                f.write_str("this node is being drained; it serves until others are in the descriptor")
            }
            Self::DrainPhase(DrainPhase::Muted) => {
                f.write_str("this node takes no new clients and goes on with those it has")
            }
            Self::DrainPhase(DrainPhase::Drained) => f.write_str("this node is drained and may be stopped"),
            Self::TokenChanged(token) => write!(f, "the cluster's token is now {token}"),
            Self::TokenRefused(token) => {
                write!(f, "the new token {token} cannot be used and is ignored; the present one stays in use")
            }
            Self::TargetWell(true) => f.write_str("the target can be reached"),
            Self::TargetWell(false) => f.write_str(
                "the target cannot be reached; this node leaves the descriptor while others reach theirs",
            ),
        }
    }
}
