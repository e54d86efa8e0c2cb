//! The UDP socket of the mesh: on the tunnel address, on the tunnel's interface, and on nothing else.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use futures_util::FutureExt;
use nix::sys::socket::sockopt::BindToDevice;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrStorage, bind, setsockopt, socket};
use thiserror::Error;
use tokio::net::UdpSocket;
use tokio::task::coop::unconstrained;

use crate::mesh::interface::Interface;
use crate::mesh::keyring::MAX_TOKENS;
use crate::mesh::open::{OpenCounters, OpenError, Opened, Opener};
use crate::mesh::seal::{MAX_DATAGRAM, SealError, Sealer, SessionSalt};
use crate::mesh::token::ClusterToken;
use crate::proto::cluster::token::TokenName;
use crate::proto::node::NodeId;

/// UDP port of the mesh inside the tunnel, where the configuration does not say otherwise: the neighbour of
/// WireGuard's own 51820.
pub const DEFAULT_PORT: u16 = 51821;

/// Why the socket does not exist, or a payload was not sent.
#[derive(Debug, Error)]
pub enum MeshSocketError {
    /// The socket could not be bound. It does not exist.
    #[error("cannot listen on {address} of {interface}: {source}; is the tunnel up, and the port free?")]
    Bind {
        /// The tunnel address and port.
        address: SocketAddr,
        /// The interface's name.
        interface: String,
        /// The system's answer.
        source: io::Error,
    },
    /// The payload was not sealed. Nothing was sent.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// No such token is held here. Nothing was sent.
    #[error("the cluster token {0} is not held here")]
    UnknownToken(TokenName),
    /// The datagram did not leave. The socket remains usable; the peer may have no endpoint or be unknown to
    /// the tunnel.
    #[error("cannot send to {to}: {source}")]
    Send {
        /// Where to.
        to: SocketAddr,
        /// The system's answer.
        source: io::Error,
    },
}

/// A datagram that arrived.
#[derive(Debug)]
pub struct Received {
    /// Where it came from: a tunnel address, which WireGuard has authenticated.
    pub from: SocketAddr,
    /// What was in it, or why it was refused.
    pub outcome: Result<Opened, OpenError>,
}

/// Sends and receives sealed datagrams on the tunnel address.
pub struct MeshSocket {
    socket: UdpSocket,
    own: NodeId,
    /// At most [`MAX_TOKENS`].
    sealers: BTreeMap<TokenName, Sealer>,
    opener: Opener,
    /// One byte more than any datagram, to notice those that are longer.
    buffer: [u8; MAX_DATAGRAM + 1],
}

impl MeshSocket {
    /// Binds to the interface's tunnel address and to the interface itself, for the node `own`, under no token yet.
    ///
    /// Both are needed: Linux would deliver a packet for the tunnel address that came in on another interface
    /// (its weak host model), from anyone who can address us directly.
    pub fn bind(interface: &Interface, port: u16, own: NodeId) -> Result<Self, MeshSocketError> {
        let settings = interface.settings();
        let address = SocketAddr::new(settings.address.ip(), port);
        let failed = |source| MeshSocketError::Bind { address, interface: settings.name.to_string(), source };
        let socket = bind_to(settings.name.as_str(), address).map_err(failed)?;
        Ok(Self::over(socket, own))
    }

    fn over(socket: UdpSocket, own: NodeId) -> Self {
        let opener = Opener::new(own.clone());
        Self { socket, own, sealers: BTreeMap::new(), opener, buffer: [0; MAX_DATAGRAM + 1] }
    }

    /// From now on seals and opens under this token, too, in a session of its own. Of more than [`MAX_TOKENS`] the oldest
    /// is dropped.
    pub fn trust(&mut self, name: TokenName, token: &Arc<ClusterToken>, salt: SessionSalt) {
        self.sealers.insert(name, Sealer::new(token, self.own.clone(), salt));
        while self.sealers.len() > MAX_TOKENS {
            self.sealers.pop_first();
        }
        self.opener.trust(name, Arc::clone(token));
    }

    /// The address that peers send to.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Seals a payload under this token and sends it. `now_ms` is the wall clock in milliseconds since 1970.
    pub async fn send(
        &mut self,
        to: SocketAddr,
        payload: &[u8],
        now_ms: u64,
        under: TokenName,
    ) -> Result<(), MeshSocketError> {
        let sealer = self.sealers.get_mut(&under).ok_or(MeshSocketError::UnknownToken(under))?;
        let datagram = sealer.seal(payload, now_ms)?;
        match self.socket.send_to(&datagram, to).await {
            Ok(_) => Ok(()),
            Err(source) => Err(MeshSocketError::Send { to, source }),
        }
    }

