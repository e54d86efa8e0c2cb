//! `[cluster]`: membership and lease.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::seconds;
use super::secret_file::{SecretFile, SecretFileError};

/// A token shorter than this can be guessed.
const MIN_TOKEN_BYTES: usize = 16;

/// `[cluster]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cluster {
    /// The secret that all nodes share; mesh datagrams are sealed under a key derived from it.
    pub token_file: SecretFile,
    /// How often a node asks another whether it lives.
    #[serde(default = "Cluster::default_interval", deserialize_with = "seconds::between::<_, 50, 60_000>")]
    pub heartbeat_interval_secs: Duration,
    /// After how long without an answer it counts as dead.
    #[serde(default = "Cluster::default_timeout", deserialize_with = "seconds::between::<_, 100, 600_000>")]
    pub heartbeat_timeout_secs: Duration,
    /// How long after the lease holder's death the next node waits before it takes the lease.
    #[serde(default = "Cluster::default_grace", deserialize_with = "seconds::between::<_, 0, 600_000>")]
    pub takeover_grace_secs: Duration,
}

impl Cluster {
    fn default_interval() -> Duration {
        Duration::from_millis(500)
    }

    fn default_timeout() -> Duration {
        Duration::from_millis(1500)
    }

    fn default_grace() -> Duration {
        Duration::from_millis(250)
    }

    /// Reads the cluster token; refuses one that is short enough to be guessed.
    pub fn read_token(&self) -> Result<SecretString, SecretFileError> {
        let token = self.token_file.read_text()?;
        if token.expose_secret().len() < MIN_TOKEN_BYTES {
            return Err(self.token_file.wrong("a cluster token of at least 16 characters"));
        }
        Ok(token)
    }
}
