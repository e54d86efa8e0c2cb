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

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::absence::Absences;
use super::election::Election;
use super::events::{Action, Event, PublishOrder, StateChange};
use super::gossip::{Gossip, Knowledge, Sends};
use super::membership::{Change, Membership, Output};
use super::message::Message;
use super::publisher::PublisherWatch;
use super::pulse::Pulse;
use super::record::{Applied, MAX_POINTS, NodeRecord, Records, Version, latest};
use super::roster::{Peer, Roster, Update};
use super::status::Traffic;
use super::timing::Timing;
use crate::proto::node::{NodeId, Priority};
use crate::proto::onion::descriptor::intro_point::IntroPoint;

/// How many absent peers are called at a time; the others take their turn. A big cluster that has lost most of
/// its nodes should not spend its days calling them.
const CALLS_AT_ONCE: usize = 4;
/// How long a dead node that nobody configured is remembered, for operators who look the next day.
const FORGET_AFTER: Duration = Duration::from_hours(24);

/// What a node knows of itself from the start.
#[derive(Debug, Clone)]
pub struct ClusterConfig {
    /// How the others reach us.
    pub own: Peer,
    /// Our wish for the lease.
    pub priority: Priority,
    /// Periods and patience.
    pub timing: Timing,
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
    /// [`Event::Shutdown`] has happened.
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
    pub(super) traffic: Traffic,
    /// Whether our record has changed since it was last given a version.
    pub(super) own_changed: bool,
    /// Whether anything has changed on which the election or the order depends; most datagrams change nothing.
    pub(super) unsettled: bool,
    call_at: Option<Instant>,
    last_called: Option<NodeId>,
    pulse: Pulse,
}

impl Cluster {
    /// A node that has not started yet. `seed` must differ from node to node and from start to start.
    pub fn new(config: ClusterConfig, seed: u64, now: Instant, unix_ms: u64) -> Self {
        let ClusterConfig { own: peer, priority, timing } = config;
        let mut rng = StdRng::seed_from_u64(seed);
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
            draining: false,
        };
        Self {
            timing,
            phase: Phase::Idle,
            known: Knowledge { own, records: Records::default(), membership },
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
            traffic: Traffic::default(),
            own_changed: false,
            unsettled: true,
            call_at: None,
            last_called: None,
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
        match event {
            Event::Start => self.discover(now, &mut actions),
            Event::Datagram { from, bytes } => self.datagram(now, from, bytes, &mut actions),
            Event::Timer => self.run_timers(now, &mut actions),
            Event::OwnPoints(points) => self.own_points(points),
            Event::OwnCapabilities(capabilities) => {
                self.alter_own(|own| own.capabilities = Some(capabilities));
            }
            Event::OwnCounters(counters) => self.alter_own(|own| own.counters = latest(counters)),
            Event::PublisherFound => {
                self.publisher.found(now);
                // It may have restarted and forgotten.
                actions.push(Action::Order(self.order.clone()));
            }
            Event::PublisherLost => self.publisher.lost(now),
            Event::PeerConfigured(peer) => self.peer_configured(now, peer, &mut actions),
            Event::PeerLost(node) => self.forget(&node, &mut actions),
            Event::Drain(draining) => self.alter_own(|own| own.draining = draining),
            Event::Shutdown => self.shut_down(now, &mut actions),
        }
        if self.phase != Phase::Left {
            self.settle(now, &mut actions);
        }
        self.pulse = Pulse::new(now, unix_ms, self.next_timeout());
        actions
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
        let gossip = (!self.known.membership.live().is_empty()).then(|| self.gossip.next_timeout());
        let discovery = match self.phase {
            Phase::Discovering { until } => Some(until),
            Phase::Idle | Phase::Left => return None,
            Phase::Settled => None,
        };
        let membership = self.known.membership.next_timeout();
        [membership, gossip, discovery, self.call_at, self.publisher.next_timeout(), self.election_at]
            .into_iter()
            .flatten()
            .min()
    }

