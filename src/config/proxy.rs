//! `[proxy]`: carrying client connections to the target.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{self, Deserializer};

use super::circuits::Circuits;
use super::endpoint::{Endpoint, Target};
use super::node::Service;
use super::seconds;
use super::target::{Pin, ProxyTarget, Verify, WITHOUT_TLS, between, check_verify, host, optional_path};
use super::wrong::{Wrong, wrong};
use crate::proto::balance::member::Limits;

/// More connections than this cannot be meant: each takes three files and two buffers.
const MAX_CONNECTIONS: usize = 100_000;
/// More failures than this in a row nobody waits for.
const MAX_FAILURES: u32 = 1000;
/// Longer ones are cut off by many servers.
const MAX_PATH_BYTES: usize = 1024;
const ONLY_HTTP: &str = "has no meaning where bytes are carried as they are; set mode = \"http\"";
/// More targets than this belong behind a balancer of their own: each is looked at for every connection.
const MAX_TARGETS: usize = 16;

/// `[proxy]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proxy {
    /// Where tor's onion port connects to; ignored when the service manager hands over a socket named `onion`.
    pub listen: Option<Endpoint>,
    /// Where connections are carried to, if that is one target.
    target: Option<Target>,
    /// Where connections are carried to, if those are several.
    #[serde(default)]
    targets: Vec<ProxyTarget>,
    /// What is carried.
    #[serde(default)]
    pub mode: Mode,
    /// What a target calls itself, in HTTP mode and in its certificate, if it has no `host` of its own; without both, what
    /// its address says.
    #[serde(default, deserialize_with = "host")]
    host: Option<String>,
    /// Which certificates are accepted from targets with `https://` that do not say.
    verify: Option<Verify>,
    /// Belongs to that.
    #[serde(default, deserialize_with = "optional_path")]
    roots: Option<PathBuf>,
    /// Belongs to that.
    #[serde(default)]
    pins: Vec<Pin>,
    /// How long reaching the target may take, SOCKS and onion rendezvous included.
    #[serde(default = "Proxy::default_connect", deserialize_with = "seconds::between::<_, 100, 600_000>")]
    pub connect_timeout_secs: Duration,
    /// After how long without a byte in either direction a connection is closed.
    #[serde(default = "Proxy::default_idle", deserialize_with = "seconds::between::<_, 100, 86_400_000>")]
    pub idle_timeout_secs: Duration,
    /// How often reaching the target is tried although no client asks for it.
    #[serde(default = "Proxy::default_probe", deserialize_with = "seconds::between::<_, 1_000, 3_600_000>")]
    pub probe_interval_secs: Duration,
    /// How long connections in flight may take to finish when the proxy is told to stop.
    #[serde(default = "Proxy::default_drain", deserialize_with = "seconds::between::<_, 0, 3_600_000>")]
    pub drain_timeout_secs: Duration,
    /// Connections carried at once; the next one is refused.
    #[serde(default = "Proxy::default_connections", deserialize_with = "connections")]
    pub max_connections: usize,
    /// In HTTP mode, the page (HTML, UTF-8) that clients see when the target fails them; without it, a plain one.
    #[serde(default, deserialize_with = "optional_path")]
    pub error_page: Option<PathBuf>,
    /// In HTTP mode, what probes ask each target for; without it, they only connect.
    #[serde(default, deserialize_with = "probe_path")]
    pub probe_path: Option<String>,
    /// The status that a well target answers that with; without it, any from 200 to 399.
    #[serde(default, deserialize_with = "probe_status")]
    pub probe_status: Option<u16>,
    /// How much one client circuit may ask for; without it that is not limited, and tor does not tell.
    pub circuits: Option<Circuits>,
    /// In HTTP mode, whether pages and styles are looked through for URLs of the target, too.
    #[serde(default)]
    pub rewrite_content: bool,
    /// After so many failures in a row a target gets no connections.
    #[serde(default = "Proxy::default_failures", deserialize_with = "failures")]
    eject_failures: u32,
    /// How often such a target is tried.
    #[serde(default = "Proxy::default_trial", deserialize_with = "seconds::between::<_, 1_000, 3_600_000>")]
    trial_interval_secs: Duration,
    /// How long its share grows when it is back.
    #[serde(
        default = "Proxy::default_readmission",
        deserialize_with = "seconds::between::<_, 0, 3_600_000>"
    )]
    readmission_secs: Duration,
}

/// What the proxy understands of what it carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Nothing: bytes, of any protocol.
    #[default]
    Tcp,
    /// HTTP/1.1, with the target's name exchanged for the onion service's.
    Http,
}

impl Proxy {
    /// Where connections are carried to: at least one.
    pub fn targets(&self) -> Vec<ProxyTarget> {
        let only = self.target.clone().map(ProxyTarget::at);
        let with_defaults = |mut target: ProxyTarget| {
            target.host = target.host.or_else(|| self.host.clone());
            if target.address.is_tls() && !target.says_how_to_verify() {
                (target.verify, target.roots, target.pins) =
                    (self.verify, self.roots.clone(), self.pins.clone());
            }
            target
        };
        only.into_iter().chain(self.targets.iter().cloned()).map(with_defaults).collect()
    }

    /// When a target gets no connections, and how it comes back.
    pub fn limits(&self) -> Limits {
        Limits {
            failures: self.eject_failures,
            trial: self.trial_interval_secs,
            ramp: self.readmission_secs,
            checked: self.probe_path.is_some(),
        }
    }

