//! The tunnel's configuration through `wireguard-control`: the same calls for the kernel's WireGuard (generic
//! netlink) and for the one in this process (its control socket).
//!
//! The crate blocks and has no time-outs, so each call runs on a thread for such work, one at a time, and is
//! waited for only so long. A call that hangs keeps its turn: later ones then fail for want of it, and threads
//! do not pile up. The crate's key type is not wiped on drop; keys are handed to it as late, and for as short,
//! as it allows. It prints some errors to standard output; those are returned too.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::Semaphore;
use tokio::time::timeout;
use wireguard_control::{Backend, Device, DeviceUpdate, Key, PeerConfigBuilder, PeerInfo};
use zeroize::Zeroize;

use crate::mesh::error::InterfaceError;
use crate::mesh::interface_name::InterfaceName;
use crate::mesh::peer::{Peer, PeerStatus};
use crate::mesh::wireguard_key::{WireGuardKey, WireGuardPublicKey};

/// Longest wait for one answer. Answers take under a millisecond; a machine that swaps may take seconds.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// Speaks with one interface's WireGuard.
pub(super) struct Control {
    name: wireguard_control::InterfaceName,
    backend: Backend,
    turn: Arc<Semaphore>,
    /// Longest wait, [`ANSWER_LIMIT`].
    limit: Duration,
}

/// What the tunnel says of itself.
pub(super) struct Reading {
    pub(super) listen_port: u16,
    pub(super) peers: Vec<PeerStatus>,
}

impl Control {
    pub(super) fn new(name: &InterfaceName, backend: Backend) -> Result<Self, InterfaceError> {
        // The crate's own rules are laxer than ours.
        let refused = |e| InterfaceError::Control { action: "name the tunnel", source: io::Error::other(e) };
        let name = name.as_str().parse().map_err(refused)?;
        Ok(Self { name, backend, turn: Arc::new(Semaphore::new(1)), limit: ANSWER_LIMIT })
    }

    /// Gives the tunnel its key and port, and takes all peers from it.
    pub(super) async fn configure(&self, key: &WireGuardKey, listen_port: u16) -> Result<(), InterfaceError> {
        let mut key = Key(*key.expose());
        let update = DeviceUpdate::new().replace_peers().set_listen_port(listen_port);
        let update = update.set_private_key(key.clone());
        key.0.zeroize();
        self.apply("configure the tunnel", update).await
    }

    /// Adds a peer, or changes it.
    pub(super) async fn set_peer(&self, peer: &Peer) -> Result<(), InterfaceError> {
        let bits = if peer.address.is_ipv4() { 32 } else { 128 };
        let mut builder = PeerConfigBuilder::new(&Key(peer.key.0))
            .replace_allowed_ips()
            .add_allowed_ip(peer.address, bits)
            .set_persistent_keepalive_interval(peer.keepalive_secs.unwrap_or(0));
        if let Some(endpoint) = peer.endpoint {
            builder = builder.set_endpoint(endpoint);
        }
        self.apply("set a peer", DeviceUpdate::new().add_peer(builder)).await
    }

    /// Removes a peer.
    pub(super) async fn remove_peer(&self, key: &WireGuardPublicKey) -> Result<(), InterfaceError> {
        self.apply("remove a peer", DeviceUpdate::new().remove_peer_by_key(&Key(key.0))).await
    }

    /// Reads the tunnel's state.
    pub(super) async fn read(&self) -> Result<Reading, InterfaceError> {
        let device = self.call("read the tunnel's state", read_public).await?;
        let now = SystemTime::now();
        Ok(Reading {
            listen_port: device.listen_port.unwrap_or(0),
            peers: device.peers.iter().map(|peer| status(peer, now)).collect(),
        })
    }

    async fn apply(&self, action: &'static str, update: DeviceUpdate) -> Result<(), InterfaceError> {
        self.call(action, move |name, backend| {
            // Without a control socket the crate would start the program `wireguard-go`; reading would not.
            if backend == Backend::Userspace {
                read_public(name, backend)?;
            }
            update.apply(name, backend)
        })
        .await
    }

