//! `rustbalance init`: the first node of a new cluster.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use data_encoding::BASE64;
use rand::Rng;
use zeroize::Zeroizing;

use crate::config::endpoint::Target;
use crate::config::mesh::reachable_endpoint;
use crate::ctl::answer::Line;
use crate::ctl::error::CtlError;
use crate::ctl::files::NewFiles;
use crate::ctl::input::read_key;
use crate::ctl::next_steps::NextSteps;
use crate::ctl::node_files::{
    CONFIG, DEFAULT_DATAGRAM_PORT, DEFAULT_DIRECTORY, DEFAULT_LISTEN_PORT, DEFAULT_PORT,
    DEFAULT_TOKEN_OVERLAP, JOIN_SECRET, MASTER_KEY, Settings, TOKEN, WIREGUARD_KEY,
};
use crate::ctl::proxy_part::ProxyPart;
use crate::mesh::wireguard_key::WireGuardKey;
use crate::proto::cluster::timing::Timing;
use crate::proto::join::secret::JoinSecret;
use crate::proto::node::{NodeId, Priority};
use crate::proto::onion::identity::HsIdKeypair;

/// What the first node is to be.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rustbalance init --target tcp://127.0.0.1:8080 --endpoint 192.0.2.1:51820
  rustbalance init --target http://ADDRESS.onion --master-key /var/lib/tor/hidden_service

Nothing that exists is overwritten. Keep a copy of hs_ed25519_secret_key at a safe place: it is the address.")]
pub struct Arguments {
    /// Where connections are carried to: `tcp://ip:port`, `http(s)://ip:port`, `unix:/path` or `http(s)://ADDRESS.onion:port`
    #[arg(long, value_name = "TARGET", value_parser = checked_target)]
    target: String,
    /// The virtual port of the onion service: what stands first in tor's `HiddenServicePort`
    #[arg(long, value_name = "PORT", default_value_t = DEFAULT_PORT, value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,
    /// Serve the address of this key instead of a new one: tor's `hs_ed25519_secret_key` or its directory, PKCS#8 PEM,
    /// 32-byte seed or 64-byte expanded key (raw, hex or base64); - reads it from standard input
    #[arg(long, value_name = "FILE")]
    master_key: Option<PathBuf>,
    #[command(flatten)]
    node: NodeArguments,
}

/// What is said of any new node.
#[derive(Debug, Args)]
pub struct NodeArguments {
    /// The node's name: short, and different on every node [default: the machine's name]
    #[arg(long, value_name = "NAME")]
    node_id: Option<NodeId>,
    /// Who should hold the lease: the lowest number first, then by name
    #[arg(long, value_name = "NUMBER", default_value = "100")]
    priority: u32,
    /// Where other nodes reach this one's WireGuard, if this machine has a fixed address; of any two nodes one must
    #[arg(long, value_name = "IP:PORT", value_parser = reachable_endpoint)]
    endpoint: Option<SocketAddr>,
    /// UDP port of WireGuard on this machine [default: that of --endpoint, or 51820]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    listen_port: Option<u16>,
    /// Where the node's files are made
    #[arg(long, value_name = "DIRECTORY", default_value = DEFAULT_DIRECTORY)]
    directory: PathBuf,
}

impl NodeArguments {
    /// The node's name.
    pub fn node(&self) -> Result<NodeId, CtlError> {
        if let Some(given) = &self.node_id {
            return Ok(given.clone());
        }
        let name = nix::unistd::gethostname().unwrap_or_default().to_string_lossy().to_lowercase();
        // A full name is cut to its first part.
        let short = name.split('.').next().unwrap_or_default();
        short.parse().map_err(|_| CtlError::NoNodeName(short.to_owned()))
    }

    /// Its wish for the lease.
    pub fn priority(&self) -> Priority {
        Priority(self.priority)
    }

    /// Where the others reach it.
    pub fn endpoint(&self) -> Option<SocketAddr> {
        self.endpoint
    }

