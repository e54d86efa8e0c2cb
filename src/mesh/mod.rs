//! The WireGuard interface `wg-rb` and the sealed datagrams that cross it.
//!
//! Two walls stand around what nodes tell each other. The outer one is WireGuard: [`interface`] creates
//! `wg-rb` (the kernel's, or one inside this process where the kernel has none), and [`socket`] listens on the
//! tunnel address and on nothing else. The inner one is [`seal`] and [`open`]: every datagram is encrypted and
//! authenticated under a key that only holders of the cluster token can derive, so a WireGuard key alone, or a
//! mistake in a routing table, lets nobody into the cluster.
//!
//! ```text
//! ClusterToken --derive--> sealing key of (token, sender, session)      token.rs, seal.rs, open.rs, replay.rs
//!      |                                                     payload <-> datagram  <= MAX_DATAGRAM bytes
//!      +-----derive--> TunnelPrefix fdxx:xxxx:xxxx::/48                  tunnel.rs
//!      +-----derive--> sealed order for the next token                   keyring.rs
//!      +-----derive--> keys of tickets and join requests                 token.rs
//! WireGuardKey --public key--> tunnel address inside the prefix          wireguard_key.rs, tunnel.rs
//!
//! Interface = link (netlink) + WireGuard (control.rs: kernel or userspace.rs)
//! MeshSocket = Sealers (one for each token) + Opener + UDP bound to the interface and its tunnel address
//! ```
//!
//! `token`, `keyring`, `wireguard_key`, `tunnel`, `seal`, `open` and `replay` are pure: time and randomness are arguments.
//!
//! # What the process needs
//!
//! `CAP_NET_ADMIN` in the network namespace that shall hold the interface, and nothing more: not root, no other
//! capability (`tests/mesh.rs` runs a node as an ordinary user with only that one ambient). The userspace
//! tunnel also opens `/dev/net/tun` (mode 0666 on Debian and `NixOS`; a unit with `PrivateDevices=` or
//! `DevicePolicy=closed` needs `DeviceAllow=/dev/net/tun rw`, and `PrivateDevices=no`) and keeps its control
//! socket in `/var/run/wireguard`, which must be writable to it (`RuntimeDirectory=wireguard`). That socket
//! serves our own uid and root, so `wg show wg-rb` works for the operator.
//!
//! # How it was tested
//!
//! `tests/mesh` runs two nodes in network namespaces with real tunnels. On a kernel without WireGuard that is the
//! userspace tunnel only; `tests/vm/run mesh` runs the same tests, and those of the kernel's tunnel, on Debian's kernel
//! in a virtual machine. Not tested: `systemd-networkd` beside us (it must leave `wg-rb` alone, `Unmanaged=yes`),
//! NAT between nodes, and a host without IPv6, where only explicit IPv4 addresses can work.

mod control;
pub mod error;
pub mod interface;
pub mod interface_name;
pub mod keyring;
mod link;
pub mod open;
pub mod peer;
pub mod replay;
pub mod seal;
pub mod socket;
pub mod token;
pub mod tunnel;
#[cfg(feature = "userspace-wireguard")]
mod userspace;
pub mod wireguard_key;
