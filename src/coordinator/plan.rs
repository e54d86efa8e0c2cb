//! What the configuration comes to.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::ExposeSecret;

use super::canary::CanaryWay;
use crate::config::endpoint::Endpoint;
use crate::config::file::{Config, ConfigError};
use crate::config::ipc::UnknownUser;
use crate::config::mesh::{Backend, Mesh, Peer as MeshPeer};
use crate::config::secret::{SecretError, Unseal};
use crate::mesh::interface::{BackendChoice, InterfaceSettings};
use crate::mesh::interface_name::InterfaceNameError;
use crate::mesh::keyring::Keyring;
use crate::mesh::tunnel::{TunnelAddress, TunnelAddressError, TunnelPrefix};
use crate::mesh::wireguard_key::{WireGuardKey, WireGuardPublicKey};
use crate::proto::cluster::core::ClusterConfig;
use crate::proto::cluster::memory::Memory;
use crate::proto::cluster::roster::Peer;
use crate::proto::join::joiner::JoinerConfig;
use crate::proto::join::member::Member;
use crate::proto::join::secret::JoinSecret;
use crate::proto::join::ticket::Ticket;
use crate::tor::address::SocketAddress;
use crate::vault::opener::Opener;
use crate::vault::passphrase::Passphrase;

/// Why a configuration cannot be carried out. Nothing was touched.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// A key is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A secret cannot be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// A user is not known here.
    #[error(transparent)]
    UnknownUser(#[from] UnknownUser),
}

/// What the configuration comes to.
pub struct Plan {
    /// The tunnel.
    pub settings: InterfaceSettings,
    /// Its key.
    pub key: WireGuardKey,
    /// The port of the sealed datagrams.
    pub port: u16,
    /// The token of the configuration, and those that come.
    pub keyring: Keyring,
    /// How long a token that was replaced counts.
    pub overlap: Duration,
    /// This node in the cluster; what it remembers has yet to be filled in.
    pub cluster: ClusterConfig,
    /// The configured peers.
    pub peers: Vec<Peer>,
    /// This node's end of the tunnel.
    pub tunnel: OwnTunnel,
    /// The join secret, if nodes may join here.
    pub secret: Option<JoinSecret>,
    /// How to join, if this node was invited.
    pub asking: Option<Asking>,
    /// Where the canary asks, if there is one.
    pub canary: Option<CanaryWay>,
    /// The state directory.
    pub state: PathBuf,
}

/// This node's end of the tunnel.
#[derive(Debug, Clone, Copy)]
pub struct OwnTunnel {
    /// Where new nodes' tunnel addresses lie.
    pub prefix: TunnelPrefix,
    /// Its public key.
    pub key: WireGuardPublicKey,
    /// Its address.
    pub address: TunnelAddress,
}

/// How an invited node asks to be let in.
pub struct Asking {
    /// What it asks with.
    pub config: JoinerConfig,
    /// The service's port for it.
    pub port: u16,
    /// The SOCKS ports it may use, in order.
    pub tors: Vec<SocketAddress>,
}

impl Plan {
    /// Reads the secrets, opens those that are sealed, and checks what no single key can tell. `daemon` is for errors.
    pub fn make(config: &Config, daemon: &str) -> Result<Self, PlanError> {
        let opener = Opener::new(|| {
            let text = config.vault.passphrase().map_err(|error| error.to_string())?;
            Passphrase::new(text.expose_secret()).map_err(|error| error.to_string())
        });
        Self::with(config, daemon, &|secret| opener.open(secret).map_err(|error| error.to_string()))
    }

    fn with(config: &Config, daemon: &str, unseal: Unseal<'_>) -> Result<Self, PlanError> {
        let (node, mesh, cluster) = (config.node(daemon)?, config.mesh(daemon)?, config.cluster(daemon)?);
        let keyring = Keyring::new(cluster.token_seq, cluster.read_token(unseal)?.expose_secret())
            .map_err(|error| config.refuse(&["cluster", "token_file"], error.to_string()))?;
        let key = WireGuardKey::from_file_bytes(mesh.read_private_key(unseal)?.expose_secret())
            .map_err(|error| config.refuse(&["mesh", "private_key_file"], error.to_string()))?;
        let timing = cluster.timing().map_err(|error| config.refuse(&["cluster"], error.to_string()))?;
        let prefix = prefix(config, mesh, cluster.token_seq, &keyring)?;
        let address = tunnel_address(prefix, mesh.tunnel_address, key.public())
            .map_err(|error| config.refuse(&["mesh", "tunnel_address"], error.to_string()))?;
        let name = mesh
            .interface
            .parse()
            .map_err(|error: InterfaceNameError| config.refuse(&["mesh", "interface"], error.to_string()))?;
        let own = Peer {
            node: node.id.clone(),
            wireguard_key: key.public().0,
            endpoint: mesh.endpoint,
            tunnel_address: address.ip(),
        };
        let overlap = cluster.token_overlap_secs;
        let cluster_config = ClusterConfig {
            own,
            priority: node.priority,
            timing,
            token: keyring.newest().0,
            overlap,
            memory: Memory::default(),
        };
        let secret = config.join().map_or(Ok(None), |join| join.read_secret(unseal))?;
        let ticket = config.join().map_or(Ok(None), |join| join.read_ticket(unseal))?;
        let tunnel = OwnTunnel { prefix, key: key.public(), address };
        Ok(Self {
            peers: peers(config, &mesh.peers, tunnel)?,
            settings: InterfaceSettings {
                name,
                listen_port: mesh.listen_port,
                address,
                backend: backend(mesh.backend),
            },
            key,
            port: mesh.datagram_port,
            asking: asking(config, daemon, &keyring, &cluster_config, secret.as_ref(), ticket)?,
            keyring,
            overlap,
            cluster: cluster_config,
            tunnel,
            secret,
            canary: cluster.canary.then(|| canary(config, daemon)).flatten(),
            state: cluster.state_directory.clone(),
        })
    }
}

