//! Laws of sealed datagrams: what one node seals the others open once, and nothing else ever.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;

use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rustbalance::mesh::open::{OpenError, Opened, Opener};
use rustbalance::mesh::replay::{CLOCK_TOLERANCE_MS, MAX_SESSIONS_PER_SENDER, WINDOW};
use rustbalance::mesh::seal::{MAX_DATAGRAM, MAX_PAYLOAD, Sealer, SessionSalt, key_id};
use rustbalance::mesh::token::ClusterToken;
use rustbalance::proto::cluster::token::TokenName;
use rustbalance::proto::node::NodeId;

const NOW: u64 = 1_790_000_000_000;

fn token(byte: u8) -> ClusterToken {
    ClusterToken::from_file_bytes(&[byte; 32]).unwrap()
}

fn node(name: &str) -> NodeId {
    name.parse().unwrap()
}

/// A sealer of its own session: equal seeds give equal sessions.
fn sealer(token_byte: u8, name: &str, seed: u64) -> Sealer {
    let salt = SessionSalt::generate(&mut StdRng::seed_from_u64(seed));
    Sealer::new(&token(token_byte), node(name), salt)
}

/// The name of a token; `x` was the first, `y` the second, and so on.
fn name(byte: u8) -> TokenName {
    TokenName { seq: u32::from(byte - b'x'), tag: key_id(&token(byte)) }
}

fn trusting(bytes: &[u8]) -> Opener {
    let mut opener = Opener::new(node("me"));
    for &byte in bytes {
        opener.trust(name(byte), Arc::new(token(byte)));
    }
    opener
}

fn opener() -> Opener {
    trusting(b"x")
}

#[test]
fn what_is_sealed_is_opened_once() {
    let mut sealer = sealer(b'x', "n1", 1);
    let mut opener = opener();
    let datagram = sealer.seal(b"hello", NOW - 3).unwrap();
    let opened = opener.open(&datagram, NOW).unwrap();
    let under = name(b'x');
    assert_eq!(opened, Opened { sender: node("n1"), sent_ms: NOW - 3, under, payload: b"hello".to_vec() });
    assert_eq!(opener.open(&datagram, NOW), Err(OpenError::Replayed { sender: node("n1") }));
    assert_eq!(opener.open(&sealer.seal(b"", NOW).unwrap(), NOW).unwrap().payload, b"");
    let counters = opener.counters();
    assert_eq!((counters.accepted, counters.replayed, counters.refused()), (2, 1, 1));
}

#[test]
fn every_refusal_has_its_own_name_and_counter() {
    let mut opener = opener();
    let good = sealer(b'x', "n1", 1).seal(b"hello", NOW).unwrap();
    let changed = |at: usize, to: u8| {
        let mut bytes = good.clone();
        bytes[at] = to;
        bytes
    };
    assert_eq!(opener.open(&vec![1; MAX_DATAGRAM + 1], NOW), Err(OpenError::TooLong(MAX_DATAGRAM + 1)));
    assert_eq!(opener.open(b"", NOW), Err(OpenError::Malformed));
    assert_eq!(opener.open(&changed(0, 2), NOW), Err(OpenError::Version(2)));
    assert_eq!(opener.open(&changed(37, 0), NOW), Err(OpenError::Malformed));
    assert_eq!(opener.open(&changed(38, b'N'), NOW), Err(OpenError::Malformed));
    assert_eq!(opener.open(&changed(38, b'm'), NOW), Err(OpenError::Forged));
    assert_eq!(opener.open(&changed(1, !good[1]), NOW), Err(OpenError::ForeignToken));
    let foreign = sealer(b'y', "n1", 1).seal(b"hello", NOW).unwrap();
    assert_eq!(opener.open(&foreign, NOW), Err(OpenError::ForeignToken));
    // The foreign token's datagram under our token's key id, as an attacker would try.
    let disguised = [&foreign[..1], &good[1..5], &foreign[5..]].concat();
    assert_eq!(opener.open(&disguised, NOW), Err(OpenError::Forged));
    let own = sealer(b'x', "me", 2).seal(b"hello", NOW).unwrap();
    assert_eq!(opener.open(&own, NOW), Err(OpenError::OwnId));

    let counters = opener.counters();
    assert_eq!((counters.too_long, counters.malformed, counters.version), (1, 3, 1));
    assert_eq!((counters.foreign_token, counters.forged, counters.own_id), (2, 2, 1));
    assert_eq!((counters.accepted, counters.refused()), (0, 10));
    assert_eq!(opener.open(&good, NOW).unwrap().payload, b"hello", "refusals must not use up the good one");
}

