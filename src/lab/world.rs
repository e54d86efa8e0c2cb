//! The lab, built: network, nodes, target, clients, observer, and questions that every scene asks.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};

use super::cluster::ClusterPlan;
use super::control::{self, AuthKeys};
use super::error::LabError;
use super::ground::Ground;
use super::machine::Machine;
use super::name::Name;
use super::node::{Daemon, Node};
use super::observer::{Copies, Observer};
use super::pool::ClientTor;
use super::rotations::Rotations;
use super::screen::Screen;
use super::supervisor::Supervised;
use super::target::Target;
use crate::ipc::coordinator::{CoordinatorClient, CoordinatorStatus};
use crate::ipc::proxy::{ProxyClient, ProxyStatus};
use crate::ipc::publisher::PublisherClient;
use crate::ipc::watchdog::WatchdogClient;
use crate::proto::cluster::status::{Lifecycle, NodeStatus};
use crate::proto::health::report::{Complaint, Deed, DeedKind, Stage};
use crate::proto::publish::report::{Duty, PublisherReport};

/// How long a daemon may take to answer a question. A dead one's socket accepts, since the supervisor keeps it.
const ANSWER_LIMIT: Duration = Duration::from_secs(1);
/// How long until all is well again after anything.
const SETTLE_LIMIT: Duration = Duration::from_secs(90);
/// After a boundary, the last node has rotated: each does so when it next fetches a consensus.
const AFTER_BOUNDARY: Duration = Duration::from_secs(25);
/// A node that was heard from itself so lately is a neighbour in the mesh: of five, each is called every other second.
const HEARD_LATELY: Duration = Duration::from_secs(5);
/// Between two looks at the daemons.
pub(super) const POLL: Duration = Duration::from_millis(100);

/// Everything a scene plays with.
#[derive(Debug)]
pub(super) struct World {
    /// What the user sees.
    pub(super) screen: Screen,
    /// What the nodes stand on.
    pub(super) ground: Ground,
    /// What the nodes share.
    pub(super) plan: ClusterPlan,
    /// The nodes, in the order of their priority.
    pub(super) nodes: Vec<Node>,
    /// How many machines there have been.
    pub(super) machines: u8,
    /// The clients.
    pub(super) clients: Vec<ClientTor>,
    /// Reads descriptors back.
    pub(super) observer: Observer,
    /// What the nodes carry to.
    pub(super) target: Target,
    /// Serves the target's address.
    pub(super) target_tor: Supervised,
}

impl World {
    /// The address that clients fetch.
    pub(super) fn address(&self) -> String {
        self.plan.address.to_string()
    }

    /// Writes what is being done to a node into the journal.
    pub(super) fn note(&self, what: &str, node: usize) {
        if let Some(node) = self.nodes.get(node) {
            self.screen.note(&format!("{}: {what}", node.machine.name));
        }
    }

    /// The introduction points of a node's tor, from that tor itself; empty when it is away.
    pub(super) async fn points(&self, node: usize) -> AuthKeys {
        let Some(node) = self.nodes.get(node) else { return AuthKeys::new() };
        let asked = async {
            let (controller, _) = control::connect(&node.tor_a_control(), ANSWER_LIMIT).await?;
            Ok::<_, LabError>(control::serving_points(&controller, &self.plan.address).await)
        };
        timeout(ANSWER_LIMIT, asked).await.ok().and_then(Result::ok).unwrap_or_default()
    }

    /// At which relays a node has its introduction points, by their auth keys: as its publisher has read.
    pub(super) async fn introducers(&self, node: usize) -> BTreeMap<[u8; 32], [u8; 20]> {
        let report = self.publisher(&self.nodes[node]).await;
        let points = report.into_iter().flat_map(|report| report.points);
        points.filter_map(|point| Some((point.auth_key, point.relay_id()?))).collect()
    }

    /// Begins to watch how the nodes' serving tors rotate.
    pub(super) fn watch_rotations(&self) -> Rotations {
        Rotations::watch(self.nodes.iter().map(Node::tor_a_control).collect(), &self.plan.address)
    }

