//! What arrives from the others, and who is there.

use std::time::Instant;

use super::core::Cluster;
use super::events::{Action, StateChange};
use super::gossip::{Gossip, to_all};
use super::membership::{Change, Liveness, Output};
use super::message::{Entry, Message};
use super::record::{Applied, NodeRecord, Version};
use super::token::TokenName;
use crate::proto::node::NodeId;

impl Cluster {
    pub(super) fn datagram(
        &mut self,
        now: Instant,
        from: &NodeId,
        bytes: &[u8],
        under: TokenName,
        actions: &mut Vec<Action>,
    ) {
        let message = match Message::decode(bytes) {
            Ok(message) if *from != self.known.own.node => message,
            _ => return self.traffic.malformed += 1,
        };
        self.traffic.received += 1;
        if self.roster.contains(from) {
            self.heard.insert(from.clone(), now);
            self.tokens.heard(from, under);
        }
        let retired = self.tokens.is_retired(under, self.overlap, self.unix_ms);
        match message {
            Message::Digest { ledger, entries } => {
                self.forget_tokens_of_earlier_life(from, &entries, under);
                let sends = self.courier.compare(now, &self.known, from, ledger);
                self.send(sends, actions);
                if !retired {
                    self.hear_digest(now, from, &entries, actions);
                }
            }
            Message::Notes(notes) => self.hear_notes(now, from, notes, actions),
            // Whoever speaks so was away; it has been told how to catch up, and counts again when it has.
            _ if retired => self.traffic.refused += 1,
            Message::Swim(payload) => match self.known.membership.receive(now, from, payload) {
                Ok(output) => self.follow(now, output, actions),
                Err(_) => self.traffic.refused += 1,
            },
            Message::Pull(wanted) => self.send(Gossip::pull(&self.known, from, &wanted), actions),
            Message::Part(part) => {
                if let Some(record) = self.gossip.part(now, &self.known, from, &part) {
                    self.learn(now, from, record, actions);
                }
            }
        }
    }

    /// A node that has come back under a later life than we knew may have come back without its tokens.
    fn forget_tokens_of_earlier_life(&mut self, from: &NodeId, entries: &[Entry], under: TokenName) {
        let known = self.known.records.version(from).incarnation;
        let later = |entry: &Entry| entry.node == *from && entry.version.incarnation > known;
        if known > 0 && entries.iter().any(later) && self.roster.contains(from) {
            self.tokens.forget(from);
            self.tokens.heard(from, under);
        }
    }

    fn hear_digest(&mut self, now: Instant, from: &NodeId, entries: &[Entry], actions: &mut Vec<Action>) {
        let heard = self.gossip.digest(now, &self.known, from, entries);
        self.send(heard.sends, actions);
        let ended: Vec<_> = entries.iter().filter_map(|entry| self.ended_life(now, from, entry)).collect();
        let told = self.known.digests(ended);
        self.send(to_all([from.clone()].iter(), &told), actions);
        if entries.iter().any(|entry| self.is_unheard_of(from, entry)) {
            let output = self.known.membership.announce(now, from);
            self.follow(now, output, actions);
        }
        if let Some(known) = heard.outgrow {
            let output = self.known.membership.outgrow(now, known);
            self.alter_own(|own| {
                own.version = Version { incarnation: known.saturating_add(1), change: 0 };
            });
            self.follow(now, output, actions);
            actions.push(Action::StateChanged(StateChange::Renewed));
        }
    }

    /// What to say of a node that is there for `from` and dead for us: that its present life has ended, so that it takes
    /// the next one, which counts for us, too. While the two of us cannot reach each other it would not learn that from
    /// us. News of a death takes a while, so it is not said at once.
    fn ended_life(&self, now: Instant, from: &NodeId, entry: &Entry) -> Option<Entry> {
        let patience = self.timing.heartbeat_timeout();
        let missed = self.absent.since(&entry.node).is_some_and(|since| now >= since + patience);
        if !missed || entry.node == *from {
            return None;
        }
        let (liveness, ended) = self.known.membership.known(&entry.node)?;
        let is_over = liveness == Liveness::Down && entry.generation <= ended;
        is_over.then(|| Entry { generation: ended.saturating_add(1), ..entry.clone() })
    }

    /// Whether a node is there for `from` that has not been heard of in this life of ours: when `from` told us whom it knows,
    /// that was lost. Called again, it tells us again.
    fn is_unheard_of(&self, from: &NodeId, entry: &Entry) -> bool {
        entry.node != *from
            && self.roster.contains(&entry.node)
            && self.known.membership.known(&entry.node).is_none()
    }

    /// Keeps a record that has arrived whole, if it is believable and newer.
    fn learn(&mut self, now: Instant, from: &NodeId, record: NodeRecord, actions: &mut Vec<Action>) {
        if self.register.excludes(&record.node, &record.wireguard_key) {
            self.traffic.records_refused += 1;
            return self.gossip.refuse(&record);
        }
        match self.roster.learn(&record) {
            Ok(update) => self.set_peer(update, actions),
            Err(reason) => {
                self.traffic.records_refused += 1;
                self.gossip.refuse(&record);
                let node = record.node;
                return actions.push(Action::StateChanged(StateChange::RecordRefused { node, reason }));
            }
        }
        let node = record.node.clone();
        self.top_epoch = self.top_epoch.max(record.lease.map_or(0, |lease| lease.epoch));
        let token = record.token;
        if self.known.records.apply(record) == Applied::Newer {
            self.tokens.claimed(&node, token);
            self.unsettled = true;
            let sends = self.gossip.tell(&self.known, from, &node);
            self.send(sends, actions);
        }
        if !self.known.membership.live().contains(&node) {
            self.call_at.get_or_insert(now);
        }
    }

    /// Sends what membership wants sent and follows its changes.
    pub(super) fn follow(&mut self, now: Instant, output: Output, actions: &mut Vec<Action>) {
        self.send(output.sends, actions);
        self.unsettled |= !output.changes.is_empty();
        for change in output.changes {
            match change {
                Change::Up(node) => {
                    self.returned(&node);
                    self.send(Gossip::greet(&self.known, &node), actions);
                    actions.push(Action::StateChanged(StateChange::NodeUp(node)));
                }
                Change::Down(node) => {
                    self.tokens.forget(&node);
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
        let before = self.absent.end(node);
        if before.is_some() {
            self.election.returned();
        }
        if before == Some(self.known.records.version(node)) {
            self.known.records.forget(node);
        }
    }

    /// Calls peers that are not there, at most `some` at a time, until they are. A digest goes along, so that one
    /// who remembers a later life of ours can say so.
    pub(super) fn call_the_absent(&mut self, now: Instant, some: usize, actions: &mut Vec<Action>) {
        let live = self.known.membership.live();
        let absent: Vec<NodeId> = self.roster.nodes().filter(|node| !live.contains(*node)).cloned().collect();
        self.call_at = (!absent.is_empty()).then(|| now + self.timing.announce_interval());
        let after = absent.iter().position(|node| Some(node) > self.last_called.as_ref()).unwrap_or(0);
        let (first, then) = absent.split_at(after);
        for node in then.iter().chain(first).take(some) {
            self.calling = Some((node.clone(), self.tokens.call(node)));
            let output = self.known.membership.announce(now, node);
            self.follow(now, output, actions);
            self.send(Gossip::greet(&self.known, node), actions);
            self.last_called = Some(node.clone());
        }
        self.calling = None;
    }
}
