//! A world of real cores in virtual time. Everything that happens follows from a seed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rustbalance::proto::cluster::core::{Cluster, ClusterConfig};
use rustbalance::proto::cluster::events::{Action, Event, PublishOrder, StateChange};
use rustbalance::proto::cluster::roster::Peer;
use rustbalance::proto::cluster::timing::Timing;
use rustbalance::proto::node::{NodeId, Priority};
use rustbalance::proto::onion::descriptor::intro_point::IntroPoint;

use crate::network::Network;

/// What a frozen process finds in its socket when it wakes: the kernel keeps about so many small datagrams.
const SOCKET_QUEUE: usize = 256;
/// The log keeps so many lines: the end of the story is what explains a failure.
const LOG_LINES: usize = 400;
/// Unix time at which worlds begin, in milliseconds.
const EPOCH_MS: u64 = 1_800_000_000_000;

/// Something that will happen.
enum Happening {
    Arrival { from: usize, to: usize, bytes: Vec<u8> },
    Timer { node: usize, life: u64 },
}

/// One node: its core, while it runs, and what surrounds it.
pub struct Node {
    pub id: NodeId,
    pub priority: Priority,
    pub core: Option<Cluster>,
    pub frozen_since: Option<Duration>,
    pub draining: bool,
    /// What its tor serves at; kept over a crash of the coordinator, gone with the whole node.
    pub points: Vec<IntroPoint>,
    /// What its publisher was last told.
    pub order: Option<PublishOrder>,
    /// Whom its WireGuard lets in.
    pub wireguard: BTreeSet<NodeId>,
    pub sent: u64,
    /// How far its wall clock is ahead, in milliseconds.
    pub clock_ahead_ms: i64,
    /// For how long its machine has been suspended: its monotonic clock stood still meanwhile.
    suspended_for: Duration,
    /// Counts starts and wake-ups, so that a dead life's timer does not disturb a later one.
    life: u64,
    timer_at: Option<Duration>,
    socket: VecDeque<(usize, Vec<u8>)>,
    peers: Vec<usize>,
}

impl Node {
    /// Whether it runs: neither dead nor frozen.
    pub fn is_up(&self) -> bool {
        self.core.is_some() && self.frozen_since.is_none()
    }

    /// Whether clients should find its points in the descriptor.
    pub fn serves(&self) -> bool {
        self.is_up() && !self.draining && !self.points.is_empty()
    }
}

/// The world.
pub struct World {
    pub seed: u64,
    pub now: Duration,
    pub nodes: Vec<Node>,
    pub network: Network,
    pub rng: StdRng,
    pub timing: Timing,
    /// How often anybody declared anybody dead.
    pub verdicts: u64,
    /// Of a thousand datagrams, so many arrive with a byte changed: more than sealing lets through.
    pub tamper_per_mille: u32,
    start: Instant,
    queue: BTreeMap<(Duration, u64), Happening>,
    serial: u64,
    log: VecDeque<String>,
}

