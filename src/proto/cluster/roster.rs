//! How each node is reached: WireGuard keys, endpoints and tunnel addresses.
//!
//! What the operator configured stands, and so does what the cluster noted when it let a node in. What a record says is
//! believed where it contradicts nobody: a node may not take another's key or tunnel address, for with it would go the
//! other's datagrams.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::record::{MAX_NODES, NodeRecord};
use crate::proto::node::NodeId;

/// How a node is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Its name.
    pub node: NodeId,
    /// Its WireGuard public key.
    pub wireguard_key: [u8; 32],
    /// Where its WireGuard listens; without it, it must be the one to call.
    pub endpoint: Option<SocketAddr>,
    /// Its address inside the mesh.
    pub tunnel_address: IpAddr,
}

/// A change of the roster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    /// How the node was reached, if its key is another now: WireGuard must drop the old one.
    pub gone: Option<Peer>,
    /// How it is reached from now on.
    pub peer: Peer,
}

/// Why a way to reach a node was not believed. The roster is as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RosterError {
    /// Another node has this key or this tunnel address, or it is ours.
    #[error("its WireGuard key or tunnel address belongs to another node")]
    Taken,
    /// The operator configured another key or tunnel address for this node, or it was let in with another.
    #[error("its WireGuard key or tunnel address is not the configured one")]
    NotAsConfigured,
    /// It has left for good, was sent away, or another node was let in in its place.
    #[error("it does not belong to the cluster any more; it needs a new invitation")]
    Gone,
    /// There are [`MAX_NODES`] already.
    #[error("the cluster has {MAX_NODES} nodes already")]
    Full,
}

/// The ways to reach the other nodes.
#[derive(Debug)]
pub struct Roster {
    own: Peer,
    peers: BTreeMap<NodeId, Known>,
}

#[derive(Debug)]
struct Known {
    peer: Peer,
    ground: Ground,
    /// The endpoint the operator gave.
    fixed_endpoint: Option<SocketAddr>,
}

/// Why we know a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ground {
    /// The operator named it.
    Configured,
    /// It was let in.
    Admitted,
    /// It told us, or others did.
    Learnt,
}

impl Roster {
    /// A roster without anybody but ourselves.
    pub fn new(own: Peer) -> Self {
        Self { own, peers: BTreeMap::new() }
    }

    /// Everybody we can call.
    pub fn nodes(&self) -> impl Iterator<Item = &NodeId> {
        self.peers.keys()
    }

    /// Everybody we can call, and how.
    pub fn peers(&self) -> impl Iterator<Item = &Peer> {
        self.peers.values().map(|known| &known.peer)
    }

    /// How this node is reached.
    pub fn get(&self, node: &NodeId) -> Option<&Peer> {
        self.peers.get(node).map(|known| &known.peer)
    }

    /// Who has a name, a key or an address that `peer` would have: the nodes that it would replace.
    pub fn rivals(&self, peer: &Peer) -> impl Iterator<Item = &Peer> {
        let clash = |other: &&Peer| {
            other.node == peer.node
                || other.wireguard_key == peer.wireguard_key
                || other.tunnel_address == peer.tunnel_address
        };
        [&self.own].into_iter().chain(self.peers()).filter(clash)
    }

    /// Whether there is room for this node, known or not.
    pub fn has_room_for(&self, node: &NodeId) -> bool {
        self.contains(node) || self.peers.len() < MAX_NODES
    }

    /// Whether we can call this node.
    pub fn contains(&self, node: &NodeId) -> bool {
        self.peers.contains_key(node)
    }

    /// Whether the operator named this node.
    pub fn is_configured(&self, node: &NodeId) -> bool {
        self.peers.get(node).is_some_and(|known| known.ground == Ground::Configured)
    }

    /// Takes in what the operator configured. It replaces what was known of this node.
    pub fn configure(&mut self, peer: Peer) -> Result<Option<Update>, RosterError> {
        self.check_free(&peer)?;
        let fixed_endpoint = peer.endpoint;
        Ok(self.keep(Known { peer, ground: Ground::Configured, fixed_endpoint }))
    }

