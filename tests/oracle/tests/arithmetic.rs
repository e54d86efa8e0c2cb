//! Blinding, sub-credentials, periods, counters and the hash ring: ours equals arti's.

use std::time::{Duration, SystemTime};

use rand::RngExt;
use rand::rngs::StdRng;
use rustbalance::proto::onion::counter::RevisionCounter;
use rustbalance::proto::onion::hsdir::HsDir;
use rustbalance::proto::onion::identity::HsIdKeypair;
use rustbalance::proto::onion::network::{HsDirParams, NetworkView};
use rustbalance::proto::onion::period::TimePeriod;
use rustbalance::proto::onion::ring::Ring;
use rustbalance::proto::onion::shared_random::SharedRandom;
use rustbalance_oracle::{bytes, random};
use tor_hscrypto::ope::{AesOpeKey, SrvPeriodOffset};
use tor_hscrypto::pk::{HsBlindId, HsIdKeypair as ArtiIdKeypair};
use tor_hscrypto::time::TimePeriod as ArtiPeriod;
use tor_linkspec::HasRelayIds;
use tor_llcrypto::pk::ed25519;
use tor_netdir::NetDir;
use tor_netdir::testnet::construct_custom_netdir_with_params;
use tor_netdoc::doc::netstatus::{Lifetime, SharedRandVal};
use tor_netdoc::types::relay_flags::RelayFlag;

/// The same random identity, ours and theirs.
fn identity(rng: &mut StdRng) -> (HsIdKeypair, ArtiIdKeypair) {
    let seed = bytes(rng);
    let theirs = ed25519::ExpandedKeypair::from(&ed25519::Keypair::from_bytes(&seed));
    (HsIdKeypair::from_seed(seed).unwrap(), theirs.into())
}

fn period(rng: &mut StdRng) -> (TimePeriod, ArtiPeriod) {
    let (num, length) = (rng.random_range(0..1_000_000), rng.random_range(5..=14_400u32));
    let ours = TimePeriod { num, length_minutes: length.into() };
    (ours, ArtiPeriod::from_parts(length, num, 12 * 3600))
}

fn time(unix_secs: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(unix_secs)
}

#[test]
fn blinded_keys_sub_credentials_and_signatures() {
    let mut rng = random();
    for _ in 0..100 {
        let (ours, theirs) = identity(&mut rng);
        let (our_period, their_period) = period(&mut rng);
        let (their_blind, their_pair, their_subcredential) =
            theirs.compute_blinded_key(their_period).unwrap();

        let pair = ours.blind(our_period).unwrap();
        assert_eq!(pair.id(), ours.hs_id().blind(our_period).unwrap());
        assert_eq!(pair.id().0, their_blind.as_ref().to_bytes());
        assert_eq!(ours.hs_id().subcredential(&pair.id()).0, *their_subcredential.as_ref());
        // Ed25519 is deterministic: the same signature means the same scalar and the same nonce prefix.
        let message = bytes::<40>(&mut rng);
        assert_eq!(pair.sign(&message), their_pair.as_ref().sign(&message).to_bytes());
    }
}

#[test]
fn periods() {
    let mut rng = random();
    for _ in 0..10_000 {
        let length = rng.random_range(5..=14_400u64);
        let voting_interval = [10, 20, 60, 300, 1800, 3600][rng.random_range(0..6usize)];
        let (at, offset) = (rng.random_range(2 * 86_400..1u64 << 33), 12 * voting_interval);
        let ours = TimePeriod::at(at, length, offset);
        let theirs =
            ArtiPeriod::new(Duration::from_secs(60 * length), time(at), Duration::from_secs(offset)).unwrap();
        assert_eq!(ours.num, theirs.interval_num(), "at {at}, length {length}, offset {offset}");
        let range = theirs.range().unwrap();
        assert_eq!(time(ours.start(offset))..time(ours.end(offset)), range);
    }
}