    /// WireGuard's port on this machine.
    pub fn listen_port(&self) -> Option<u16> {
        self.listen_port.or(self.endpoint.map(|endpoint| endpoint.port()))
    }

    /// The directory, as configurations may write it.
    pub fn directory(&self) -> Result<PathBuf, CtlError> {
        let wrong = |reason: String| CtlError::Path { path: self.directory.clone(), reason };
        let absolute = std::path::absolute(&self.directory).map_err(|error| wrong(error.to_string()))?;
        match absolute.to_str() {
            Some(_) => Ok(absolute),
            None => Err(wrong("its name is no UTF-8 text".to_owned())),
        }
    }
}

/// A target that configurations take.
pub fn checked_target(text: &str) -> Result<String, String> {
    text.parse::<Target>().map(|_| text.to_owned())
}

impl Arguments {
    /// Makes the node's files, and says what to do next.
    pub fn run(&self, mut out: impl Write) -> Result<(), CtlError> {
        let directory = self.node.directory()?;
        NewFiles::check(&directory, &[CONFIG, MASTER_KEY, TOKEN, JOIN_SECRET, WIREGUARD_KEY])?;
        let node = self.node.node()?;
        let master_key = self.master_key()?;
        let wireguard_key = WireGuardKey::generate(&mut rand::rng());
        let settings = Settings {
            directory: &directory,
            node: &node,
            priority: self.node.priority(),
            address: master_key.hs_id(),
            proxy: &ProxyPart::to(&self.target),
            port: self.port,
            listen_port: self.node.listen_port().unwrap_or(DEFAULT_LISTEN_PORT),
            endpoint: self.node.endpoint(),
            datagram_port: DEFAULT_DATAGRAM_PORT,
            prefix: None,
            token_seq: 0,
            timing: Timing::default(),
            token_overlap: DEFAULT_TOKEN_OVERLAP,
            invited: false,
        };
        let configuration = settings.text()?;
        let mut files = NewFiles::new(&directory);
        files.add(MASTER_KEY, &*master_key.to_tor_secret_key_file());
        files.add(TOKEN, with_line_end(&new_token()).as_bytes());
        files.add(JOIN_SECRET, with_line_end(&JoinSecret::generate(&mut rand::rng()).to_text()).as_bytes());
        files.add(WIREGUARD_KEY, with_line_end(&wireguard_key.to_base64()).as_bytes());
        // Last: where it is, the others are.
        files.add(CONFIG, configuration.as_bytes());
        files.make()?;
        writeln!(out, "{}", Line("address", master_key.hs_id()))?;
        writeln!(out, "{}", Line("node", &node))?;
        writeln!(out, "{}", Line("configuration", directory.join(CONFIG).display()))?;
        writeln!(out, "{}", Line("WireGuard key", wireguard_key.public()))?;
        Ok(write!(out, "{}", NextSteps(&settings))?)
    }

    /// The key that was given, or a new one.
    fn master_key(&self) -> Result<HsIdKeypair, CtlError> {
        if let Some(path) = &self.master_key {
            return Ok(read_key(path)?);
        }
        let mut seed = Zeroizing::new([0; 32]);
        rand::rng().fill_bytes(&mut *seed);
        HsIdKeypair::from_seed(*seed).map_err(|source| {
            CtlError::Input(crate::ctl::input::InputError::Key { path: "a new key".into(), source })
        })
    }
}

/// A new cluster token: 32 random bytes, as text.
fn new_token() -> Zeroizing<String> {
    let mut bytes = Zeroizing::new([0; 32]);
    rand::rng().fill_bytes(&mut *bytes);
    Zeroizing::new(BASE64.encode(&*bytes))
}

/// A line, as text files have it.
pub fn with_line_end(text: &str) -> Zeroizing<String> {
    let mut line = Zeroizing::new(String::with_capacity(text.len() + 1));
    line.push_str(text);
    line.push('\n');
    line
}
