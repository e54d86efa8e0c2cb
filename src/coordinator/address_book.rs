//! Which node has which address in the tunnel.
//!
//! The sealing says that a sender holds the cluster's token and what it calls itself; WireGuard says which key, and
//! so which tunnel address, a packet really came from. Only together they tell who speaks.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use crate::proto::node::NodeId;

/// The tunnel addresses of the other nodes.
#[derive(Debug)]
pub struct AddressBook {
    port: u16,
    addresses: BTreeMap<NodeId, IpAddr>,
}

impl AddressBook {
    /// An empty book; all nodes receive datagrams on the same port.
    pub fn new(port: u16) -> Self {
        Self { port, addresses: BTreeMap::new() }
    }

    /// Enters a node, or its new address.
    pub fn enter(&mut self, node: NodeId, address: IpAddr) {
        self.addresses.insert(node, address);
    }

    /// Strikes a node out, unless it has moved from that address meanwhile.
    pub fn strike(&mut self, node: &NodeId, address: IpAddr) {
        if self.addresses.get(node) == Some(&address) {
            self.addresses.remove(node);
        }
    }

    /// Where a node's datagrams go.
    pub fn find(&self, node: &NodeId) -> Option<SocketAddr> {
        self.addresses.get(node).map(|address| SocketAddr::new(*address, self.port))
    }

    /// Whether a datagram sealed by `node` may come from there.
    pub fn vouches(&self, node: &NodeId, from: SocketAddr) -> bool {
        self.addresses.get(node) == Some(&from.ip())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_counts_only_from_its_own_address() {
        let (a, b): (NodeId, NodeId) = ("a".parse().unwrap(), "b".parse().unwrap());
        let address = |last: u8| IpAddr::from([10, 9, 9, last]);
        let mut book = AddressBook::new(51821);
        book.enter(a.clone(), address(1));
        assert_eq!(book.find(&a), Some("10.9.9.1:51821".parse().unwrap()));
        assert!(book.vouches(&a, "10.9.9.1:40000".parse().unwrap()));
        assert!(!book.vouches(&a, "10.9.9.2:51821".parse().unwrap()));
        assert!(!book.vouches(&b, "10.9.9.1:51821".parse().unwrap()));
        book.enter(a.clone(), address(3));
        book.strike(&a, address(1));
        assert!(book.vouches(&a, "10.9.9.3:51821".parse().unwrap()));
        book.strike(&a, address(3));
        assert_eq!(book.find(&a), None);
    }
}
