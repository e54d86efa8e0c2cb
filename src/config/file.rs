//! The file as a whole: reading it, checks across keys, errors with file, line, key and reason.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::de::{DeTable, DeValue};

use super::cluster::Cluster;
use super::integrity::Integrity;
use super::ipc::Ipc;
use super::join::Join;
use super::log::Log;
use super::mesh::{MAX_PEERS, Mesh};
use super::node::{Node, Service};
use super::proxy::Proxy;
use super::publisher::Publisher;
use super::tor::{Tor, TorName};
use super::vault::Vault;
use super::wrong::{Wrong, wrong};
use crate::proto::cluster::timing::TimingError;

/// Where the configuration is unless `--config` says otherwise.
pub const DEFAULT_PATH: &str = "/etc/rustbalance/config.toml";
/// A file above this size is not a configuration of ours; 128 peers take about 30 KiB.
const MAX_BYTES: u64 = 1024 * 1024;

/// The configuration of all daemons of one node.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    node: Option<Node>,
    service: Option<Service>,
    tor: Option<Tor>,
    proxy: Option<Proxy>,
    mesh: Option<Mesh>,
    cluster: Option<Cluster>,
    join: Option<Join>,
    /// `[publisher]`.
    #[serde(default)]
    pub publisher: Publisher,
    /// `[ipc]`.
    #[serde(default)]
    pub ipc: Ipc,
    /// `[log]`.
    #[serde(default)]
    pub log: Log,
    /// `[vault]`.
    #[serde(default)]
    pub vault: Vault,
    /// `[integrity]`, if programs are to be verified.
    pub integrity: Option<Integrity>,
    #[serde(skip)]
    file: PathBuf,
    #[serde(skip)]
    text: String,
}

impl fmt::Debug for Config {
    /// Not the text: what an operator wrote into it by mistake does not belong into logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config").field("file", &self.file).finish_non_exhaustive()
    }
}

/// Why a configuration is refused (exit code 78). Nothing has been started or changed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: cannot read the configuration: {reason}", file.display())]
    Unreadable {
        /// Its path.
        file: PathBuf,
        /// Why.
        reason: String,
    },
    /// A key or the TOML around it is wrong.
    #[error("{}{}: {}{reason}", file.display(), Line(*line), Key(key))]
    Invalid {
        /// The file's path.
        file: PathBuf,
        /// Line, from 1, when it is known.
        line: Option<usize>,
        /// Dotted path of the key; empty when the TOML itself is broken.
        key: String,
        /// What is wrong and what would be right.
        reason: String,
    },
    /// A section that the asking daemon cannot do without is not there.
    #[error("{}: section [{section}] is missing; {daemon} needs it", file.display())]
    Incomplete {
        /// The file's path.
        file: PathBuf,
        /// The section.
        section: &'static str,
        /// Who asked for it.
        daemon: String,
    },
}

struct Line(Option<usize>);

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |line| write!(f, ":{line}"))
    }
}

struct Key<'a>(&'a str);

impl fmt::Display for Key<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, "{}: ", self.0) }
    }
}

