//! The notes, merged: whoever has heard the same ones holds the same ledger, whatever their order and number.
//!
//! Of two notes about the same matter one wins, always the same one, and of too many the oldest go. Both are orders
//! on notes, so merging is commutative, associative and idempotent (the laws below), and two ledgers can be compared
//! by a hash.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sha3::{Digest, Sha3_256};

use super::note::{Admission, Departure, Drain, MAX_SEALED, Note, Rotation};
use super::record::MAX_NODES;
use super::token::TokenName;
use crate::proto::node::NodeId;

/// Most admissions kept: as many as a cluster has nodes. They are of use for as long as their ticket lives.
pub const MAX_ADMISSIONS: usize = MAX_NODES;
/// Most departures kept: more than an operator sends away within [`DEPARTURE_LIFE`].
pub const MAX_DEPARTURES: usize = 64;
/// Most token rotations kept. All of them are needed: whoever holds the first token only, a node that was away or a
/// new one, opens one after the other. One a month fills five years.
pub const MAX_ROTATIONS: usize = 64;
/// Most wishes about nodes kept: one for each.
pub const MAX_DRAINS: usize = MAX_NODES;

/// How long an admission outlives its ticket: nodes look at their own clocks when they judge a ticket.
const TICKET_MARGIN: Duration = Duration::from_mins(10);
/// How long a departure is kept: a node that was away for so long and still calls one that left does no harm.
const DEPARTURE_LIFE: Duration = Duration::from_hours(30 * 24);
/// How far in the future a note may have been made: the clocks of nodes that can talk differ by seconds, so more than a
/// day is nonsense that nobody could ever overrule.
const MAX_AHEAD: Duration = Duration::from_hours(24);

/// What an admission is known by: the ticket that expires first is the first to be dropped.
type AdmissionKey = (u64, [u8; 16], NodeId, [u8; 32]);
/// What a departure is known by.
type NameAndKey = (NodeId, [u8; 32]);

/// What became of an admission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Its node belongs to the cluster.
    Stands,
    /// Its ticket was spent by others before.
    Lost,
    /// Its node has left, or another one has its name or its key now.
    Over,
}

/// The notes a node has heard of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger {
    admissions: BTreeMap<AdmissionKey, Admission>,
    departures: BTreeMap<NameAndKey, Departure>,
    rotations: BTreeMap<TokenName, Rotation>,
    drains: BTreeMap<NodeId, Drain>,
    hash: u64,
}

impl Ledger {
    /// The ledger that was kept over a restart.
    pub fn recall(unix_ms: u64, notes: Vec<Note>) -> Self {
        let mut ledger = Self::default();
        for note in notes {
            ledger.merge(unix_ms, note);
        }
        ledger
    }

    /// Takes in a note; whether that changed anything. A note that is impossible, expired, or older than what is known
    /// of the same matter changes nothing.
    pub fn merge(&mut self, unix_ms: u64, note: Note) -> bool {
        if !is_possible(&note) || is_expired(&note, unix_ms) || is_ahead(&note, unix_ms) {
            return false;
        }
        let before = self.hash;
        match note {
            Note::Admission(new) => self.admit(new),
            Note::Departure(new) => self.depart(new),
            Note::Rotation(new) => self.rotate(new),
            Note::Drain(new) => self.drain(new),
        }
        self.hash != before
    }

    /// Drops what has expired; whether that was anything.
    pub fn expire(&mut self, unix_ms: u64) -> bool {
        let expired: Vec<Note> = self.notes().filter(|note| is_expired(note, unix_ms)).collect();
        for note in &expired {
            self.remove(note);
        }
        !expired.is_empty()
    }

    /// Drops a rotation that cannot be opened.
    pub fn refuse(&mut self, token: TokenName) {
        if let Some(rotation) = self.rotations.get(&token).cloned() {
            self.remove(&Note::Rotation(rotation));
        }
    }

    /// The same for equal ledgers, and different for different ones but for once in 2^64.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// All notes.
    pub fn notes(&self) -> impl Iterator<Item = Note> {
        let rotations = self.rotations.values().cloned().map(Note::Rotation);
        let admissions = self.admissions.values().cloned().map(Note::Admission);
        let departures = self.departures.values().cloned().map(Note::Departure);
        rotations.chain(admissions).chain(departures).chain(self.drains.values().cloned().map(Note::Drain))
    }

