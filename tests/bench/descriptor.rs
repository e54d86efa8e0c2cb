//! What the publisher computes for every descriptor. Run with `cargo bench --bench descriptor`.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::collections::BTreeSet;

use divan::{Bencher, black_box};
use rustbalance::proto::onion::address::HsId;
use rustbalance::proto::onion::counter::{MAX_PLAINTEXT, ope};
use rustbalance::proto::onion::hsdir::HsDir;
use rustbalance::proto::onion::identity::HsIdKeypair;
use rustbalance::proto::onion::network::{HsDirParams, NetworkView};
use rustbalance::proto::onion::period::TimePeriod;
use rustbalance::proto::onion::ring::Ring;
use rustbalance::proto::onion::shared_random::SharedRandom;

const PERIOD: TimePeriod = TimePeriod { num: 20_780, length_minutes: 1440 };
/// As many relays as the public network has; about half of them are HSDirs.
const RELAYS: u16 = 8_000;

fn main() {
    divan::main();
}

fn identity() -> HsIdKeypair {
    HsIdKeypair::from_seed([7; 32]).unwrap()
}

/// A consensus with 8 000 HSDirs.
fn network() -> NetworkView {
    let relay = |number: u16| {
        let mut dir = HsDir { rsa_id: [0; 20], ed_id: [0; 32] };
        dir.rsa_id[..2].copy_from_slice(&number.to_be_bytes());
        dir.ed_id[..2].copy_from_slice(&number.to_be_bytes());
        dir
    };
    NetworkView {
        valid_after: 1_795_449_600,
        fresh_until: 1_795_453_200,
        valid_until: 1_795_460_400,
        voting_interval_secs: 3600,
        period_length_minutes: 1440,
        rotation_offset_secs: 43_200,
        srv_current: Some(SharedRandom([1; 32])),
        srv_previous: Some(SharedRandom([2; 32])),
        params: HsDirParams::default(),
        hsdirs: (0..RELAYS).map(relay).collect(),
        relays: BTreeSet::new(),
    }
}

/// An address as operators and tor write it.
#[divan::bench]
fn read_address(bencher: Bencher) {
    let address = identity().hs_id().to_string();
    bencher.bench(|| HsId::from_address(black_box(&address)));
}

/// Once for each period.
#[divan::bench]
fn blind_secret_key(bencher: Bencher) {
    let keys = identity();
    bencher.bench(|| keys.blind(black_box(PERIOD)));
}

/// For each descriptor that is read back.
#[divan::bench]
fn blind_public_key(bencher: Bencher) {
    let id = identity().hs_id();
    bencher.bench(|| id.blind(black_box(PERIOD)));
}

/// For each descriptor: the certificate of its signing key.
#[divan::bench]
fn sign_with_blinded_key(bencher: Bencher) {
    let blinded = identity().blind(PERIOD).unwrap();
    bencher.bench(|| blinded.sign(black_box(&[0; 76])));
}

/// The costliest revision counter there is: 72 hours after its epoch.
#[divan::bench]
fn revision_counter() -> u64 {
    ope(black_box(&[7; 32]), MAX_PLAINTEXT).unwrap().0
}

/// For each slot of each consensus.
#[divan::bench]
fn ring_of_8000_relays(bencher: Bencher) {
    let view = network();
    let [slot, _] = view.slots();
    bencher.bench(|| Ring::new(black_box(&view), &slot));
}

/// For each descriptor, on a ring that is there.
#[divan::bench]
fn responsible_of_8000_relays(bencher: Bencher) {
    let view = network();
    let [slot, _] = view.slots();
    let ring = Ring::new(&view, &slot);
    let blinded = identity().hs_id().blind(slot.period).unwrap();
    bencher.bench(|| ring.responsible(black_box(&blinded)));
}