impl Config {
    /// Reads, parses and checks a file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let unreadable = |reason: String| ConfigError::Unreadable { file: path.to_owned(), reason };
        let file = std::fs::File::open(path).map_err(|error| unreadable(with_advice(&error)))?;
        let mut text = String::new();
        file.take(MAX_BYTES + 1).read_to_string(&mut text).map_err(|error| unreadable(error.to_string()))?;
        if text.len() as u64 > MAX_BYTES {
            return Err(unreadable(format!("it is larger than {MAX_BYTES} bytes")));
        }
        Self::parse(&text, path)
    }

    /// Parses and checks the text of a file; `path` is for errors.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let mut config: Self = toml::from_str(text).map_err(|error| from_toml(&error, text, path))?;
        path.clone_into(&mut config.file);
        text.clone_into(&mut config.text);
        config.check().map_err(|wrong| config.refuse(&wrong.key, wrong.reason))?;
        Ok(config)
    }

    /// The error for a value that only the daemon itself can judge (`["mesh", "peers", "0", "endpoint"]`).
    pub fn refuse<S: AsRef<str>>(&self, key: &[S], reason: impl Into<String>) -> ConfigError {
        let key: Vec<&str> = key.iter().map(AsRef::as_ref).collect();
        ConfigError::Invalid {
            file: self.file.clone(),
            line: line_of_key(&self.text, &key),
            key: key.join("."),
            reason: reason.into(),
        }
    }

    /// Where it was read.
    pub(super) fn path(&self) -> &Path {
        &self.file
    }

    /// What was read there.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// `[node]`, for the daemon that cannot do without it.
    pub fn node(&self, daemon: &str) -> Result<&Node, ConfigError> {
        self.need(self.node.as_ref(), "node", daemon)
    }

    /// `[service]`, for the daemon that cannot do without it.
    pub fn service(&self, daemon: &str) -> Result<&Service, ConfigError> {
        self.need(self.service.as_ref(), "service", daemon)
    }

    /// `[tor]`, for the daemon that cannot do without it.
    pub fn tor(&self, daemon: &str) -> Result<&Tor, ConfigError> {
        self.need(self.tor.as_ref(), "tor", daemon)
    }

    /// `[proxy]`, for the daemon that cannot do without it.
    pub fn proxy(&self, daemon: &str) -> Result<&Proxy, ConfigError> {
        self.need(self.proxy.as_ref(), "proxy", daemon)
    }

    /// `[mesh]`, for the daemon that cannot do without it.
    pub fn mesh(&self, daemon: &str) -> Result<&Mesh, ConfigError> {
        self.need(self.mesh.as_ref(), "mesh", daemon)
    }

    /// `[cluster]`, for the daemon that cannot do without it.
    pub fn cluster(&self, daemon: &str) -> Result<&Cluster, ConfigError> {
        self.need(self.cluster.as_ref(), "cluster", daemon)
    }

    /// `[join]`, if there is one.
    pub fn join(&self) -> Option<&Join> {
        self.join.as_ref()
    }

    fn need<'a, T>(
        &self,
        section: Option<&'a T>,
        name: &'static str,
        daemon: &str,
    ) -> Result<&'a T, ConfigError> {
        section.ok_or_else(|| ConfigError::Incomplete {
            file: self.file.clone(),
            section: name,
            daemon: daemon.to_owned(),
        })
    }

    /// What no single key can tell.
    fn check(&self) -> Result<(), Wrong> {
        self.tor.as_ref().map_or(Ok(()), check_tor)?;
        self.cluster.as_ref().map_or(Ok(()), check_cluster)?;
        self.proxy.as_ref().map_or(Ok(()), |proxy| proxy.check(self.service.as_ref()))?;
        self.mesh.as_ref().map_or(Ok(()), |mesh| check_mesh(mesh, self.node.as_ref()))?;
        if let (Some(Mesh { tunnel_address: Some(_), .. }), Some(_)) = (&self.mesh, &self.join) {
            return wrong(
                ["mesh", "tunnel_address"],
                "cannot be chosen in a cluster that nodes join ([join]): a new node's address is derived from its key",
            );
        }
        Ok(())
    }
}

/// Why the file cannot be opened, and what to do.
fn with_advice(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => format!("{error}; `rustbalance init` or `rustbalance join` makes one"),
        ErrorKind::PermissionDenied => format!("{error}; run this as root, or as a user who may read it"),
        _ => error.to_string(),
    }
}