    /// The token rotations, the oldest first.
    pub fn rotations(&self) -> impl Iterator<Item = &Rotation> {
        self.rotations.values()
    }

    /// The rotation that brought this token.
    pub fn rotation(&self, token: TokenName) -> Option<&Rotation> {
        self.rotations.get(&token)
    }

    /// What the operator wishes about a node.
    pub fn drain_of(&self, node: &NodeId) -> Option<&Drain> {
        self.drains.get(node)
    }

    /// Whom the operator wants out of the descriptor.
    pub fn drained(&self) -> impl Iterator<Item = &NodeId> {
        self.drains.values().filter(|drain| drain.draining).map(|drain| &drain.node)
    }

    /// Every admission and what became of it. Of those of one ticket as many stand as it has uses, the earliest. Of
    /// those that share a name or a key the latest stands, and it ends with the departure.
    pub fn admissions(&self) -> Vec<(&Admission, Standing)> {
        // By ticket, then by age: those before one with the same ticket have spent it first.
        let mut spent = BTreeSet::new();
        for new in self.admissions.values() {
            spent.insert((new.ticket, new.at_ms, &new.node, new.wireguard_key));
        }
        let is_spent = |new: &Admission| {
            let before = spent.range(..(new.ticket, new.at_ms, &new.node, new.wireguard_key)).rev();
            before.take_while(|other| other.0 == new.ticket).count() >= usize::from(new.uses)
        };
        let valid: Vec<&Admission> = self.admissions.values().filter(|new| !is_spent(new)).collect();
        let age = |new: &Admission| (new.at_ms, new.node.clone(), new.wireguard_key, new.ticket);
        let is_over = |new: &Admission| {
            let replaced = valid.iter().any(|other| {
                let rivals = other.node == new.node || other.wireguard_key == new.wireguard_key;
                rivals && age(other) > age(new)
            });
            let left = self.departure(&new.node, &new.wireguard_key).is_some_and(|at| at >= new.at_ms);
            replaced || left
        };
        let judge = |new| match new {
            new if is_spent(new) => Standing::Lost,
            new if is_over(new) => Standing::Over,
            _ => Standing::Stands,
        };
        self.admissions.values().map(|new| (new, judge(new))).collect()
    }

    /// When the node of this name and key left, Unix time in milliseconds.
    pub fn departure(&self, node: &NodeId, wireguard_key: &[u8; 32]) -> Option<u64> {
        self.departures.get(&(node.clone(), *wireguard_key)).map(|departure| departure.at_ms)
    }

    /// All departures.
    pub fn departures(&self) -> impl Iterator<Item = &Departure> {
        self.departures.values()
    }

    /// A time after everything that is known of the admission and departure of this name or key, and not before
    /// `unix_ms`: what is decided now overrules what was decided by a clock that was ahead.
    pub fn after_all_about(&self, node: &NodeId, wireguard_key: &[u8; 32], unix_ms: u64) -> u64 {
        let admitted = self.admissions.values().map(|new| (&new.node, &new.wireguard_key, new.at_ms));
        let departed = self.departures.values().map(|gone| (&gone.node, &gone.wireguard_key, gone.at_ms));
        admitted
            .chain(departed)
            .filter(|(name, key, _)| *name == node || *key == wireguard_key)
            .fold(unix_ms, |at, (_, _, known)| at.max(known.saturating_add(1)))
    }

    fn admit(&mut self, new: Admission) {
        let key = admission_key(&new);
        // The same request told twice: the earlier one counts, and its details.
        let earlier = |known: &Admission| (known.at_ms, known) <= (new.at_ms, &new);
        if self.admissions.get(&key).is_some_and(earlier) {
            return;
        }
        let old = self.admissions.insert(key, new.clone());
        self.rehash(old.map(Note::Admission), Some(Note::Admission(new)));
        if self.admissions.len() > MAX_ADMISSIONS {
            let dropped = self.admissions.pop_first().map(|(_, old)| Note::Admission(old));
            self.rehash(dropped, None);
        }
    }

