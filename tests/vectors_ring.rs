//! Known answers for time periods, shared random values and the hash ring. They come from the tests of tor and
//! Onionbalance.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;

use data_encoding::HEXLOWER;
use proptest::prelude::*;
use rustbalance::proto::onion::blinding::HsBlindId;
use rustbalance::proto::onion::hsdir::{HsDir, hs_index, hsdir_index};
use rustbalance::proto::onion::network::{
    HsDirParams, NetworkView, Slot, SlotKind, period_length_minutes, rotation_offset_secs,
};
use rustbalance::proto::onion::period::TimePeriod;
use rustbalance::proto::onion::ring::Ring;
use rustbalance::proto::onion::shared_random::SharedRandom;

fn hex<const N: usize>(text: &str) -> [u8; N] {
    HEXLOWER.decode(text.as_bytes()).unwrap().try_into().unwrap()
}

fn unix(time: &str) -> u64 {
    time.parse::<jiff::Timestamp>().unwrap().as_second().try_into().unwrap()
}

const HOUR: u64 = 3600;
const NOON: u64 = 12 * HOUR;

/// The value the authorities publish at the end of the run that starts at `run_start`.
fn value_of_run(run_start: u64) -> SharedRandom {
    let mut value = [0; 32];
    value[..8].copy_from_slice(&run_start.to_be_bytes());
    SharedRandom(value)
}

/// A consensus of a network that votes every `interval` seconds, with the shared random values it would have.
fn view_at(valid_after: u64, interval: u64, testing: bool) -> NetworkView {
    let mut view = NetworkView {
        valid_after,
        fresh_until: valid_after + interval,
        valid_until: valid_after + 3 * interval,
        voting_interval_secs: interval,
        period_length_minutes: period_length_minutes(testing, interval, None),
        rotation_offset_secs: rotation_offset_secs(interval),
        srv_current: None,
        srv_previous: None,
        params: HsDirParams::default(),
        hsdirs: Vec::new(),
        relays: BTreeSet::new(),
    };
    let run = view.srv_run_start();
    view.srv_current = Some(value_of_run(run - view.srv_run_secs()));
    view.srv_previous = Some(value_of_run(run - 2 * view.srv_run_secs()));
    view
}

fn public_view(time: &str) -> NetworkView {
    view_at(unix(time), HOUR, false)
}

// Section 2: time periods.

#[test]
fn periods_of_the_public_network() {
    for (time, num) in [
        ("2016-04-13T11:00:00Z", 16903),
        ("2016-04-13T11:15:01Z", 16903),
        ("2016-04-13T11:59:59Z", 16903),
        ("2016-04-13T12:00:00Z", 16904),
        ("1973-05-20T01:50:33Z", 1234),
        ("2023-02-09T12:00:00Z", 19397),
    ] {
        assert_eq!(TimePeriod::at(unix(time), 1440, NOON).num, num, "{time}");
    }
    let period = TimePeriod { num: 16903, length_minutes: 1440 };
    assert_eq!(period.start(NOON), unix("2016-04-12T12:00:00Z"));
    assert_eq!(period.end(NOON), unix("2016-04-13T12:00:00Z"));
    assert_eq!(period.next().next().start(NOON), unix("2016-04-14T12:00:00Z"));
    assert_eq!(period.next().previous(), period);
}

/// Tor's `test_start_time_of_next_time_period` and `test_get_start_time_of_current_run`, their second
/// halves: voting every
/// 10 seconds makes periods of 4 minutes that start 2 minutes after the runs.
#[test]
fn periods_of_a_testing_network() {
    let offset = rotation_offset_secs(10);
    assert_eq!(offset, 120);
    let length = period_length_minutes(true, 10, Some(1440));
    assert_eq!(length, 4);
    let next = |time| TimePeriod::at(unix(time), length, offset).next().start(offset);
    assert_eq!(next("2016-04-13T00:00:00Z"), unix("2016-04-13T00:02:00Z"));
    assert_eq!(next("2016-04-13T00:02:00Z"), unix("2016-04-13T00:06:00Z"));
    assert_eq!(view_at(unix("2015-04-20T00:15:30Z"), 10, true).srv_run_start(), unix("2015-04-20T00:12:00Z"));
    // Voting every 20 seconds: 8 minutes.
    assert_eq!(period_length_minutes(true, 20, None), 8);
    assert_eq!(period_length_minutes(false, 3600, None), 1440);
    assert_eq!(period_length_minutes(false, 3600, Some(30)), 30);
}