#[test]
fn the_clock_tolerance_is_inclusive_on_both_sides() {
    for (sent, skew) in [(NOW - CLOCK_TOLERANCE_MS, None), (NOW + CLOCK_TOLERANCE_MS, None)]
        .into_iter()
        .chain([(NOW - CLOCK_TOLERANCE_MS - 1, Some(-5001)), (NOW + CLOCK_TOLERANCE_MS + 1, Some(5001))])
        .chain([(0, Some(-1_790_000_000_000)), (u64::MAX, Some(i64::MAX))])
    {
        let outcome = opener().open(&sealer(b'x', "n1", 1).seal(b"tick", sent).unwrap(), NOW);
        match skew {
            None => assert!(outcome.is_ok(), "{sent}"),
            Some(skew_ms) => assert_eq!(outcome, Err(OpenError::Clock { sender: node("n1"), skew_ms })),
        }
    }
}

#[test]
fn a_datagram_refused_by_the_clock_is_not_remembered() {
    let mut opener = opener();
    let early = sealer(b'x', "n1", 1).seal(b"early", NOW + 6_000).unwrap();
    assert!(matches!(opener.open(&early, NOW), Err(OpenError::Clock { .. })));
    assert!(opener.open(&early, NOW + 1_000).is_ok());
}

#[test]
fn reordering_is_fine_within_the_window_and_refused_behind_it() {
    let mut sealer = sealer(b'x', "n1", 1);
    let mut opener = opener();
    let datagrams: Vec<_> = (0..=WINDOW).map(|n| sealer.seal(&n.to_be_bytes(), NOW).unwrap()).collect();
    opener.open(&datagrams[128], NOW).unwrap();
    assert_eq!(opener.open(&datagrams[0], NOW), Err(OpenError::BehindWindow { sender: node("n1") }));
    for datagram in datagrams[1..128].iter().rev() {
        opener.open(datagram, NOW).unwrap();
    }
    assert_eq!(opener.counters().accepted, WINDOW);
    assert_eq!(opener.counters().behind_window, 1);
}

#[test]
fn a_restarted_node_is_heard_at_once_and_its_earlier_datagrams_stay_used() {
    let mut opener = opener();
    let before = sealer(b'x', "n1", 1).seal(b"before", NOW).unwrap();
    let after = sealer(b'x', "n1", 2).seal(b"after", NOW).unwrap();
    opener.open(&before, NOW).unwrap();
    opener.open(&after, NOW).unwrap();
    assert!(matches!(opener.open(&before, NOW), Err(OpenError::Replayed { .. })));
    // Ten seconds of silence later the session is forgotten, and the clock refuses instead.
    let later = NOW + 2 * CLOCK_TOLERANCE_MS + 1;
    opener.open(&sealer(b'x', "n1", 3).seal(b"", later).unwrap(), later).unwrap();
    assert!(matches!(opener.open(&before, later), Err(OpenError::Clock { .. })));
}

#[test]
fn sessions_of_one_sender_are_bounded_and_room_comes_back() {
    let mut opener = opener();
    let fresh = |seed: usize, now| sealer(b'x', "n1", seed as u64).seal(b"", now).unwrap();
    for seed in 0..MAX_SESSIONS_PER_SENDER {
        opener.open(&fresh(seed, NOW), NOW).unwrap();
    }
    let one_more = fresh(99, NOW);
    assert_eq!(opener.open(&one_more, NOW), Err(OpenError::TooManySessions { sender: node("n1") }));
    assert_eq!(opener.counters().too_many_sessions, 1);
    let other = sealer(b'x', "n2", 1).seal(b"", NOW).unwrap();
    assert!(opener.open(&other, NOW).is_ok(), "other senders must not suffer");
    let later = NOW + 2 * CLOCK_TOLERANCE_MS + 1;
    assert!(opener.open(&fresh(99, later), later).is_ok());
}

#[test]
fn two_tokens_are_accepted_while_one_replaces_the_other() {
    let mut opener = opener();
    let old = sealer(b'x', "n1", 1).seal(b"old", NOW).unwrap();
    assert_eq!(opener.open(&old, NOW).unwrap().under, name(b'x'));
    let new = || sealer(b'y', "n1", 1).seal(b"new", NOW).unwrap();
    assert_eq!(opener.open(&new(), NOW), Err(OpenError::ForeignToken));
    opener.trust(name(b'y'), Arc::new(token(b'y')));
    // The same session under the new token is another session: nothing is mixed up.
    assert_eq!(opener.open(&new(), NOW).unwrap().under, name(b'y'));
    let mut again = sealer(b'y', "n1", 5);
    for _ in 0..2 {
        assert_eq!(opener.open(&again.seal(b"", NOW).unwrap(), NOW).unwrap().under, name(b'y'));
    }
    let foreign = sealer(b'z', "n1", 1).seal(b"", NOW).unwrap();
    assert_eq!(opener.open(&foreign, NOW), Err(OpenError::ForeignToken));
}