    /// Waits for the next datagram and opens it. `unix_ms` is asked for the wall clock once it is here.
    ///
    /// Cancel safe: no datagram is lost when the future is dropped before it is ready. An error is the
    /// socket's own and not about a datagram; the socket may then be tried again, after a pause.
    pub async fn recv(&mut self, unix_ms: impl FnOnce() -> u64) -> io::Result<Received> {
        let (length, from) = self.socket.recv_from(&mut self.buffer).await?;
        let outcome = self.opener.open(&self.buffer[..length], unix_ms());
        Ok(Received { from, outcome })
    }

    /// Seals a payload under this token and sends it, without waiting: `None` when the send buffer is full, and then it is not sent.
    pub fn try_send(
        &mut self,
        to: SocketAddr,
        payload: &[u8],
        now_ms: u64,
        under: TokenName,
    ) -> Option<Result<(), MeshSocketError>> {
        // The runtime makes a task that did 128 things in a row wait as if the socket were busy, and fifty nodes' worth
        // of pieces is more.
        unconstrained(self.send(to, payload, now_ms, under)).now_or_never()
    }

    /// Opens the next datagram if it is here already; otherwise as [`MeshSocket::recv`].
    pub fn try_recv(&mut self, unix_ms: impl FnOnce() -> u64) -> Option<io::Result<Received>> {
        // As above: "nothing is here" must not mean "enough for now", or silence would be judged too early.
        unconstrained(self.recv(unix_ms)).now_or_never()
    }

    /// What was accepted and refused so far.
    pub fn counters(&self) -> OpenCounters {
        self.opener.counters()
    }
}

/// A UDP socket that is tied to the interface before it gets its address, so that not even in between anything
/// else arrives. Since Linux 5.7 no capability is needed for it.
fn bind_to(interface: &str, address: SocketAddr) -> io::Result<UdpSocket> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let socket = socket(family, SockType::Datagram, flags, None)?;
    setsockopt(&socket, BindToDevice, &OsString::from(interface))?;
    bind(socket.as_raw_fd(), &SockaddrStorage::from(address))?;
    UdpSocket::from_std(std::net::UdpSocket::from(socket))
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;
    use crate::mesh::seal::key_id;

    async fn on_loopback(node: &str, seed: u64) -> MeshSocket {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.writable().await.unwrap();
        let mut socket = MeshSocket::over(socket, node.parse().unwrap());
        for (name, byte) in [(OLD, b'x'), (NEW, b'y')] {
            let token = Arc::new(ClusterToken::from_file_bytes(&[byte; 32]).unwrap());
            let name = TokenName { tag: key_id(&token), ..name };
            let salt = SessionSalt::generate(&mut StdRng::seed_from_u64(seed + u64::from(byte)));
            socket.trust(name, &token, salt);
        }
        socket
    }

    const OLD: TokenName = TokenName { seq: 0, tag: [0; 4] };
    const NEW: TokenName = TokenName { seq: 1, tag: [0; 4] };

    fn newest(socket: &MeshSocket) -> TokenName {
        *socket.sealers.last_key_value().unwrap().0
    }

    #[tokio::test]
    async fn a_datagram_says_under_which_token_it_was_sealed() {
        let (mut from, mut to) = (on_loopback("a", 1).await, on_loopback("b", 2).await);
        let address = to.local_addr().unwrap();
        for name in from.sealers.keys().copied().collect::<Vec<_>>() {
            from.send(address, b"x", 5, name).await.unwrap();
            assert_eq!(to.recv(|| 5).await.unwrap().outcome.unwrap().under, name);
        }
        assert!(matches!(from.send(address, b"x", 5, OLD).await, Err(MeshSocketError::UnknownToken(OLD))));
    }

    #[tokio::test]
    async fn a_burst_is_neither_cut_short_nor_taken_for_its_end() {
        const BURST: usize = 200;
        let (mut from, mut to) = (on_loopback("a", 1).await, on_loopback("b", 2).await);
        let (address, under) = (to.local_addr().unwrap(), newest(&from));
        for number in 0..BURST {
            assert!(matches!(from.try_send(address, b"x", 5, under), Some(Ok(()))), "{number} was not sent");
        }
        to.socket.readable().await.unwrap();
        for number in 0..BURST {
            let received = to.try_recv(|| 5).unwrap_or_else(|| panic!("{number} was not seen")).unwrap();
            assert!(received.outcome.is_ok());
        }
        assert!(to.try_recv(|| 5).is_none());
    }
}
