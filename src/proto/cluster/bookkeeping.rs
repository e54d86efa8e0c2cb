//! Notes taken in, and what follows from them; the peers and how they are reached.

use std::time::{Duration, Instant};

use super::core::{Cluster, Phase};
use super::events::{Action, StateChange};
use super::memory::Memory;
use super::note::Note;
use super::register::Register;
use super::roster::{Peer, RosterError, Update};
use crate::proto::node::NodeId;

/// How long a node that does not belong to the cluster any more can still be reached: so long its side of the tunnel
/// stays, for telling it so and for what it had to say before.
const FAREWELL: Duration = Duration::from_secs(2);

/// How often notes are looked through for expired ones: they live for hours.
const EXPIRY_INTERVAL: Duration = Duration::from_mins(1);

impl Cluster {
    /// Peers and notes from before the start.
    pub(super) fn recall(&mut self, now: Instant, actions: &mut Vec<Action>) {
        for peer in std::mem::take(&mut self.recalled) {
            if !self.register.excludes(&peer.node, &peer.wireguard_key) {
                self.expect(now, &peer.node);
                let update = self.roster.recall(peer);
                self.set_peer(update, actions);
            }
        }
        for peer in self.register.admitted.clone().into_values() {
            self.take_up(now, peer, actions);
        }
        // What is known now was known before.
        self.memory_changed = false;
        self.adopt(actions);
        self.leave_if_excluded(actions);
    }

    /// What is kept over a restart.
    pub(super) fn memory(&self) -> Memory {
        let belongs = |peer: &&Peer| !self.farewells.contains_key(&peer.node);
        Memory {
            peers: self.roster.peers().filter(belongs).cloned().collect(),
            notes: self.known.ledger.notes().collect(),
        }
    }

    /// We have made a note: it counts from now on, and everyone gets it. Whether it was new.
    pub(super) fn note(&mut self, now: Instant, note: Note, actions: &mut Vec<Action>) -> bool {
        if !self.known.ledger.merge(self.unix_ms, note.clone()) {
            return false;
        }
        let sends = self.courier.push(now, &self.known, note);
        self.send(sends, actions);
        self.draw_conclusions(now, actions);
        true
    }

    /// Notes have arrived.
    pub(super) fn hear_notes(
        &mut self,
        now: Instant,
        from: &NodeId,
        notes: Vec<Note>,
        actions: &mut Vec<Action>,
    ) {
        let unix_ms = self.unix_ms;
        let mut news = Vec::new();
        for note in notes {
            let refused = matches!(&note, Note::Rotation(new) if self.tokens.is_refused(new.token));
            if !refused && self.known.ledger.merge(unix_ms, note.clone()) {
                news.push(note);
            }
        }
        if !news.is_empty() {
            let sends = self.courier.tell(&self.known, from, &news);
            self.send(sends, actions);
            self.draw_conclusions(now, actions);
        }
    }

    /// Drops notes that have expired.
    pub(super) fn expire_notes(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if now < self.expiry_at {
            return;
        }
        self.expiry_at = now + EXPIRY_INTERVAL;
        if self.known.ledger.expire(self.unix_ms) {
            self.draw_conclusions(now, actions);
        }
    }

    /// Follows what has changed in the ledger.
    pub(super) fn draw_conclusions(&mut self, now: Instant, actions: &mut Vec<Action>) {
        self.memory_changed = true;
        self.unsettled = true;
        self.adopt(actions);
        let register = Register::of(&self.known.ledger);
        if register == self.register {
            return;
        }
        let before = std::mem::replace(&mut self.register, register);
        self.gossip.reconsider();
        for (node, peer) in self.register.admitted.clone() {
            if before.admitted.get(&node) != Some(&peer) && node != self.known.own.node {
                self.farewells.remove(&node);
                self.take_up(now, peer, actions);
                self.call_at.get_or_insert(now);
                actions.push(Action::StateChanged(StateChange::Admitted(node)));
            }
        }
        let gone: Vec<_> = self.register.gone.difference(&before.gone).cloned().collect();
        for (node, key) in gone {
            if self.roster.get(&node).is_some_and(|peer| peer.wireguard_key == key) {
                self.part_with(now, node, &key, actions);
            }
        }
        let wishes = self.register.draining.symmetric_difference(&before.draining);
        actions.extend(wishes.map(|node| {
            let draining = self.register.draining.contains(node);
            Action::StateChanged(StateChange::Drain { node: node.clone(), draining })
        }));
        self.leave_if_excluded(actions);
    }

