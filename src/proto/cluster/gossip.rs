//! How records spread.
//!
//! A node pushes its own changes to every live peer at once. Whoever learns something new tells two others that
//! it has it, and every node tells one other, at random and regularly, all it has; whoever is behind pulls. So a
//! lost datagram costs a fraction of a second, and a record finds its way around a link that is down.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::IteratorRandom;
use rand::{RngExt, SeedableRng};

use super::assembly::{Assemblies, split};
use super::ledger::Ledger;
use super::membership::Membership;
use super::message::{Entry, MAX_DIGEST, MAX_PULL, Message, Part};
use super::record::{MAX_NODES, NodeRecord, Records, Version};
use crate::proto::node::NodeId;

/// How soon the same record may be pulled again: the answer to the first pull is under way for a round trip.
const PULL_AGAIN_AFTER: Duration = Duration::from_millis(250);
/// How many others a node tells of a foreign record it has just learnt: two make an epidemic.
const TELL: usize = 2;
/// How often a node repeats, to all, that it has changed; a record of one piece may be lost whole.
const REMINDERS: u8 = 2;
/// The time between a change and its reminders, and between these.
const REMIND_AFTER: Duration = Duration::from_millis(250);

/// Datagrams and their receivers.
pub type Sends = Vec<(NodeId, Vec<u8>)>;

/// All a node knows of the cluster.
pub struct Knowledge {
    /// Our own record.
    pub own: NodeRecord,
    /// The others'.
    pub records: Records,
    /// Who is there.
    pub membership: Membership,
    /// What the whole cluster keeps.
    pub ledger: Ledger,
}

/// What a digest made us do.
#[derive(Debug, Default)]
pub struct Heard {
    /// Questions and answers.
    pub sends: Sends,
    /// Somebody remembers a later life of ours than this one: our clock has been set back. It must be outgrown.
    pub outgrow: Option<u64>,
}

/// The state of gossip: small, and bounded by the number of nodes.
pub struct Gossip {
    assemblies: Assemblies,
    pulled: BTreeMap<NodeId, Instant>,
    /// Records that were not believed: they are not pulled again, until there is a newer one.
    refused: BTreeMap<NodeId, Version>,
    digest_at: Instant,
    digest_interval: Duration,
    reminders: u8,
    remind_at: Instant,
    rng: StdRng,
}

impl Knowledge {
    fn get(&self, node: &NodeId) -> Option<&NodeRecord> {
        if self.own.node == *node { Some(&self.own) } else { self.records.get(node) }
    }

    /// The records of the nodes that are there, without us.
    pub fn living(&self) -> impl Iterator<Item = &NodeRecord> {
        self.membership.live().iter().filter_map(|node| self.records.get(node))
    }

    fn entry(&self, node: &NodeId) -> Entry {
        let own = self.own.node == *node;
        let generation = if own {
            self.membership.generation()
        } else {
            self.membership.known(node).map_or(0, |(_, generation)| generation)
        };
        let version = self.get(node).map(|record| record.version).unwrap_or_default();
        Entry { node: node.clone(), version, generation }
    }

    /// All we have about the living, and about `peer`, who may have lived before. What we have about the dead is
    /// not passed on, or it would go round for ever.
    fn digest_for(&self, peer: &NodeId) -> Vec<Vec<u8>> {
        let live = self.membership.live();
        let mut entries = Vec::with_capacity(live.len() + 2);
        entries.extend([self.entry(&self.own.node), self.entry(peer)]);
        entries.extend(live.iter().filter(|node| *node != peer).map(|node| self.entry(node)));
        self.digests(entries)
    }

    /// That of our own record, and of the ledger.
    pub fn own_digest(&self) -> Vec<Vec<u8>> {
        self.digests(vec![self.entry(&self.own.node)])
    }

    pub(super) fn digests(&self, mut entries: Vec<Entry>) -> Vec<Vec<u8>> {
        let mut datagrams = Vec::new();
        while !entries.is_empty() {
            let later = entries.split_off(entries.len().min(MAX_DIGEST));
            let digest = Message::Digest { ledger: self.ledger.hash(), entries };
            datagrams.extend(digest.encode().ok());
            entries = later;
        }
        datagrams
    }
}

/// Every datagram to everyone.
pub fn to_all<'a>(peers: impl Iterator<Item = &'a NodeId>, datagrams: &[Vec<u8>]) -> Sends {
    peers.flat_map(|peer| datagrams.iter().map(|datagram| (peer.clone(), datagram.clone()))).collect()
}

impl Gossip {
    /// Begins; the first regular digest goes out somewhere within the first `digest_interval`, so that nodes
    /// started together do not speak in unison.
    pub fn new(now: Instant, digest_interval: Duration, seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let digest_at = now + digest_interval.mul_f64(rng.random_range(0.1..1.0));
        Self {
            assemblies: Assemblies::default(),
            pulled: BTreeMap::new(),
            refused: BTreeMap::new(),
            digest_at,
            digest_interval,
            reminders: 0,
            remind_at: now,
            rng,
        }
    }

    /// When [`Gossip::tick`] is due.
    pub fn next_timeout(&self) -> Instant {
        let reminder = (self.reminders > 0).then_some(self.remind_at);
        [reminder, self.assemblies.next_timeout()].into_iter().flatten().fold(self.digest_at, Instant::min)
    }

