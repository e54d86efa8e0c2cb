//! The whole cluster, as one node runs it: events in, actions out.
//!
//! ```text
//!   Start ──► discovering ──► settled ◄──────────┐
//!                  ▲    two calls without answer, │
//!                  │    or every peer is there    │
//!                  └───────── a long pause ───────┘
//! ```
//!
//! While it discovers, a node does not hold the lease: at its start it does not know what the others publish, and
//! after a pause (stopped, suspended, starved) what it knew may be wrong. A node without peers has nobody to
//! discover and holds it at once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::absence::Absences;
use super::applicants::Applicants;
use super::courier::Courier;
use super::drain::DrainWatch;
use super::election::Election;
use super::events::{Action, Event, PublishOrder, StateChange};
use super::fitness::Fitness;
use super::gossip::{Gossip, Knowledge, Sends};
use super::history::History;
use super::ledger::Ledger;
use super::membership::Membership;
use super::memory::Memory;
use super::publisher::PublisherWatch;
use super::pulse::Pulse;
use super::record::{NodeRecord, Records, Version, latest};
use super::register::Register;
use super::roster::{Peer, Roster};
use super::status::Traffic;
use super::timing::Timing;
use super::token::{TokenName, Tokens};
use crate::proto::node::{NodeId, Priority};
use crate::proto::onion::descriptor::intro_point::IntroPoint;

/// How many absent peers are called at a time; the others take their turn. A big cluster that has lost most of
/// its nodes should not spend its days calling them.
const CALLS_AT_ONCE: usize = 4;
/// How long a dead node that nobody configured is remembered. It may come back from repair without an invitation, and
/// nobody else would let it in; who left for good is forgotten at once.
const FORGET_AFTER: Duration = Duration::from_hours(30 * 24);

/// What a node knows of itself from the start.
#[derive(Debug, Clone)]
pub struct ClusterConfig {
    /// How the others reach us.
    pub own: Peer,
    /// Our wish for the lease.
    pub priority: Priority,
    /// Periods and patience.
    pub timing: Timing,
    /// The token from the configuration.
    pub token: TokenName,
    /// How long a token that was replaced is still good for everything; see [`Tokens::is_retired`].
    pub overlap: Duration,
    /// What was kept over a restart, and what a new node was told when it was let in.
    pub memory: Memory,
}

/// How far a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// [`Event::Start`] has not happened.
    Idle,
    /// It finds out who is there, until then at the latest.
    Discovering { until: Instant },
    /// It knows who is there.
    Settled,
    /// [`Event::Shutdown`] has happened, or this node does not belong to the cluster any more.
    Left,
}

/// The cluster, as one node runs it.
pub struct Cluster {
    pub(super) timing: Timing,
    pub(super) phase: Phase,
    pub(super) known: Knowledge,
    pub(super) roster: Roster,
    pub(super) gossip: Gossip,
    pub(super) election: Election,
    pub(super) election_at: Option<Instant>,
    pub(super) records_missing_since: Option<Instant>,
    pub(super) top_epoch: u64,
    pub(super) holder: Option<NodeId>,
    pub(super) order: Option<PublishOrder>,
    pub(super) heard: BTreeMap<NodeId, Instant>,
    pub(super) absent: Absences,
    pub(super) publisher: PublisherWatch,
    pub(super) fitness: Fitness,
    pub(super) traffic: Traffic,
    /// Whether our record has changed since it was last given a version.
    pub(super) own_changed: bool,
    /// Whether anything has changed on which the election or the order depends; most datagrams change nothing.
    pub(super) unsettled: bool,
    pub(super) tokens: Tokens,
    pub(super) courier: Courier,
    pub(super) register: Register,
    pub(super) applicants: Applicants,
    /// Who does not belong to the cluster any more, until when it can still be told so.
    pub(super) farewells: BTreeMap<NodeId, Instant>,
    /// When this node, which leaves for good, is gone.
    pub(super) gone_at: Option<Instant>,
    pub(super) drain: DrainWatch,
    /// What the publisher said last; our record has it, unless we are muted.
    pub(super) reported_points: Vec<IntroPoint>,
    pub(super) history: History,
    /// Whether what is kept over a restart has changed since it was last said.
    pub(super) memory_changed: bool,
    /// When to look again for notes that have expired.
    pub(super) expiry_at: Instant,
    /// Whom the order leaves out because they are drained.
    pub(super) left_out: BTreeSet<NodeId>,
    /// Peers kept from before the start.
    pub(super) recalled: Vec<Peer>,
    pub(super) overlap: Duration,
    /// The wall clock now.
    pub(super) unix_ms: u64,
    pub(super) call_at: Option<Instant>,
    pub(super) last_called: Option<NodeId>,
    /// Who is being called, and under which token, whatever is known of it.
    pub(super) calling: Option<(NodeId, TokenName)>,
    pulse: Pulse,
}

