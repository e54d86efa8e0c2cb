//! Peers: what is asked of the tunnel about another node, and what the tunnel answers.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::mesh::wireguard_key::WireGuardPublicKey;

/// Most peers of the interface: several times the largest cluster that is simulated (20), and as many as
/// datagram senders are remembered.
pub const MAX_PEERS: usize = 128;
/// Seconds between keepalive packets to a peer behind NAT: routers forget a UDP mapping after 30 s at the
/// earliest in practice, and WireGuard's own documentation recommends 25.
pub const KEEPALIVE_SECS: u16 = 25;

/// What shall be known of a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its WireGuard public key.
    pub key: WireGuardPublicKey,
    /// Its address in the tunnel; packets from any other are dropped.
    pub address: IpAddr,
    /// Where it can be reached; `None` when it will come to us. The tunnel follows it when it moves.
    pub endpoint: Option<SocketAddr>,
    /// Seconds between keepalive packets to it ([`KEEPALIVE_SECS`]); `None` for no such packets.
    pub keepalive_secs: Option<u16>,
}

/// What the tunnel knows of a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerStatus {
    /// Its WireGuard public key.
    pub key: WireGuardPublicKey,
    /// Where its last authentic packet came from, or where it was said to be.
    pub endpoint: Option<SocketAddr>,
    /// Its addresses in the tunnel.
    pub addresses: Vec<IpAddr>,
    /// Seconds between keepalive packets to it.
    pub keepalive_secs: Option<u16>,
    /// Time since the last handshake with it; `None` when there was none. Above about three minutes there
    /// is no session.
    pub last_handshake_age: Option<Duration>,
    /// Bytes received from it.
    pub received_bytes: u64,
    /// Bytes sent to it.
    pub sent_bytes: u64,
}