    fn depart(&mut self, new: Departure) {
        let key = (new.node.clone(), new.wireguard_key);
        if self.departures.get(&key).is_some_and(|known| known.at_ms >= new.at_ms) {
            return;
        }
        let old = self.departures.insert(key, new.clone());
        self.rehash(old.map(Note::Departure), Some(Note::Departure(new)));
        if self.departures.len() > MAX_DEPARTURES {
            let oldest = self.departures.values().min_by_key(|gone| (gone.at_ms, *gone)).cloned();
            oldest.map(Note::Departure).iter().for_each(|note| self.remove(note));
        }
    }

    fn rotate(&mut self, new: Rotation) {
        if self.rotations.get(&new.token).is_some_and(|known| *known >= new) {
            return;
        }
        let old = self.rotations.insert(new.token, new.clone());
        self.rehash(old.map(Note::Rotation), Some(Note::Rotation(new)));
        if self.rotations.len() > MAX_ROTATIONS {
            let dropped = self.rotations.pop_first().map(|(_, old)| Note::Rotation(old));
            self.rehash(dropped, None);
        }
    }

    fn drain(&mut self, new: Drain) {
        if self.drains.get(&new.node).is_some_and(|known| wish_age(known) >= wish_age(&new)) {
            return;
        }
        let old = self.drains.insert(new.node.clone(), new.clone());
        self.rehash(old.map(Note::Drain), Some(Note::Drain(new)));
        if self.drains.len() > MAX_DRAINS {
            let oldest = self.drains.values().min_by_key(|wish| (wish.at_ms, &wish.node)).cloned();
            oldest.map(Note::Drain).iter().for_each(|note| self.remove(note));
        }
    }

    fn remove(&mut self, note: &Note) {
        let gone = match note {
            Note::Admission(old) => self.admissions.remove(&admission_key(old)).map(Note::Admission),
            Note::Departure(old) => {
                self.departures.remove(&(old.node.clone(), old.wireguard_key)).map(Note::Departure)
            }
            Note::Rotation(old) => self.rotations.remove(&old.token).map(Note::Rotation),
            Note::Drain(old) => self.drains.remove(&old.node).map(Note::Drain),
        };
        self.rehash(gone, None);
    }

    /// The hash of a set is the sum of its members' hashes, bit by bit without carrying, so that one note's coming or
    /// going costs as little as it is.
    fn rehash(&mut self, gone: Option<Note>, come: Option<Note>) {
        for note in gone.into_iter().chain(come) {
            self.hash ^= hash(&note);
        }
    }
}

fn hash(note: &Note) -> u64 {
    let encoded = postcard::to_stdvec(note).unwrap_or_default();
    let digest = Sha3_256::new().chain_update(b"rustbalance note").chain_update(encoded).finalize();
    digest.first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
}

fn admission_key(new: &Admission) -> AdmissionKey {
    (new.expires_ms, new.ticket, new.node.clone(), new.wireguard_key)
}

/// The age of a wish. That two differ and are equally old takes one node that says two things at once; even then all
/// others agree on one.
fn wish_age(wish: &Drain) -> (u64, &NodeId, bool, u32, Option<&NodeId>) {
    (wish.at_ms, &wish.by, wish.draining, wish.deadline_secs, wish.after.as_ref())
}

/// Whether a note can have been made by a node in its right mind.
fn is_possible(note: &Note) -> bool {
    match note {
        Note::Admission(new) => new.uses > 0,
        Note::Rotation(new) => {
            new.sealed.len() <= MAX_SEALED && new.previous.seq.checked_add(1) == Some(new.token.seq)
        }
        Note::Departure(_) | Note::Drain(_) => true,
    }
}

fn is_ahead(note: &Note, unix_ms: u64) -> bool {
    let at_ms = match note {
        Note::Admission(new) => new.at_ms,
        Note::Departure(new) => new.at_ms,
        Note::Rotation(new) => new.at_ms,
        Note::Drain(new) => new.at_ms,
    };
    at_ms > later(unix_ms, MAX_AHEAD)
}

fn is_expired(note: &Note, unix_ms: u64) -> bool {
    match note {
        Note::Admission(new) => unix_ms > later(new.expires_ms, TICKET_MARGIN),
        Note::Departure(new) => unix_ms > later(new.at_ms, DEPARTURE_LIFE),
        Note::Rotation(_) | Note::Drain(_) => false,
    }
}

fn later(unix_ms: u64, by: Duration) -> u64 {
    unix_ms.saturating_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX))
}