impl Cluster {
    /// A node that has not started yet. `seed` must differ from node to node and from start to start.
    pub fn new(config: ClusterConfig, seed: u64, now: Instant, unix_ms: u64) -> Self {
        let ClusterConfig { own: peer, priority, timing, token, overlap, memory } = config;
        let mut rng = StdRng::seed_from_u64(seed);
        let fitness = Fitness::default();
        let membership = Membership::new(peer.node.clone(), unix_ms, &timing, rng.random());
        let own = NodeRecord {
            node: peer.node.clone(),
            version: Version { incarnation: unix_ms, change: 1 },
            priority,
            wireguard_key: peer.wireguard_key,
            endpoint: peer.endpoint,
            tunnel_address: peer.tunnel_address,
            points: Vec::new(),
            capabilities: None,
            counters: Vec::new(),
            lease: None,
            leaving: false,
            // Until the proxy says otherwise: a coordinator's restart must not take a node out.
            target_well: true,
            drain_phase: None,
            stands_back: fitness.stands_back(),
            published: Vec::new(),
            token,
        };
        let ledger = Ledger::recall(unix_ms, memory.notes);
        Self {
            timing,
            phase: Phase::Idle,
            register: Register::of(&ledger),
            known: Knowledge { own, records: Records::default(), membership, ledger },
            roster: Roster::new(peer),
            gossip: Gossip::new(now, timing.digest_interval(), rng.random()),
            election: Election::default(),
            election_at: None,
            records_missing_since: None,
            top_epoch: 0,
            holder: None,
            order: None,
            heard: BTreeMap::new(),
            absent: Absences::default(),
            publisher: PublisherWatch::default(),
            fitness,
            traffic: Traffic::default(),
            own_changed: false,
            unsettled: true,
            tokens: Tokens::new(token),
            courier: Courier::new(now, rng.random()),
            applicants: Applicants::default(),
            farewells: BTreeMap::new(),
            gone_at: None,
            drain: DrainWatch::default(),
            reported_points: Vec::new(),
            history: History::default(),
            memory_changed: false,
            expiry_at: now,
            left_out: BTreeSet::new(),
            recalled: memory.peers,
            overlap,
            unix_ms,
            call_at: None,
            last_called: None,
            calling: None,
            pulse: Pulse::new(now, unix_ms, None),
        }
    }

    /// Takes in an event; what must be done about it, in order. `now` must not run backwards; `unix_ms` may.
    pub fn handle(&mut self, now: Instant, unix_ms: u64, event: Event<'_>) -> Vec<Action> {
        let mut actions = Vec::new();
        if self.phase == Phase::Left {
            return actions;
        }
        let asleep = self.pulse.overslept(now, unix_ms);
        if asleep >= self.timing.frozen_after() && self.phase != Phase::Idle {
            self.wake(now, asleep, &mut actions);
        }
        self.unix_ms = unix_ms;
        self.take_in(now, event, &mut actions);
        if self.phase != Phase::Left {
            self.settle(now, &mut actions);
        }
        if std::mem::take(&mut self.memory_changed) {
            actions.push(Action::Remember(self.memory()));
        }
        for action in &actions {
            if let Action::StateChanged(change) = action {
                self.history.add(unix_ms, change.clone());
            }
        }
        self.pulse = Pulse::new(now, unix_ms, self.first_due());
        actions
    }

    fn take_in(&mut self, now: Instant, event: Event<'_>, actions: &mut Vec<Action>) {
        match event {
            Event::Start => {
                self.recall(now, actions);
                self.discover(now, actions);
            }
            Event::Datagram { from, bytes, under } => self.datagram(now, from, bytes, under, actions),
            Event::Timer => self.run_timers(now, actions),
            Event::OwnPoints(points) => self.own_points(points),
            Event::OwnCapabilities(capabilities) => {
                self.alter_own(|own| own.capabilities = Some(capabilities));
            }
            Event::OwnCounters(counters) => self.alter_own(|own| own.counters = latest(counters)),
            Event::PublisherFound => self.publisher_found(now, actions),
            Event::PublisherLost => self.publisher.lost(now),
            Event::PublisherSpoke(ailment) => self.publisher_spoke(now, ailment),
            Event::TargetWell(well) => self.target_well(well, actions),
            Event::Published(nodes) => self.published(nodes),
            Event::Connections(count) => self.connections(now, count),
            Event::PeerConfigured(peer) => self.peer_configured(now, peer, actions),
            Event::PeerLost(node) => self.forget(&node, actions),
            Event::Priority(priority) => self.alter_own(|own| own.priority = priority),
            Event::Drain(drain) => self.drain_wished(now, drain, actions),
            Event::Admit { number, admission } => self.admit(now, number, admission, actions),
            Event::RotateToken { rotation } => self.rotate_token(now, rotation, actions),
            Event::TokenAdopted(token) => self.token_adopted(now, token, actions),
            Event::TokenRefused(token) => self.token_refused(token, actions),
            Event::Leave => self.leave(now, actions),
            Event::Shutdown => self.shut_down(now, actions),
        }
    }

    /// Changes our own record.
    pub(super) fn alter_own(&mut self, alteration: impl FnOnce(&mut NodeRecord)) {
        let before = self.known.own.clone();
        alteration(&mut self.known.own);
        self.own_changed |= self.known.own != before;
        self.unsettled |= self.own_changed;
    }