#[test]
fn runs_of_the_shared_random_protocol() {
    for hour in ["00", "01", "12", "23"] {
        let view = public_view(&format!("2015-04-19T{hour}:00:00Z"));
        assert_eq!(view.srv_run_start(), unix("2015-04-19T00:00:00Z"));
        assert_eq!(view.srv_run_secs(), 24 * HOUR);
    }
}

// Section 3: which period and which shared random value.

#[test]
fn the_two_slots_in_both_halves_of_the_day() {
    // From 00:00 to 12:00 (tor's test_time_between_tp_and_srv: not between period and value).
    for time in ["1985-10-26T00:00:00Z", "1985-10-26T11:00:00Z", "1985-10-27T00:00:00Z"] {
        let view = public_view(time);
        let now = view.period();
        let run = view.srv_run_start();
        let [first, second] = view.slots();
        let expected = Slot {
            which: SlotKind::First,
            period: now,
            srv: view.srv_previous.unwrap(),
            counter_epoch: run - 24 * HOUR,
            client_fetches: true,
        };
        assert_eq!(first, expected, "{time}");
        let expected = Slot {
            which: SlotKind::Second,
            period: now.next(),
            srv: view.srv_current.unwrap(),
            counter_epoch: run,
            client_fetches: false,
        };
        assert_eq!(second, expected, "{time}");
    }
    // From 12:00 to 24:00.
    for time in ["1985-10-26T12:00:00Z", "1985-10-26T23:00:00Z"] {
        let view = public_view(time);
        let now = view.period();
        let run = view.srv_run_start();
        let [first, second] = view.slots();
        let expected = Slot {
            which: SlotKind::First,
            period: now.previous(),
            srv: view.srv_previous.unwrap(),
            counter_epoch: run - 24 * HOUR,
            client_fetches: false,
        };
        assert_eq!(first, expected, "{time}");
        let expected = Slot {
            which: SlotKind::Second,
            period: now,
            srv: view.srv_current.unwrap(),
            counter_epoch: run,
            client_fetches: true,
        };
        assert_eq!(second, expected, "{time}");
    }
}

/// Tor's reachability scenarios: service and client have different consensuses, and the client must find the
/// descriptor in the named slot of the service.
#[test]
fn clients_find_the_descriptor_with_an_older_or_newer_consensus() {
    for (service, client, found_in) in [
        ("1985-10-26T13:00:00Z", "1985-10-26T15:00:00Z", SlotKind::Second),
        ("1985-10-26T23:00:00Z", "1985-10-27T01:00:00Z", SlotKind::Second),
        ("1985-10-27T03:00:00Z", "1985-10-27T05:00:00Z", SlotKind::First),
        ("1985-10-27T11:00:00Z", "1985-10-27T13:00:00Z", SlotKind::Second),
        ("1985-10-27T01:00:00Z", "1985-10-26T23:00:00Z", SlotKind::First),
        ("1985-10-27T13:00:00Z", "1985-10-27T11:00:00Z", SlotKind::First),
    ] {
        let client = public_view(client).slots().into_iter().find(|slot| slot.client_fetches).unwrap();
        let found: Vec<SlotKind> = public_view(service)
            .slots()
            .iter()
            .filter(|slot| (slot.period, slot.srv) == (client.period, client.srv))
            .map(|slot| slot.which)
            .collect();
        assert_eq!(found, [found_in], "{service}");
    }
}

