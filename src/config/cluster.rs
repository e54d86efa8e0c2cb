//! `[cluster]`: membership and lease.

use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::endpoint::absolute_path;
use super::seconds;
use super::secret::{Secret, SecretError, Unseal};
use crate::proto::cluster::timing::{
    DEFAULT_HEARTBEAT_INTERVAL, DEFAULT_HEARTBEAT_TIMEOUT, DEFAULT_TAKEOVER_GRACE, Timing, TimingError,
};

/// A token shorter than this can be guessed: 24 characters of base64 carry 144 bits.
const MIN_TOKEN_BYTES: usize = 24;

/// What the cluster remembers, inside the state directory.
pub const MEMORY_FILE: &str = "memory.json";

/// `[cluster]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cluster {
    /// The secret that all nodes share; mesh datagrams are sealed under a key derived from it.
    #[serde(alias = "token")]
    pub token_file: Secret,
    /// How many tokens the cluster had before the one in the file: 0 where the cluster began with it.
    #[serde(default)]
    pub token_seq: u32,
    /// How long a token counts after a newer one was made: nodes that are away for longer catch up all the same, but
    /// invitations made under the older one end.
    #[serde(
        default = "Cluster::default_overlap",
        deserialize_with = "seconds::between::<_, 1_000, 2_592_000_000>"
    )]
    pub token_overlap_secs: Duration,
    /// Where the coordinator keeps what it knows of the cluster over a restart.
    #[serde(default = "Cluster::default_state_directory", deserialize_with = "absolute_path")]
    pub state_directory: PathBuf,
    /// Whether this node asks, through Tor, who answers at the service's address.
    #[serde(default = "Cluster::default_canary")]
    pub canary: bool,
    /// How often a node asks another whether it lives.
    #[serde(default = "Cluster::default_interval", deserialize_with = "seconds::between::<_, 100, 60_000>")]
    pub heartbeat_interval_secs: Duration,
    /// After how long without an answer it counts as dead.
    #[serde(
        default = "Cluster::default_timeout",
        deserialize_with = "seconds::between::<_, 300, 3_600_000>"
    )]
    pub heartbeat_timeout_secs: Duration,
    /// How long after the lease holder's death the next node waits before it takes the lease.
    #[serde(default = "Cluster::default_grace", deserialize_with = "seconds::between::<_, 0, 3_600_000>")]
    pub takeover_grace_secs: Duration,
}

impl Cluster {
    /// Nothing else sees what clients see.
    fn default_canary() -> bool {
        true
    }

    fn default_interval() -> Duration {
        DEFAULT_HEARTBEAT_INTERVAL
    }

    fn default_timeout() -> Duration {
        DEFAULT_HEARTBEAT_TIMEOUT
    }

    fn default_grace() -> Duration {
        DEFAULT_TAKEOVER_GRACE
    }

    /// A day: every node that is looked after is back by then.
    fn default_overlap() -> Duration {
        Duration::from_hours(24)
    }

    fn default_state_directory() -> PathBuf {
        Path::new("/var/lib/rustbalance/coordinator").to_owned()
    }

    /// The three numbers together, and all that follows from them.
    pub fn timing(&self) -> Result<Timing, TimingError> {
        Timing::new(self.heartbeat_interval_secs, self.heartbeat_timeout_secs, self.takeover_grace_secs)
    }

    /// Reads the cluster token; refuses one that is short enough to be guessed.
    pub fn read_token(&self, unseal: Unseal<'_>) -> Result<SecretString, SecretError> {
        let token = self.token_file.read_text(unseal)?;
        if token.expose_secret().len() < MIN_TOKEN_BYTES {
            return Err(self.token_file.wrong("a cluster token of at least 24 characters"));
        }
        Ok(token)
    }
}
