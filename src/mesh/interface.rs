//! The interface `wg-rb`: its life from creation to removal, and its peers.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::libc::{EADDRNOTAVAIL, EAFNOSUPPORT, EEXIST, EOPNOTSUPP};
use wireguard_control::Backend;

use crate::mesh::control::{Control, kernel_public_key};
use crate::mesh::error::{Fault, InterfaceError};
use crate::mesh::interface_name::InterfaceName;
use crate::mesh::link;
use crate::mesh::peer::{MAX_PEERS, Peer, PeerStatus};
use crate::mesh::tunnel::{TUNNEL_MTU, TunnelAddress};
#[cfg(feature = "userspace-wireguard")]
use crate::mesh::userspace::{self, Userspace};
use crate::mesh::wireguard_key::{WireGuardKey, WireGuardPublicKey};

/// How long to wait for WireGuard's port: a tunnel of ours that was just dropped lets go of it within
/// milliseconds, anything else will not.
const PORT_WAIT: Duration = Duration::from_secs(1);
/// How long to wait until the kernel delivers packets for the new address: measured are milliseconds, on a
/// machine with ten times more to do than it can.
const ADDRESS_WAIT: Duration = Duration::from_secs(2);
/// The comment left on our links, by which a later start knows what an earlier one left behind.
const ALIAS: &str = "rustbalance mesh";

/// Whose WireGuard shall carry the tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackendChoice {
    /// The kernel's where it has one, otherwise the one in this process.
    Auto,
    /// The kernel's or none.
    Kernel,
    /// The one in this process, also where the kernel has one.
    Userspace,
}

impl BackendChoice {
    /// What [`Interface::create`] may have to open and make in the file system, for a process that is about to confine
    /// itself.
    pub fn files(self) -> Vec<&'static Path> {
        #[cfg(feature = "userspace-wireguard")]
        if self != Self::Kernel {
            return userspace::files().into();
        }
        Vec::new()
    }
}

/// What an interface shall be.
#[derive(Debug, Clone)]
pub struct InterfaceSettings {
    /// Its name, unique in the network namespace. A userspace tunnel's name must also be unique among the
    /// processes that share `/var/run/wireguard`.
    pub name: InterfaceName,
    /// WireGuard's UDP port; 0 lets the system choose.
    pub listen_port: u16,
    /// This node's address in the tunnel.
    pub address: TunnelAddress,
    /// Whose WireGuard.
    pub backend: BackendChoice,
}

/// Who carries the packets.
enum Engine {
    Kernel,
    #[cfg(feature = "userspace-wireguard")]
    Userspace(Userspace),
}

/// A WireGuard interface of this process. It is removed when this is dropped; what a crash leaves behind,
/// the next [`Interface::create`] replaces.
pub struct Interface {
    settings: InterfaceSettings,
    own_key: WireGuardPublicKey,
    /// The link's number; `None` once it was removed.
    index: Option<u32>,
    control: Control,
    engine: Engine,
    peers: BTreeMap<WireGuardPublicKey, Peer>,
}

impl Interface {
    /// Creates the interface, with its key, port, address and MTU, and takes it up. It has no peers yet.
    ///
    /// Must be called within a tokio runtime with I/O and time enabled, and be dropped within it.
    pub async fn create(settings: InterfaceSettings, key: &WireGuardKey) -> Result<Self, InterfaceError> {
        let own_key = key.public();
        let name = settings.name.as_str().to_owned();
        blocking("look for a left-over interface", move || remove_left_over(&name, own_key)).await?;
        wait_for_port(settings.listen_port).await?;
        let engine = start_engine(&settings).await?;
        let backend = match engine {
            Engine::Kernel => Backend::Kernel,
            #[cfg(feature = "userspace-wireguard")]
            Engine::Userspace(_) => Backend::Userspace,
        };
        let name = settings.name.as_str().to_owned();
        let index = blocking("find the new interface", move || find_index(&name)).await?;
        let control = Control::new(&settings.name, backend)?;
        // From here on dropping it removes whatever exists.
        let mut interface =
            Self { settings, own_key, index: Some(index), control, engine, peers: BTreeMap::new() };
        interface.control.configure(key, interface.settings.listen_port).await?;
        let address = interface.settings.address;
        blocking("take the interface up", move || take_up(index, address)).await?;
        interface.settings.listen_port = interface.control.read().await?.listen_port;
        Ok(interface)
    }

    /// What the interface is; the port is the real one also where 0 was asked for.
    pub fn settings(&self) -> &InterfaceSettings {
        &self.settings
    }

