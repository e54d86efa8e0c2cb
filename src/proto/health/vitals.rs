//! What was observed last, fact by fact. It holds no secret and nothing about clients. Times are Unix seconds.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::part::{Daemon, Part, Tor};

/// Whether a part answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Not asked yet.
    #[default]
    Unasked,
    /// It answered when it was asked last.
    Answers,
    /// It has a connection, or a listener, and says nothing within the time it has: it hangs.
    Silent,
    /// Nobody is there.
    Away,
    /// It is there, and lets the watchdog not in, or says nothing that can be used: nothing is known of it.
    Refuses,
}

/// One fact, as it is now. It replaces what was observed of the same before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observation {
    /// A part was asked for a word.
    Answer(Part, Answer),
    /// A tor said how it is.
    Tor(Tor, TorVitals),
    /// The publisher said how it is.
    Publishing(Publishing),
    /// The coordinator said how it is.
    Cluster(ClusterVitals),
    /// The proxy said how it is.
    Traffic(Traffic),
    /// The machine was looked at.
    Host(Host),
    /// The memory that a part uses was looked up; `None` if it does not run, or has no limit.
    Memory(Part, Option<Share>),
    /// A daemon counted its open files.
    Files(Part, Share),
    /// The configuration's file was read, beside what was loaded from it.
    Configuration(Configuration),
    /// What installs the onion's key has ended, and had success or not.
    KeyInstalled(bool),
}

/// All facts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vitals {
    /// Whether the serving tor answers.
    pub serving_answers: Answer,
    /// Whether the standby tor answers; never asked on a node with one tor.
    pub standby_answers: Answer,
    /// Whether the proxy answers.
    pub proxy_answers: Answer,
    /// Whether the coordinator answers.
    pub coordinator_answers: Answer,
    /// Whether the publisher answers.
    pub publisher_answers: Answer,
    /// What the serving tor said last; `None` while it does not answer.
    pub serving_tor: Option<TorVitals>,
    /// What the standby tor said last.
    pub standby_tor: Option<TorVitals>,
    /// What the publisher said last.
    pub publishing: Option<Publishing>,
    /// What the coordinator said last.
    pub cluster: Option<ClusterVitals>,
    /// What the proxy said last.
    pub traffic: Option<Traffic>,
    /// What was seen of the machine last.
    pub host: Option<Host>,
    /// How the configuration's file compares with what was loaded from it.
    pub configuration: Option<Configuration>,
    /// What parts use of what they may use, by the part's name as metrics have it.
    #[serde(default)]
    pub uses: BTreeMap<String, Uses>,
    /// Whether the onion's key could be put where tor reads it, or compared with what is there, if that was ever tried;
    /// `None`: nobody knows.
    #[serde(default)]
    pub key_installed: Option<bool>,
}

/// What a part uses; `None`: nobody knows, or it has no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uses {
    /// Memory in bytes, as the kernel counts it for the part's limit.
    pub memory_bytes: Option<Share>,
    /// Open files. A tor does not tell how many it has.
    pub open_files: Option<Share>,
}

/// How much of something is used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// So much.
    pub used: u64,
    /// Of so much.
    pub limit: u64,
}

/// A tor, in its own words.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TorVitals {
    /// How far it is with its start, in percent.
    pub bootstrap_percent: u8,
    /// Whether it has built a circuit, and believes that it can build more.
    pub circuits: bool,
    /// Whether it believes that there is no network: what it sends is not answered by anybody.
    #[serde(default)]
    pub cut_off: bool,
    /// From when its consensus is valid.
    pub consensus_valid_after: Option<u64>,
    /// Until when.
    pub consensus_valid_until: Option<u64>,
    /// Introduction circuits that are established.
    pub introduction_circuits: u32,
    /// How many there are once all are: one at each point of both its descriptors, today's and tomorrow's. 0 if it has no
    /// onion service.
    #[serde(default)]
    pub introduction_circuits_expected: u32,
    /// By how many seconds its relays say that this machine's clock is wrong; positive: it is fast.
    pub clock_skew_secs: i64,
    /// Whether the directory of its onion's key is its own and nobody else's; `None` if it has none.
    pub key_directory_private: Option<bool>,
}

