//! The recipe of the process: what is done in which order until the main loop runs.

use std::ffi::OsString;
use std::net::IpAddr;
use std::process::ExitCode;
use std::time::Instant;

use caps::Capability;
use rand::RngExt;
use secrecy::ExposeSecret;
use tokio::sync::{mpsc, watch};

use super::publisher_link;
use super::serve::{Coordinator, Lines, TunnelFacts};
use super::tunnel::{self, WAITING_WISHES};
use crate::config::file::{Config, ConfigError, DEFAULT_PATH};
use crate::config::mesh::{Backend, Mesh};
use crate::ipc::server::{self, Limits};
use crate::mesh::error::InterfaceError;
use crate::mesh::interface::{BackendChoice, Interface, InterfaceSettings};
use crate::mesh::interface_name::InterfaceNameError;
use crate::mesh::open::{Opener, TokenCountError};
use crate::mesh::seal::{Sealer, SessionSalt};
use crate::mesh::socket::{MeshSocket, MeshSocketError};
use crate::mesh::token::ClusterToken;
use crate::mesh::tunnel::{TunnelAddress, TunnelAddressError, TunnelPrefix};
use crate::mesh::wireguard_key::{WireGuardKey, WireGuardPublicKey};
use crate::proto::cluster::core::{Cluster, ClusterConfig};
use crate::proto::cluster::memory::Memory;
use crate::proto::cluster::roster::Peer;
use crate::proto::cluster::timing::DEFAULT_TOKEN_OVERLAP;
use crate::proto::cluster::token::TokenName;
use crate::sys::clock::unix_ms;
use crate::sys::daemon::{self, Arguments, StartFailure};
use crate::sys::exit::Exit;
use crate::sys::listen::{CONTROL, InheritedSockets, ListenError};
use crate::sys::stop::Stop;
use crate::sys::{capabilities, logging, process};

/// This daemon's name in logs and errors.
const DAEMON: &str = "rustbalance-coordinator";
/// What it is for, in its help.
const ABOUT: &str = "Keeps the cluster: the mesh, membership, the lease";
/// Calls that wait for the main loop; the callers' connections are bounded anyway.
const WAITING_CALLS: usize = 8;
/// Reports that wait for the main loop; the publisher's link waits with more.
const WAITING_NEWS: usize = 8;