/// The format on the wire, for nodes of another release: changing it needs another version byte.
///
/// The vector was computed by Python's `hmac`, `hashlib` and `cryptography` from the layout in `seal.rs`.
#[test]
fn a_datagram_made_elsewhere_from_the_documented_layout_opens() {
    let datagram = data_encoding::HEXLOWER
        .decode(
            b"013a031641000102030405060708090a0b0c0d0e0f0000000000000007000001a0c4506c00026e31\
              a17f6240e04d04bf787e70d88ceca481a1049e4d2c",
        )
        .unwrap();
    let opened = opener().open(&datagram, NOW).unwrap();
    let under = name(b'x');
    assert_eq!(opened, Opened { sender: node("n1"), sent_ms: NOW, under, payload: b"hello".to_vec() });
}

proptest! {
    #[test]
    fn any_payload_comes_through(
        payload in prop::collection::vec(any::<u8>(), 0..=MAX_PAYLOAD),
        sender in "[a-z0-9][a-z0-9-]{0,31}",
        seed: u64,
        skew in -5_000i64..=5_000,
    ) {
        prop_assume!(sender != "me");
        let sent = NOW.saturating_add_signed(skew);
        let datagram = sealer(b'x', &sender, seed).seal(&payload, sent).unwrap();
        prop_assert!(datagram.len() <= MAX_DATAGRAM);
        let opened = opener().open(&datagram, NOW).unwrap();
        prop_assert_eq!(opened, Opened { sender: node(&sender), sent_ms: sent, under: name(b'x'), payload });
    }

    #[test]
    fn any_flipped_bit_is_noticed(payload in prop::collection::vec(any::<u8>(), 0..64), bit: prop::sample::Index) {
        let mut datagram = sealer(b'x', "n1", 1).seal(&payload, NOW).unwrap();
        let bit = bit.index(datagram.len() * 8);
        datagram[bit / 8] ^= 1 << (bit % 8);
        let refusal = opener().open(&datagram, NOW).unwrap_err();
        let expected = matches!(
            refusal,
            OpenError::Forged | OpenError::ForeignToken | OpenError::Version(_) | OpenError::Malformed
        );
        prop_assert!(expected, "{:?}", refusal);
    }

    #[test]
    fn any_truncation_or_addition_is_noticed(keep: prop::sample::Index, tail in prop::collection::vec(any::<u8>(), 1..40)) {
        let datagram = sealer(b'x', "n1", 1).seal(b"some payload", NOW).unwrap();
        let short = &datagram[..keep.index(datagram.len())];
        prop_assert!(matches!(opener().open(short, NOW), Err(OpenError::Malformed | OpenError::Forged)));
        let long = [datagram, tail].concat();
        prop_assert_eq!(opener().open(&long, NOW), Err(OpenError::Forged));
    }

    #[test]
    fn any_bytes_are_survived_and_counted(
        bytes in prop::collection::vec(any::<u8>(), 0..1400),
        now: u64,
        dressed: bool,
    ) {
        let mut opener = opener();
        let mut bytes = bytes;
        if dressed {
            // Past the first checks: our version and key id, a name length that can fit.
            let good = sealer(b'x', "n1", 1).seal(b"", now).unwrap();
            for (to, from) in bytes.iter_mut().zip(&good[..5]) { *to = *from }
            if let Some(length) = bytes.get_mut(37) { *length %= 40 }
        }
        prop_assert!(opener.open(&bytes, now).is_err());
        prop_assert_eq!(opener.counters().refused(), 1);
    }

    /// Whatever the network does (loses, repeats, reorders, delays within reason), each datagram is accepted at
    /// most once, and each that first arrives within the window is accepted.
    #[test]
    fn at_most_once_in_any_order(order in prop::collection::vec(0usize..60, 1..200)) {
        let mut sealers = [sealer(b'x', "n1", 1), sealer(b'x', "n1", 2), sealer(b'x', "n2", 3)];
        let datagrams: Vec<_> = (0..60).map(|n| sealers[n % 3].seal(&n.to_be_bytes(), NOW).unwrap()).collect();
        let mut opener = opener();
        let mut accepted = std::collections::BTreeSet::new();
        for n in order {
            prop_assert_eq!(opener.open(&datagrams[n], NOW).is_ok(), accepted.insert(n));
        }
    }
}
