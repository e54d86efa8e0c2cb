//! What a node consists of, as far as each can be repaired by itself: two tors and three daemons, and what gives one of them
//! its key.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One of the two tors, by what it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tor {
    /// It serves the onion.
    Serving,
    /// It carries what the node asks of the network.
    Standby,
}

/// A daemon other than the one that watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Daemon {
    /// Carries connections.
    Proxy,
    /// Keeps the cluster.
    Coordinator,
    /// Publishes.
    Publisher,
}

/// What can be killed and started: a process of its own, under the service manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// A tor.
    Tor(Tor),
    /// A daemon.
    Daemon(Daemon),
    /// What puts the onion's key where the tor that serves reads it, or puts it right there. It ends when it has done so.
    KeyInstaller,
}

impl Tor {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Serving, Self::Standby];
}

impl Daemon {
    /// All three.
    pub const ALL: [Self; 3] = [Self::Proxy, Self::Coordinator, Self::Publisher];
}

impl Part {
    /// All that run as long as the node does.
    pub const ALL: [Self; 5] = [
        Self::Tor(Tor::Serving),
        Self::Tor(Tor::Standby),
        Self::Daemon(Daemon::Proxy),
        Self::Daemon(Daemon::Coordinator),
        Self::Daemon(Daemon::Publisher),
    ];

    /// Its name where space and letters are few: in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tor(Tor::Serving) => "serving_tor",
            Self::Tor(Tor::Standby) => "standby_tor",
            Self::Daemon(Daemon::Proxy) => "proxy",
            Self::Daemon(Daemon::Coordinator) => "coordinator",
            Self::Daemon(Daemon::Publisher) => "publisher",
            Self::KeyInstaller => "key_installer",
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tor(Tor::Serving) => "the tor that serves",
            Self::Tor(Tor::Standby) => "the standby tor",
            Self::Daemon(Daemon::Proxy) => "the proxy",
            Self::Daemon(Daemon::Coordinator) => "the coordinator",
            Self::Daemon(Daemon::Publisher) => "the publisher",
            Self::KeyInstaller => "the installation of the onion's key",
        })
    }
}
