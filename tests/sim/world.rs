//! A world of real cores in virtual time. Everything that happens follows from a seed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rustbalance::proto::cluster::core::{Cluster, ClusterConfig};
use rustbalance::proto::cluster::events::{Action, Event, PublishOrder, StateChange, Verdict};
use rustbalance::proto::cluster::memory::Memory;
use rustbalance::proto::cluster::note::{Admission, Drain, Note, Rotation};
use rustbalance::proto::cluster::roster::{Peer, RosterError};
use rustbalance::proto::cluster::status::ClusterStatus;
use rustbalance::proto::cluster::timing::{DEFAULT_TOKEN_OVERLAP, Timing};
use rustbalance::proto::cluster::token::TokenName;
use rustbalance::proto::node::{NodeId, Priority};
use rustbalance::proto::onion::descriptor::intro_point::IntroPoint;

use crate::network::Network;
use crate::queue::Queue;

/// What a frozen process finds in its socket when it wakes: the kernel keeps about so many small datagrams.
const SOCKET_QUEUE: usize = 256;
/// The log keeps so many lines: the end of the story is what explains a failure.
const LOG_LINES: usize = 400;
/// Unix time at which worlds begin, in milliseconds.
const EPOCH_MS: u64 = 1_800_000_000_000;
/// The token in everybody's configuration.
pub const FIRST_TOKEN: TokenName = TokenName { seq: 0, tag: [0; 4] };
/// How long a drained node's connections may last, in seconds.
const DRAIN_DEADLINE_SECS: u32 = 60;

/// Something that will happen.
enum Happening {
    Arrival {
        from: usize,
        to: usize,
        datagram: Datagram,
    },
    Timer {
        node: usize,
        life: u64,
    },
    /// The node's publisher has published these nodes' points.
    Published {
        node: usize,
        life: u64,
        nodes: Vec<NodeId>,
    },
}

/// A sealed datagram.
#[derive(Clone)]
struct Datagram {
    bytes: Vec<u8>,
    under: TokenName,
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
    /// Whether its introduction circuits are closed.
    pub muted: bool,
    /// How often it was told to cut what its proxy still carries.
    pub cuts: u32,
    /// Whether it does not belong to the cluster any more.
    pub left: bool,
    /// Which tokens it can open.
    pub tokens: BTreeSet<TokenName>,
    /// What it keeps over a restart.
    pub memory: Memory,
    /// What it answered to requests to be let in.
    pub answers: BTreeMap<usize, Verdict>,
    /// Whom its WireGuard lets in, and under which key.
    pub wireguard: BTreeMap<NodeId, [u8; 32]>,
    pub wireguard_key: [u8; 32],
    pub sent: u64,
    /// How far its wall clock is ahead, in milliseconds.
    pub clock_ahead_ms: i64,
    /// For how long its machine has been suspended: its monotonic clock stood still meanwhile.
    suspended_for: Duration,
    /// Counts starts and wake-ups, so that a dead life's timer does not disturb a later one.
    life: u64,
    /// When its timer is due, and when the queue will say so at the latest: most events put the timer off, and that
    /// need not be said each time.
    timer_at: Option<Duration>,
    timer_queued: Option<Duration>,
    socket: VecDeque<(usize, Datagram)>,
    peers: Vec<usize>,
}

impl Node {
    /// Whether it runs: neither dead nor frozen.
    pub fn is_up(&self) -> bool {
        self.core.is_some() && self.frozen_since.is_none()
    }

    /// Timers of an earlier life do not count.
    fn begin_life(&mut self) {
        self.life += 1;
        self.timer_at = None;
        self.timer_queued = None;
    }

