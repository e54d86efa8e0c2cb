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

#[cfg(test)]
mod tests {
    use super::super::note::{Admission, Departure, Note};
    use super::*;

    const NOW: u64 = 1_800_000_000_000;

    fn register(notes: impl IntoIterator<Item = Note>) -> Register {
        Register::of(&Ledger::recall(NOW, notes.into_iter().collect()))
    }

    fn admission(ticket: u8, name: &str, key: u8, at_ms: u64) -> Note {
        Note::Admission(Admission {
            ticket: [ticket; 16],
            uses: 1,
            node: name.parse().unwrap(),
            wireguard_key: [key; 32],
            endpoint: None,
            tunnel_address: [10, 9, 9, key].into(),
            at_ms: NOW + at_ms,
            expires_ms: NOW + 1_000,
        })
    }

    #[test]
    fn who_was_replaced_or_sent_away_or_left_does_not_belong() {
        let (a, b): (NodeId, NodeId) = ("a".parse().unwrap(), "b".parse().unwrap());
        let register = register([
            admission(1, "a", 1, 0),
            admission(1, "b", 2, 1),
            Note::Departure(Departure { node: "c".parse().unwrap(), wireguard_key: [3; 32], at_ms: NOW }),
        ]);
        assert!(!register.excludes(&a, &[1; 32]));
        assert!(register.excludes(&a, &[9; 32]), "its name is another's");
        assert!(register.excludes(&"d".parse().unwrap(), &[1; 32]), "its key is another's");
        assert!(register.excludes(&b, &[2; 32]), "its ticket was spent");
        assert!(!register.excludes(&b, &[4; 32]), "its name is nobody's");
        assert!(register.excludes(&"c".parse().unwrap(), &[3; 32]), "it has left");
        assert!(!register.excludes(&"e".parse().unwrap(), &[5; 32]), "nothing is known of it");
    }

    #[test]
    fn who_lost_one_ticket_may_come_with_another() {
        let all = [admission(1, "a", 1, 0), admission(1, "b", 2, 1), admission(2, "b", 2, 2)];
        let register = register(all);
        assert!(register.gone.is_empty());
        assert_eq!(register.admitted.len(), 2);
    }
}
