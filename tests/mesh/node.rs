//! What a node's process does, one order after another.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rustbalance::mesh::interface::{BackendChoice, Interface, InterfaceSettings};
use rustbalance::mesh::peer::{Peer, PeerStatus};
use rustbalance::mesh::seal::{SessionSalt, key_id};
use rustbalance::mesh::socket::{DEFAULT_PORT, MeshSocket};
use rustbalance::mesh::token::ClusterToken;
use rustbalance::mesh::wireguard_key::WireGuardKey;
use rustbalance::proto::cluster::token::TokenName;
use rustbalance::sys::clock::unix_ms;
use serde::{Deserialize, Serialize};
use tokio::net::UdpSocket;
use tokio::time::timeout;

/// Environment variable that makes the test binary a node's process.
pub(crate) const ROLE: &str = "RB_MESH_TEST_NODE";
/// Stands before each answer, because the test harness prints too.
pub(crate) const MARK: &str = "@answer ";

/// An order to a node's process.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    /// Create `wg-rb`.
    Create {
        key_seed: u64,
        address: String,
        port: u16,
        kernel: bool,
    },
    /// Bind the mesh socket.
    Listen {
        name: String,
    },
    SetPeer {
        key: String,
        address: IpAddr,
        endpoint: Option<SocketAddr>,
    },
    RemovePeer {
        key: String,
    },
    Peers,
    Check,
    /// Send a sealed datagram.
    Send {
        to: IpAddr,
        payload: String,
    },
    /// Wait for a sealed datagram.
    Receive {
        wait_ms: u64,
    },
    /// Wait for a plain datagram on an ordinary socket of the given address, next to the mesh's own port.
    HearPlain {
        address: SocketAddr,
        wait_ms: u64,
    },
    /// Send plain datagrams from an ordinary socket, 50 ms apart.
    SendPlain {
        to: SocketAddr,
        times: u32,
    },
    Remove,
}

/// What came of an order.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Answer {
    Done,
    Failed(String),
    Created {
        kernel: bool,
        port: u16,
    },
    Peers(Vec<PeerSeen>),
    /// From where, and the sender and payload or the refusal.
    Received {
        from: IpAddr,
        outcome: Result<(String, String), String>,
    },
    Silence,
}

/// What a node knows of a peer.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PeerSeen {
    pub(crate) key: String,
    pub(crate) endpoint: Option<SocketAddr>,
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) handshake_age_secs: Option<u64>,
    pub(crate) received_bytes: u64,
    pub(crate) sent_bytes: u64,
}

/// The key every test derives from a number.
pub(crate) fn key(seed: u64) -> WireGuardKey {
    WireGuardKey::generate(&mut StdRng::seed_from_u64(seed))
}

/// The token of all nodes.
pub(crate) fn token() -> ClusterToken {
    ClusterToken::from_file_bytes(b"a token for the tests of the mesh").unwrap()
}

fn under() -> TokenName {
    TokenName { seq: 0, tag: key_id(&token()) }
}

/// Takes orders until standard input closes.
pub(crate) fn serve() {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (to_node, mut orders) = tokio::sync::mpsc::channel(16);
    std::thread::spawn(move || {
        for line in std::io::stdin().lines() {
            if to_node.blocking_send(line.unwrap()).is_err() {
                return;
            }
        }
    });
    runtime.block_on(async {
        let mut node = Node { interface: None, socket: None };
        while let Some(line) = orders.recv().await {
            let order = serde_json::from_str(&line).unwrap();
            let answer = node.obey(order).await.unwrap_or_else(Answer::Failed);
            println!("\n{MARK}{}", serde_json::to_string(&answer).unwrap());
        }
    });
}

