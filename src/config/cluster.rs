//! `[cluster]`: membership and lease.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::seconds;
use super::secret_file::{SecretFile, SecretFileError};
use crate::proto::cluster::timing::{
    DEFAULT_HEARTBEAT_INTERVAL, DEFAULT_HEARTBEAT_TIMEOUT, DEFAULT_TAKEOVER_GRACE, Timing, TimingError,
};

/// A token shorter than this can be guessed: 24 characters of base64 carry 144 bits.
const MIN_TOKEN_BYTES: usize = 24;

/// `[cluster]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cluster {
    /// The secret that all nodes share; mesh datagrams are sealed under a key derived from it.
    pub token_file: SecretFile,
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
    fn default_interval() -> Duration {
        DEFAULT_HEARTBEAT_INTERVAL
    }

    fn default_timeout() -> Duration {
        DEFAULT_HEARTBEAT_TIMEOUT
    }

    fn default_grace() -> Duration {
        DEFAULT_TAKEOVER_GRACE
    }

    /// The three numbers together, and all that follows from them.
    pub fn timing(&self) -> Result<Timing, TimingError> {
        Timing::new(self.heartbeat_interval_secs, self.heartbeat_timeout_secs, self.takeover_grace_secs)
    }

    /// Reads the cluster token; refuses one that is short enough to be guessed.
    pub fn read_token(&self) -> Result<SecretString, SecretFileError> {
        let token = self.token_file.read_text()?;
        if token.expose_secret().len() < MIN_TOKEN_BYTES {
            return Err(self.token_file.wrong("a cluster token of at least 24 characters"));
        }
        Ok(token)
    }
}
