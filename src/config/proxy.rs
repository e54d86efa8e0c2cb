//! `[proxy]`: carrying client connections to the target.

use std::path::PathBuf;
use std::time::Duration;

use data_encoding::BASE64;
use serde::Deserialize;
use serde::de::{self, Deserializer};

use super::endpoint::{Endpoint, Target, absolute_path};
use super::node::Service;
use super::seconds;
use super::wrong::{Wrong, wrong};
use crate::proto::balance::member::{Limits, MAX_WEIGHT};
use crate::proto::http::head::is_host;

/// More connections than this cannot be meant: each takes two files and two buffers.
const MAX_CONNECTIONS: usize = 100_000;
/// More failures than this in a row nobody waits for.
const MAX_FAILURES: u32 = 1000;
/// A key, the next one, and some that are kept in a safe; more pins are none.
const MAX_PINS: usize = 16;
const ONLY_HTTP: &str = "has no meaning where bytes are carried as they are; set mode = \"http\"";
const WITHOUT_TLS: &str = "has no meaning for a target without https://";
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

/// `[[proxy.targets]]`: one of several targets.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProxyTarget {
    /// Where it is.
    pub address: Target,
    /// How many connections it gets, compared to the others.
    #[serde(default = "ProxyTarget::default_weight", deserialize_with = "weight")]
    pub weight: u32,
    /// What it calls itself: in HTTP mode, and in its certificate.
    #[serde(default, deserialize_with = "host")]
    pub host: Option<String>,
    /// Which certificates are accepted from a target with `https://`.
    pub verify: Option<Verify>,
    /// For `webpki`: the file of the roots that are trusted (PEM); without it, the system's.
    #[serde(default, deserialize_with = "optional_path")]
    pub roots: Option<PathBuf>,
    /// For `spki-pin`: the keys that are accepted.
    #[serde(default)]
    pub pins: Vec<Pin>,
}

/// Which certificates are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verify {
    /// One for the target's name that leads to a trusted root, as in a browser.
    Webpki,
    /// One with a key that is pinned, whoever signed it and however old it is.
    SpkiPin,
    /// Any: the onion address says already whose key it is.
    Onion,
}

/// The digest of a public key: `sha256/BASE64`, as HTTP's own pins had it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pin(pub [u8; 32]);

impl<'de> Deserialize<'de> for Pin {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digest = text.strip_prefix("sha256/").and_then(|base64| BASE64.decode(base64.as_bytes()).ok());
        digest.and_then(|digest| digest.try_into().ok()).map(Self).ok_or_else(|| {
            de::Error::custom(format!("{text:?} is no pin; expected `sha256/` and 44 characters of base64"))
        })
    }
}

impl ProxyTarget {
    /// Of which nothing else is said.
    fn at(address: Target) -> Self {
        let weight = Self::default_weight();
        Self { address, weight, host: None, verify: None, roots: None, pins: Vec::new() }
    }

    fn default_weight() -> u32 {
        1
    }

    fn says_how_to_verify(&self) -> bool {
        self.verify.is_some() || self.roots.is_some() || !self.pins.is_empty()
    }

    /// Whether this is the same target, whatever its weight.
    pub fn is_same(&self, other: &Self) -> bool {
        *self == Self { weight: self.weight, ..other.clone() }
    }
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
        Limits { failures: self.eject_failures, trial: self.trial_interval_secs, ramp: self.readmission_secs }
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
        if self.error_page.is_some() && self.mode == Mode::Tcp {
            return wrong(["proxy", "error_page"], ONLY_HTTP);
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

    /// Two files each: fits the usual limit of 4096 files in a hardened unit with room to spare.
    fn default_connections() -> usize {
        1024
    }
}

/// Whether it is said which certificates a target may have, where it has one.
fn check_verify(target: &ProxyTarget) -> Result<(), (&'static str, String)> {
    let refuse = |key, reason: &str| Err((key, reason.to_owned()));
    match target.verify {
        _ if !target.address.is_tls() && target.says_how_to_verify() => refuse("verify", WITHOUT_TLS),
        None if target.address.is_tls() => refuse(
            "verify",
            "is missing: say which certificates are accepted. \"webpki\": one that a trusted root vouches for; \
             \"spki-pin\": one with a key in `pins`; \"onion\": any, because the onion address says whose key it is",
        ),
        Some(Verify::Onion) if !matches!(target.address, Target::Onion { .. }) => refuse(
            "verify",
            "can be \"onion\" only where the target is an onion address, which says whose key it is",
        ),
        Some(Verify::SpkiPin) if target.pins.is_empty() => {
            refuse("pins", "is missing: list the keys that are accepted, as \"sha256/BASE64\"")
        }
        Some(Verify::Webpki | Verify::Onion) if !target.pins.is_empty() => {
            refuse("pins", "has a meaning with verify = \"spki-pin\" only")
        }
        Some(Verify::SpkiPin | Verify::Onion) if target.roots.is_some() => {
            refuse("roots", "has a meaning with verify = \"webpki\" only")
        }
        _ if target.pins.len() > MAX_PINS => {
            refuse("pins", &format!("has {} entries, at most {MAX_PINS} are possible", target.pins.len()))
        }
        _ => Ok(()),
    }
}

/// A key of `[proxy]` itself.
fn own(name: &str) -> Vec<String> {
    ["proxy", name].map(str::to_owned).to_vec()
}

fn optional_path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
    absolute_path(deserializer).map(Some)
}

fn weight<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    between(deserializer, 1, MAX_WEIGHT)
}

fn between<'de, D: Deserializer<'de>>(deserializer: D, least: u32, most: u32) -> Result<u32, D::Error> {
    let number = u32::deserialize(deserializer)?;
    if (least..=most).contains(&number) {
        Ok(number)
    } else {
        Err(de::Error::custom(format!("{number} is out of range, expected {least} to {most}")))
    }
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

fn host<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let host = String::deserialize(deserializer)?;
    if is_host(&host) {
        Ok(Some(host))
    } else {
        Err(de::Error::custom(format!("{host:?} is no `host` or `host:port`")))
    }
}