    /// Looks for the others: whoever we know is called until it answers.
    fn discover(&mut self, now: Instant, actions: &mut Vec<Action>) {
        self.phase = Phase::Discovering { until: now + self.timing.discovery() };
        self.unsettled = true;
        self.call_the_absent(now, usize::MAX, actions);
    }

    /// After a pause: let go, forget what may have changed, and find out again.
    fn wake(&mut self, now: Instant, asleep: Duration, actions: &mut Vec<Action>) {
        actions.push(Action::StateChanged(StateChange::Woke { asleep }));
        self.known.own.lease = None;
        self.known.own.version.change += 1;
        self.known.records = Records::default();
        self.known.membership.restart();
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
        if self.publisher.is_overdue(now) && !self.known.own.points.is_empty() {
            self.alter_own(|own| own.points.clear());
            actions.push(Action::StateChanged(StateChange::PointsWithdrawn));
        }
        let sends = self.gossip.tick(now, &self.known);
        self.send(sends, actions);
        let long_gone = self.absent.longer_than(now, FORGET_AFTER);
        let strangers: Vec<NodeId> =
            long_gone.filter(|node| !self.roster.is_configured(node)).cloned().collect();
        for node in strangers {
            self.forget(&node, actions);
        }
    }

    fn datagram(&mut self, now: Instant, from: &NodeId, bytes: &[u8], actions: &mut Vec<Action>) {
        let message = match Message::decode(bytes) {
            Ok(message) if *from != self.known.own.node => message,
            _ => return self.traffic.malformed += 1,
        };
        self.traffic.received += 1;
        if self.roster.contains(from) {
            self.heard.insert(from.clone(), now);
        }
        match message {
            Message::Swim(payload) => match self.known.membership.receive(now, from, payload) {
                Ok(output) => self.follow(now, output, actions),
                Err(_) => self.traffic.refused += 1,
            },
            Message::Digest(entries) => {
                let heard = self.gossip.digest(now, &self.known, from, &entries);
                self.send(heard.sends, actions);
                if let Some(known) = heard.outgrow {
                    let output = self.known.membership.outgrow(now, known);
                    self.alter_own(|own| {
                        own.version = Version { incarnation: known.saturating_add(1), change: 0 }
                    });
                    self.follow(now, output, actions);
                    actions.push(Action::StateChanged(StateChange::Renewed));
                }
            }
            Message::Pull(wanted) => self.send(Gossip::pull(&self.known, from, &wanted), actions),
            Message::Part(part) => {
                if let Some(record) = self.gossip.part(now, &self.known, from, &part) {
                    self.learn(now, from, record, actions);
                }
            }
        }
    }

    /// Keeps a record that has arrived whole, if it is believable and newer.
    fn learn(&mut self, now: Instant, from: &NodeId, record: NodeRecord, actions: &mut Vec<Action>) {
        match self.roster.learn(&record) {
            Ok(update) => set_peer(update, actions),
            Err(reason) => {
                self.traffic.records_refused += 1;
                self.gossip.refuse(&record);
                let node = record.node;
                return actions.push(Action::StateChanged(StateChange::RecordRefused { node, reason }));
            }
        }
        let node = record.node.clone();
        self.top_epoch = self.top_epoch.max(record.lease.map_or(0, |lease| lease.epoch));
        if self.known.records.apply(record) == Applied::Newer {
            self.unsettled = true;
            let sends = self.gossip.tell(&self.known, from, &node);
            self.send(sends, actions);
        }
        if !self.known.membership.live().contains(&node) {
            self.call_at.get_or_insert(now);
        }
    }

