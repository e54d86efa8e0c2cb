//! The small facts that the whole cluster keeps: who was let in, who left, which token is new, who is drained.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::record::bounded;
use super::roster::Peer;
use super::token::TokenName;
use crate::proto::node::NodeId;

/// Longest sealed token, in bytes: a nonce, 32 bytes of token and their tag take half of it.
pub const MAX_SEALED: usize = 128;

/// One fact. It never changes; another one may take its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Note {
    /// A node was let in.
    Admission(Admission),
    /// A node left for good.
    Departure(Departure),
    /// The cluster has a new token.
    Rotation(Rotation),
    /// A node is drained, or taken back.
    Drain(Drain),
}

/// A ticket was spent: its bearer is a node of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Admission {
    /// The ticket's number.
    pub ticket: [u8; 16],
    /// How many nodes the ticket may let in.
    pub uses: u16,
    /// The new node's name.
    pub node: NodeId,
    /// Its WireGuard public key.
    pub wireguard_key: [u8; 32],
    /// Where its WireGuard listens, if it says so.
    pub endpoint: Option<SocketAddr>,
    /// Its address inside the mesh, derived from its key.
    pub tunnel_address: IpAddr,
    /// When it was let in, Unix time in milliseconds, by the clock of the node that did so.
    pub at_ms: u64,
    /// When the ticket expires, Unix time in milliseconds; the fact is of use a little longer.
    pub expires_ms: u64,
}

impl Admission {
    /// How the new node is reached.
    pub fn peer(&self) -> Peer {
        Peer {
            node: self.node.clone(),
            wireguard_key: self.wireguard_key,
            endpoint: self.endpoint,
            tunnel_address: self.tunnel_address,
        }
    }
}

/// A node left for good: its name and key are nobody's, until they are let in again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Departure {
    /// Its name.
    pub node: NodeId,
    /// Its WireGuard public key.
    pub wireguard_key: [u8; 32],
    /// When, Unix time in milliseconds.
    pub at_ms: u64,
}

/// A new token, sealed under the one before it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Rotation {
    /// The new token's name, one above `previous`.
    pub token: TokenName,
    /// The token under which it is sealed.
    pub previous: TokenName,
    /// When it was made, Unix time in milliseconds.
    pub at_ms: u64,
    /// The token, sealed: at most [`MAX_SEALED`] bytes that only the mesh can open.
    #[serde(deserialize_with = "bounded::<_, _, MAX_SEALED>")]
    pub sealed: Vec<u8>,
}

/// The operator's wish about a node. The latest wins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drain {
    /// Which node.
    pub node: NodeId,
    /// Whether it is to leave the descriptor, or to be in it as usual.
    pub draining: bool,
    /// When the operator said so, Unix time in milliseconds.
    pub at_ms: u64,
    /// On which node.
    pub by: NodeId,
    /// How long the connections it carries may last once its introduction points are out, in seconds.
    pub deadline_secs: u32,
    /// The node that takes its place: it stays in the descriptor until that one is in it.
    pub after: Option<NodeId>,
}