#[test]
fn revision_counters() {
    let mut rng = random();
    for _ in 0..100 {
        let (ours, theirs) = identity(&mut rng);
        let (our_period, their_period) = period(&mut rng);
        let pair = ours.blind(our_period).unwrap();
        let (_, their_pair, _) = theirs.compute_blinded_key(their_period).unwrap();
        // Arti derives its key as the specification says; tor hashes one zero byte more, and we follow tor.
        let expanded = ed25519::ExpandedKeypair::from(their_pair).to_secret_key_bytes();
        let key = AesOpeKey::from_secret(&[&[0], &expanded[..]].concat());
        let (epoch, offset) = (rng.random_range(0..1u64 << 32), rng.random_range(0..262_144u32));
        let counter = RevisionCounter::at(&pair, epoch, epoch + u64::from(offset));
        assert_eq!(counter.0, key.encrypt(SrvPeriodOffset::from(offset)));
    }
}

/// A network with random relays, ours and theirs, at a random hour.
fn network(rng: &mut StdRng) -> (NetworkView, NetDir) {
    let voting_interval = 3600;
    let valid_after = rng.random_range(400_000..600_000u64) * voting_interval;
    let (fresh_until, valid_until) = (valid_after + voting_interval, valid_after + 3 * voting_interval);
    let params = HsDirParams {
        replicas: rng.random_range(1..=4),
        spread_store: rng.random_range(1..=8),
        spread_fetch: 3,
    };
    let srvs: [Option<[u8; 32]>; 2] = std::array::from_fn(|_| Some(bytes(rng)));
    let mut hsdirs = Vec::new();
    let lifetime = Lifetime::new(time(valid_after), time(fresh_until), time(valid_until)).unwrap();
    let their_params = [
        ("hsdir_n_replicas", i32::from(params.replicas)),
        ("hsdir_spread_store", params.spread_store.into()),
    ];
    let netdir = construct_custom_netdir_with_params(
        |index, relay, consensus| {
            if index == 0 {
                let [current, previous] = srvs.map(Option::unwrap).map(SharedRandVal::from);
                consensus.shared_rand_cur(9, current, None).shared_rand_prev(9, previous, None);
            }
            let dir = HsDir { rsa_id: bytes(rng), ed_id: bytes(rng) };
            relay.rs.identity(dir.rsa_id.into());
            relay.md.ed25519_id(dir.ed_id.into());
            // Some relays are no HSDirs, and some are known without their microdescriptor.
            let is_hsdir = index % 5 != 0;
            relay.omit_md = index % 11 == 0;
            if is_hsdir {
                relay.rs.add_flags(RelayFlag::HSDir);
            } else {
                relay.rs.clear_flags(RelayFlag::HSDir);
            }
            if is_hsdir && !relay.omit_md {
                hsdirs.push(dir);
            }
        },
        their_params,
        Some(lifetime),
    )
    .unwrap();
    let ours = NetworkView {
        valid_after,
        fresh_until,
        valid_until,
        voting_interval_secs: voting_interval,
        period_length_minutes: 1440,
        rotation_offset_secs: 12 * voting_interval,
        srv_current: srvs[0].map(SharedRandom),
        srv_previous: srvs[1].map(SharedRandom),
        params,
        hsdirs,
        relays: Default::default(),
    };
    (ours, netdir.unwrap_if_sufficient().unwrap())
}

#[test]
fn responsible_hsdirs_of_both_descriptors() {
    let mut rng = random();
    let mut clients_fetch = 0;
    for _ in 0..100 {
        let (view, netdir) = network(&mut rng);
        let theirs = netdir.hs_all_time_periods();
        for slot in view.slots() {
            let params = theirs
                .iter()
                .find(|params| params.time_period().interval_num() == slot.period.num)
                .expect("arti publishes for the same two periods");
            assert_eq!(params.start_of_shard_rand_period(), time(slot.counter_epoch));
            assert_eq!(slot.client_fetches, netdir.hs_time_period() == params.time_period());
            clients_fetch += u32::from(slot.client_fetches);

            let (identity, _) = identity(&mut rng);
            let blinded = identity.hs_id().blind(slot.period).unwrap();
            let ours: Vec<[u8; 32]> =
                Ring::new(&view, &slot).responsible(&blinded).concat().iter().map(|dir| dir.ed_id).collect();
            let expected: Vec<[u8; 32]> = netdir
                .hs_dirs_upload(HsBlindId::from(blinded.0), params.time_period())
                .unwrap()
                .map(|relay| relay.ed_identity().unwrap().as_bytes().try_into().unwrap())
                .collect();
            assert!(!expected.is_empty());
            assert_eq!(ours, expected);
        }
    }
    assert_eq!(clients_fetch, 100, "one of the two each time");
}
