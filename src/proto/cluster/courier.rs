//! How notes travel: at once to everyone who is there, and to whoever turns out not to have the same ones.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::IteratorRandom;

use super::gossip::{Knowledge, Sends, to_all};
use super::message::{MAX_NOTES, Message};
use super::note::Note;
use super::record::MAX_NODES;
use crate::proto::node::NodeId;

/// How soon the whole ledger may be sent to the same peer again: while news goes round, ledgers differ for a moment
/// without anything being wrong.
const GIVE_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// How often news is repeated to all, and after what time: a lost datagram must not let a ticket be spent twice.
const REPEATS: u8 = 2;
/// The time between news and its repetitions; two of them fit before an admission is answered.
const REPEAT_AFTER: Duration = Duration::from_millis(150);
/// How many others a node tells of news it has just heard: two make an epidemic.
const TELL: usize = 2;

/// The state of it: small, and bounded by the number of nodes.
pub struct Courier {
    /// Our own latest news, at most [`MAX_NOTES`], and how often it is still to be repeated.
    news: Vec<Note>,
    repeats: u8,
    repeat_at: Instant,
    given: BTreeMap<NodeId, Instant>,
    rng: StdRng,
}

impl Courier {
    /// Nothing to carry yet.
    pub fn new(now: Instant, seed: u64) -> Self {
        let rng = StdRng::seed_from_u64(seed);
        Self { news: Vec::new(), repeats: 0, repeat_at: now, given: BTreeMap::new(), rng }
    }

    /// We have made a note: everyone gets it, and again for certainty.
    pub fn push(&mut self, now: Instant, known: &Knowledge, note: Note) -> Sends {
        let sends = to_all(known.membership.live().iter(), &pack(std::slice::from_ref(&note)));
        if self.repeats == 0 || self.news.len() >= MAX_NOTES {
            self.news.clear();
        }
        self.news.push(note);
        self.repeats = REPEATS;
        self.repeat_at = now + REPEAT_AFTER;
        sends
    }

    /// `from` has told us news: some others get it.
    pub fn tell(&mut self, known: &Knowledge, from: &NodeId, news: &[Note]) -> Sends {
        let others = known.membership.live().iter().filter(|peer| *peer != from);
        let some = others.sample(&mut self.rng, TELL);
        to_all(some.into_iter(), &pack(news))
    }

    /// `from` has a ledger with this hash: if ours is another one, it gets all our notes, and hears that we lack some of
    /// its own, or it would keep them to itself until our next digest.
    pub fn compare(&mut self, now: Instant, known: &Knowledge, from: &NodeId, hash: u64) -> Sends {
        if hash == known.ledger.hash() {
            return Sends::new();
        }
        self.given.retain(|_, at| now < *at + GIVE_AGAIN_AFTER);
        if self.given.contains_key(from) || self.given.len() >= MAX_NODES {
            return Sends::new();
        }
        self.given.insert(from.clone(), now);
        let all: Vec<Note> = known.ledger.notes().collect();
        let mut sends = to(from, &all);
        sends.extend(to_all(std::iter::once(from), &known.own_digest()));
        sends
    }

    /// Repeats news, if that is due.
    pub fn tick(&mut self, now: Instant, known: &Knowledge) -> Sends {
        if self.repeats == 0 || now < self.repeat_at {
            return Sends::new();
        }
        self.repeats -= 1;
        self.repeat_at = now + REPEAT_AFTER;
        to_all(known.membership.live().iter(), &pack(&self.news))
    }

    /// When [`Courier::tick`] is due.
    pub fn next_timeout(&self) -> Option<Instant> {
        (self.repeats > 0).then_some(self.repeat_at)
    }
}

/// Notes for one node.
pub fn to(node: &NodeId, notes: &[Note]) -> Sends {
    to_all(std::iter::once(node), &pack(notes))
}

/// Notes as datagrams.
fn pack(notes: &[Note]) -> Vec<Vec<u8>> {
    notes.chunks(MAX_NOTES).filter_map(|some| Message::Notes(some.to_vec()).encode().ok()).collect()
}