    /// Takes in a node that was let in. It replaces whoever had its name, key or address, but never ourselves: then, and
    /// where the cluster is full, nothing happens. First whom WireGuard must forget, then what it must be told.
    pub fn admit(&mut self, peer: Peer) -> (Vec<Peer>, Option<Update>) {
        if self.rivals(&peer).any(|rival| *rival == self.own) || !self.has_room_for(&peer.node) {
            return (Vec::new(), None);
        }
        if self.get(&peer.node).is_some_and(|old| {
            (old.wireguard_key, old.tunnel_address) == (peer.wireguard_key, peer.tunnel_address)
        }) {
            // We know it, perhaps better than those who let it in; only its right to the name is new.
            if let Some(known) = self.peers.get_mut(&peer.node).filter(|known| known.ground == Ground::Learnt)
            {
                known.ground = Ground::Admitted;
            }
            return (Vec::new(), None);
        }
        let displaced: Vec<NodeId> = self
            .rivals(&peer)
            .filter(|rival| rival.node != peer.node)
            .map(|rival| rival.node.clone())
            .collect();
        let gone = displaced.iter().filter_map(|node| self.forget(node)).collect();
        (gone, self.keep(Known { peer, ground: Ground::Admitted, fixed_endpoint: None }))
    }

    /// Takes in what was known before a restart, where nothing contradicts it.
    pub fn recall(&mut self, peer: Peer) -> Option<Update> {
        if self.contains(&peer.node) || self.check_free(&peer).is_err() {
            return None;
        }
        self.keep(Known { peer, ground: Ground::Learnt, fixed_endpoint: None })
    }

    /// Takes in what a node says about itself.
    pub fn learn(&mut self, record: &NodeRecord) -> Result<Option<Update>, RosterError> {
        let mut peer = Peer {
            node: record.node.clone(),
            wireguard_key: record.wireguard_key,
            endpoint: record.endpoint,
            tunnel_address: record.tunnel_address,
        };
        self.check_free(&peer)?;
        let (mut ground, mut fixed_endpoint) = (Ground::Learnt, None);
        if let Some(old) = self.peers.get(&peer.node).filter(|old| old.ground != Ground::Learnt) {
            if (old.peer.wireguard_key, old.peer.tunnel_address) != (peer.wireguard_key, peer.tunnel_address)
            {
                return Err(RosterError::NotAsConfigured);
            }
            (ground, fixed_endpoint) = (old.ground, old.fixed_endpoint);
            peer.endpoint = fixed_endpoint.or(peer.endpoint);
        }
        Ok(self.keep(Known { peer, ground, fixed_endpoint }))
    }

    /// What WireGuard must be told. Nothing if nothing changed: it follows a peer that moves, and saying the same
    /// thing twice would undo that.
    fn keep(&mut self, known: Known) -> Option<Update> {
        let peer = known.peer.clone();
        let old = self.peers.insert(peer.node.clone(), known).map(|old| old.peer);
        if old.as_ref() == Some(&peer) {
            return None;
        }
        Some(Update { gone: old.filter(|old| old.wireguard_key != peer.wireguard_key), peer })
    }

    /// Forgets a node; how it was reached.
    pub fn forget(&mut self, node: &NodeId) -> Option<Peer> {
        self.peers.remove(node).map(|known| known.peer)
    }

