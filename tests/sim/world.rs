//! A world of real cores in virtual time. Everything that happens follows from a seed.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rustbalance::proto::cluster::core::Cluster;
use rustbalance::proto::cluster::events::{Action, Event, StateChange};
use rustbalance::proto::cluster::memory::Memory;
use rustbalance::proto::cluster::note::Rotation;
use rustbalance::proto::cluster::roster::{Peer, RosterError};
use rustbalance::proto::cluster::timing::{DEFAULT_TOKEN_OVERLAP, Timing};
use rustbalance::proto::cluster::token::TokenName;
use rustbalance::proto::node::NodeId;
use rustbalance::proto::publish::event;

use crate::hsdirs::HsDirs;
use crate::network::Network;
use crate::node::{Datagram, Node, SOCKET_QUEUE};
use crate::publishing::Errand;
use crate::queue::Queue;
use crate::timer::Ring;

/// The log keeps so many lines: the end of the story is what explains a failure.
const LOG_LINES: usize = 400;
/// Unix time at which worlds begin, in milliseconds.
pub const EPOCH_MS: u64 = 1_800_000_000_000;

/// Something that will happen.
pub enum Happening {
    Arrival {
        from: usize,
        to: usize,
        datagram: Datagram,
    },
    Timer {
        node: usize,
        life: u64,
    },
    /// Something a node's publisher in that life is concerned with.
    Errand {
        node: usize,
        life: u64,
        errand: Box<Errand>,
    },
}

/// The world.
pub struct World {
    pub seed: u64,
    pub now: Duration,
    pub nodes: Vec<Node>,
    pub network: Network,
    pub rng: StdRng,
    pub timing: Timing,
    /// How often anything has happened that would be written into the log.
    pub happened: u64,
    /// How often anybody declared anybody dead.
    pub verdicts: u64,
    /// How long a token that was replaced is good for everything.
    pub overlap: Duration,
    pub hsdirs: HsDirs,
    /// Whether the next token that is made cannot be opened.
    pub forge_next: bool,
    /// How many datagrams could not be opened for want of their token.
    pub unopened: u64,
    /// How often anybody has asked to be let in, and how many tokens were made.
    pub asked: usize,
    pub tokens_made: usize,
    /// How long tickets are good for, from the beginning of the world.
    pub ticket_life: Duration,
    /// Which tickets there are, and how many may come with each.
    pub uses: BTreeMap<u8, u16>,
    /// Who has asked whom to be let in, and until when they wait for an answer.
    pub applicants: Vec<(usize, usize, Duration)>,
    /// The new tokens that anybody has made; only these can be opened.
    pub rotations: BTreeMap<TokenName, Vec<u8>>,
    /// Of a thousand datagrams, so many arrive with a byte changed: more than sealing lets through.
    pub tamper_per_mille: u32,
    /// Whether any has: then there may be notes of what never was.
    pub was_tampered: bool,
    start: Instant,
    queue: Queue<Happening>,
    numbers: BTreeMap<NodeId, usize>,
    log: VecDeque<String>,
}

