//! The WireGuard interface `wg-rb` and the sealed datagrams that cross it.
//!
//! Every datagram is encrypted and authenticated under a key that only holders of the cluster token can derive,
//! so a WireGuard key alone, or a mistake in a routing table, lets nobody into the cluster.
//!
//! ```text
//! ClusterToken --derive--> sealing key of (token, sender, session)      token.rs, seal.rs, open.rs, replay.rs
//!      |                                                     payload <-> datagram  <= MAX_DATAGRAM bytes
//!      +-----derive--> TunnelPrefix fdxx:xxxx:xxxx::/48                  tunnel.rs
//! WireGuardKey --public key--> tunnel address inside the prefix          wireguard_key.rs, tunnel.rs
//! ```
//!
//! All of these are pure: time and randomness are arguments.

pub mod open;
pub mod replay;
pub mod seal;
pub mod token;
pub mod tunnel;
pub mod wireguard_key;
