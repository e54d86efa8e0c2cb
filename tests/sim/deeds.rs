//! What operators and fate do to a world.

use std::collections::BTreeSet;
use std::time::Duration;

use rand::RngExt;
use rustbalance::proto::cluster::core::{Cluster, ClusterConfig};
use rustbalance::proto::cluster::events::{Event, Verdict};
use rustbalance::proto::cluster::fitness::Ailment;
use rustbalance::proto::cluster::memory::Memory;
use rustbalance::proto::cluster::note::{Admission, Drain, Note, Rotation};
use rustbalance::proto::cluster::roster::Peer;
use rustbalance::proto::cluster::status::ClusterStatus;
use rustbalance::proto::cluster::token::TokenName;
use rustbalance::proto::publish::event;

use crate::node::{FIRST_TOKEN, fresh_points};
use crate::world::{EPOCH_MS, World};

/// How much later than it happened a node notes its own admission, as the coordinator does.
const NOTED_LATER_MS: u64 = 600_000;
/// How long somebody who asks to be let in waits for an answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a drained node's connections may last, in seconds.
const DRAIN_DEADLINE_SECS: u32 = 60;

impl World {
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
        if self.nodes[node].publisher.runs() {
            self.connect_publisher(node);
        } else {
            self.start_publisher(node);
        }
        let well = self.nodes[node].target_well;
        self.happen(node, Event::TargetWell(well));
        if self.nodes[node].draining {
            self.drain(node, true);
        }
    }

    /// The node has lost what it kept.
    pub fn forget(&mut self, node: usize) {
        self.note(&format!("{node} loses its memory"));
        self.nodes[node].memory = Memory::default();
        self.nodes[node].known = self.nodes[node].peers.iter().copied().collect();
    }

    /// The node is gone from one moment to the next.
    pub fn crash(&mut self, node: usize) {
        self.note(&format!("{node} crashes"));
        self.stand_still(node);
    }

    /// The node's coordinator is gone, and nothing else of it.
    pub fn crash_coordinator(&mut self, node: usize) {
        self.note(&format!("{node} loses its coordinator"));
        self.stop_coordinator(node);
        self.tell(node, event::Event::CoordinatorAway);
    }

    /// The node's publisher is gone, and nothing else of it.
    pub fn crash_publisher(&mut self, node: usize) {
        self.note(&format!("{node} loses its publisher"));
        self.stop_publisher(node);
        self.happen(node, Event::PublisherLost);
    }

    /// The node ends in order.
    pub fn shut_down(&mut self, node: usize) {
        self.note(&format!("{node} shuts down"));
        self.happen(node, Event::Shutdown);
        self.stand_still(node);
    }

    /// Nothing of the node runs any more.
    pub fn stand_still(&mut self, node: usize) {
        self.stop_publisher(node);
        self.stop_coordinator(node);
    }

    fn stop_coordinator(&mut self, node: usize) {
        let this = &mut self.nodes[node];
        this.core = None;
        this.order = None;
        this.socket.clear();
        this.begin_life();
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
        self.thaw_publisher(node);
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
        let points = if none { Vec::new() } else { fresh_points(&mut self.rng, node) };
        let before = std::mem::replace(&mut self.nodes[node].points, points.clone());
        let had_descriptor = !self.nodes[node].descriptor.is_empty();
        self.nodes[node].descriptor = points;
        self.tor_changed(node, had_descriptor, &before);
    }

    /// The node's proxy reaches what it stands in front of, or does not.
    pub fn change_target(&mut self, node: usize, well: bool) {
        self.note(&format!("{node} target well: {well}"));
        self.nodes[node].target_well = well;
        if self.nodes[node].is_up() {
            self.happen(node, Event::TargetWell(well));
        }
    }

    /// The node's publisher cannot publish, or can again, and says so.
    pub fn ail(&mut self, node: usize, ailment: Option<Ailment>) {
        self.note(&format!("{node} ails: {ailment:?}"));
        self.nodes[node].ails = ailment;
        if self.nodes[node].publisher.runs() && self.nodes[node].is_up() {
            self.happen(node, Event::PublisherSpoke(ailment));
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
        self.tokens_made += 1;
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
        let admission = self.admission(node, via, ticket, uses);
        self.note(&format!("{node} asks {via} to be let in with ticket {ticket} for {uses}"));
        self.uses.insert(ticket, uses);
        self.asked += 1;
        self.nodes[node].asked_with = Some(ticket);
        self.nodes[via].answers.remove(&node);
        self.happen(via, Event::Admit { number: node as u64, admission });
    }

    /// Somebody asks `via` to be let in as `node`, and waits for an answer for a while.
    pub fn apply_for(&mut self, node: usize, via: usize, ticket: u8, uses: u16) {
        self.ask(node, via, ticket, uses);
        self.applicants.push((node, via, self.now + PATIENCE));
    }

    /// Whoever has been answered starts, if welcome; whether anybody did.
    pub fn let_applicants_in(&mut self) -> bool {
        let mut entered = false;
        for (node, via, until) in std::mem::take(&mut self.applicants) {
            if self.answer(node, via).is_some() {
                self.enter(node, via);
                entered |= self.nodes[node].is_up();
            } else if self.now < until {
                self.applicants.push((node, via, until));
            }
        }
        entered
    }

    /// What `via` has answered `node`.
    pub fn answer(&self, node: usize, via: usize) -> Option<&Verdict> {
        self.nodes[via].answers.get(&node)
    }

    /// The node starts with what `via` has told it, if that was a welcome.
    pub fn enter(&mut self, node: usize, via: usize) {
        let ticket = self.nodes[node].asked_with.take();
        let Some(Verdict::Welcome(welcome)) = self.answer(node, via).cloned() else { return };
        // It knows with which ticket it came, though not when that was noted.
        let uses = ticket.and_then(|ticket| self.uses.get(&ticket)).copied().unwrap_or(1);
        let mut own = self.admission(node, node, ticket.unwrap_or(0), uses);
        own.at_ms += NOTED_LATER_MS;
        let rotations = welcome.rotations.into_iter().map(Note::Rotation);
        let notes = rotations.chain([Note::Admission(own)]).collect();
        let peers = welcome.peers.into_iter().chain([self.peer(via)]).collect();
        self.nodes[node].memory = Memory { peers, notes };
        self.nodes[node].ticket = ticket;
        // Whoever is let in is not drained, whatever was wished before.
        self.nodes[node].draining = false;
        let known: Vec<usize> =
            self.nodes[node].memory.peers.iter().map(|peer| self.number(&peer.node)).collect();
        self.introduce(node, Vec::new());
        self.nodes[node].known.extend(known);
        self.nodes[via].known.insert(node);
        self.start(node);
    }

    /// What the node can tell.
    pub fn status(&self, node: usize) -> ClusterStatus {
        self.nodes[node].core.as_ref().unwrap().status(self.instant(node))
    }

    /// How many may come with a ticket.
    pub fn uses(&self, ticket: u8) -> usize {
        self.uses.get(&ticket).copied().unwrap_or(0).into()
    }

    /// The note by which `via` would let `node` in with this ticket.
    fn admission(&self, node: usize, via: usize, ticket: u8, uses: u16) -> Admission {
        let Peer { node, wireguard_key, endpoint, tunnel_address } = self.peer(node);
        let at_ms = self.unix_ms(via);
        let expires_ms = EPOCH_MS + u64::try_from(self.ticket_life.as_millis()).unwrap();
        let ticket = [ticket; 16];
        Admission { ticket, uses, node, wireguard_key, endpoint, tunnel_address, at_ms, expires_ms }
    }
}