    /// A node that was let in is a peer like any other, in place of whoever had its name or its key.
    fn take_up(&mut self, now: Instant, peer: Peer, actions: &mut Vec<Action>) {
        let node = peer.node.clone();
        self.expect(now, &node);
        let moves = self.roster.get(&node).is_some_and(|old| old.wireguard_key != peer.wireguard_key);
        let (gone, update) = self.roster.admit(peer);
        for peer in gone {
            self.strike(&peer.node);
            self.memory_changed = true;
            actions.push(Action::RemovePeer(peer));
        }
        if moves {
            self.strike(&node);
            self.expect(now, &node);
        }
        self.set_peer(update, actions);
    }

    /// A node may come, or may never come: then it is forgotten like one that died.
    fn expect(&mut self, now: Instant, node: &NodeId) {
        let is_there = *node == self.known.own.node || self.known.membership.live().contains(node);
        if !is_there {
            self.absent.begin(now, node.clone(), self.known.records.version(node));
        }
    }

    /// A node does not belong to the cluster any more: what it says does not count, and soon it is forgotten.
    fn part_with(&mut self, now: Instant, node: NodeId, key: &[u8; 32], actions: &mut Vec<Action>) {
        let notes: Vec<Note> = self.known.ledger.notes().collect();
        let sends = super::courier::to(&node, &notes);
        self.send(sends, actions);
        self.known.records.forget(&node);
        self.farewells.insert(node.clone(), now + FAREWELL);
        let departed = self.known.ledger.departure(&node, key).is_some();
        let change = if departed { StateChange::Departed(node) } else { StateChange::Expelled(node) };
        actions.push(Action::StateChanged(change));
    }

    /// Forgets whom farewell was bidden to long enough.
    pub(super) fn end_farewells(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let over: Vec<NodeId> =
            self.farewells.iter().filter(|(_, at)| now >= **at).map(|(node, _)| node.clone()).collect();
        for node in over {
            self.farewells.remove(&node);
            self.forget(&node, actions);
        }
    }

    pub(super) fn peer_configured(&mut self, now: Instant, peer: Peer, actions: &mut Vec<Action>) {
        let node = peer.node.clone();
        let known = if self.register.excludes(&node, &peer.wireguard_key) {
            Err(RosterError::Gone)
        } else {
            self.roster.configure(peer)
        };
        match known {
            Ok(update) => self.set_peer(update, actions),
            Err(reason) => {
                return actions.push(Action::StateChanged(StateChange::RecordRefused { node, reason }));
            }
        }
        self.gossip.reconsider();
        self.call_at.get_or_insert(now);
    }

    pub(super) fn forget(&mut self, node: &NodeId, actions: &mut Vec<Action>) {
        self.gossip.reconsider();
        self.strike(node);
        if let Some(peer) = self.roster.forget(node) {
            self.memory_changed = true;
            actions.push(Action::RemovePeer(peer));
        }
    }

    /// Forgets what a node has said.
    fn strike(&mut self, node: &NodeId) {
        self.unsettled = true;
        self.known.records.forget(node);
        self.heard.remove(node);
        self.absent.end(node);
        self.tokens.forget(node);
    }

    pub(super) fn set_peer(&mut self, update: Option<Update>, actions: &mut Vec<Action>) {
        if let Some(Update { gone, peer }) = update {
            self.memory_changed = true;
            actions.extend(gone.map(Action::RemovePeer));
            actions.push(Action::SetPeer(peer));
        }
    }

    /// If it is this node that does not belong to the cluster any more, it must not go on as one of its own.
    fn leave_if_excluded(&mut self, actions: &mut Vec<Action>) {
        let own = &self.known.own;
        if self.gone_at.is_some() || !self.register.excludes(&own.node, &own.wireguard_key) {
            return;
        }
        let departed = self.known.ledger.departure(&own.node, &own.wireguard_key).is_some();
        let node = own.node.clone();
        let change = if departed { StateChange::Departed(node) } else { StateChange::Expelled(node) };
        actions.push(Action::StateChanged(change));
        self.known.own.lease = None;
        self.order(actions);
        actions.push(Action::Left);
        self.phase = Phase::Left;
    }
}
