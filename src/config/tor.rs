//! `[tor]`: the node's two tor instances.

use std::fmt;

use serde::Deserialize;

use super::endpoint::Endpoint;
use super::secret::Secret;

/// Which of the two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TorName {
    /// `[tor.a]`.
    #[default]
    A,
    /// `[tor.b]`.
    B,
}

impl fmt::Display for TorName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::A => "a",
            Self::B => "b",
        })
    }
}

/// `[tor.a]` or `[tor.b]`: where one tor's ports are.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Instance {
    /// Its control port.
    pub control: Endpoint,
    /// Its SOCKS port.
    pub socks: Endpoint,
    /// The control port's password, when it does not use a cookie.
    #[serde(alias = "password")]
    pub password_file: Option<Secret>,
}

/// `[tor]`: both instances, and which one serves the onion address.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tor {
    /// The instance that serves; the other one carries SOCKS and uploads.
    #[serde(default)]
    pub serving: TorName,
    /// The first instance.
    pub a: Instance,
    /// The second instance; without it the first does everything.
    pub b: Option<Instance>,
}

impl Tor {
    /// An instance by name.
    pub fn instance(&self, name: TorName) -> Option<&Instance> {
        match name {
            TorName::A => Some(&self.a),
            TorName::B => self.b.as_ref(),
        }
    }

    /// The instances in the order in which work that is not serving prefers them: the one that does not serve
    /// first, the serving one as reserve.
    pub fn outgoing(&self) -> Vec<(TorName, &Instance)> {
        let order = match self.serving {
            TorName::A => [TorName::B, TorName::A],
            TorName::B => [TorName::A, TorName::B],
        };
        order.into_iter().filter_map(|name| Some((name, self.instance(name)?))).collect()
    }
}