    async fn call<T: Send + 'static>(
        &self,
        action: &'static str,
        work: impl FnOnce(&wireguard_control::InterfaceName, Backend) -> io::Result<T> + Send + 'static,
    ) -> Result<T, InterfaceError> {
        let timed_out = InterfaceError::TimedOut { action, limit: self.limit };
        let (name, backend, turn) = (self.name, self.backend, Arc::clone(&self.turn));
        let answer = timeout(self.limit, async move {
            let turn = turn.acquire_owned().await.map_err(io::Error::other)?;
            let thread = tokio::task::spawn_blocking(move || {
                let _turn = turn;
                work(&name, backend)
            });
            thread.await.map_err(io::Error::other)?
        });
        match answer.await {
            Err(_) => Err(timed_out),
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) if error.raw_os_error() == Some(nix::libc::EPERM) => {
                Err(InterfaceError::NotPermitted { action })
            }
            Ok(Err(source)) => Err(InterfaceError::Control { action, source }),
        }
    }
}

/// The public key of a kernel interface, for telling whose it is. Blocks.
pub(super) fn kernel_public_key(name: &str) -> io::Result<Option<WireGuardPublicKey>> {
    let device = read_public(&name.parse()?, Backend::Kernel)?;
    Ok(device.public_key.map(|key| WireGuardPublicKey(key.0)))
}

/// Reads a device and wipes the secrets that come along.
fn read_public(name: &wireguard_control::InterfaceName, backend: Backend) -> io::Result<Device> {
    let mut device = Device::get(name, backend)?;
    if let Some(mut key) = device.private_key.take() {
        key.0.zeroize();
    }
    Ok(device)
}

fn status(peer: &PeerInfo, now: SystemTime) -> PeerStatus {
    // A handshake "in the future" means that the clock was set back since: it is recent enough.
    let age = |at: SystemTime| now.duration_since(at).unwrap_or_default();
    PeerStatus {
        key: WireGuardPublicKey(peer.config.public_key.0),
        endpoint: peer.config.endpoint.map(unmapped),
        addresses: peer.config.allowed_ips.iter().map(|allowed| allowed.address).collect::<Vec<IpAddr>>(),
        keepalive_secs: peer.config.persistent_keepalive_interval.filter(|seconds| *seconds > 0),
        last_handshake_age: peer.stats.last_handshake_time.map(age),
        received_bytes: peer.stats.rx_bytes,
        sent_bytes: peer.stats.tx_bytes,
    }
}

/// An IPv4 address as itself, also where the tunnel's dual-stack socket saw it as `::ffff:a.b.c.d`.
fn unmapped(endpoint: SocketAddr) -> SocketAddr {
    SocketAddr::new(endpoint.ip().to_canonical(), endpoint.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tunnel_that_is_not_there_is_an_error_and_starts_no_program() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let control = Control::new(&"rb-no-such".parse().unwrap(), Backend::Userspace).unwrap();
        let outcome = runtime.block_on(control.remove_peer(&WireGuardPublicKey([1; 32])));
        let Err(InterfaceError::Control { source, .. }) = outcome else { panic!("{outcome:?}") };
        // The crate's own attempt to start a program ends in a message that names it.
        assert!(!source.to_string().contains("wireguard-go"), "{source}");
    }

    #[test]
    fn a_call_that_hangs_is_given_up_and_so_are_those_behind_it() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut control = Control::new(&"rb-hangs".parse().unwrap(), Backend::Userspace).unwrap();
        control.limit = Duration::from_millis(50);
        let (release, held) = std::sync::mpsc::channel::<()>();
        runtime.block_on(async {
            let hanging = control.call("hang", move |_, _| held.recv().map_err(io::Error::other));
            assert!(matches!(hanging.await, Err(InterfaceError::TimedOut { action: "hang", .. })));
            let behind = control.call("wait", |_, _| Ok(()));
            assert!(matches!(behind.await, Err(InterfaceError::TimedOut { action: "wait", .. })));
            drop(release);
        });
    }
}
