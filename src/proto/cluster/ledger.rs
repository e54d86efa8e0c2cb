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
/// Most departures kept: more nodes than an operator sends away within a month, which is how long they are kept.
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
        let spent: BTreeSet<_> = self.admissions.values().map(|new| (new.ticket, new.at_ms, new)).collect();
        let is_spent = |new: &Admission| {
            let before = spent.range(..(new.ticket, new.at_ms, new)).rev();
            before.take_while(|other| other.0 == new.ticket).count() >= usize::from(new.uses)
        };
        let valid: Vec<&Admission> = self.admissions.values().filter(|new| !is_spent(new)).collect();
        let is_over = |new: &Admission| {
            let replaced = valid.iter().any(|other| {
                let rivals = other.node == new.node || other.wireguard_key == new.wireguard_key;
                rivals && (other.at_ms, *other) > (new.at_ms, new)
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: u64 = 1_800_000_000_000;
    const HOUR_MS: u64 = 3_600_000;

    fn node(number: u8) -> NodeId {
        format!("n{number}").parse().unwrap()
    }

    fn admission(ticket: u8, uses: u16, number: u8, key: u8, at_ms: u64) -> Admission {
        Admission {
            ticket: [ticket; 16],
            uses,
            node: node(number),
            wireguard_key: [key; 32],
            endpoint: None,
            tunnel_address: [10, 9, 9, key].into(),
            at_ms,
            expires_ms: NOW + HOUR_MS,
        }
    }

    fn departure(number: u8, key: u8, at_ms: u64) -> Note {
        Note::Departure(Departure { node: node(number), wireguard_key: [key; 32], at_ms })
    }

    fn rotation(seq: u32, tag: u8, content: u8) -> Rotation {
        let previous = TokenName { seq: seq - 1, tag: [0; 4] };
        Rotation { token: TokenName { seq, tag: [tag; 4] }, previous, at_ms: NOW, sealed: vec![content; 60] }
    }

    fn drain(number: u8, draining: bool, at_ms: u64, by: u8) -> Note {
        let (node, by) = (node(number), node(by));
        Note::Drain(Drain { node, draining, at_ms, by, deadline_secs: 60, after: None })
    }

    fn ledger(notes: impl IntoIterator<Item = Note>) -> Ledger {
        let mut ledger = Ledger::default();
        for note in notes {
            ledger.merge(NOW, note);
        }
        ledger
    }

    fn merged(one: &Ledger, other: &Ledger) -> Ledger {
        let mut both = one.clone();
        for note in other.notes() {
            both.merge(NOW, note);
        }
        both
    }

    /// Whose admission stands.
    fn standing(ledger: &Ledger) -> Vec<NodeId> {
        let stands = ledger.admissions().into_iter().filter(|(_, standing)| *standing == Standing::Stands);
        stands.map(|(admission, _)| admission.node.clone()).collect()
    }

    #[test]
    fn the_earliest_uses_of_a_ticket_stand() {
        let three = [3, 1, 2].map(|n| Note::Admission(admission(1, 1, n, n, NOW + u64::from(n))));
        assert_eq!(standing(&ledger(three.clone())), [node(1)]);
        let twice = [3, 1, 2].map(|n| Note::Admission(admission(1, 2, n, n, NOW + u64::from(n))));
        assert_eq!(standing(&ledger(twice)), [node(1), node(2)]);
        let same_moment = [2, 1].map(|n| Note::Admission(admission(1, 1, n, n, NOW)));
        assert_eq!(standing(&ledger(same_moment)), [node(1)]);
        let other_tickets = [1, 2, 3].map(|n| Note::Admission(admission(n, 1, n, n, NOW)));
        assert_eq!(standing(&ledger(other_tickets)).len(), 3);
    }

    #[test]
    fn the_same_request_told_twice_spends_a_ticket_once() {
        let request = admission(1, 1, 1, 1, NOW);
        let again = Admission { at_ms: NOW + 9, ..request.clone() };
        let ledger = ledger([Note::Admission(again), Note::Admission(request.clone())]);
        assert_eq!(ledger.admissions(), [(&request, Standing::Stands)]);
    }

    #[test]
    fn a_name_and_a_key_belong_to_who_was_let_in_last() {
        let first = admission(1, 1, 1, 1, NOW);
        let same_name = admission(2, 1, 1, 2, NOW + 1);
        let same_key = admission(3, 1, 3, 1, NOW + 2);
        let all = [&same_name, &first].map(|new| Note::Admission(new.clone()));
        let both = ledger(all.clone());
        assert_eq!(both.admissions(), [(&first, Standing::Over), (&same_name, Standing::Stands)]);
        let three = ledger(all.into_iter().chain([Note::Admission(same_key)]));
        assert_eq!(standing(&three), [node(1), node(3)]);
        // Who lost its ticket takes nobody's name.
        let late = admission(1, 1, 9, 9, NOW + 5);
        let thief = admission(1, 1, 2, 2, NOW + 6);
        let own = admission(4, 1, 2, 5, NOW);
        let honest = ledger([first, late, thief, own].map(Note::Admission));
        assert_eq!(standing(&honest), [node(1), node(2)]);
    }

    #[test]
    fn a_departure_ends_an_admission_and_a_later_one_begins_anew() {
        let first = Note::Admission(admission(1, 1, 1, 1, NOW));
        let left = ledger([first.clone(), departure(1, 1, NOW + 5)]);
        assert_eq!(standing(&left), []);
        let back = merged(&left, &ledger([Note::Admission(admission(2, 1, 1, 1, NOW + 6))]));
        assert_eq!(standing(&back), [node(1)]);
        assert_eq!(left.after_all_about(&node(1), &[1; 32], NOW), NOW + 6);
        assert_eq!(left.after_all_about(&node(1), &[9; 32], NOW), NOW + 6, "by its name");
        assert_eq!(left.after_all_about(&node(9), &[1; 32], NOW), NOW + 6, "by its key");
        assert_eq!(left.after_all_about(&node(9), &[9; 32], NOW), NOW);
    }

    #[test]
    fn the_operators_latest_wish_counts() {
        let drained = |notes: &[Note]| ledger(notes.iter().cloned()).drained().cloned().collect::<Vec<_>>();
        assert_eq!(drained(&[drain(1, true, NOW, 2)]), [node(1)]);
        assert_eq!(drained(&[drain(1, false, NOW + 1, 2), drain(1, true, NOW, 2)]), []);
        assert_eq!(drained(&[drain(1, false, NOW, 2), drain(1, true, NOW, 3)]), [node(1)]);
        assert_eq!(drained(&[drain(1, true, NOW, 3), drain(1, false, NOW, 2)]), [node(1)]);
    }

    #[test]
    fn what_has_expired_goes_and_does_not_come_back() {
        let notes = [
            Note::Admission(admission(1, 1, 1, 1, NOW)),
            departure(2, 2, NOW),
            Note::Rotation(rotation(1, 1, 1)),
            drain(3, true, NOW, 3),
        ];
        let mut ledger = ledger(notes.clone());
        assert!(!ledger.expire(NOW + HOUR_MS), "a little longer than the ticket");
        let much_later = NOW + 31 * 24 * HOUR_MS;
        assert!(ledger.expire(much_later));
        assert_eq!(ledger.notes().count(), 2, "tokens and wishes stay");
        assert!(!ledger.expire(much_later));
        for note in notes {
            assert!(!ledger.merge(much_later, note));
        }
        assert_eq!(ledger.notes().count(), 2);
    }

    #[test]
    fn nonsense_changes_nothing() {
        let gap = Rotation { previous: TokenName::default(), ..rotation(7, 1, 1) };
        let long = Rotation { sealed: vec![0; MAX_SEALED + 1], ..rotation(1, 1, 1) };
        let notes = [
            Note::Admission(admission(1, 0, 1, 1, NOW)),
            Note::Rotation(gap),
            Note::Rotation(long),
            departure(1, 1, NOW + 25 * HOUR_MS),
        ];
        assert_eq!(ledger(notes), Ledger::default());
    }

    #[test]
    fn a_refused_token_leaves_no_trace() {
        let mut ledger = ledger([Note::Rotation(rotation(1, 1, 1)), Note::Rotation(rotation(2, 1, 1))]);
        ledger.refuse(TokenName { seq: 2, tag: [1; 4] });
        assert_eq!(ledger, Ledger::recall(NOW, vec![Note::Rotation(rotation(1, 1, 1))]));
    }

    #[test]
    fn there_is_room_for_a_bounded_number_and_the_oldest_go() {
        let mut full = Ledger::default();
        for number in 0..400_u16 {
            let name: NodeId = format!("n{number}").parse().unwrap();
            let mut key = [0; 32];
            key[..2].copy_from_slice(&number.to_be_bytes());
            let at_ms = NOW + u64::from(number);
            let new = admission(0, 1, 0, 0, at_ms);
            let (ticket, expires_ms) = (key[..16].try_into().unwrap(), at_ms + HOUR_MS);
            let (node, wireguard_key) = (name.clone(), key);
            full.merge(NOW, Note::Admission(Admission { ticket, node, wireguard_key, expires_ms, ..new }));
            let gone = Departure { node: name.clone(), wireguard_key: key, at_ms };
            full.merge(NOW, Note::Departure(gone));
            full.merge(NOW, Note::Rotation(rotation(u32::from(number) + 1, 0, 0)));
            let Note::Drain(wish) = drain(0, true, at_ms, 0) else { panic!() };
            full.merge(NOW, Note::Drain(Drain { node: name, ..wish }));
        }
        assert_eq!(full.admissions.len(), MAX_ADMISSIONS);
        assert_eq!(full.departures.len(), MAX_DEPARTURES);
        assert_eq!(full.rotations.len(), MAX_ROTATIONS);
        assert_eq!(full.drains.len(), MAX_DRAINS);
        let first = full.admissions.values().map(|new| new.at_ms).min();
        assert_eq!(first, Some(NOW + 400 - MAX_ADMISSIONS as u64));
        assert_eq!(full.rotations().next().map(|first| first.token.seq as usize), Some(401 - MAX_ROTATIONS));
        assert_eq!(full.departures().map(|gone| gone.at_ms).min(), Some(NOW + 400 - MAX_DEPARTURES as u64));
    }

    /// Any note, of a small world in which they clash.
    fn any_note() -> impl Strategy<Value = Note> {
        let (name, key, time) = (0u8..4, 0u8..4, 0u64..6);
        prop_oneof![
            (0u8..3, 1u16..3, name.clone(), key.clone(), time.clone(), 0u64..2).prop_map(
                |(ticket, uses, name, key, at, life)| {
                    let new = admission(ticket, uses, name, key, NOW + at);
                    Note::Admission(Admission { expires_ms: NOW + life, ..new })
                }
            ),
            (name.clone(), key, time.clone()).prop_map(|(name, key, at)| departure(name, key, NOW + at)),
            (1u32..4, 0u8..2, 0u8..2)
                .prop_map(|(seq, tag, content)| Note::Rotation(rotation(seq, tag, content))),
            (name.clone(), any::<bool>(), time, name).prop_map(|(name, draining, at, by)| drain(
                name,
                draining,
                NOW + at,
                by
            )),
        ]
    }

    /// Departures of so many names that some must be dropped.
    fn too_many() -> impl Strategy<Value = Vec<Note>> {
        let one = (0u8..100, 0u64..40).prop_map(|(name, at)| departure(name, 0, NOW + at));
        prop::collection::vec(one, 0..120)
    }

    fn check_laws(one: &[Note], two: &[Note], three: &[Note]) -> Result<(), TestCaseError> {
        let [a, b, c] = [one, two, three].map(|notes| ledger(notes.iter().cloned()));
        prop_assert_eq!(merged(&a, &b), merged(&b, &a), "commutative");
        prop_assert_eq!(merged(&merged(&a, &b), &c), merged(&a, &merged(&b, &c)), "associative");
        prop_assert_eq!(merged(&a, &a), a.clone(), "idempotent");
        let all = || one.iter().chain(two).chain(three).cloned();
        let (forwards, backwards) = (ledger(all()), ledger(all().rev()));
        prop_assert_eq!(&forwards, &backwards, "whatever the order");
        prop_assert_eq!(&forwards, &merged(&merged(&a, &b), &c), "whatever the grouping");
        prop_assert_eq!(forwards.hash(), forwards.notes().fold(0, |sum, note| sum ^ hash(&note)));
        prop_assert_eq!(a == b, a.hash() == b.hash());
        Ok(())
    }

    proptest! {
        #[test]
        fn merging_is_commutative_associative_and_idempotent(
            one in prop::collection::vec(any_note(), 0..12),
            two in prop::collection::vec(any_note(), 0..12),
            three in prop::collection::vec(any_note(), 0..12),
        ) {
            check_laws(&one, &two, &three)?;
        }

        #[test]
        fn what_stands_is_sound(notes in prop::collection::vec(any_note(), 0..30)) {
            let ledger = ledger(notes);
            let mut by_ticket: BTreeMap<[u8; 16], Vec<&Admission>> = BTreeMap::new();
            let (mut names, mut keys) = (BTreeSet::new(), BTreeSet::new());
            for (new, standing) in ledger.admissions() {
                if standing == Standing::Stands {
                    prop_assert!(names.insert(&new.node), "one name twice");
                    prop_assert!(keys.insert(new.wireguard_key), "one key twice");
                    by_ticket.entry(new.ticket).or_default().push(new);
                }
            }
            for stand in by_ticket.values() {
                let most = stand.iter().map(|new| usize::from(new.uses)).max();
                prop_assert!(Some(stand.len()) <= most, "a ticket was spent too often");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(8))]
        #[test]
        fn dropping_the_oldest_keeps_the_laws(one in too_many(), two in too_many(), three in too_many()) {
            check_laws(&one, &two, &three)?;
        }
    }
}
