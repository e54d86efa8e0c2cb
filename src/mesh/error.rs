//! What can go wrong with the WireGuard interface.

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

use crate::mesh::peer::MAX_PEERS;
use crate::mesh::tunnel::TunnelAddress;
use crate::mesh::wireguard_key::WireGuardPublicKey;

/// Why the interface, or a peer of it, was not set up.
///
/// When creating fails, nothing is left behind. When a later call fails, the interface and its peers are as
/// before, unless the variant says otherwise.
#[derive(Debug, Error)]
pub enum InterfaceError {
    /// The kernel refused for lack of rights.
    #[error(
        "not allowed to {action}: the process needs CAP_NET_ADMIN in its network namespace (AmbientCapabilities=CAP_NET_ADMIN)"
    )]
    NotPermitted {
        /// What was attempted.
        action: &'static str,
    },
    /// Something that is not rustbalance's bears the name. It was not touched.
    #[error(
        "a network interface {0} exists and is not ours; remove it with: ip link delete {0}, or configure another name"
    )]
    NameTaken(String),
    /// Another living process carries a userspace tunnel of this name. It was not touched.
    #[error("another process carries the tunnel {0}; stop it, or configure another interface name")]
    AlreadyRunning(String),
    /// The kernel has no WireGuard, and no other was allowed or built in.
    #[error(
        "this kernel has no WireGuard; load it with: modprobe wireguard, or allow the userspace tunnel (cargo feature userspace-wireguard)"
    )]
    NoKernelWireGuard,
    /// The userspace tunnel was asked for, but is not built in.
    #[error("the userspace tunnel is not built in; build with the cargo feature userspace-wireguard")]
    NoUserspaceWireGuard,
    /// The userspace tunnel cannot open the device it needs.
    #[error(
        "cannot open /dev/net/tun: {0}; load it with: modprobe tun, and allow the device (DeviceAllow=/dev/net/tun rw)"
    )]
    NoTun(#[source] io::Error),
    /// The userspace tunnel did not start for another reason.
    #[error("the userspace tunnel did not start: {0}")]
    Userspace(String),
    /// A directory or socket for controlling the userspace tunnel cannot be used.
    #[error("cannot {action} {}: {source}; the process must own that directory (RuntimeDirectory=wireguard)", path.display())]
    ControlSocket {
        /// What was attempted.
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The WireGuard port is in use.
    #[error("UDP port {0} is in use; stop what listens there, or configure another WireGuard port")]
    PortTaken(u16),
    /// The kernel refused the tunnel address.
    #[error(
        "cannot give {address} to the interface: {source}; for an IPv6 address, IPv6 must not be disabled (sysctl net.ipv6.conf.all.disable_ipv6)"
    )]
    Address {
        /// The address.
        address: TunnelAddress,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A request to the kernel about the link failed.
    #[error("cannot {action}: {source}")]
    Link {
        /// What was attempted.
        action: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// WireGuard did not take or give its configuration. A peer being changed may have either state; set it
    /// again.
    #[error("cannot {action}: {source}")]
    Control {
        /// What was attempted.
        action: &'static str,
        /// The tunnel's answer.
        source: io::Error,
    },
    /// No answer in time. The request may still be carried out; check the interface.
    #[error("cannot {action}: no answer within {} s", .limit.as_secs())]
    TimedOut {
        /// What was attempted.
        action: &'static str,
        /// How long was waited.
        limit: Duration,
    },
    /// The peer's key is this node's own.
    #[error("the peer's WireGuard key {0} is this node's own; every node needs a key of its own")]
    OwnKey(WireGuardPublicKey),
    /// The peer's address lies in another network than the interface's.
    #[error(
        "the peer's tunnel address {peer} is not in this node's tunnel network {own}; all nodes need addresses of one network"
    )]
    OutsideNetwork {
        /// The peer's address.
        peer: IpAddr,
        /// Ours.
        own: TunnelAddress,
    },
    /// The peer's address belongs to this node or to another peer, who keeps it.
    #[error("the tunnel address {0} belongs to another node already; every node needs an address of its own")]
    AddressTaken(IpAddr),
    /// The interface has as many peers as are allowed.
    #[error("the interface has {MAX_PEERS} peers already; remove one first")]
    TooManyPeers,
}

/// What is wrong with an interface that was created well. Removing and creating it again repairs each of them.
#[derive(Debug, Error)]
pub enum Fault {
    /// The interface does not exist any more.
    #[error("the interface is gone")]
    Gone,
    /// Another interface bears the name.
    #[error("the interface was replaced by another of the same name")]
    Replaced,
    /// The interface was taken down.
    #[error("the interface is down")]
    Down,
    /// The interface lost its tunnel address.
    #[error("the interface has lost its tunnel address {0}")]
    AddressLost(TunnelAddress),
    /// The MTU was changed to this many bytes.
    #[error("the interface's MTU was changed to {0}")]
    Mtu(u32),
    /// The userspace tunnel has stopped carrying packets.
    #[error("the userspace tunnel has stopped; the log says why")]
    TunnelStopped,
    /// The state could not be read.
    #[error("the interface does not answer: {0}")]
    Silent(#[from] InterfaceError),
}

impl InterfaceError {
    /// A refusal by the kernel, told apart by its reason.
    pub(super) fn link(action: &'static str, source: io::Error) -> Self {
        if source.raw_os_error() == Some(nix::libc::EPERM) {
            Self::NotPermitted { action }
        } else {
            Self::Link { action, source }
        }
    }
}
