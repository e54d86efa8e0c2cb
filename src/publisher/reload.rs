//! Taking a changed configuration over while the daemon runs.

use crate::config::file::Config;
use crate::config::publisher::Publisher as PublisherConfig;
use crate::config::reload::{Reloads, Scope, tell_refused};
use crate::proto::publish::event::Pace;
use crate::sys::logging::LogLevel;

/// What this daemon reads of the configuration. The service and its key, and the tors, are settled at the start: another
/// key is another service, and another tor is other connections.
const SCOPE: Scope = Scope {
    sections: &["node", "service", "tor", "publisher", "ipc", "log", "vault", "integrity"],
    live: &["publisher", "log.level"],
};

/// How often things are done although nothing happened.
pub fn pace(config: &PublisherConfig) -> Pace {
    Pace { refresh: config.refresh_interval_secs, poll: config.poll_interval_secs }
}

/// Takes a changed configuration over.
#[derive(Debug)]
pub struct Reload {
    reloads: Reloads,
    level: LogLevel,
}

impl Reload {
    /// The daemon has started with this configuration.
    pub fn new(started: Config, level: LogLevel) -> Self {
        Self { reloads: Reloads::new(SCOPE, started), level }
    }

    /// Reads the configuration again, and says what is and what is not taken over. Gives the pace from now on; `None` if
    /// that is as before.
    pub fn pace(&mut self) -> Option<Pace> {
        let (config, changes) = self.reloads.read().inspect_err(|error| tell_refused(error)).ok()?;
        if let Err(error) = self.level.set(&config.log.level) {
            tracing::error!(%error, "the log goes on as before");
        }
        changes.tell();
        let pace = changes.live.touch("publisher").then(|| pace(&config.publisher));
        self.reloads.adopt(config);
        pace
    }
}