impl World {
    /// `nodes` nodes that are not running yet. Everyone knows everyone, unless [`World::introduce`] says otherwise.
    pub fn new(seed: u64, nodes: usize, network: Network, timing: Timing) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let all: Vec<Node> = (0..nodes).map(|number| Node::new(number, nodes, &mut rng)).collect();
        let numbers = all.iter().zip(0..).map(|(node, number)| (node.id.clone(), number)).collect();
        Self {
            seed,
            now: Duration::ZERO,
            nodes: all,
            network,
            rng,
            timing,
            happened: 0,
            verdicts: 0,
            overlap: DEFAULT_TOKEN_OVERLAP,
            hsdirs: HsDirs::new(),
            forge_next: false,
            unopened: 0,
            ticket_life: Duration::from_hours(1),
            asked: 0,
            tokens_made: 0,
            uses: BTreeMap::new(),
            applicants: Vec::new(),
            rotations: BTreeMap::new(),
            tamper_per_mille: 0,
            was_tampered: false,
            start: Instant::now(),
            queue: Queue::new(),
            numbers,
            log: VecDeque::new(),
        }
    }

    /// Says whom a node finds in its configuration.
    pub fn introduce(&mut self, node: usize, peers: Vec<usize>) {
        self.nodes[node].known = peers.iter().copied().collect();
        self.nodes[node].peers = peers;
    }

    /// The number of a node.
    pub fn number(&self, id: &NodeId) -> usize {
        self.find(id).unwrap()
    }

    fn find(&self, id: &NodeId) -> Option<usize> {
        self.numbers.get(id).copied()
    }

    /// Plans something.
    pub fn plan(&mut self, after: Duration, happening: Happening) {
        self.queue.push(self.now + after, happening);
    }

    /// Lets an event happen to a node and does what its core wants.
    pub fn happen(&mut self, node: usize, event: Event<'_>) {
        let (instant, unix_ms) = (self.instant(node), self.unix_ms(node));
        let Some(core) = self.nodes[node].core.as_mut() else { return };
        let mut actions = core.handle(instant, unix_ms, event);
        // What an action brings about happens after all of them are done: they were decided without it.
        while !actions.is_empty() {
            let mut events = Vec::new();
            for action in actions.drain(..) {
                events.extend(self.perform(node, action));
            }
            for event in events {
                let Some(core) = self.nodes[node].core.as_mut() else { return };
                actions.extend(core.handle(instant, unix_ms, event));
            }
        }
        let due = self.nodes[node].core.as_ref().and_then(Cluster::next_timeout);
        let due = due.map(|due| self.moment(node, due));
        if let Some(at) = self.nodes[node].timer.want(due) {
            let life = self.nodes[node].life;
            self.queue.push(at, Happening::Timer { node, life });
        }
    }

    fn timer(&mut self, node: usize, life: u64) {
        let this = &mut self.nodes[node];
        if this.life != life {
            return;
        }
        match this.timer.ring(self.now) {
            Ring::Idle => {}
            Ring::Again(at) => self.queue.push(at, Happening::Timer { node, life }),
            Ring::Due => self.happen(node, Event::Timer),
        }
    }

    /// Does what a core wants; what comes of it at once.
    fn perform(&mut self, node: usize, action: Action) -> Option<Event<'static>> {
        match action {
            Action::Send { to, bytes, under } => self.send(node, &to, Datagram { bytes, under }),
            Action::SetPeer(peer) => {
                let number = self.find(&peer.node);
                self.nodes[node].known.extend(number);
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
                self.tell(node, event::Event::Mute(muted));
            }
            Action::Drained => self.nodes[node].cuts += 1,
            Action::Left => {
                self.note(&format!("{node} has left"));
                self.nodes[node].left = true;
                self.nodes[node].memory = Memory::default();
                self.nodes[node].known.clear();
                self.stand_still(node);
            }
            Action::Order(order) => {
                let names = order.as_ref().map(|order| {
                    let names: Vec<_> = order.candidates.iter().map(|(node, _)| node.as_str()).collect();
                    format!("{} of epoch {}", names.join(" "), order.epoch)
                });
                self.note(&format!("{node} orders {}", names.unwrap_or_else(|| "nothing".to_owned())));
                self.nodes[node].order.clone_from(&order);
                self.order_published(node, order);
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
            StateChange::Departed(other) | StateChange::Expelled(other) => {
                let number = self.find(other);
                self.nodes[node].known.retain(|known| Some(*known) != number);
            }
            _ => {}
        }
        self.note(&format!("{node}: {change}"));
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

    fn send(&mut self, from: usize, to: &NodeId, datagram: Datagram) {
        self.nodes[from].sent += 1;
        assert!(self.nodes[from].tokens.contains(&datagram.under), "{from} cannot seal under that");
        // Only a tampered datagram makes anybody believe in a node that is not.
        let Some(to_number) = self.find(to) else { return };
        let lets_in = |a: usize, b: usize| {
            let (a, b) = (&self.nodes[a], &self.nodes[b]);
            a.wireguard.get(&b.id) == Some(&b.wireguard_key)
        };
        let tunnel = lets_in(from, to_number) && lets_in(to_number, from);
        let [first, second] = self.network.deliver(&mut self.rng, from, to_number);
        if !tunnel {
            return;
        }
        if let Some(delay) = second {
            let arrival = Happening::Arrival { from, to: to_number, datagram: datagram.clone() };
            self.queue.push(self.now + delay, arrival);
        }
        if let Some(delay) = first {
            self.queue.push(self.now + delay, Happening::Arrival { from, to: to_number, datagram });
        }
    }

    /// Lets the world run until then.
    pub fn run_until(&mut self, until: Duration) {
        while let Some((at, happening)) = self.queue.pop_until(until) {
            self.now = at;
            match happening {
                Happening::Arrival { from, to, datagram } => self.arrive(from, to, datagram),
                Happening::Errand { node, life, errand } => self.run_errand(node, life, *errand),
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
            self.was_tampered = true;
            let at = self.rng.random_range(0..datagram.bytes.len());
            datagram.bytes[at] ^= self.rng.random_range(1..=255);
        }
        self.open(to, &sender, &datagram);
    }

    pub fn open(&mut self, node: usize, from: &NodeId, datagram: &Datagram) {
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

    /// When that will be, by the world's time; not before now.
    pub fn moment(&self, node: usize, instant: Instant) -> Duration {
        let lag = self.nodes[node].suspended_for;
        (instant.saturating_duration_since(self.start) + lag).max(self.now)
    }

    pub fn unix_ms(&self, node: usize) -> u64 {
        let true_ms = EPOCH_MS + self.now.as_secs() * 1000 + u64::from(self.now.subsec_millis());
        true_ms.saturating_add_signed(self.nodes[node].clock_ahead_ms)
    }

    /// Writes a line into the log.
    pub fn note(&mut self, line: &str) {
        self.happened += 1;
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