    /// Whether the kernel carries the packets, and not this process.
    pub fn is_kernel(&self) -> bool {
        matches!(self.engine, Engine::Kernel)
    }

    /// Adds a peer, or changes it. A peer set to what it was set to last is left alone, and with it the
    /// session and the endpoint that the tunnel has learned since.
    pub async fn set_peer(&mut self, peer: &Peer) -> Result<(), InterfaceError> {
        if self.peers.get(&peer.key) == Some(peer) {
            return Ok(());
        }
        self.admit(peer)?;
        self.control.set_peer(peer).await?;
        self.peers.insert(peer.key, peer.clone());
        Ok(())
    }

    fn admit(&self, peer: &Peer) -> Result<(), InterfaceError> {
        let own = self.settings.address;
        if peer.key == self.own_key {
            return Err(InterfaceError::OwnKey(peer.key));
        }
        if !own.network_contains(peer.address) {
            return Err(InterfaceError::OutsideNetwork { peer: peer.address, own });
        }
        let taken = self.peers.values().any(|other| other.address == peer.address && other.key != peer.key);
        if taken || peer.address == own.ip() {
            return Err(InterfaceError::AddressTaken(peer.address));
        }
        if self.peers.len() >= MAX_PEERS && !self.peers.contains_key(&peer.key) {
            return Err(InterfaceError::TooManyPeers);
        }
        Ok(())
    }

    /// Removes a peer; packets from it are dropped from now on. Gives `false` when there was no such peer.
    pub async fn remove_peer(&mut self, key: &WireGuardPublicKey) -> Result<bool, InterfaceError> {
        if !self.peers.contains_key(key) {
            return Ok(false);
        }
        self.control.remove_peer(key).await?;
        Ok(self.peers.remove(key).is_some())
    }

    /// What the tunnel knows of its peers now.
    pub async fn peers(&self) -> Result<Vec<PeerStatus>, InterfaceError> {
        Ok(self.control.read().await?.peers)
    }

    /// Whether the interface still is what was created, and answers.
    pub async fn check(&self) -> Result<(), Fault> {
        let (name, address) = (self.settings.name.as_str().to_owned(), self.settings.address);
        let found = move || Ok((link::find(&name)?, link::has_address(&name, address.ip())?));
        let found = blocking("read the interface", move || {
            found().map_err(|e| InterfaceError::link("read the interface", e))
        });
        let (link, has_address) = found.await?;
        let link = link.ok_or(Fault::Gone)?;
        if Some(link.index) != self.index {
            return Err(Fault::Replaced);
        }
        if !link.up {
            return Err(Fault::Down);
        }
        if !has_address {
            return Err(Fault::AddressLost(address));
        }
        if link.mtu != TUNNEL_MTU {
            return Err(Fault::Mtu(link.mtu));
        }
        #[cfg(feature = "userspace-wireguard")]
        if let Engine::Userspace(tunnel) = &self.engine
            && tunnel.has_stopped()
        {
            return Err(Fault::TunnelStopped);
        }
        self.control.read().await?;
        Ok(())
    }

    /// Removes the interface, and says whether that worked; dropping it does the same in silence.
    pub async fn remove(mut self) -> Result<(), InterfaceError> {
        if let Some(index) = self.index.take() {
            let delete = move || link::delete(index);
            blocking("remove the interface", move || {
                delete().map_err(|e| InterfaceError::link("remove the interface", e))
            })
            .await?;
        }
        match std::mem::replace(&mut self.engine, Engine::Kernel) {
            Engine::Kernel => {}
            #[cfg(feature = "userspace-wireguard")]
            Engine::Userspace(tunnel) => tunnel.stop().await,
        }
        Ok(())
    }
}

impl Drop for Interface {
    fn drop(&mut self) {
        // Blocks for as long as the kernel needs, because afterwards nobody waits for us any more.
        if let Some(Err(error)) = self.index.take().map(link::delete) {
            tracing::warn!(interface = %self.settings.name, %error, "the interface could not be removed");
        }
    }
}

/// Runs what blocks on a thread for such work.
async fn blocking<T: Send + 'static>(
    action: &'static str,
    work: impl FnOnce() -> Result<T, InterfaceError> + Send + 'static,
) -> Result<T, InterfaceError> {
    let thread = tokio::task::spawn_blocking(work).await;
    thread.map_err(|error| InterfaceError::Link { action, source: io::Error::other(error) })?
}