impl World {
    /// `nodes` nodes that are not running yet. Everyone knows everyone, unless [`World::introduce`] says otherwise.
    pub fn new(seed: u64, nodes: usize, network: Network, timing: Timing) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut all: Vec<Node> = (0..nodes)
            .map(|number| Node {
                id: format!("n{number}").parse().unwrap(),
                priority: Priority(rng.random_range(1..=3) * 10),
                core: None,
                frozen_since: None,
                draining: false,
                points: Vec::new(),
                order: None,
                wireguard: BTreeSet::new(),
                sent: 0,
                clock_ahead_ms: 0,
                suspended_for: Duration::ZERO,
                life: 0,
                timer_at: None,
                socket: VecDeque::new(),
                peers: (0..nodes).filter(|other| *other != number).collect(),
            })
            .collect();
        for (number, node) in all.iter_mut().enumerate() {
            node.points = fresh_points(&mut rng, number);
        }
        Self {
            seed,
            now: Duration::ZERO,
            nodes: all,
            network,
            rng,
            timing,
            verdicts: 0,
            tamper_per_mille: 0,
            start: Instant::now(),
            queue: BTreeMap::new(),
            serial: 0,
            log: VecDeque::new(),
        }
    }

    /// Says whom a node finds in its configuration.
    pub fn introduce(&mut self, node: usize, peers: Vec<usize>) {
        self.nodes[node].peers = peers;
    }

    /// The number of a node.
    pub fn number(&self, id: &NodeId) -> usize {
        self.find(id).unwrap()
    }

    fn find(&self, id: &NodeId) -> Option<usize> {
        self.nodes.iter().position(|node| node.id == *id)
    }

    /// Starts a node, without memory of an earlier life.
    pub fn start(&mut self, node: usize) {
        self.note(&format!("{node} starts"));
        let config =
            ClusterConfig { own: self.peer(node), priority: self.nodes[node].priority, timing: self.timing };
        let seed = self.rng.random();
        let core = Cluster::new(config, seed, self.instant(node), self.unix_ms(node));
        let this = &mut self.nodes[node];
        this.core = Some(core);
        this.life += 1;
        this.frozen_since = None;
        this.order = None;
        this.wireguard.clear();
        this.socket.clear();
        for peer in this.peers.clone() {
            self.happen(node, Event::PeerConfigured(self.peer(peer)));
        }
        self.happen(node, Event::Start);
        self.happen(node, Event::PublisherFound);
        self.report_points(node);
        let draining = self.nodes[node].draining;
        self.happen(node, Event::Drain(draining));
    }

    /// The node is gone from one moment to the next.
    pub fn crash(&mut self, node: usize) {
        self.note(&format!("{node} crashes"));
        let this = &mut self.nodes[node];
        this.core = None;
        this.order = None;
        this.socket.clear();
        this.life += 1;
    }

    /// The node ends in order.
    pub fn shut_down(&mut self, node: usize) {
        self.note(&format!("{node} shuts down"));
        self.happen(node, Event::Shutdown);
        self.nodes[node].core = None;
        self.nodes[node].order = None;
        self.nodes[node].life += 1;
    }

    /// The node stops running without noticing.
    pub fn freeze(&mut self, node: usize) {
        self.note(&format!("{node} freezes"));
        self.nodes[node].frozen_since = Some(self.now);
        self.nodes[node].life += 1;
    }

    /// The node runs again: first what waits in its socket, then its timer.
    pub fn thaw(&mut self, node: usize) {
        self.note(&format!("{node} thaws"));
        self.nodes[node].frozen_since = None;
        self.nodes[node].timer_at = None;
        for (from, bytes) in std::mem::take(&mut self.nodes[node].socket) {
            let from = self.nodes[from].id.clone();
            self.happen(node, Event::Datagram { from: &from, bytes: &bytes });
        }
        self.happen(node, Event::Timer);
    }

    /// The node's machine was suspended since it froze, and resumes.
    pub fn resume(&mut self, node: usize) {
        let since = self.nodes[node].frozen_since.unwrap_or(self.now);
        self.nodes[node].suspended_for += self.now.saturating_sub(since);
        self.thaw(node);
    }

    /// The node's tor serves at other points now, or at none.
    pub fn change_points(&mut self, node: usize, none: bool) {
        self.note(&format!("{node} has {} points", if none { "no" } else { "other" }));
        self.nodes[node].points = if none { Vec::new() } else { fresh_points(&mut self.rng, node) };
        if self.nodes[node].is_up() {
            self.report_points(node);
        }
    }

    /// The operator drains the node or takes that back.
    pub fn drain(&mut self, node: usize, draining: bool) {
        self.note(&format!("{node} draining: {draining}"));
        self.nodes[node].draining = draining;
        if self.nodes[node].is_up() {
            self.happen(node, Event::Drain(draining));
        }
    }

    fn report_points(&mut self, node: usize) {
        let points = self.nodes[node].points.clone();
        self.happen(node, Event::OwnPoints(points));
    }

    /// Lets an event happen to a node and does what its core wants.
    pub fn happen(&mut self, node: usize, event: Event<'_>) {
        let (instant, unix_ms) = (self.instant(node), self.unix_ms(node));
        let Some(core) = self.nodes[node].core.as_mut() else { return };
        let actions = core.handle(instant, unix_ms, event);
        for action in actions {
            self.perform(node, action);
        }
        let due = self.nodes[node].core.as_ref().and_then(Cluster::next_timeout);
        let lag = self.nodes[node].suspended_for;
        let due = due.map(|due| (due.saturating_duration_since(self.start) + lag).max(self.now));
        if due != self.nodes[node].timer_at {
            self.nodes[node].timer_at = due;
            let life = self.nodes[node].life;
            if let Some(at) = due {
                self.schedule(at, Happening::Timer { node, life });
            }
        }
    }

    fn perform(&mut self, node: usize, action: Action) {
        match action {
            Action::Send { to, bytes } => self.send(node, &to, &bytes),
            Action::SetPeer(peer) => _ = self.nodes[node].wireguard.insert(peer.node),
            Action::RemovePeer(peer) => _ = self.nodes[node].wireguard.remove(&peer.node),
            Action::Order(order) => {
                let names = order.as_ref().map(|order| {
                    let names: Vec<_> = order.candidates.iter().map(|(node, _)| node.as_str()).collect();
                    format!("{} of epoch {}", names.join(" "), order.epoch)
                });
                self.note(&format!("{node} orders {}", names.unwrap_or_else(|| "nothing".to_owned())));
                self.nodes[node].order = order;
            }
            Action::StateChanged(change @ StateChange::RecordRefused { .. })
                if self.tamper_per_mille == 0 =>
            {
                panic!("{}", self.story(&format!("node {node}: {change}")));
            }
            Action::StateChanged(change @ StateChange::NodeDown(_)) => {
                self.verdicts += 1;
                self.note(&format!("{node}: {change}"));
            }
            Action::StateChanged(change) => self.note(&format!("{node}: {change}")),
        }
    }

    fn send(&mut self, from: usize, to: &NodeId, bytes: &[u8]) {
        self.nodes[from].sent += 1;
        // Only a tampered datagram makes anybody believe in a node that is not.
        let Some(to_number) = self.find(to) else { return };
        let tunnel = self.nodes[from].wireguard.contains(to)
            && self.nodes[to_number].wireguard.contains(&self.nodes[from].id);
        for delay in self.network.deliver(&mut self.rng, from, to_number) {
            if tunnel {
                let arrival = Happening::Arrival { from, to: to_number, bytes: bytes.to_vec() };
                self.schedule(self.now + delay, arrival);
            }
        }
    }

    fn schedule(&mut self, at: Duration, happening: Happening) {
        self.serial += 1;
        self.queue.insert((at, self.serial), happening);
    }

    /// Lets the world run until then.
    pub fn run_until(&mut self, until: Duration) {
        while let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= until) {
            let ((at, _), happening) = entry.remove_entry();
            self.now = at;
            match happening {
                Happening::Arrival { from, to, bytes } => self.arrive(from, to, bytes),
                Happening::Timer { node, life } => {
                    let this = &mut self.nodes[node];
                    if this.life == life && this.timer_at == Some(at) {
                        this.timer_at = None;
                        self.happen(node, Event::Timer);
                    }
                }
            }
        }
        self.now = until;
    }

    fn arrive(&mut self, from: usize, to: usize, bytes: Vec<u8>) {
        if self.nodes[to].frozen_since.is_some() {
            if self.nodes[to].socket.len() < SOCKET_QUEUE {
                self.nodes[to].socket.push_back((from, bytes));
            }
            return;
        }
        let sender = self.nodes[from].id.clone();
        let mut bytes = bytes;
        if self.tamper_per_mille > 0 && self.rng.random_range(0..1000) < self.tamper_per_mille {
            let at = self.rng.random_range(0..bytes.len());
            bytes[at] ^= self.rng.random_range(1..=255);
        }
        self.happen(to, Event::Datagram { from: &sender, bytes: &bytes });
    }

    fn peer(&self, node: usize) -> Peer {
        let number = u8::try_from(node).unwrap();
        Peer {
            node: self.nodes[node].id.clone(),
            wireguard_key: [number + 1; 32],
            endpoint: None,
            tunnel_address: IpAddr::from([10, 9, 9, number + 1]),
        }
    }

    /// What the node's monotonic clock says.
    pub fn instant(&self, node: usize) -> Instant {
        self.start + self.now.saturating_sub(self.nodes[node].suspended_for)
    }

    fn unix_ms(&self, node: usize) -> u64 {
        let true_ms = EPOCH_MS + u64::try_from(self.now.as_millis()).unwrap();
        true_ms.saturating_add_signed(self.nodes[node].clock_ahead_ms)
    }

    /// Writes a line into the log.
    pub fn note(&mut self, line: &str) {
        if self.log.len() == LOG_LINES {
            self.log.pop_front();
        }
        self.log.push_back(format!("{:9.3} {line}", self.now.as_secs_f64()));
    }

    /// What is printed when a law is broken.
    pub fn story(&self, broken: &str) -> String {
        let log: Vec<&str> = self.log.iter().map(String::as_str).collect();
        format!("\n{}\n\nseed {} at {:.3} s: {broken}\n", log.join("\n"), self.seed, self.now.as_secs_f64())
    }
}

fn fresh_points(rng: &mut StdRng, node: usize) -> Vec<IntroPoint> {
    let count = rng.random_range(1..=10);
    (0..count)
        .map(|_| {
            let mut link_specifiers = vec![2, 2, 20];
            link_specifiers.extend(rng.random::<[u8; 20]>());
            link_specifiers.extend([3, 32]);
            link_specifiers.extend([u8::try_from(node).unwrap(); 32]);
            IntroPoint {
                link_specifiers,
                onion_key: rng.random(),
                auth_key: rng.random(),
                enc_key: rng.random(),
            }
        })
        .collect()
}
