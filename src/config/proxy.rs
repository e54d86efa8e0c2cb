//! `[proxy]`: carrying client connections to the target.

use std::time::Duration;

use serde::Deserialize;
use serde::de::{self, Deserializer};

use super::endpoint::{Endpoint, Target};
use super::seconds;
use crate::proto::http::head::is_host;

/// More connections than this cannot be meant: each takes two files and two buffers.
const MAX_CONNECTIONS: usize = 100_000;

/// `[proxy]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proxy {
    /// Where tor's onion port connects to; ignored when the service manager hands over a socket named `onion`.
    pub listen: Option<Endpoint>,
    /// Where connections are carried to.
    pub target: Target,
    /// What is carried.
    #[serde(default)]
    pub mode: Mode,
    /// In HTTP mode, what the target calls itself; without it, what `target` says.
    #[serde(default, deserialize_with = "host")]
    pub host: Option<String>,
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
