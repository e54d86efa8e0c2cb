//! What nodes are called.

use std::fmt;
use std::net::SocketAddr;

use super::wires::mesh_address;
use crate::proto::node::{NodeId, Priority};

/// WireGuard's port on the mesh bridge.
pub(super) const WIREGUARD_PORT: u16 = 51820;
/// Names of the nodes, in the order in which they come into being.
const NAMES: [&str; 24] = [
    "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu",
    "nu", "xi", "omicron", "pi", "rho", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega",
];

/// What a node is called, and what follows from its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    /// Counts from 1.
    pub(super) number: u8,
    /// As its configuration has it.
    pub(super) id: NodeId,
    /// The first one's is the lowest: it holds the lease while all are well.
    pub(super) priority: Priority,
}

impl Name {
    /// The node of that number; None where names have run out.
    pub(super) fn of(number: u8) -> Option<Self> {
        let name = NAMES.get(usize::from(number).checked_sub(1)?)?;
        Some(Self { number, id: name.parse().ok()?, priority: Priority(u32::from(number) * 10) })
    }

    /// Where its WireGuard is reached.
    pub(super) fn endpoint(&self) -> SocketAddr {
        SocketAddr::from((mesh_address(self.number), WIREGUARD_PORT))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.id.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_one_that_nodes_take_and_then_there_are_no_more() {
        let count = u8::try_from(NAMES.len()).unwrap();
        assert!((1..=count).all(|number| Name::of(number).is_some_and(|name| name.number == number)));
        assert!(Name::of(0).is_none() && Name::of(count + 1).is_none());
    }
}