    /// What no single key can tell.
    pub(super) fn check(&self, service: Option<&Service>) -> Result<(), Wrong> {
        match (&self.target, self.targets.len()) {
            (None, 0) => {
                return wrong(
                    ["proxy", "target"],
                    "is missing: say where connections are carried to, with target = \"...\" or with a \
                     [[proxy.targets]] for each of several targets",
                );
            }
            (Some(_), 1..) => {
                return wrong(
                    ["proxy", "targets"],
                    "cannot stand beside proxy.target; list that one, too, and delete it",
                );
            }
            (_, count) if count > MAX_TARGETS => {
                return wrong(
                    ["proxy", "targets"],
                    format!("has {count} entries, at most {MAX_TARGETS} are possible"),
                );
            }
            _ => {}
        }
        if self.mode == Mode::Tcp {
            self.check_http_keys()?;
        }
        if self.probe_status.is_some() && self.probe_path.is_none() {
            return wrong(["proxy", "probe_status"], "has a meaning together with probe_path only");
        }
        let targets = self.targets();
        for (index, target) in targets.iter().enumerate() {
            self.check_target(target, service)
                .map_err(|(name, reason)| self.wrong_target(index, name, reason))?;
            if let Some(other) = targets[..index].iter().position(|other| other.address == target.address) {
                let reason = format!("is also that of target {other}");
                return Err(self.wrong_target(index, "address", reason));
            }
        }
        if targets.iter().any(|target| target.address.is_tls()) {
            return Ok(());
        }
        let said = [
            ("verify", self.verify.is_some()),
            ("roots", self.roots.is_some()),
            ("pins", !self.pins.is_empty()),
        ];
        match said.into_iter().find(|(_, said)| *said) {
            Some((key, _)) => wrong(["proxy", key], WITHOUT_TLS),
            None => Ok(()),
        }
    }

    /// What has no meaning for bytes.
    fn check_http_keys(&self) -> Result<(), Wrong> {
        let said = [
            ("error_page", self.error_page.is_some()),
            ("rewrite_content", self.rewrite_content),
            ("probe_path", self.probe_path.is_some()),
            ("probe_status", self.probe_status.is_some()),
        ];
        match said.into_iter().find(|(_, said)| *said) {
            Some((key, _)) => wrong(["proxy", key], ONLY_HTTP),
            None => Ok(()),
        }
    }

    /// The files that it names, each with its key.
    pub fn files(&self) -> Vec<(Vec<String>, PathBuf)> {
        let targets = self.targets().into_iter().enumerate();
        let roots = targets.filter_map(|(index, target)| Some((self.key_of(index, "roots"), target.roots?)));
        let page = self.error_page.clone().map(|page| (own("error_page"), page));
        roots.chain(page).collect()
    }

    /// The key of a target, and what is wrong with it.
    fn check_target(
        &self,
        target: &ProxyTarget,
        service: Option<&Service>,
    ) -> Result<(), (&'static str, String)> {
        let round = |what| Err(("address", format!("is {what}; requests would go round for ever")));
        match &target.address {
            Target::Local { endpoint, .. } if self.listen.as_ref() == Some(endpoint) => {
                round("the proxy's own listen address")
            }
            Target::Onion { address, .. } if service.is_some_and(|service| service.address == *address) => {
                round("the master address itself")
            }
            address => {
                if target.host.is_some() && self.mode == Mode::Tcp && !address.is_tls() {
                    return Err(("host", ONLY_HTTP.to_owned()));
                }
                check_verify(target)
            }
        }
    }

    /// What is wrong with a target, at the key where it stands.
    fn wrong_target(&self, index: usize, name: &str, reason: String) -> Wrong {
        Wrong { key: self.key_of(index, name), reason }
    }

    /// Where a key of a target stands in the file.
    pub fn key_of(&self, index: usize, name: &str) -> Vec<String> {
        if self.target.is_none() {
            ["proxy", "targets", &index.to_string(), name].map(str::to_owned).to_vec()
        } else {
            own(if name == "address" { "target" } else { name })
        }
    }

    fn default_failures() -> u32 {
        Limits::default().failures
    }

    fn default_trial() -> Duration {
        Limits::default().trial
    }

    fn default_readmission() -> Duration {
        Limits::default().ramp
    }

    fn default_connect() -> Duration {
        Duration::from_secs(30)
    }

    fn default_idle() -> Duration {
        Duration::from_mins(2)
    }

    /// The seed's section 2.1.
    fn default_probe() -> Duration {
        Duration::from_mins(1)
    }

    /// Well below systemd's 90 s `TimeoutStopSec`.
    fn default_drain() -> Duration {
        Duration::from_secs(20)
    }

    /// Three files each: fits the usual limit of 4096 files in a hardened unit with room to spare.
    fn default_connections() -> usize {
        1024
    }
}

/// A key of `[proxy]` itself.
fn own(name: &str) -> Vec<String> {
    ["proxy", name].map(str::to_owned).to_vec()
}

fn failures<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    between(deserializer, 1, MAX_FAILURES)
}

fn connections<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    let number = usize::deserialize(deserializer)?;
    if (1..=MAX_CONNECTIONS).contains(&number) {
        Ok(number)
    } else {
        Err(de::Error::custom(format!("{number} is out of range, expected 1 to {MAX_CONNECTIONS}")))
    }
}

fn probe_path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let path = String::deserialize(deserializer)?;
    let fits = path.starts_with('/') && path.len() <= MAX_PATH_BYTES;
    if fits && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
        Ok(Some(path))
    } else {
        let reason = format!("{path:?} is no path; expected `/`, and what may follow it in a URL");
        Err(de::Error::custom(reason))
    }
}

fn probe_status<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u16>, D::Error> {
    let status = between(deserializer, 200, 599)?;
    Ok(u16::try_from(status).ok())
}