    /// Our own record has changed: everyone gets it.
    pub fn push(&mut self, now: Instant, known: &Knowledge) -> Sends {
        self.reminders = REMINDERS;
        self.remind_at = now + REMIND_AFTER;
        to_all(known.membership.live().iter(), &split(&known.own))
    }

    /// A node has turned up: tell it all, so that it can pull what it lacks and say what we lack.
    pub fn greet(known: &Knowledge, peer: &NodeId) -> Sends {
        to_all(std::iter::once(peer), &known.digest_for(peer))
    }

    /// Does what is due: the regular digest, reminders, questions for missing pieces.
    pub fn tick(&mut self, now: Instant, known: &Knowledge) -> Sends {
        let mut sends = Sends::new();
        let live = known.membership.live();
        if self.reminders > 0 && now >= self.remind_at {
            self.reminders -= 1;
            self.remind_at = now + REMIND_AFTER;
            sends.extend(to_all(live.iter(), &known.own_digest()));
        }
        if now >= self.digest_at {
            self.digest_at = now + self.digest_interval;
            if let Some(peer) = live.iter().choose(&mut self.rng) {
                sends.extend(Self::greet(known, peer));
            }
        }
        for (source, node) in self.assemblies.overdue(now) {
            sends.extend(Message::Pull(vec![node]).encode().ok().map(|datagram| (source, datagram)));
        }
        sends
    }

    /// Compares a peer's digest with what we have: pulls what is newer there, offers what is newer here.
    pub fn digest(&mut self, now: Instant, known: &Knowledge, from: &NodeId, theirs: &[Entry]) -> Heard {
        let mut heard = Heard::default();
        let (mut pull, mut offer, mut pass_on) = (Vec::new(), Vec::new(), Vec::new());
        self.pulled.retain(|_, at| now < *at + PULL_AGAIN_AFTER);
        for entry in theirs {
            let ours = known.entry(&entry.node);
            if entry.node == known.own.node {
                let remembered = entry.version.incarnation.max(entry.generation);
                if remembered > ours.version.incarnation.max(ours.generation) {
                    heard.outgrow = Some(remembered);
                }
            }
            // Somebody has seen the end of a life that the node itself goes on with.
            let ended = entry.node != *from && entry.generation > ours.generation;
            if ended && known.membership.live().contains(&entry.node) {
                pass_on.push(entry.clone());
            }
            let outlived = entry.node == *from && entry.generation < ours.generation;
            if entry.version < ours.version || outlived {
                offer.push(ours);
            } else if entry.version > ours.version
                && entry.node != known.own.node
                && self.may_pull(now, entry)
            {
                pull.push(entry.node.clone());
            }
        }
        let pulls = pull.chunks(MAX_PULL).filter_map(|some| Message::Pull(some.to_vec()).encode().ok());
        heard.sends.extend(pulls.chain(known.digests(offer)).map(|datagram| (from.clone(), datagram)));
        for entry in pass_on {
            let node = entry.node.clone();
            heard.sends.extend(to_all([node].iter(), &known.digests(vec![entry])));
        }
        heard
    }

    fn may_pull(&mut self, now: Instant, entry: &Entry) -> bool {
        let refused = self.refused.get(&entry.node).is_some_and(|version| entry.version <= *version);
        if refused || self.pulled.len() >= MAX_NODES || self.pulled.contains_key(&entry.node) {
            return false;
        }
        self.pulled.insert(entry.node.clone(), now);
        true
    }

    /// Answers a pull with what we have of it.
    pub fn pull(known: &Knowledge, from: &NodeId, wanted: &[NodeId]) -> Sends {
        wanted
            .iter()
            .filter_map(|node| known.get(node))
            .flat_map(|record| to_all(std::iter::once(from), &split(record)))
            .collect()
    }

    /// Takes in a piece of a record; the record, if it is complete, newer than ours and not about ourselves.
    pub fn part(
        &mut self,
        now: Instant,
        known: &Knowledge,
        from: &NodeId,
        part: &Part<'_>,
    ) -> Option<NodeRecord> {
        let known = part.node == known.own.node || part.label.version <= known.records.version(&part.node);
        if known { None } else { self.assemblies.add(now, from, part) }
    }

    /// A record that has arrived is not believed.
    pub fn refuse(&mut self, record: &NodeRecord) {
        if self.refused.len() >= MAX_NODES {
            self.refused.clear();
        }
        self.refused.insert(record.node.clone(), record.version);
    }

    /// What is believed has changed: refused records may be asked for again.
    pub fn reconsider(&mut self) {
        self.refused.clear();
    }

    /// Questions asked so far may not have been understood: they may be asked again at once.
    pub fn forget_questions(&mut self) {
        self.pulled.clear();
    }

    /// A foreign record, just learnt from `from`, has been kept: tell some others that we have it.
    pub fn tell(&mut self, known: &Knowledge, from: &NodeId, node: &NodeId) -> Sends {
        let strangers = known.membership.live().iter().filter(|peer| *peer != from && *peer != node);
        let some = strangers.sample(&mut self.rng, TELL);
        to_all(some.into_iter(), &known.digests(vec![known.entry(node)]))
    }
}
