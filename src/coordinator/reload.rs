//! Taking a changed configuration over while the daemon runs.

use super::plan::{OwnTunnel, peers};
use crate::config::file::{Config, ConfigError};
use crate::config::reload::{Changes, Reloads, Scope, tell_refused};
use crate::proto::cluster::events::Event;
use crate::proto::cluster::roster::Peer;
use crate::proto::node::Priority;
use crate::sys::logging::LogLevel;

/// What this daemon reads of the configuration. The cluster's periods must be the same on all nodes, the tunnel is made at
/// the start, and secrets are read then.
const SCOPE: Scope = Scope {
    sections: &["node", "mesh", "cluster", "join", "ipc", "log", "vault", "integrity"],
    live: &["node.priority", "mesh.peers", "log.level"],
};

/// Takes a changed configuration over.
#[derive(Debug)]
pub struct Reload {
    daemon: &'static str,
    reloads: Reloads,
    level: LogLevel,
    tunnel: OwnTunnel,
    priority: Priority,
    peers: Vec<Peer>,
}

impl Reload {
    /// The daemon of this name has started with this configuration, which came to these peers.
    pub fn new(
        daemon: &'static str,
        started: &Config,
        level: LogLevel,
        tunnel: OwnTunnel,
        peers: Vec<Peer>,
    ) -> Result<Self, ConfigError> {
        let priority = started.node(daemon)?.priority;
        Ok(Self { daemon, reloads: Reloads::new(SCOPE, started.clone()), level, tunnel, priority, peers })
    }

    /// This node's wish for the lease.
    pub fn priority(&self) -> Priority {
        self.priority
    }

    /// The configured peers.
    pub fn peers(&self) -> &[Peer] {
        &self.peers
    }

    /// Reads the configuration again, and says what is and what is not taken over. Gives what the core has to hear of it.
    pub fn take_over(&mut self) -> Vec<Event<'static>> {
        match self.read() {
            Ok((config, changes, priority, peers)) => {
                if let Err(error) = self.level.set(&config.log.level) {
                    tracing::error!(%error, "the log goes on as before");
                }
                self.reloads.adopt(config);
                changes.tell();
                self.adopt(priority, peers)
            }
            Err(error) => {
                tell_refused(&error);
                Vec::new()
            }
        }
    }

    fn read(&self) -> Result<(Config, Changes, Priority, Vec<Peer>), ConfigError> {
        let (config, changes) = self.reloads.read()?;
        let priority = config.node(self.daemon)?.priority;
        let peers = peers(&config, &config.mesh(self.daemon)?.peers, self.tunnel)?;
        Ok((config, changes, priority, peers))
    }

    fn adopt(&mut self, priority: Priority, peers: Vec<Peer>) -> Vec<Event<'static>> {
        let before = std::mem::replace(&mut self.peers, peers);
        let lost = before.iter().filter(|old| !self.peers.iter().any(|peer| peer.node == old.node));
        let mut events: Vec<_> = lost.map(|old| Event::PeerLost(old.node.clone())).collect();
        let altered = self.peers.iter().filter(|peer| !before.contains(peer));
        events.extend(altered.cloned().map(Event::PeerConfigured));
        if std::mem::replace(&mut self.priority, priority) != priority {
            events.push(Event::Priority(priority));
        }
        events
    }
}
