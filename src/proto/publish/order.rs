//! What the coordinator tells its publisher: whose introduction points to merge, and what is known of counters.

use serde::{Deserialize, Serialize};

use crate::proto::node::NodeId;
use crate::proto::onion::descriptor::capabilities::Capabilities;
use crate::proto::onion::descriptor::intro_point::IntroPoint;

/// One node that may appear in the merged descriptor: it is alive and not draining.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// The node whose tor serves these points.
    pub node: NodeId,
    /// Its introduction points, as it last told the cluster. The publisher's own node may be behind here: the
    /// publisher puts its own freshest points in their place, so an empty list for the own node is useful.
    pub points: Vec<IntroPoint>,
}

/// Permission and material to publish. While a publisher holds an order it keeps the descriptor of both live
/// periods on every responsible HSDir; without one (`None`) it posts nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The epoch of the lease under which this node publishes; for people and logs, the last order counts.
    pub epoch: u64,
    /// The nodes to merge. A node that is missing here is left out, the publisher's own node too.
    pub candidates: Vec<Candidate>,
    /// What the tors of all candidates can do, as far as is known: a client would use it with any of them.
    pub capabilities: Option<Capabilities>,
    /// The highest revision counters any node has used, as (number of the time period, counter).
    pub last_counters: Vec<(u64, u64)>,
}