/// Removes the kernel's interface that an earlier process of ours left behind. What is somebody else's is an
/// error. (A userspace tunnel's interface goes with its process; its control socket is seen to when starting.)
fn remove_left_over(name: &str, own_key: WireGuardPublicKey) -> Result<(), InterfaceError> {
    let action = "look for a left-over interface";
    let Some(link) = link::find(name).map_err(|e| InterfaceError::link(action, e))? else { return Ok(()) };
    let labelled = link.alias.as_deref() == Some(ALIAS);
    if labelled && !link.wireguard {
        return Err(InterfaceError::AlreadyRunning(name.to_owned()));
    }
    // One without a key was made by a process that died before it could label and configure it.
    let has_no_other_key =
        || matches!(kernel_public_key(name), Ok(key) if key.is_none_or(|key| key == own_key));
    if !link.wireguard || !(labelled || has_no_other_key()) {
        return Err(InterfaceError::NameTaken(name.to_owned()));
    }
    tracing::info!(interface = name, "replacing the interface that an earlier run left behind");
    link::delete(link.index).map_err(|e| InterfaceError::link("remove a left-over interface", e))
}

async fn start_engine(settings: &InterfaceSettings) -> Result<Engine, InterfaceError> {
    if settings.backend == BackendChoice::Userspace {
        return start_userspace(&settings.name).await;
    }
    let name = settings.name.as_str().to_owned();
    let created = blocking("create the interface", move || match link::create_wireguard(&name) {
        Err(error) if error.raw_os_error() == Some(EOPNOTSUPP) => Ok(false),
        Err(error) if error.raw_os_error() == Some(EEXIST) => Err(InterfaceError::NameTaken(name)),
        other => other.map(|()| true).map_err(|e| InterfaceError::link("create the interface", e)),
    });
    match (created.await?, settings.backend) {
        (true, _) => Ok(Engine::Kernel),
        (false, BackendChoice::Kernel) => Err(InterfaceError::NoKernelWireGuard),
        (false, _) if cfg!(feature = "userspace-wireguard") => start_userspace(&settings.name).await,
        (false, _) => Err(InterfaceError::NoKernelWireGuard),
    }
}

#[cfg(feature = "userspace-wireguard")]
async fn start_userspace(name: &InterfaceName) -> Result<Engine, InterfaceError> {
    Ok(Engine::Userspace(Userspace::start(name).await?))
}

#[cfg(not(feature = "userspace-wireguard"))]
#[allow(clippy::unused_async, reason = "its twin with the feature waits")]
async fn start_userspace(_name: &InterfaceName) -> Result<Engine, InterfaceError> {
    Err(InterfaceError::NoUserspaceWireGuard)
}

fn find_index(name: &str) -> Result<u32, InterfaceError> {
    let action = "find the new interface";
    let link = link::find(name).map_err(|e| InterfaceError::link(action, e))?;
    let gone = || InterfaceError::Link { action, source: io::ErrorKind::NotFound.into() };
    Ok(link.ok_or_else(gone)?.index)
}

fn take_up(index: u32, address: TunnelAddress) -> Result<(), InterfaceError> {
    link::label(index, TUNNEL_MTU, ALIAS).map_err(|e| InterfaceError::link("set the interface's MTU", e))?;
    link::bring_up(index).map_err(|e| InterfaceError::link("take the interface up", e))?;
    let refused = |source| InterfaceError::Address { address, source };
    link::add_address(index, &address).map_err(refused)?;
    let deadline = Instant::now() + ADDRESS_WAIT;
    while !link::is_local(address.ip()).unwrap_or(false) {
        if Instant::now() >= deadline {
            return Err(refused(io::ErrorKind::TimedOut.into()));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Waits until WireGuard will be able to listen, asked beforehand because its own answer does not say what is
/// wrong.
async fn wait_for_port(port: u16) -> Result<(), InterfaceError> {
    let deadline = Instant::now() + PORT_WAIT;
    while !port_is_free(port) {
        if Instant::now() >= deadline {
            return Err(InterfaceError::PortTaken(port));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

fn port_is_free(port: u16) -> bool {
    match UdpSocket::bind((Ipv6Addr::UNSPECIFIED, port)) {
        // A host without IPv6: WireGuard then listens on IPv4 only.
        Err(e) if matches!(e.raw_os_error(), Some(EAFNOSUPPORT | EADDRNOTAVAIL)) => {
            UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok()
        }
        bound => bound.is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_used_port_is_noticed_whatever_family_uses_it() {
        for address in ["0.0.0.0:0", "[::]:0"] {
            let Ok(socket) = UdpSocket::bind(address) else { continue };
            assert!(!port_is_free(socket.local_addr().unwrap().port()), "{address}");
        }
        assert!(port_is_free(0));
    }
}