/// The publisher, in its own words.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publishing {
    /// Whether it publishes for the cluster.
    pub publishes: bool,
    /// This node's introduction points.
    pub points: u32,
    /// Of these, those at relays that are in no consensus of this node's tors any more.
    #[serde(default)]
    pub points_lost: u32,
    /// Until when the certificates last that tor made for them, Unix seconds; `None` while it has none.
    #[serde(default)]
    pub points_certified_until: Option<u64>,
    /// Until when at least those of the descriptors last that this node publishes; `None` while no HSDir has one.
    #[serde(default)]
    pub descriptors_certified_until: Option<u64>,
    /// Whether they are given up on purpose, since the node is drained.
    pub muted: bool,
    /// HSDirs that should hold the present descriptors.
    pub hsdirs: u32,
    /// Of these, those that accepted them.
    pub hsdirs_holding: u32,
    /// Some HSDirs have been behind for longer than a minute.
    pub behind: bool,
    /// A descriptor was not accepted anywhere for a quarter of an hour, or cannot be built or read.
    pub stale: bool,
}

/// The coordinator, in its own words.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterVitals {
    /// This node is not in its cluster yet.
    pub joining: bool,
    /// Somebody holds the lease, or is being looked for.
    pub led: bool,
    /// This node holds it.
    pub leads: bool,
    /// Why it stands back from it, in the coordinator's words; `None`: it does not.
    #[serde(default)]
    pub stands_back: Option<String>,
    /// How often it has done so since the coordinator's start.
    #[serde(default)]
    pub stood_back: u64,
    /// Nodes of the cluster, this one included.
    pub nodes: u32,
    /// Nodes other than this one that serve, and reach the target.
    pub others_serving: u32,
    /// Names of nodes that do not answer, or are dead.
    pub lost: Vec<String>,
    /// Datagrams refused since its start because their sender's clock is too far from this one's.
    pub refused_for_clock: u64,
    /// How many milliseconds this node's clock is ahead of the others'; `None` while nobody is heard.
    #[serde(default)]
    pub clock_ahead_ms: Option<i64>,
    /// Who answers at the service's address; `None` where nobody asks.
    #[serde(default)]
    pub canary: Option<Canary>,
}

/// What comes of asking, through Tor, at the service's own address.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Canary {
    /// Questions that were asked.
    pub tried: u64,
    /// Those of them that a node of the cluster answered.
    pub answered: u64,
    /// Whether so many have failed in a row that clients cannot reach the service either.
    pub lost: bool,
    /// When a node answered last.
    pub answered_at: Option<u64>,
    /// How long that took, in milliseconds.
    pub round_trip_ms: Option<u64>,
    /// How many nodes have answered within the last hour.
    pub met: u32,
    /// Nodes that are in the descriptor, but were not met for longer than can be chance.
    #[serde(default)]
    pub unmet: Vec<String>,
    /// Why the last question got no answer.
    pub failure: Option<String>,
}

/// The proxy, in its own words. Numbers since its start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Whether any target could be reached when it was last tried.
    pub target_well: bool,
    /// Targets there are.
    #[serde(default)]
    pub targets: u32,
    /// Those of them that get connections.
    #[serde(default)]
    pub targets_well: u32,
    /// What is known of targets' certificates, of those whose age matters.
    #[serde(default)]
    pub certificates: Vec<TargetCertificate>,
    /// Connections being carried.
    pub active: u64,
    /// Connections accepted.
    pub accepted: u64,
    /// Connections refused, as too many were being carried.
    pub refused: u64,
    /// Requests and connections refused, as their circuit asked for too much.
    #[serde(default)]
    pub over_limit: u64,
    /// Connections that failed, by reason, in the proxy's words.
    pub failed: BTreeMap<String, u64>,
    /// Bytes carried from clients to the target.
    pub bytes_to_target: u64,
    /// Bytes carried from the target to clients.
    pub bytes_to_client: u64,
}

/// A target's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetCertificate {
    /// Which target, in the configuration's order, counted from 1.
    pub target: u32,
    /// From when it is valid, Unix seconds.
    pub from: u64,
    /// Until when.
    pub until: u64,
}

/// The machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Bytes that a daemon may still write where it keeps its state.
    pub disk_free_bytes: u64,
    /// Of so many.
    pub disk_bytes: u64,
    /// Files that may still be made there; `None` on a file system that does not count them.
    pub inodes_free: Option<u64>,
}