    /// When [`Event::Timer`] is due.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.pulse.due()
    }

    fn first_due(&self) -> Option<Instant> {
        let connected = !self.known.membership.live().is_empty();
        let gossip = connected.then(|| self.gossip.next_timeout());
        let courier = self.courier.next_timeout().filter(|_| connected);
        let discovery = match self.phase {
            Phase::Discovering { until } => Some(until),
            Phase::Idle | Phase::Left => return None,
            Phase::Settled => None,
        };
        let membership = self.known.membership.next_timeout();
        let publisher = self.publisher.next_timeout();
        let (drain, applicants) = (self.drain.next_timeout(), self.applicants.next_timeout());
        let fitness = self.fitness.next_timeout();
        let farewells = self.farewells.values().min().copied();
        // One flat list: this is asked after every datagram.
        [
            membership,
            gossip,
            courier,
            discovery,
            self.call_at,
            publisher,
            fitness,
            self.election_at,
            drain,
            applicants,
            self.gone_at,
            farewells,
        ]
        .iter()
        .fold(None, |first, next| earlier(first, *next))
    }

    /// Looks for the others: whoever we know is called until it answers.
    pub(super) fn discover(&mut self, now: Instant, actions: &mut Vec<Action>) {
        self.phase = Phase::Discovering { until: now + self.timing.discovery() };
        self.unsettled = true;
        self.call_the_absent(now, usize::MAX, actions);
    }

    /// After a pause: let go, forget what may have changed, and find out again.
    fn wake(&mut self, now: Instant, asleep: Duration, actions: &mut Vec<Action>) {
        actions.push(Action::StateChanged(StateChange::Woke { asleep }));
        self.known.own.lease = None;
        self.known.own.published.clear();
        self.known.own.version.change += 1;
        self.known.records = Records::default();
        self.known.membership.restart();
        self.tokens.forget_all();
        self.absent.clear();
        self.election = Election::default();
        self.records_missing_since = None;
        self.order(actions);
        self.discover(now, actions);
    }

    fn run_timers(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let output = self.known.membership.run_timers(now);
        self.follow(now, output, actions);
        if self.call_at.is_some_and(|at| now >= at) {
            self.call_the_absent(now, CALLS_AT_ONCE, actions);
        }
        self.miss_publisher(now, actions);
        let mut sends = self.gossip.tick(now, &self.known);
        sends.extend(self.courier.tick(now, &self.known));
        self.send(sends, actions);
        self.answer_applicants(now, actions);
        self.end_farewells(now, actions);
        self.expire_notes(now, actions);
        let long_gone = self.absent.longer_than(now, FORGET_AFTER);
        let strangers: Vec<NodeId> =
            long_gone.filter(|node| !self.roster.is_configured(node)).cloned().collect();
        for node in strangers {
            self.forget(&node, actions);
        }
        if self.gone_at.is_some_and(|at| now >= at) {
            self.go(now, actions);
        }
    }

    pub(super) fn send(&mut self, sends: Sends, actions: &mut Vec<Action>) {
        if sends.is_empty() {
            return;
        }
        self.traffic.sent += sends.len() as u64;
        let seal = |(to, bytes): (NodeId, Vec<u8>)| {
            let under = match &self.calling {
                Some((called, under)) if *called == to => *under,
                _ => self.tokens.under(&to),
            };
            Action::Send { to, bytes, under }
        };
        actions.extend(sends.into_iter().map(seal));
    }
}

fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The Unix time at which tests begin, in milliseconds.
    pub(crate) const NOW_MS: u64 = 1_800_000_000_000;

    /// How a node of tests is reached: its first letter is its key and the end of its address.
    pub(crate) fn peer(name: &str) -> Peer {
        let number = name.as_bytes()[0];
        let (wireguard_key, tunnel_address) = ([number; 32], [10, 9, 9, number].into());
        Peer { node: name.parse().unwrap(), wireguard_key, endpoint: None, tunnel_address }
    }

    /// A node that has started.
    pub(crate) fn started(name: &str, now: Instant, memory: Memory) -> (Cluster, Vec<Action>) {
        let config = ClusterConfig {
            own: peer(name),
            priority: Priority::default(),
            timing: Timing::default(),
            token: TokenName::default(),
            overlap: Duration::from_mins(1),
            memory,
        };
        let mut cluster = Cluster::new(config, 1, now, NOW_MS);
        let actions = cluster.handle(now, NOW_MS, Event::Start);
        (cluster, actions)
    }

    #[test]
    fn what_happened_lately_is_told_and_bounded() {
        let now = Instant::now();
        let (mut cluster, _) = started("a", now, Memory::default());
        for well in (0..200).map(|n| n % 2 == 1) {
            cluster.handle(now, NOW_MS, Event::TargetWell(well));
        }
        let past = cluster.status(now).past;
        assert_eq!(past.len(), 64);
        assert_eq!(past.last().map(|last| (last.unix_ms, last.alarming)), Some((NOW_MS, false)));
        assert!(past.iter().rev().skip(1).step_by(2).all(|past| past.alarming));
    }
}
