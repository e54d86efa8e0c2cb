//! What the publisher tells those who watch it: the coordinator, the operator's tool, the laboratory.

use serde::{Deserialize, Serialize};

use crate::proto::node::NodeId;
use crate::proto::onion::descriptor::capabilities::Capabilities;
use crate::proto::onion::descriptor::intro_point::IntroPoint;
use crate::proto::onion::network::SlotKind;
use crate::proto::onion::ring::RingPlace;

/// The whole state of the publisher at one moment. It holds no secret. Times are Unix seconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublisherReport {
    /// The introduction points this node's tor serves at now; for this node's record.
    pub points: Vec<IntroPoint>,
    /// How many of them are at relays that are in no consensus that is known here: they are not published.
    #[serde(default)]
    pub points_lost: usize,
    /// Until when the certificates last that this node's tor made for them; `None` while it has none. It makes new ones
    /// every hour or two, unless it cannot.
    #[serde(default)]
    pub points_certified_until: Option<u64>,
    /// What the node's own descriptor says besides points; `None` until it has been read once.
    pub capabilities: Option<Capabilities>,
    /// The highest revision counters known here, as (number of the time period, counter); for this node's record.
    pub counters: Vec<(u64, u64)>,
    /// Whether this publisher publishes.
    pub duty: Duty,
    /// The tor that serves the onion service.
    pub serving_tor: TorState,
    /// The tor that uploads while it is there.
    pub standby_tor: TorState,
    /// Both live descriptors, once the network is known.
    pub slots: Vec<SlotReport>,
    /// [`SlotReport::published`] of the descriptor that clients fetch.
    pub published: Vec<NodeId>,
    /// Whether this node's introduction points are given up because it is drained; `points` is empty then.
    pub muted: bool,
    /// What an operator should know. Empty when all is well.
    pub alarms: Vec<Alarm>,
}

/// Whether the publisher publishes, and for whom.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Duty {
    /// No order: another node holds the lease, or the coordinator has not spoken yet. Nothing is posted.
    #[default]
    Idle,
    /// An order is held and carried out.
    Publishing {
        /// The lease's epoch.
        epoch: u64,
    },
    /// The coordinator is away and a newer descriptor of another publisher was met: nothing is posted until the
    /// coordinator orders again.
    Yielded,
}

/// What is known of one of the node's tors.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TorState {
    /// No control connection.
    #[default]
    Away,
    /// Connected, but its view of the network could not be read yet: it has no consensus or too few relays.
    Connected,
    /// Connected, and its view of the network is known.
    Ready,
}

/// One of the two live descriptors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotReport {
    /// tor's `desc_current` or `desc_next`.
    pub which: SlotKind,
    /// Number of the time period.
    pub period: u64,
    /// Clients with a consensus like ours fetch this one.
    pub client_fetches: bool,
    /// Introduction points that it should hold now.
    pub points: usize,
    /// Whose they are, by name; empty while this publisher does not publish.
    #[serde(default)]
    pub points_by_node: Vec<(NodeId, usize)>,
    /// The nodes with an introduction point in it, by name, as it was when every responsible HSDir that answers last
    /// had the same. Empty while this publisher does not publish.
    pub published: Vec<NodeId>,
    /// When its content last changed or was refreshed; `None` while there is none.
    pub renewed_at: Option<u64>,
    /// Until when at least its certificates last, as an HSDir accepted it last; `None` while none has, or another node
    /// publishes.
    #[serde(default)]
    pub certified_until: Option<u64>,
    /// Where the descriptor lies on the ring of HSDirs, replica by replica.
    #[serde(default)]
    pub replicas: Vec<RingPlace>,
    /// The responsible HSDirs.
    pub hsdirs: Vec<HsDirReport>,
}

/// What is known of the descriptor at one HSDir.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HsDirReport {
    /// The relay, 40 upper-case hexadecimal digits.
    pub fingerprint: String,
    /// How far it is.
    pub state: HsDirState,
    /// The revision counter it holds as far as is known.
    pub counter: Option<u64>,
    /// When it accepted that.
    pub accepted_at: Option<u64>,
    /// When it was last read back and was found right.
    pub read_back_at: Option<u64>,
    /// Failures since the last success.
    pub failures: u32,
    /// All answers so far.
    pub answers: Answers,
    /// Where it lies on the ring; `None` if that is not told.
    #[serde(default)]
    pub seat: Option<Seat>,
}

/// The place of a responsible HSDir.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seat {
    /// The replica that it is responsible for, from 1 on.
    pub replica: u8,
    /// Where on the ring it lies, at or behind its replica, around the ring's end if need be.
    pub place: RingPlace,
}

/// How far the descriptor at one HSDir is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HsDirState {
    /// There is nothing to publish, or another node does it.
    Idle,
    /// It should have something newer, and will get it.
    Behind,
    /// A post is under way.
    Posting,
    /// It accepted the present content.
    Accepted,
    /// It accepted the present content and gave it back when asked.
    Verified,
    /// Our tor does not know this relay; looked at again with the next consensus.
    Unknown,
}

/// How often an HSDir answered in which way, since it became responsible.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answers {
    /// Posts accepted.
    pub accepted: u32,
    /// Posts rejected: nearly always because of a counter that is not higher than the stored one.
    pub rejected: u32,
    /// Posts that failed in another way.
    pub failed: u32,
    /// Posts without an answer in time.
    pub silent: u32,
    /// Times that it was found with an older descriptor than it had accepted, or with none.
    pub lost: u32,
}

/// Something an operator should know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Alarm {
    /// Neither tor has a usable view of the network, so nothing can be posted. The descriptors posted before stay.
    NoNetwork,
    /// There is an order, but no introduction point to publish for longer than two minutes (R1.5).
    NothingToPublish,
    /// There is an order, but all introduction points are gone; the last descriptor is kept rather than replaced by
    /// an empty one.
    AllPointsGone,
    /// Some responsible HSDirs have not accepted the present content for longer than a minute. They are retried.
    HsDirsBehind,
    /// No HSDir has the present content of one of the descriptors, and none has accepted anything of it for three minutes:
    /// this node seems to be cut off from them.
    Nowhere,
    /// One of the descriptors has not been accepted by any HSDir for 900 s (R2.3).
    Stale,
    /// An HSDir accepted a descriptor that our own tor, as a client, refuses: clients would too.
    Unreadable,
    /// The service's own descriptor cannot be read from the serving tor, so changes go unnoticed.
    OwnDescriptorUnreadable,
    /// A descriptor could not be built, or our tor refused it.
    NotBuilt,
}