proptest! {
    /// However the network votes, from one consensus to the next a slot stays, or the second becomes the first, with
    /// the same value and the same counter epoch; and clients always fetch exactly one of the two.
    #[test]
    fn a_period_keeps_its_ring_and_epoch_as_it_moves(
        rounds in 1_000_000u64..10_000_000,
        interval in prop::sample::select(vec![10u64, 15, 20, 30, 60, 300, 1800, 3600]),
    ) {
        let testing = interval != 3600;
        let before = view_at(rounds * interval, interval, testing).slots();
        let after = view_at((rounds + 1) * interval, interval, testing).slots();
        let place = |slot: &Slot| (slot.period, slot.srv, slot.counter_epoch);
        if place(&before[1]) == place(&after[1]) {
            prop_assert_eq!(place(&before[0]), place(&after[0]));
        } else {
            prop_assert_eq!(place(&before[1]), place(&after[0]));
        }
        for slots in [before, after] {
            prop_assert_eq!(slots[0].period.next(), slots[1].period);
            prop_assert!(slots[0].client_fetches != slots[1].client_fetches);
        }
    }

    #[test]
    fn no_consensus_makes_it_panic(valid_after: u64, interval: u64, length: u64, offset: u64) {
        let mut view = view_at(1_000_000_000, HOUR, false);
        view.valid_after = valid_after;
        view.voting_interval_secs = interval;
        view.period_length_minutes = length;
        view.rotation_offset_secs = offset;
        let _ = view.slots();
    }
}

// Section 4: disaster values.

#[test]
fn disaster_values() {
    for (num, value) in [
        (1, "f8a4948707653837fa44abb5bbc75a12f6f101e7f8faf699b9715f4965d3507d"),
        (2, "c17966df8b4834638e1b7bf38944c4995b92e89749d1623e417a44938d08fd67"),
        (3, "a3bab4327f9c2f8b30a126dad3abcce12dd813169a5d924244b57987aee413c2"),
        (4, "c79abe7116fcf7810f7a5c76198b97339990c738b456efdbc1399189927badec"),
        (5, "941d5fe4289fbf2f853766eac4b948b51c81a4137a44516342abc80518e0183d"),
    ] {
        let period = TimePeriod { num, length_minutes: 1440 };
        assert_eq!(SharedRandom::disaster(period), SharedRandom(hex(value)));
    }
}

#[test]
fn a_consensus_without_values_uses_the_disaster_value_of_each_slots_period() {
    let mut view = public_view("2016-04-13T13:00:00Z");
    view.srv_current = None;
    view.srv_previous = None;
    for slot in view.slots() {
        assert_eq!(slot.srv, SharedRandom::disaster(slot.period));
    }
}

// Section 6: indices.

#[test]
fn indices_of_tor() {
    let period = TimePeriod { num: 42, length_minutes: 1440 };
    assert_eq!(
        hs_index(&HsBlindId([0x42; 32]), 1, period),
        hex("37e5cbbd56a22823714f18f1623ece5983a0d64c78495a8cfab854245e5f9a8a")
    );
    assert_eq!(
        hsdir_index(&[0x42; 32], &SharedRandom([0x43; 32]), period),
        hex("db475361014a09965e7e5e4d4a25b8f8d4b8f16cb1d8a7e95eed50249cc1a2d5")
    );
}

// Section 7: the whole ring.

#[test]
fn ring_of_onionbalance() {
    let mut view = view_at(10_101_010_101, HOUR, false);
    assert_eq!(view.valid_after, unix("2290-02-01T20:08:21Z"));
    view.srv_current = Some(SharedRandom([0x29; 32]));
    view.srv_previous = Some(SharedRandom([0x2a; 32]));
    view.hsdirs = (1..=255).map(|byte| HsDir { rsa_id: [byte; 20], ed_id: [byte; 32] }).collect();
    let [first, second] = view.slots();
    assert_eq!((first.period.num, second.period.num), (116_908, 116_909));
    for (slot, blinded, expected) in [
        (
            first,
            "063aec5e1fd3025098f2df71ef570b28d94b463ffccb5ec6a9c061e38f551c6a",
            [[0xd1, 0x2f, 0xb0, 0x3a], [0x5a, 0xdf, 0xf7, 0x34]],
        ),
        (
            second,
            "5db624f2d74f103e6e8c6fbccd074586ef5a5572f90673c00b77def94ec11499",
            [[0x5d, 0x9a, 0xd1, 0x7a], [0xc3, 0xc6, 0xe9, 0x86]],
        ),
    ] {
        let lists = Ring::new(&view, &slot).responsible(&HsBlindId(hex(blinded)));
        let bytes: Vec<Vec<u8>> =
            lists.iter().map(|list| list.iter().map(|dir| dir.rsa_id[0]).collect()).collect();
        assert_eq!(bytes, expected);
    }
    assert_eq!(view.hsdirs[0xd0].fingerprint(), "D1".repeat(20));
}
