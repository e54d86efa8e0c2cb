//! The hash ring that says which relays store a descriptor (rend-spec-v3, section 2.2.3).

use serde::{Deserialize, Serialize};

use crate::proto::onion::blinding::HsBlindId;
use crate::proto::onion::hsdir::{HsDir, hs_index, hsdir_index};
use crate::proto::onion::network::{HsDirParams, NetworkView, Slot};
use crate::proto::onion::period::TimePeriod;

/// A place on the ring as people are told it, in 2^32nds of the way around: the first four bytes of an index. Two relays
/// may share one; the ring's order is that of whole indices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RingPlace(pub u32);

impl RingPlace {
    /// Where an index lies.
    pub fn of(index: &[u8; 32]) -> Self {
        let [a, b, c, d, ..] = *index;
        Self(u32::from_be_bytes([a, b, c, d]))
    }

    /// The way from the ring's beginning to here, as a part of the whole: from 0 to less than 1.
    pub fn turns(self) -> f64 {
        f64::from(self.0) / (f64::from(u32::MAX) + 1.0)
    }
}

/// One copy of a descriptor: where it lies, and who must store it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replica {
    /// Where the descriptor lies.
    pub place: RingPlace,
    /// The HSDirs, nearest first, and where they lie.
    pub hsdirs: Vec<(RingPlace, HsDir)>,
}

/// All HSDirs in the order of one descriptor's ring.
#[derive(Debug, Clone)]
pub struct Ring {
    /// Sorted by index.
    places: Vec<([u8; 32], HsDir)>,
    /// The period the indices were made for.
    period: TimePeriod,
    /// The consensus' parameters.
    params: HsDirParams,
}

impl Ring {
    /// The ring of one slot. Hashes once for each HSDir of the network, so keep it while the consensus stays.
    pub fn new(view: &NetworkView, slot: &Slot) -> Self {
        let mut places: Vec<_> =
            view.hsdirs.iter().map(|dir| (hsdir_index(&dir.ed_id, &slot.srv, slot.period), *dir)).collect();
        places.sort_unstable();
        Self { places, period: slot.period, params: view.params }
    }

    /// The HSDirs that must store the descriptor of `blinded`: one list for each replica, nearest first. A relay that
    /// an earlier replica has taken is skipped; with few relays the later lists are shorter.
    pub fn responsible(&self, blinded: &HsBlindId) -> Vec<Vec<HsDir>> {
        relays(self.replicas(blinded))
    }

    /// The same as [`Self::responsible`], with the places.
    pub fn replicas(&self, blinded: &HsBlindId) -> Vec<Replica> {
        self.walk(blinded, self.params.spread_store)
    }

    /// The HSDirs that clients ask for the descriptor of `blinded`, as in [`Self::responsible`].
    pub fn asked_by_clients(&self, blinded: &HsBlindId) -> Vec<Vec<HsDir>> {
        relays(self.walk(blinded, self.params.spread_fetch))
    }

    /// For each replica up to `spread` HSDirs, from the first at or after its index on, around the ring.
    fn walk(&self, blinded: &HsBlindId, spread: u8) -> Vec<Replica> {
        let mut taken: Vec<HsDir> = Vec::new();
        let mut replicas = Vec::new();
        for replica in 1..=u64::from(self.params.replicas) {
            let index = hs_index(blinded, replica, self.period);
            let start = self.places.partition_point(|(place, _)| *place < index);
            let (before, after) = self.places.split_at(start);
            let hsdirs: Vec<_> = after
                .iter()
                .chain(before)
                .filter(|(_, dir)| !taken.contains(dir))
                .take(spread.into())
                .map(|(place, dir)| (RingPlace::of(place), *dir))
                .collect();
            taken.extend(hsdirs.iter().map(|(_, dir)| dir));
            replicas.push(Replica { place: RingPlace::of(&index), hsdirs });
        }
        replicas
    }
}

