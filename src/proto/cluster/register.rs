//! Who belongs to the cluster and who does not any more, as the ledger says.

use std::collections::{BTreeMap, BTreeSet};

use super::ledger::{Ledger, Standing};
use super::roster::Peer;
use crate::proto::node::NodeId;

/// What follows from a ledger.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Register {
    /// Who was let in, and how it is reached.
    pub admitted: BTreeMap<NodeId, Peer>,
    /// Names with their keys that do not belong to the cluster any more.
    pub gone: BTreeSet<(NodeId, [u8; 32])>,
    /// Whom the operator drains.
    pub draining: BTreeSet<NodeId>,
}

impl Register {
    /// Draws the conclusions.
    pub fn of(ledger: &Ledger) -> Self {
        let mut register = Self::default();
        for (admission, standing) in ledger.admissions() {
            let peer = admission.peer();
            match standing {
                Standing::Stands => _ = register.admitted.insert(peer.node.clone(), peer),
                Standing::Lost | Standing::Over => _ = register.gone.insert((peer.node, peer.wireguard_key)),
            }
        }
        register.gone.extend(ledger.departures().map(|gone| (gone.node.clone(), gone.wireguard_key)));
        // A ticket may be lost, another one not; and who has left may have been let in again.
        register.gone.retain(|(node, key)| {
            register.admitted.get(node).is_none_or(|admitted| admitted.wireguard_key != *key)
        });
        register.draining = ledger.drained().cloned().collect();
        register
    }

    /// Whether a node of this name and key does not belong to the cluster: it has left, was sent away, or somebody else
    /// was let in under its name or with its key.
    pub fn excludes(&self, node: &NodeId, wireguard_key: &[u8; 32]) -> bool {
        let replaces = |peer: &Peer| (peer.node == *node) != (peer.wireguard_key == *wireguard_key);
        self.gone.contains(&(node.clone(), *wireguard_key)) || self.admitted.values().any(replaces)
    }
}
