//! `[[proxy.targets]]`: where connections are carried to, and whose certificates are accepted there.

use std::path::PathBuf;

use data_encoding::BASE64;
use serde::Deserialize;
use serde::de::{self, Deserializer};

use super::endpoint::{Target, absolute_path};
use crate::proto::balance::member::MAX_WEIGHT;
use crate::proto::http::head::is_host;

/// A key, the next one, and some that are kept in a safe; more pins are none.
const MAX_PINS: usize = 16;
pub(super) const WITHOUT_TLS: &str = "has no meaning for a target without https://";

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
    pub(super) fn at(address: Target) -> Self {
        let weight = Self::default_weight();
        Self { address, weight, host: None, verify: None, roots: None, pins: Vec::new() }
    }

    fn default_weight() -> u32 {
        1
    }

    pub(super) fn says_how_to_verify(&self) -> bool {
        self.verify.is_some() || self.roots.is_some() || !self.pins.is_empty()
    }

    /// Whether this is the same target, whatever its weight.
    pub fn is_same(&self, other: &Self) -> bool {
        *self == Self { weight: self.weight, ..other.clone() }
    }
}

/// Whether it is said which certificates a target may have, where it has one.
pub(super) fn check_verify(target: &ProxyTarget) -> Result<(), (&'static str, String)> {
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

pub(super) fn optional_path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
    absolute_path(deserializer).map(Some)
}

fn weight<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    between(deserializer, 1, MAX_WEIGHT)
}

pub(super) fn between<'de, D: Deserializer<'de>>(
    deserializer: D,
    least: u32,
    most: u32,
) -> Result<u32, D::Error> {
    let number = u32::deserialize(deserializer)?;
    if (least..=most).contains(&number) {
        Ok(number)
    } else {
        Err(de::Error::custom(format!("{number} is out of range, expected {least} to {most}")))
    }
}

pub(super) fn host<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let host = String::deserialize(deserializer)?;
    if is_host(&host) {
        Ok(Some(host))
    } else {
        Err(de::Error::custom(format!("{host:?} is no `host` or `host:port`")))
    }
}