/// The configuration's file, beside what was loaded from it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configuration {
    /// Whether the file, as it is now, would be refused.
    pub wrong: bool,
    /// Keys that are others in it, the first few; no values.
    pub changed: Vec<String>,
    /// How many there are besides.
    pub changed_more: usize,
}

impl Vitals {
    /// Takes a fact over. What a part said before it fell silent is no fact any more.
    pub fn note(&mut self, observation: Observation) {
        match observation {
            Observation::Answer(part, answer) => {
                self.set_answer(part, answer);
                if answer != Answer::Answers {
                    self.forget(part);
                }
            }
            Observation::Tor(Tor::Serving, vitals) => self.serving_tor = Some(vitals),
            Observation::Tor(Tor::Standby, vitals) => self.standby_tor = Some(vitals),
            Observation::Publishing(publishing) => self.publishing = Some(publishing),
            Observation::Cluster(cluster) => self.cluster = Some(cluster),
            Observation::Traffic(traffic) => self.traffic = Some(traffic),
            Observation::Host(host) => self.host = Some(host),
            Observation::Memory(part, memory) => self.uses_mut(part).memory_bytes = memory,
            Observation::Files(part, files) => self.uses_mut(part).open_files = Some(files),
            Observation::Configuration(configuration) => self.configuration = Some(configuration),
            Observation::KeyInstalled(success) => self.key_installed = Some(success),
        }
    }

    /// Whether a part answers.
    pub fn answer(&self, part: Part) -> Answer {
        match part {
            Part::Tor(Tor::Serving) => self.serving_answers,
            Part::Tor(Tor::Standby) => self.standby_answers,
            Part::Daemon(Daemon::Proxy) => self.proxy_answers,
            Part::Daemon(Daemon::Coordinator) => self.coordinator_answers,
            Part::Daemon(Daemon::Publisher) => self.publisher_answers,
            Part::KeyInstaller => Answer::Unasked,
        }
    }

    /// Whether a part answers, but has not said yet how it is.
    pub fn is_awaited(&self, part: Part) -> bool {
        let has_said = match part {
            Part::Tor(tor) => self.tor(tor).is_some(),
            Part::Daemon(Daemon::Proxy) => self.traffic.is_some(),
            Part::Daemon(Daemon::Coordinator) => self.cluster.is_some(),
            Part::Daemon(Daemon::Publisher) => self.publishing.is_some(),
            Part::KeyInstaller => self.key_installed.is_some(),
        };
        self.answer(part) == Answer::Answers && !has_said
    }

    /// What a tor said last.
    pub fn tor(&self, tor: Tor) -> Option<&TorVitals> {
        match tor {
            Tor::Serving => self.serving_tor.as_ref(),
            Tor::Standby => self.standby_tor.as_ref(),
        }
    }

    /// What a part uses, as far as that is known.
    pub fn uses(&self, part: Part) -> Uses {
        self.uses.get(part.name()).copied().unwrap_or_default()
    }

    fn uses_mut(&mut self, part: Part) -> &mut Uses {
        self.uses.entry(part.name().to_owned()).or_default()
    }

    fn set_answer(&mut self, part: Part, answer: Answer) {
        let known = match part {
            Part::Tor(Tor::Serving) => &mut self.serving_answers,
            Part::Tor(Tor::Standby) => &mut self.standby_answers,
            Part::Daemon(Daemon::Proxy) => &mut self.proxy_answers,
            Part::Daemon(Daemon::Coordinator) => &mut self.coordinator_answers,
            Part::Daemon(Daemon::Publisher) => &mut self.publisher_answers,
            // It says with its end how it went.
            Part::KeyInstaller => return,
        };
        *known = answer;
    }

    fn forget(&mut self, part: Part) {
        self.uses.remove(part.name());
        match part {
            Part::Tor(Tor::Serving) => self.serving_tor = None,
            Part::Tor(Tor::Standby) => self.standby_tor = None,
            Part::Daemon(Daemon::Proxy) => self.traffic = None,
            // Whether other nodes serve is no less true because our own coordinator is being restarted: kept.
            Part::Daemon(Daemon::Coordinator) => {}
            Part::Daemon(Daemon::Publisher) => self.publishing = None,
            Part::KeyInstaller => self.key_installed = None,
        }
    }
}
