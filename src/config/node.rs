//! `[node]` and `[service]`: who this node is, and which onion service the cluster serves.

use serde::Deserialize;

use super::secret::Secret;
use crate::proto::node::{NodeId, Priority};
use crate::proto::onion::address::HsId;

/// `[node]`: this machine within the cluster.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// Its name, unique in the cluster.
    pub id: NodeId,
    /// Who publishes: the lowest priority that is alive (ties by id).
    #[serde(default = "Node::default_priority")]
    pub priority: Priority,
}

impl Node {
    /// In the middle of nowhere, so that preferred and reserve nodes can be placed on both sides.
    fn default_priority() -> Priority {
        Priority(100)
    }
}

/// `[service]`: the onion service.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// The master address, `….onion`.
    pub address: HsId,
    /// The master identity key, in any form that tor or Onionbalance uses.
    #[serde(alias = "master_key")]
    pub master_key_file: Secret,
}