    /// As [`Self::points`], but a node without any is an error: nothing could be seen to go.
    pub(super) async fn known_points(&self, node: usize) -> Result<AuthKeys, LabError> {
        let points = self.points(node).await;
        if points.is_empty() { Err(LabError::NoPoints) } else { Ok(points) }
    }

    /// A new machine, with the next name.
    pub(super) async fn new_machine(&mut self) -> Result<Machine, LabError> {
        self.machines += 1;
        let name = Name::of(self.machines).ok_or(LabError::NoName)?;
        self.screen.note(&format!("{name}: a new machine"));
        Machine::open(&self.ground, name).await
    }

    /// Starts a node on a machine that has its configuration; its place among the nodes.
    pub(super) fn start_node(&mut self, machine: Machine) -> Result<usize, LabError> {
        self.screen.note(&format!("{}: everything started", machine.name));
        self.nodes.push(Node::start(&self.ground, machine)?);
        Ok(self.nodes.len() - 1)
    }

    /// Ends a node for good. The places of those after it change.
    pub(super) async fn remove(&mut self, node: usize) {
        self.note("everything killed, for good", node);
        self.nodes.remove(node).kill().await;
    }

    /// Runs the operator's tool on a node; what it answers.
    pub(super) async fn operate(&self, node: usize, words: &[&str]) -> Result<String, LabError> {
        let machine = &self.nodes[node].machine;
        let configuration = machine.files.configuration().display().to_string();
        self.note(&format!("rustbalance {}", words.join(" ")), node);
        machine.operate(&self.ground, &[words, &["--config", &configuration]].concat(), b"").await
    }

    /// What a node's coordinator says; None when it does not answer.
    pub(super) async fn coordinator(&self, node: usize) -> Option<CoordinatorStatus> {
        let path = self.nodes[node].control_socket(Daemon::Coordinator);
        let asked = async { CoordinatorClient::connect(&path).await?.status().await };
        timeout(ANSWER_LIMIT, asked).await.ok()?.ok()
    }

    /// Whether every node sees every other one serve, and hears from it without anybody between.
    pub(super) async fn is_full_mesh(&self) -> bool {
        let present = self.present();
        let names: BTreeSet<_> = present.iter().map(|node| &self.nodes[*node].machine.name.id).collect();
        for node in &present {
            let Some(status) = self.coordinator(*node).await else { return false };
            let well = |seen: &&NodeStatus| {
                let heard = seen.node == status.cluster.node
                    || seen.heard_ms_ago.is_some_and(|ago| u128::from(ago) < HEARD_LATELY.as_millis());
                heard && seen.lifecycle == Lifecycle::Healthy
            };
            let seen: BTreeSet<_> = status.cluster.nodes.iter().filter(well).map(|seen| &seen.node).collect();
            if !names.is_subset(&seen) {
                return false;
            }
        }
        true
    }

    /// What a node's publisher says; None when it does not answer.
    async fn publisher(&self, node: &Node) -> Option<PublisherReport> {
        let path = node.control_socket(Daemon::Publisher);
        let asked = async { PublisherClient::connect(&path).await?.status().await };
        timeout(ANSWER_LIMIT, asked).await.ok()?.ok()
    }

    /// What a node's proxy says; None when it does not answer.
    pub(super) async fn proxy(&self, node: usize) -> Option<ProxyStatus> {
        let path = self.nodes[node].control_socket(Daemon::Proxy);
        let asked = async { ProxyClient::connect(&path).await?.status().await };
        timeout(ANSWER_LIMIT, asked).await.ok()?.ok()
    }

    /// Whether a node's watchdog raises an alarm for that failure; None when it does not answer.
    pub(super) async fn alarms(&self, node: usize, failure: &str) -> Option<bool> {
        let path = self.nodes[node].control_socket(Daemon::Watchdog);
        let asked = async { WatchdogClient::connect(&path).await?.status().await };
        let report = timeout(ANSWER_LIMIT, asked).await.ok()?.ok()?;
        let raised = |it: &Complaint| it.failure == failure && it.stage == Stage::Alarm;
        Some(report.complaints.iter().any(raised))
    }