fn check_tor(tor: &Tor) -> Result<(), Wrong> {
    let Some(b) = &tor.b else {
        return match tor.serving {
            TorName::A => Ok(()),
            TorName::B => wrong(["tor", "serving"], "is b, but there is no [tor.b]"),
        };
    };
    if tor.a.control == b.control {
        return wrong(["tor", "b", "control"], "is the same as tor.a.control");
    }
    if tor.a.socks == b.socks {
        return wrong(["tor", "b", "socks"], "is the same as tor.a.socks");
    }
    Ok(())
}

fn check_cluster(cluster: &Cluster) -> Result<(), Wrong> {
    let Err(error) = cluster.timing() else { return Ok(()) };
    let key = match error {
        TimingError::Interval => "heartbeat_interval_secs",
        TimingError::Timeout => "heartbeat_timeout_secs",
        TimingError::Grace => "takeover_grace_secs",
    };
    wrong(["cluster", key], format!("is out of range: {error}"))
}

fn check_mesh(mesh: &Mesh, node: Option<&Node>) -> Result<(), Wrong> {
    if mesh.peers.len() > MAX_PEERS {
        return wrong(
            ["mesh", "peers"],
            format!("has {} entries, at most {MAX_PEERS} are possible", mesh.peers.len()),
        );
    }
    let mut ids = BTreeMap::new();
    let mut keys = BTreeMap::new();
    let mut addresses: BTreeMap<_, _> =
        mesh.tunnel_address.map(|own| (own, "this node".to_owned())).into_iter().collect();
    for (index, peer) in mesh.peers.iter().enumerate() {
        let key = |name| ["mesh", "peers", &index.to_string(), name].map(str::to_owned).to_vec();
        let same = |name, whose: &dyn fmt::Display| Wrong {
            key: key(name),
            reason: format!("is also that of {whose}"),
        };
        if node.is_some_and(|node| node.id == peer.id) {
            return Err(Wrong {
                key: key("id"),
                reason: "is this node's own id; list only the others".to_owned(),
            });
        }
        if let Some(other) = ids.insert(&peer.id, index) {
            return Err(same("id", &format_args!("peer {other}")));
        }
        if let Some(other) = keys.insert(peer.public_key, &peer.id) {
            return Err(same("public_key", other));
        }
        if let Some(other) = peer.tunnel_address.and_then(|own| addresses.insert(own, peer.id.to_string())) {
            return Err(same("tunnel_address", &other));
        }
    }
    Ok(())
}

/// Our form of a TOML error: the crate's own shows the whole line, which could hold a secret in the wrong place.
fn from_toml(error: &toml::de::Error, text: &str, path: &Path) -> ConfigError {
    // The crate tells the key only in the text it prints for an error without input.
    let mut keyed = error.clone();
    keyed.set_input(None);
    let printed = keyed.to_string();
    let key = printed
        .strip_prefix(error.message())
        .and_then(|rest| rest.trim().strip_prefix("in `")?.strip_suffix('`'))
        .unwrap_or_default();
    ConfigError::Invalid {
        file: path.to_owned(),
        line: error.span().map(|span| line_at(text, span.start)),
        key: key.to_owned(),
        reason: error.message().to_owned(),
    }
}

fn line_at(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

/// The line of the deepest part of `key` that stands in the file (a missing key is reported at its section).
fn line_of_key(text: &str, key: &[&str]) -> Option<usize> {
    let document = DeTable::parse(text).ok()?;
    let top = DeValue::Table(document.into_inner());
    let mut value = &top;
    let mut offset = None;
    for step in key {
        let deeper = match value {
            DeValue::Table(table) => {
                table.get_key_value(*step).map(|(name, inner)| (name.span().start, inner.get_ref()))
            }
            DeValue::Array(array) => {
                let element = step.parse::<usize>().ok().and_then(|index| array.get(index));
                element.map(|inner| (inner.span().start, inner.get_ref()))
            }
            _ => None,
        };
        let Some((start, inner)) = deeper else { break };
        (offset, value) = (Some(start), inner);
    }
    offset.map(|offset| line_at(text, offset))
}