struct Node {
    interface: Option<Interface>,
    socket: Option<MeshSocket>,
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

impl Node {
    async fn obey(&mut self, order: Order) -> Result<Answer, String> {
        match order {
            Order::Create { key_seed, address, port, kernel } => {
                return self.create(key_seed, &address, port, kernel).await;
            }
            Order::Listen { name } => self.listen(&name)?,
            Order::HearPlain { address, wait_ms } => return hear_plain(address, wait_ms).await,
            Order::SendPlain { to, times } => {
                let any: IpAddr = if to.is_ipv4() { [0, 0, 0, 0].into() } else { [0; 16].into() };
                let socket = UdpSocket::bind((any, 0)).await.map_err(text)?;
                for _ in 0..times {
                    socket.send_to(b"plain", to).await.map_err(text)?;
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
            Order::Send { to, payload } => {
                let socket = self.socket.as_mut().ok_or("no socket")?;
                let to = SocketAddr::new(to, DEFAULT_PORT);
                socket.send(to, payload.as_bytes(), unix_ms(), under()).await.map_err(text)?;
            }
            Order::Receive { wait_ms } => return self.receive(wait_ms).await,
            other => return self.configure(other).await,
        }
        Ok(Answer::Done)
    }

    async fn configure(&mut self, order: Order) -> Result<Answer, String> {
        let interface = self.interface.as_mut().ok_or("no interface")?;
        match order {
            Order::SetPeer { key, address, endpoint } => {
                let key = key.parse().map_err(text)?;
                let peer = Peer { key, address, endpoint, keepalive_secs: None };
                interface.set_peer(&peer).await.map_err(text)?;
            }
            Order::RemovePeer { key } => {
                let key = key.parse().map_err(text)?;
                if !interface.remove_peer(&key).await.map_err(text)? {
                    return Err("no such peer".to_owned());
                }
            }
            Order::Peers => {
                let peers = interface.peers().await.map_err(text)?;
                return Ok(Answer::Peers(peers.into_iter().map(seen).collect()));
            }
            Order::Check => interface.check().await.map_err(text)?,
            Order::Remove => {
                self.socket = None;
                let interface = self.interface.take().ok_or("no interface")?;
                interface.remove().await.map_err(text)?;
            }
            other => return Err(format!("not an order about the interface: {other:?}")),
        }
        Ok(Answer::Done)
    }

    async fn create(&mut self, seed: u64, address: &str, port: u16, kernel: bool) -> Result<Answer, String> {
        let settings = InterfaceSettings {
            name: "wg-rb".parse().map_err(text)?,
            listen_port: port,
            address: address.parse().map_err(text)?,
            backend: if kernel { BackendChoice::Kernel } else { BackendChoice::Userspace },
        };
        // Dropping an old one first is what the coordinator does too.
        self.interface = None;
        let interface = Interface::create(settings, &key(seed)).await.map_err(text)?;
        let answer =
            Answer::Created { kernel: interface.is_kernel(), port: interface.settings().listen_port };
        self.interface = Some(interface);
        Ok(answer)
    }

    fn listen(&mut self, name: &str) -> Result<(), String> {
        let interface = self.interface.as_ref().ok_or("no interface")?;
        let name: rustbalance::proto::node::NodeId = name.parse().map_err(text)?;
        let salt = SessionSalt::generate(&mut rand::rng());
        self.socket = None;
        let mut socket = MeshSocket::bind(interface, DEFAULT_PORT, name).map_err(text)?;
        socket.trust(under(), &Arc::new(token()), salt);
        self.socket = Some(socket);
        Ok(())
    }

    async fn receive(&mut self, wait_ms: u64) -> Result<Answer, String> {
        let socket = self.socket.as_mut().ok_or("no socket")?;
        let Ok(received) = timeout(Duration::from_millis(wait_ms), socket.recv(unix_ms)).await else {
            return Ok(Answer::Silence);
        };
        let received = received.map_err(text)?;
        let outcome = received.outcome.map_err(text);
        let outcome =
            outcome.map(|opened| (opened.sender.to_string(), String::from_utf8(opened.payload).unwrap()));
        Ok(Answer::Received { from: received.from.ip(), outcome })
    }
}

async fn hear_plain(address: SocketAddr, wait_ms: u64) -> Result<Answer, String> {
    let socket = UdpSocket::bind(address).await.map_err(text)?;
    let mut buffer = [0; 100];
    match timeout(Duration::from_millis(wait_ms), socket.recv_from(&mut buffer)).await {
        Err(_) => Ok(Answer::Silence),
        Ok(received) => {
            let (length, from) = received.map_err(text)?;
            let payload = String::from_utf8_lossy(&buffer[..length]).into_owned();
            Ok(Answer::Received { from: from.ip(), outcome: Ok(("anyone".to_owned(), payload)) })
        }
    }
}

fn seen(peer: PeerStatus) -> PeerSeen {
    PeerSeen {
        key: peer.key.to_string(),
        endpoint: peer.endpoint,
        addresses: peer.addresses,
        handshake_age_secs: peer.last_handshake_age.map(|age| age.as_secs()),
        received_bytes: peer.received_bytes,
        sent_bytes: peer.sent_bytes,
    }
}