/// Why the coordinator does not run. The tunnel does not exist, no peer was told anything.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error(transparent)]
    Harden(#[from] process::HardenError),
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    SecretFile(#[from] crate::config::secret_file::SecretFileError),
    #[error(transparent)]
    TokenCount(#[from] TokenCountError),
    #[error(transparent)]
    UnknownUser(#[from] crate::config::ipc::UnknownUser),
    #[error(transparent)]
    Logging(#[from] logging::LoggingError),
    #[error(transparent)]
    Capabilities(#[from] capabilities::CapabilityError),
    #[error(transparent)]
    Interface(#[from] InterfaceError),
    #[error(transparent)]
    Socket(#[from] MeshSocketError),
    #[error("the operating system refused: {0}")]
    Os(#[from] std::io::Error),
}

impl StartFailure for StartError {
    fn exit(&self) -> Exit {
        match self {
            Self::Config(_) | Self::SecretFile(_) | Self::UnknownUser(_) | Self::Logging(_) => Exit::Config,
            Self::TokenCount(_) => Exit::Software,
            Self::Capabilities(_) | Self::Interface(InterfaceError::NotPermitted { .. }) => Exit::Permission,
            Self::Interface(_) | Self::Socket(_) => Exit::Unavailable,
            Self::Harden(_) | Self::Listen(_) | Self::Os(_) => Exit::Os,
        }
    }
}

/// Runs the daemon until it is told to stop.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    daemon::run(DAEMON, ABOUT, DEFAULT_PATH, arguments, start)
}

fn start(arguments: &Arguments) -> Result<(), StartError> {
    process::harden()?;
    let mut inherited = InheritedSockets::take(&[CONTROL])?;
    let config = Config::load(&arguments.config)?;
    let plan = Plan::make(&config)?;
    let allowed = config.ipc.allowed_uids()?;
    if arguments.check_config {
        return Ok(());
    }
    logging::init(DAEMON, &config.log.level, config.log.journal)?;
    let control = inherited.control_or_open(&config.ipc.coordinator_socket())?;
    // The tunnel is created below, and its peers change for as long as we live.
    capabilities::trim(&[Capability::CAP_NET_ADMIN])?;

    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let stop = Stop::new()?;
        let control = tokio::net::UnixListener::from_std(control)?;
        let (calls, inbox) = mpsc::channel(WAITING_CALLS);
        tokio::spawn(server::serve(control, allowed, calls, Limits::default()));

        let publisher = config.ipc.publisher_socket();
        let (news, heard) = mpsc::channel(WAITING_NEWS);
        tokio::spawn(publisher_link::follow(publisher.clone(), news));
        let (orders, ordered) = watch::channel(None);
        let delivery = tokio::spawn(publisher_link::deliver(publisher, ordered));

        let interface = Interface::create(plan.settings, &plan.key).await?;
        let facts = TunnelFacts {
            interface: interface.settings().name.to_string(),
            kernel: interface.is_kernel(),
            port: plan.port,
        };
        tracing::info!(interface = %facts.interface, kernel = facts.kernel, "the tunnel is up");
        let socket = MeshSocket::bind(&interface, plan.port, plan.sealer, plan.opener)?;
        let (wishes, wished) = mpsc::channel(WAITING_WISHES);
        let (seen, tunnels) = watch::channel(Vec::new());
        let tunnel = tokio::spawn(tunnel::keep(interface, wished, seen));

        let core = Cluster::new(plan.cluster, rand::rng().random(), Instant::now(), unix_ms());
        let lines = Lines { socket, wishes, tunnels, news: heard, orders, calls: inbox };
        Coordinator::new(core, lines, facts).run(plan.peers, stop, vec![delivery, tunnel]).await;
        Ok(())
    })
}

/// What the configuration comes to.
struct Plan {
    settings: InterfaceSettings,
    key: WireGuardKey,
    port: u16,
    sealer: Sealer,
    opener: Opener,
    cluster: ClusterConfig,
    peers: Vec<Peer>,
}

impl Plan {
    fn make(config: &Config) -> Result<Self, StartError> {
        let (node, mesh, cluster) = (config.node(DAEMON)?, config.mesh(DAEMON)?, config.cluster(DAEMON)?);
        let token = ClusterToken::from_file_bytes(cluster.read_token()?.expose_secret().as_bytes())
            .map_err(|error| config.refuse(&["cluster", "token_file"], error.to_string()))?;
        let key = WireGuardKey::from_file_bytes(mesh.read_private_key()?.expose_secret())
            .map_err(|error| config.refuse(&["mesh", "private_key_file"], error.to_string()))?;
        let timing = cluster.timing().map_err(|error| config.refuse(&["cluster"], error.to_string()))?;
        let prefix = prefix(config, mesh, &token)?;
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
        Ok(Self {
            peers: peers(config, mesh, prefix, &key.public(), address)?,
            settings: InterfaceSettings {
                name,
                listen_port: mesh.listen_port,
                address,
                backend: backend(mesh.backend),
            },
            key,
            port: mesh.datagram_port,
            sealer: Sealer::new(&token, node.id.clone(), SessionSalt::generate(&mut rand::rng())),
            opener: Opener::new(node.id.clone(), vec![token])?,
            cluster: ClusterConfig {
                own,
                priority: node.priority,
                timing,
                token: TokenName::default(),
                overlap: DEFAULT_TOKEN_OVERLAP,
                memory: Memory::default(),
            },
        })
    }
}

/// The network in which tunnel addresses lie where none are given.
fn prefix(config: &Config, mesh: &Mesh, token: &ClusterToken) -> Result<TunnelPrefix, ConfigError> {
    match mesh.prefix {
        None => Ok(TunnelPrefix::from_token(token)),
        Some(prefix) => {
            let refuse = |error: TunnelAddressError| config.refuse(&["mesh", "prefix"], error.to_string());
            prefix.to_string().parse().map_err(refuse)
        }
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
fn peers(
    config: &Config,
    mesh: &Mesh,
    prefix: TunnelPrefix,
    own_key: &WireGuardPublicKey,
    own_address: TunnelAddress,
) -> Result<Vec<Peer>, ConfigError> {
    let mut peers = Vec::with_capacity(mesh.peers.len());
    for (index, peer) in mesh.peers.iter().enumerate() {
        let index = index.to_string();
        let refuse = |key: &str, reason: String| config.refuse(&["mesh", "peers", &index, key], reason);
        let key = WireGuardPublicKey(peer.public_key);
        if key == *own_key {
            return Err(refuse(
                "public_key",
                "is this node's own; every node needs a key of its own".to_owned(),
            ));
        }
        let address = tunnel_address(prefix, peer.tunnel_address, key)
            .map_err(|error| refuse("tunnel_address", error.to_string()))?;
        if !own_address.network_contains(address.ip()) || own_address.ip() == address.ip() {
            let reason = format!("comes to {}, which must be another address of {own_address}", address.ip());
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