    /// How long after `since` a node's watchdog raised the alarm for that failure, or, unless `wanted`, raised none any more;
    /// None if not within `limit`.
    pub(super) async fn until_alarm(
        &self,
        node: usize,
        failure: &str,
        wanted: bool,
        since: Instant,
        limit: Duration,
    ) -> Option<Duration> {
        while since.elapsed() < limit {
            if self.alarms(node, failure).await == Some(wanted) {
                return Some(since.elapsed());
            }
            sleep(POLL).await;
        }
        None
    }

    /// How long after `since` a node's watchdog said that a failure was over that it had never told of before; None if not
    /// within `limit`.
    pub(super) async fn until_over(
        &self,
        node: usize,
        failure: &str,
        since: Instant,
        limit: Duration,
    ) -> Option<Duration> {
        let path = self.nodes[node].control_socket(Daemon::Watchdog);
        let is_it = |deed: &Deed| deed.kind == DeedKind::Over && deed.failure.as_deref() == Some(failure);
        while since.elapsed() < limit {
            let asked = async { WatchdogClient::connect(&path).await?.status().await };
            let report = timeout(ANSWER_LIMIT, asked).await.ok().and_then(Result::ok);
            if report.is_some_and(|report| report.past.iter().any(is_it)) {
                return Some(since.elapsed());
            }
            sleep(POLL).await;
        }
        None
    }

    /// The nodes that are not away.
    pub(super) fn present(&self) -> Vec<usize> {
        (0..).zip(&self.nodes).filter(|(_, node)| !node.away).map(|(node, _)| node).collect()
    }

    /// Kills a node; from now on all can be well without it.
    pub(super) async fn send_away(&mut self, node: usize) {
        self.note("everything killed, for a while", node);
        self.nodes[node].away = true;
        self.nodes[node].kill().await;
    }

    /// Starts a node that was sent away.
    pub(super) async fn call_back(&mut self, node: usize) {
        self.note("everything started", node);
        self.nodes[node].away = false;
        self.nodes[node].revive().await;
    }

    /// Starts every node that was sent away.
    pub(super) async fn call_all_back(&mut self) {
        for node in 0..self.nodes.len() {
            if self.nodes[node].away {
                self.call_back(node).await;
            }
        }
    }

    /// Which nodes publish: the lease holder, as its publisher carries it out.
    pub(super) async fn publishing(&self) -> Vec<usize> {
        let present = self.present();
        let asked = present.iter().map(|node| self.publisher(&self.nodes[*node]));
        let reports = futures_util::future::join_all(asked).await;
        let duty = |report: &Option<PublisherReport>| {
            report.as_ref().is_some_and(|report| matches!(report.duty, Duty::Publishing { .. }))
        };
        present.into_iter().zip(&reports).filter(|(_, report)| duty(report)).map(|(node, _)| node).collect()
    }

    /// The last node that does not publish.
    pub(super) async fn standby(&self) -> usize {
        let publishing = self.publishing().await;
        self.present().into_iter().rev().find(|node| !publishing.contains(node)).unwrap_or(0)
    }

    /// Has clients' tors forget what they have learnt of introduction points. One whose guard has died or hung takes all of
    /// them for dead, for two minutes, which tells nothing of what happens next.
    pub(super) async fn let_clients_forget(&self) -> Result<(), LabError> {
        for client in &self.clients {
            client.forget().await?;
        }
        Ok(())
    }

    /// How many connections each node's proxy has accepted, in the order of [`Self::nodes`].
    pub(super) async fn accepted(&self) -> Result<Vec<u64>, LabError> {
        let mut accepted = Vec::new();
        for node in &self.nodes {
            let mut proxy = ProxyClient::connect(&node.control_socket(Daemon::Proxy)).await?;
            accepted.push(proxy.status().await?.accepted);
        }
        Ok(accepted)
    }