    /// Sends what membership wants sent and follows its changes.
    fn follow(&mut self, now: Instant, output: Output, actions: &mut Vec<Action>) {
        let swim = |(to, payload): (NodeId, Vec<u8>)| Some((to, Message::Swim(&payload).encode().ok()?));
        let sends = output.sends.into_iter().filter_map(swim).collect();
        self.send(sends, actions);
        self.unsettled |= !output.changes.is_empty();
        for change in output.changes {
            match change {
                Change::Up(node) => {
                    self.returned(&node);
                    self.send(Gossip::greet(&self.known, &node), actions);
                    actions.push(Action::StateChanged(StateChange::NodeUp(node)));
                }
                Change::Down(node) => {
                    if self.roster.contains(&node) {
                        let version = self.known.records.version(&node);
                        self.absent.begin(now, node.clone(), version);
                    }
                    self.call_at.get_or_insert(now + self.timing.announce_interval());
                    actions.push(Action::StateChanged(StateChange::NodeDown(node)));
                }
                // Whoever took us for dead is dead to itself as far as we know: call at once.
                Change::Renewed(_) => {
                    self.call_at = Some(now);
                    actions.push(Action::StateChanged(StateChange::Renewed));
                }
            }
        }
    }

    /// A node is there again. What it said before it went is not true of a later life: neither its points nor its
    /// lease may count until it has said what is.
    fn returned(&mut self, node: &NodeId) {
        if self.absent.end(node) == Some(self.known.records.version(node)) {
            self.known.records.forget(node);
        }
    }

    /// Calls peers that are not there, at most `some` at a time, until they are. A digest goes along, so that one
    /// who remembers a later life of ours can say so.
    fn call_the_absent(&mut self, now: Instant, some: usize, actions: &mut Vec<Action>) {
        let live = self.known.membership.live();
        let absent: Vec<NodeId> = self.roster.nodes().filter(|node| !live.contains(*node)).cloned().collect();
        self.call_at = (!absent.is_empty()).then(|| now + self.timing.announce_interval());
        let after = absent.iter().position(|node| Some(node) > self.last_called.as_ref()).unwrap_or(0);
        let (first, then) = absent.split_at(after);
        for node in then.iter().chain(first).take(some) {
            let output = self.known.membership.announce(now, node);
            self.follow(now, output, actions);
            self.send(Gossip::greet(&self.known, node), actions);
            self.last_called = Some(node.clone());
        }
    }

    fn own_points(&mut self, mut points: Vec<IntroPoint>) {
        points.truncate(MAX_POINTS);
        self.alter_own(|own| own.points = points);
        self.publisher.reported();
    }

    fn peer_configured(&mut self, now: Instant, peer: Peer, actions: &mut Vec<Action>) {
        let node = peer.node.clone();
        match self.roster.configure(peer) {
            Ok(update) => set_peer(update, actions),
            Err(reason) => {
                return actions.push(Action::StateChanged(StateChange::RecordRefused { node, reason }));
            }
        }
        self.gossip.reconsider();
        self.call_at.get_or_insert(now);
    }

    fn forget(&mut self, node: &NodeId, actions: &mut Vec<Action>) {
        self.unsettled = true;
        self.gossip.reconsider();
        self.known.records.forget(node);
        self.heard.remove(node);
        self.absent.end(node);
        if let Some(peer) = self.roster.forget(node) {
            actions.push(Action::RemovePeer(peer));
        }
    }

    fn shut_down(&mut self, now: Instant, actions: &mut Vec<Action>) {
        self.known.own.lease = None;
        self.known.own.draining = true;
        self.known.own.points.clear();
        self.known.own.version.change += 1;
        let sends = self.gossip.push(now, &self.known);
        self.send(sends, actions);
        let output = self.known.membership.leave(now);
        self.follow(now, output, actions);
        self.order(actions);
        self.phase = Phase::Left;
    }

    pub(super) fn send(&mut self, sends: Sends, actions: &mut Vec<Action>) {
        self.traffic.sent += sends.len() as u64;
        actions.extend(sends.into_iter().map(|(to, bytes)| Action::Send { to, bytes }));
    }
}

fn set_peer(update: Option<Update>, actions: &mut Vec<Action>) {
    if let Some(Update { gone, peer }) = update {
        actions.extend(gone.map(Action::RemovePeer));
        actions.push(Action::SetPeer(peer));
    }
}