    /// What its publisher reports.
    pub fn shown_points(&self) -> &[IntroPoint] {
        if self.muted { &[] } else { &self.points }
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
    /// How long a token that was replaced is good for everything.
    pub overlap: Duration,
    /// How long a publisher takes from an order until all HSDirs have accepted the descriptor.
    pub publishing: Duration,
    /// Whether the next token that is made cannot be opened.
    pub forge_next: bool,
    /// How many datagrams could not be opened for want of their token.
    pub unopened: u64,
    /// The new tokens that anybody has made; only these can be opened.
    pub rotations: BTreeMap<TokenName, Vec<u8>>,
    /// Of a thousand datagrams, so many arrive with a byte changed: more than sealing lets through.
    pub tamper_per_mille: u32,
    start: Instant,
    queue: Queue<Happening>,
    numbers: BTreeMap<NodeId, usize>,
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
                muted: false,
                cuts: 0,
                left: false,
                tokens: BTreeSet::from([FIRST_TOKEN]),
                memory: Memory::default(),
                answers: BTreeMap::new(),
                wireguard: BTreeMap::new(),
                wireguard_key: [u8::try_from(number + 1).unwrap(); 32],
                sent: 0,
                clock_ahead_ms: 0,
                suspended_for: Duration::ZERO,
                life: 0,
                timer_at: None,
                timer_queued: None,
                socket: VecDeque::new(),
                peers: (0..nodes).filter(|other| *other != number).collect(),
            })
            .collect();
        for (number, node) in all.iter_mut().enumerate() {
            node.points = fresh_points(&mut rng, number);
        }
        let numbers = all.iter().zip(0..).map(|(node, number)| (node.id.clone(), number)).collect();
        Self {
            seed,
            now: Duration::ZERO,
            nodes: all,
            network,
            rng,
            timing,
            verdicts: 0,
            overlap: DEFAULT_TOKEN_OVERLAP,
            publishing: Duration::from_millis(300),
            forge_next: false,
            unopened: 0,
            rotations: BTreeMap::new(),
            tamper_per_mille: 0,
            start: Instant::now(),
            queue: Queue::new(),
            numbers,
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
        self.numbers.get(id).copied()
    }

    /// Starts a node, dead or alive, with what it kept of an earlier life.
    pub fn start(&mut self, node: usize) {
        self.note(&format!("{node} starts"));
        let this = &mut self.nodes[node];
        // The shell opens what it kept when the core asks for it.
        this.tokens = BTreeSet::from([FIRST_TOKEN]);
        let memory = this.memory.clone();
        let config = ClusterConfig {
            own: self.peer(node),
            priority: self.nodes[node].priority,
            timing: self.timing,
            token: FIRST_TOKEN,
            overlap: self.overlap,
            memory,
        };
        let seed = self.rng.random();
        let core = Cluster::new(config, seed, self.instant(node), self.unix_ms(node));
        let this = &mut self.nodes[node];
        this.core = Some(core);
        this.begin_life();
        this.frozen_since = None;
        this.order = None;
        this.muted = false;
        this.left = false;
        this.wireguard.clear();
        this.socket.clear();
        for peer in this.peers.clone() {
            self.happen(node, Event::PeerConfigured(self.peer(peer)));
        }
        self.happen(node, Event::Start);
        self.happen(node, Event::PublisherFound);
        self.report_points(node);
        if self.nodes[node].draining {
            self.drain(node, true);
        }
    }

    /// The node has lost what it kept.
    pub fn forget(&mut self, node: usize) {
        self.note(&format!("{node} loses its memory"));
        self.nodes[node].memory = Memory::default();
    }

    /// The node is gone from one moment to the next.
    pub fn crash(&mut self, node: usize) {
        self.note(&format!("{node} crashes"));
        let this = &mut self.nodes[node];
        this.core = None;
        this.order = None;
        this.socket.clear();
        this.begin_life();
    }

    /// The node ends in order.
    pub fn shut_down(&mut self, node: usize) {
        self.note(&format!("{node} shuts down"));
        self.happen(node, Event::Shutdown);
        self.nodes[node].core = None;
        self.nodes[node].order = None;
        self.nodes[node].begin_life();
    }

    /// The node leaves the cluster for good.
    pub fn leave(&mut self, node: usize) {
        self.note(&format!("{node} leaves"));
        self.happen(node, Event::Leave);
    }

    /// The node stops running without noticing.
    pub fn freeze(&mut self, node: usize) {
        self.note(&format!("{node} freezes"));
        self.nodes[node].frozen_since = Some(self.now);
        self.nodes[node].begin_life();
    }

    /// The node runs again: first what waits in its socket, then its timer.
    pub fn thaw(&mut self, node: usize) {
        self.note(&format!("{node} thaws"));
        self.nodes[node].frozen_since = None;
        for (from, datagram) in std::mem::take(&mut self.nodes[node].socket) {
            let from = self.nodes[from].id.clone();
            self.open(node, &from, &datagram);
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
            let drain = self.wish(node, draining, node);
            self.happen(node, Event::Drain(drain));
        }
    }

    /// The operator's wish about a node, said on another one.
    pub fn wish(&self, node: usize, draining: bool, by: usize) -> Drain {
        Drain {
            node: self.nodes[node].id.clone(),
            draining,
            at_ms: self.unix_ms(by),
            by: self.nodes[by].id.clone(),
            deadline_secs: DRAIN_DEADLINE_SECS,
            after: None,
        }
    }

    /// A node makes a new token; its name.
    pub fn rotate(&mut self, node: usize) -> TokenName {
        let previous = self.nodes[node].tokens.last().copied().unwrap();
        let token = TokenName { seq: previous.seq + 1, tag: self.rng.random() };
        let sealed = self.rng.random::<[u8; 32]>().to_vec();
        if !std::mem::take(&mut self.forge_next) {
            self.rotations.insert(token, sealed.clone());
        }
        self.note(&format!("{node} makes token {token}"));
        let rotation = Rotation { token, previous, at_ms: self.unix_ms(node), sealed };
        self.happen(node, Event::RotateToken { rotation });
        token
    }

    /// Somebody with this ticket asks `via` to be let in as `node`.
    pub fn ask(&mut self, node: usize, via: usize, ticket: u8, uses: u16) {
        let admission = self.admission(node, ticket, uses);
        self.note(&format!("{node} asks {via} to be let in"));
        self.nodes[via].answers.remove(&node);
        self.happen(via, Event::Admit { number: node as u64, admission });
    }

    /// What `via` has answered `node`.
    pub fn answer(&self, node: usize, via: usize) -> Option<&Verdict> {
        self.nodes[via].answers.get(&node)
    }

    /// The node starts with what `via` has told it, if that was a welcome.
    pub fn enter(&mut self, node: usize, via: usize) {
        let Some(Verdict::Welcome(welcome)) = self.answer(node, via).cloned() else { return };
        let peers = welcome.peers.into_iter().chain([self.peer(via)]).collect();
        let notes = welcome.rotations.into_iter().map(Note::Rotation).collect();
        self.nodes[node].memory = Memory { peers, notes };
        self.introduce(node, Vec::new());
        self.start(node);
    }

    /// What the node can tell.
    pub fn status(&self, node: usize) -> ClusterStatus {
        self.nodes[node].core.as_ref().unwrap().status(self.instant(node))
    }

    /// The note that would let `node` in with this ticket.
    pub fn admission(&self, node: usize, ticket: u8, uses: u16) -> Admission {
        let Peer { node, wireguard_key, endpoint, tunnel_address } = self.peer(node);
        let at_ms = self.unix_ms(0);
        let expires_ms = at_ms + 3_600_000;
        let ticket = [ticket; 16];
        Admission { ticket, uses, node, wireguard_key, endpoint, tunnel_address, at_ms, expires_ms }
    }

    fn report_points(&mut self, node: usize) {
        let points = self.nodes[node].shown_points().to_vec();
        self.happen(node, Event::OwnPoints(points));
    }

    /// The node's publisher does what it was last told.
    fn publish(&mut self, node: usize) {
        let nodes = self.bringing(node);
        let life = self.nodes[node].life;
        self.queue.push(self.now + self.publishing, Happening::Published { node, life, nodes });
    }

    /// Lets an event happen to a node and does what its core wants.
    pub fn happen(&mut self, node: usize, event: Event<'_>) {
        let (instant, unix_ms) = (self.instant(node), self.unix_ms(node));
        let Some(core) = self.nodes[node].core.as_mut() else { return };
        let mut actions = core.handle(instant, unix_ms, event);
        // What an action brings about happens after all of them are done: they were decided without it.
        while !actions.is_empty() {
            let events: Vec<_> =
                actions.into_iter().filter_map(|action| self.perform(node, action)).collect();
            actions = Vec::new();
            for event in events {
                let Some(core) = self.nodes[node].core.as_mut() else { return };
                actions.extend(core.handle(instant, unix_ms, event));
            }
        }
        let due = self.nodes[node].core.as_ref().and_then(Cluster::next_timeout);
        let lag = self.nodes[node].suspended_for;
        let due = due.map(|due| (due.saturating_duration_since(self.start) + lag).max(self.now));
        let this = &mut self.nodes[node];
        this.timer_at = due;
        if let Some(at) = due.filter(|at| this.timer_queued.is_none_or(|queued| *at < queued)) {
            this.timer_queued = due;
            let life = this.life;
            self.queue.push(at, Happening::Timer { node, life });
        }
    }

    fn timer(&mut self, node: usize, life: u64) {
        let this = &mut self.nodes[node];
        if this.life != life || this.timer_queued != Some(self.now) {
            return;
        }
        this.timer_queued = None;
        match this.timer_at {
            Some(at) if at > self.now => {
                this.timer_queued = Some(at);
                self.queue.push(at, Happening::Timer { node, life });
            }
            Some(_) => {
                this.timer_at = None;
                self.happen(node, Event::Timer);
            }
            None => {}
        }
    }

    /// Does what a core wants; what comes of it at once.
    fn perform(&mut self, node: usize, action: Action) -> Option<Event<'static>> {
        match action {
            Action::Send { to, bytes, under } => self.send(node, &to, &Datagram { bytes, under }),
            Action::SetPeer(peer) => {
                self.nodes[node].wireguard.insert(peer.node, peer.wireguard_key);
            }
            Action::RemovePeer(peer) => {
                let wireguard = &mut self.nodes[node].wireguard;
                if wireguard.get(&peer.node) == Some(&peer.wireguard_key) {
                    wireguard.remove(&peer.node);
                }
            }
            Action::Adopt(rotation) => return Some(self.adopt(node, &rotation)),
            Action::Remember(memory) => self.nodes[node].memory = memory,
            Action::Admitted { number, verdict } => {
                self.note(&format!("{node} answers {number}: {verdict:?}"));
                self.nodes[node].answers.insert(usize::try_from(number).unwrap(), verdict);
            }
            Action::Mute(muted) => {
                self.note(&format!("{node} muted: {muted}"));
                self.nodes[node].muted = muted;
                self.publish(node);
                return Some(Event::OwnPoints(self.nodes[node].shown_points().to_vec()));
            }
            Action::Drained => self.nodes[node].cuts += 1,
            Action::Left => {
                self.note(&format!("{node} has left"));
                self.nodes[node].left = true;
                self.nodes[node].memory = Memory::default();
                self.nodes[node].core = None;
            }
            Action::Order(order) => {
                let names = order.as_ref().map(|order| {
                    let names: Vec<_> = order.candidates.iter().map(|(node, _)| node.as_str()).collect();
                    format!("{} of epoch {}", names.join(" "), order.epoch)
                });
                self.note(&format!("{node} orders {}", names.unwrap_or_else(|| "nothing".to_owned())));
                self.nodes[node].order = order;
                self.publish(node);
            }
            Action::StateChanged(change) => self.hear_change(node, &change),
        }
        None
    }

    fn hear_change(&mut self, node: usize, change: &StateChange) {
        match change {
            StateChange::RecordRefused { reason, .. }
                if *reason != RosterError::Gone && self.tamper_per_mille == 0 =>
            {
                panic!("{}", self.story(&format!("node {node}: {change}")));
            }
            StateChange::NodeDown(_) => self.verdicts += 1,
            _ => {}
        }
        self.note(&format!("{node}: {change}"));
    }

    /// Whose points the node's publisher was last told to publish.
    fn bringing(&self, node: usize) -> Vec<NodeId> {
        let this = &self.nodes[node];
        let order = this.order.iter().flat_map(|order| &order.candidates);
        let brings = |id: &NodeId, points: &[IntroPoint]| {
            !(if *id == this.id { this.shown_points() } else { points }).is_empty()
        };
        order.filter(|(id, points)| brings(id, points)).map(|(id, _)| id.clone()).take(20).collect()
    }

    /// The node's mesh opens a new token, if it is one that anybody has made and it holds the one before.
    fn adopt(&mut self, node: usize, rotation: &Rotation) -> Event<'static> {
        let genuine = self.rotations.get(&rotation.token) == Some(&rotation.sealed);
        if genuine && self.nodes[node].tokens.contains(&rotation.previous) {
            self.nodes[node].tokens.insert(rotation.token);
            Event::TokenAdopted(rotation.token)
        } else {
            Event::TokenRefused(rotation.token)
        }
    }

    fn send(&mut self, from: usize, to: &NodeId, datagram: &Datagram) {
        self.nodes[from].sent += 1;
        assert!(self.nodes[from].tokens.contains(&datagram.under), "{from} cannot seal under that");
        // Only a tampered datagram makes anybody believe in a node that is not.
        let Some(to_number) = self.find(to) else { return };
        let lets_in = |a: usize, b: usize| {
            let (a, b) = (&self.nodes[a], &self.nodes[b]);
            a.wireguard.get(&b.id) == Some(&b.wireguard_key)
        };
        let tunnel = lets_in(from, to_number) && lets_in(to_number, from);
        for delay in self.network.deliver(&mut self.rng, from, to_number).into_iter().flatten() {
            if tunnel {
                let arrival = Happening::Arrival { from, to: to_number, datagram: datagram.clone() };
                self.queue.push(self.now + delay, arrival);
            }
        }
    }

    /// Lets the world run until then.
    pub fn run_until(&mut self, until: Duration) {
        while let Some((at, happening)) = self.queue.pop_until(until) {
            self.now = at;
            match happening {
                Happening::Arrival { from, to, datagram } => self.arrive(from, to, datagram),
                Happening::Published { node, life, nodes } => {
                    if self.nodes[node].life == life {
                        self.happen(node, Event::Published(nodes));
                    }
                }
                Happening::Timer { node, life } => self.timer(node, life),
            }
        }
        self.now = until;
    }

    fn arrive(&mut self, from: usize, to: usize, mut datagram: Datagram) {
        if self.nodes[to].frozen_since.is_some() {
            if self.nodes[to].socket.len() < SOCKET_QUEUE {
                self.nodes[to].socket.push_back((from, datagram));
            }
            return;
        }
        let sender = self.nodes[from].id.clone();
        if self.tamper_per_mille > 0 && self.rng.random_range(0..1000) < self.tamper_per_mille {
            let at = self.rng.random_range(0..datagram.bytes.len());
            datagram.bytes[at] ^= self.rng.random_range(1..=255);
        }
        self.open(to, &sender, &datagram);
    }

    fn open(&mut self, node: usize, from: &NodeId, datagram: &Datagram) {
        let Datagram { bytes, under } = datagram;
        if self.nodes[node].tokens.contains(under) {
            self.happen(node, Event::Datagram { from, bytes, under: *under });
        } else {
            self.unopened += 1;
        }
    }

    /// How a node is reached.
    pub fn peer(&self, node: usize) -> Peer {
        let number = u8::try_from(node).unwrap();
        Peer {
            node: self.nodes[node].id.clone(),
            wireguard_key: self.nodes[node].wireguard_key,
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