    /// Reads back until every responsible HSDir holds what `wanted` asks for. How long after `since` that was
    /// seen; None if not within `limit`.
    pub(super) async fn until_held(
        &mut self,
        since: Instant,
        limit: Duration,
        wanted: impl Fn(&AuthKeys) -> bool,
    ) -> Result<Option<Duration>, LabError> {
        let copies = self.observer.read_until(since + limit, |held| wanted(&held.points)).await?;
        let took = everywhere(&copies, wanted).then(|| since.elapsed());
        self.screen.note(if took.is_some() { "everywhere as wanted" } else { "not everywhere as wanted" });
        Ok(took)
    }

    /// Waits until a node's introduction points are on every responsible HSDir; None if not within `limit`.
    pub(super) async fn until_back(&mut self, node: usize, limit: Duration) -> Result<Option<()>, LabError> {
        let began = Instant::now();
        while began.elapsed() < limit {
            let points = self.points(node).await;
            let copies = self.observer.read().await?;
            if everywhere(&copies, |held| !points.is_disjoint(held)) {
                return Ok(Some(()));
            }
            sleep(POLL).await;
        }
        Ok(None)
    }

    /// Waits until all is well: every daemon ready, one node publishes, every node's points are on every
    /// responsible HSDir and no others. Nodes that are away do not count.
    pub(super) async fn settle(&mut self) -> Result<(), LabError> {
        self.screen.doing("waiting until all is well");
        let began = Instant::now();
        let present = self.present();
        for node in &present {
            self.nodes[*node].ready(SETTLE_LIMIT).await?;
        }
        loop {
            let mut all = Vec::new();
            for node in &present {
                all.push(self.points(*node).await);
            }
            let union: AuthKeys = all.iter().flatten().copied().collect();
            let copies = self.observer.read().await?;
            let good = |held: &AuthKeys| {
                held.is_subset(&union) && all.iter().all(|points| !points.is_disjoint(held))
            };
            if everywhere(&copies, good) && self.publishing().await.len() == 1 {
                return Ok(());
            }
            if began.elapsed() > SETTLE_LIMIT {
                let what = format!("all being well again ({})", self.describe(&all, &copies).await);
                return Err(LabError::TimedOut { what, limit: SETTLE_LIMIT });
            }
            sleep(POLL).await;
        }
    }

    /// What of each node's introduction points is where, for a person who wonders why all is not well.
    async fn describe(&self, all: &[AuthKeys], copies: &Copies) -> String {
        let mut text: Vec<_> = copies
            .iter()
            .map(|(hsdir, held)| {
                let of = |points: &AuthKeys| match held {
                    Some(held) => held.points.intersection(points).count().to_string(),
                    None => "-".to_owned(),
                };
                let total = held.as_ref().map_or(0, |held| held.points.len());
                let counts: Vec<_> = all.iter().map(of).collect();
                format!("{} has {} of {total} points", &hsdir.fingerprint()[..4], counts.join("+"))
            })
            .collect();
        let counts: Vec<_> = all.iter().map(|points| points.len().to_string()).collect();
        text.push(format!("the nodes have {}", counts.join("+")));
        text.push(format!("nodes that publish: {:?}", self.publishing().await));
        text.join("; ")
    }

    /// Waits, if necessary, for a stretch of that length in which neither time period nor shared random value
    /// change, so that what is measured has one cause.
    pub(super) async fn quiet(&mut self, length: Duration) -> Result<(), LabError> {
        let until = self.observer.until_boundary().await?;
        let half = self.observer.half_period().await?;
        if until > half.saturating_sub(AFTER_BOUNDARY) {
            self.screen.doing("waiting until the last change of the time period is over");
            sleep(until.saturating_sub(half.saturating_sub(AFTER_BOUNDARY))).await;
        } else if until < length {
            self.screen.doing("waiting until the next change of the time period is over");
            sleep(until + AFTER_BOUNDARY).await;
        }
        Ok(())
    }
}

/// Whether every copy is there and as wanted.
fn everywhere(copies: &Copies, wanted: impl Fn(&AuthKeys) -> bool) -> bool {
    !copies.is_empty() && copies.values().all(|held| held.as_ref().is_some_and(|held| wanted(&held.points)))
}