/// The HSDirs alone.
fn relays(replicas: Vec<Replica>) -> Vec<Vec<HsDir>> {
    let alone = |replica: Replica| replica.hsdirs.into_iter().map(|(_, dir)| dir).collect();
    replicas.into_iter().map(alone).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::proto::onion::shared_random::SharedRandom;

    fn ring(relays: u16, params: HsDirParams) -> Ring {
        let period = TimePeriod { num: 20_000, length_minutes: 1440 };
        let srv = SharedRandom([7; 32]);
        let mut places: Vec<_> = (0..relays)
            .map(|number| {
                let mut dir = HsDir { rsa_id: [0; 20], ed_id: [0; 32] };
                dir.rsa_id[..2].copy_from_slice(&number.to_be_bytes());
                dir.ed_id[..2].copy_from_slice(&number.to_be_bytes());
                (hsdir_index(&dir.ed_id, &srv, period), dir)
            })
            .collect();
        places.sort_unstable();
        Ring { places, period, params }
    }

    proptest! {
        #[test]
        fn no_relay_twice_and_as_many_as_there_are(
            relays in 0u16..60,
            replicas in 1u8..=16,
            spread_store in 1u8..=8,
            key: [u8; 32],
        ) {
            let params = HsDirParams { replicas, spread_store, spread_fetch: spread_store.min(3) };
            let ring = ring(relays, params);
            let lists = ring.responsible(&HsBlindId(key));
            prop_assert_eq!(lists.len(), usize::from(replicas));
            let all: Vec<_> = lists.concat();
            let different: BTreeSet<_> = all.iter().collect();
            prop_assert_eq!(different.len(), all.len());
            let wanted = usize::from(replicas) * usize::from(spread_store);
            prop_assert_eq!(all.len(), wanted.min(relays.into()));
        }

        #[test]
        fn clients_ask_only_where_services_post(key: [u8; 32]) {
            // Holds for the first replica always; a later one skips fewer relays for a client than for a service.
            let ring = ring(200, HsDirParams::default());
            let posted = ring.responsible(&HsBlindId(key));
            let asked = ring.asked_by_clients(&HsBlindId(key));
            prop_assert!(asked[0].iter().all(|dir| posted[0].contains(dir)));
            let posted = posted.concat();
            prop_assert!(asked.concat().iter().all(|dir| posted.contains(dir)));
        }
    }

    #[test]
    fn places_tell_where_on_the_ring_each_lies() {
        let turns = |first: u8| {
            let mut index = [0; 32];
            index[0] = first;
            RingPlace::of(&index).turns()
        };
        let hundredths = |first: u8| format!("{:.2}", turns(first));
        assert_eq!([0, 64, 128, 192].map(hundredths), ["0.00", "0.25", "0.50", "0.75"]);
        assert!(RingPlace::of(&[255; 32]).turns() < 1.0);
        let ring = ring(200, HsDirParams::default());
        let blinded = HsBlindId([5; 32]);
        let replicas = ring.replicas(&blinded);
        assert_eq!(relays(replicas.clone()), ring.responsible(&blinded));
        for (number, replica) in (1..).zip(&replicas) {
            assert_eq!(replica.place, RingPlace::of(&hs_index(&blinded, number, ring.period)));
            let way = |place: &RingPlace| place.0.wrapping_sub(replica.place.0);
            let ways: Vec<u32> = replica.hsdirs.iter().map(|(place, _)| way(place)).collect();
            assert!(ways.is_sorted() && ways.iter().all(|way| *way < u32::MAX / 10), "{ways:?}");
            for (place, dir) in &replica.hsdirs {
                assert!(ring.places.iter().any(|(index, at)| at == dir && RingPlace::of(index) == *place));
            }
        }
    }

    #[test]
    fn an_index_equal_to_a_relays_is_that_relays() {
        let params = HsDirParams { replicas: 1, spread_store: 1, spread_fetch: 1 };
        let mut ring = ring(5, params);
        let blinded = HsBlindId([9; 32]);
        ring.places[3].0 = hs_index(&blinded, 1, ring.period);
        ring.places.sort_unstable();
        let here =
            ring.places.iter().find(|(place, _)| *place == hs_index(&blinded, 1, ring.period)).unwrap();
        assert_eq!(ring.responsible(&blinded), [[here.1]]);
    }
}