/// How this node joins; `None` if it has no ticket.
fn asking(
    config: &Config,
    daemon: &str,
    keyring: &Keyring,
    cluster: &ClusterConfig,
    secret: Option<&JoinSecret>,
    ticket: Option<Ticket>,
) -> Result<Option<Asking>, PlanError> {
    let (Some(join), Some(ticket)) = (config.join(), ticket) else { return Ok(None) };
    let Some(secret) = secret else {
        return Err(config
            .refuse(&["join", "secret_file"], "is missing; a node with a ticket needs it")
            .into());
    };
    let tor = config.tor(daemon)?;
    if tor.b.is_none() {
        // The serving tor does not run before the node has joined.
        return Err(config.refuse(&["tor"], "has no [tor.b], through which an invited node joins").into());
    }
    let Some(token) = keyring.token(cluster.token) else { return Ok(None) };
    let Peer { node, wireguard_key, endpoint, tunnel_address } = cluster.own.clone();
    Ok(Some(Asking {
        config: JoinerConfig {
            address: config.service(daemon)?.address,
            secret: secret.clone(),
            keys: token.join_keys(),
            ticket,
            member: Member { node, wireguard_key, endpoint, tunnel_address },
            priority: cluster.priority,
            attempts: join.attempts,
            retry: join.retry_secs,
        },
        port: join.port,
        tors: tor.outgoing().into_iter().map(|(_, instance)| socks(&instance.socks)).collect(),
    }))
}

/// Where a canary asks: only where nodes are let in is anybody at the door who would know it.
fn canary(config: &Config, daemon: &str) -> Option<CanaryWay> {
    let join = config.join().filter(|join| join.secret_file.is_some())?;
    let (service, tor) = (config.service(daemon).ok()?, config.tor(daemon).ok()?);
    let tors = tor.outgoing().into_iter().map(|(_, instance)| socks(&instance.socks)).collect();
    Some(CanaryWay { address: service.address, port: join.port, tors })
}

fn socks(endpoint: &Endpoint) -> SocketAddress {
    match endpoint {
        Endpoint::Tcp(address) => SocketAddress::Tcp(*address),
        Endpoint::Unix(path) => SocketAddress::Unix(path.clone()),
    }
}

/// The network in which tunnel addresses lie where none are given. It never moves when the token does.
fn prefix(config: &Config, mesh: &Mesh, seq: u32, keyring: &Keyring) -> Result<TunnelPrefix, ConfigError> {
    let refuse = |reason: String| config.refuse(&["mesh", "prefix"], reason);
    match (mesh.prefix, keyring.token(keyring.newest().0)) {
        (Some(prefix), _) => {
            prefix.to_string().parse().map_err(|error: TunnelAddressError| refuse(error.to_string()))
        }
        (None, Some(token)) if seq == 0 => Ok(TunnelPrefix::from_token(&token)),
        (None, _) => Err(refuse(
            "is missing; it follows from the cluster's first token, and [cluster] token_seq says that this is a later one"
                .to_owned(),
        )),
    }
}

fn tunnel_address(
    prefix: TunnelPrefix,
    given: Option<IpAddr>,
    key: WireGuardPublicKey,
) -> Result<TunnelAddress, TunnelAddressError> {
    match given {
        Some(address) => address.to_string().parse(),
        None => Ok(prefix.address_of(&key)),
    }
}

/// The configured peers, each with its tunnel address. What only our own key and address can tell is checked here.
pub fn peers(config: &Config, configured: &[MeshPeer], own: OwnTunnel) -> Result<Vec<Peer>, ConfigError> {
    let mut peers = Vec::with_capacity(configured.len());
    for (index, peer) in configured.iter().enumerate() {
        let index = index.to_string();
        let refuse = |key: &str, reason: String| config.refuse(&["mesh", "peers", &index, key], reason);
        let key = WireGuardPublicKey(peer.public_key);
        if key == own.key {
            return Err(refuse(
                "public_key",
                "is this node's own; every node needs a key of its own".to_owned(),
            ));
        }
        let address = tunnel_address(own.prefix, peer.tunnel_address, key)
            .map_err(|error| refuse("tunnel_address", error.to_string()))?;
        if !own.address.network_contains(address.ip()) || own.address.ip() == address.ip() {
            let reason =
                format!("comes to {}, which must be another address of {}", address.ip(), own.address);
            return Err(refuse("tunnel_address", reason));
        }
        peers.push(Peer {
            node: peer.id.clone(),
            wireguard_key: peer.public_key,
            endpoint: peer.endpoint,
            tunnel_address: address.ip(),
        });
    }
    Ok(peers)
}

fn backend(configured: Backend) -> BackendChoice {
    match configured {
        Backend::Auto => BackendChoice::Auto,
        Backend::Kernel => BackendChoice::Kernel,
        Backend::Userspace => BackendChoice::Userspace,
    }
}