    fn check_free(&self, peer: &Peer) -> Result<(), RosterError> {
        let clash = |other: &Peer| {
            other.node != peer.node
                && (other.wireguard_key == peer.wireguard_key || other.tunnel_address == peer.tunnel_address)
        };
        if peer.node == self.own.node
            || clash(&self.own)
            || self.peers.values().any(|known| clash(&known.peer))
        {
            return Err(RosterError::Taken);
        }
        if !self.peers.contains_key(&peer.node) && self.peers.len() >= MAX_NODES {
            return Err(RosterError::Full);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::record;
    use super::*;

    fn peer(node: &str) -> Peer {
        let record = record(node, 1, 1, 0);
        Peer {
            node: record.node,
            wireguard_key: record.wireguard_key,
            endpoint: None,
            tunnel_address: record.tunnel_address,
        }
    }

    #[test]
    fn nobody_takes_anothers_key_or_address() {
        let mut roster = Roster::new(peer("a"));
        roster.configure(peer("b")).unwrap();
        for victim in ["a", "b"] {
            let key_thief = NodeRecord { wireguard_key: peer(victim).wireguard_key, ..record("x", 1, 1, 0) };
            assert_eq!(roster.learn(&key_thief), Err(RosterError::Taken));
            let address_thief =
                NodeRecord { tunnel_address: peer(victim).tunnel_address, ..record("x", 1, 1, 0) };
            assert_eq!(roster.learn(&address_thief), Err(RosterError::Taken));
        }
        assert_eq!(roster.learn(&record("a", 9, 9, 0)), Err(RosterError::Taken));
        assert!(!roster.contains(&"x".parse().unwrap()));
    }

    #[test]
    fn what_the_operator_configured_stands() {
        let mut roster = Roster::new(peer("a"));
        let there: SocketAddr = "192.0.2.1:51820".parse().unwrap();
        roster.configure(Peer { endpoint: Some(there), ..peer("b") }).unwrap();
        roster.configure(peer("c")).unwrap();
        let moved = NodeRecord { wireguard_key: [0; 32], ..record("b", 1, 1, 0) };
        assert_eq!(roster.learn(&moved), Err(RosterError::NotAsConfigured));
        let elsewhere: SocketAddr = "192.0.2.2:1".parse().unwrap();
        let says_elsewhere = NodeRecord { endpoint: Some(elsewhere), ..record("b", 1, 1, 0) };
        assert_eq!(roster.learn(&says_elsewhere), Ok(None));
        let fills_gap = NodeRecord { endpoint: Some(elsewhere), ..record("c", 1, 1, 0) };
        let update = Update { gone: None, peer: Peer { endpoint: Some(elsewhere), ..peer("c") } };
        assert_eq!(roster.learn(&fills_gap), Ok(Some(update)));
        assert_eq!(roster.learn(&fills_gap), Ok(None));
    }

    #[test]
    fn a_stranger_may_move_but_only_itself() {
        let mut roster = Roster::new(peer("a"));
        assert_eq!(roster.learn(&record("x", 1, 1, 0)), Ok(Some(Update { gone: None, peer: peer("x") })));
        let moved = NodeRecord { wireguard_key: [0; 32], ..record("x", 1, 2, 0) };
        let now = Peer { wireguard_key: [0; 32], ..peer("x") };
        assert_eq!(roster.learn(&moved), Ok(Some(Update { gone: Some(peer("x")), peer: now.clone() })));
        assert_eq!(roster.forget(&"x".parse().unwrap()), Some(now));
        assert_eq!(roster.forget(&"x".parse().unwrap()), None);
    }

    fn keyed(node: &str, key: u8) -> Peer {
        let tunnel_address = IpAddr::from([10, 9, 9, key]);
        Peer { wireguard_key: [key; 32], tunnel_address, ..peer(node) }
    }

    #[test]
    fn who_is_let_in_takes_the_place_of_whoever_had_its_name_or_key() {
        let mut roster = Roster::new(peer("a"));
        roster.configure(keyed("b", 200)).unwrap();
        roster.configure(keyed("c", 201)).unwrap();
        let (gone, update) = roster.admit(keyed("b", 202));
        assert_eq!(gone, []);
        assert_eq!(update, Some(Update { gone: Some(keyed("b", 200)), peer: keyed("b", 202) }));
        let (gone, update) = roster.admit(keyed("d", 201));
        assert_eq!(gone, [keyed("c", 201)]);
        assert_eq!(update, Some(Update { gone: None, peer: keyed("d", 201) }));
        assert_eq!(roster.admit(keyed("d", 201)), (Vec::new(), None), "twice is once");
        for own in [keyed("a", 203), Peer { node: "x".parse().unwrap(), ..peer("a") }] {
            assert_eq!(roster.admit(own), (Vec::new(), None), "our name and key stay ours");
        }
        assert_eq!(roster.nodes().map(NodeId::as_str).collect::<Vec<_>>(), ["b", "d"]);
    }

    #[test]
    fn who_was_let_in_keeps_its_key() {
        let mut roster = Roster::new(peer("a"));
        roster.learn(&record("x", 1, 1, 0)).unwrap();
        let learnt = peer("x");
        roster.admit(learnt.clone());
        let moved = NodeRecord { wireguard_key: [0; 32], ..record("x", 1, 2, 0) };
        assert_eq!(roster.learn(&moved), Err(RosterError::NotAsConfigured));
        let there: SocketAddr = "192.0.2.2:1".parse().unwrap();
        let says_where = NodeRecord { endpoint: Some(there), ..record("x", 1, 2, 0) };
        assert!(roster.learn(&says_where).unwrap().is_some());
        assert!(!roster.is_configured(&learnt.node));
    }

    #[test]
    fn what_was_known_before_a_restart_contradicts_nobody() {
        let mut roster = Roster::new(peer("a"));
        roster.configure(keyed("b", 200)).unwrap();
        assert_eq!(roster.recall(keyed("b", 201)), None);
        assert_eq!(roster.recall(keyed("c", 200)), None);
        assert_eq!(roster.recall(peer("a")), None);
        assert_eq!(roster.recall(keyed("c", 201)), Some(Update { gone: None, peer: keyed("c", 201) }));
        assert!(roster.learn(&record("c", 1, 1, 0)).unwrap().is_some(), "it may have moved meanwhile");
    }
}
