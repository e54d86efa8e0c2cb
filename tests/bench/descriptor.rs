//! What the publisher computes for every descriptor. Run with `cargo bench --bench descriptor`.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::collections::BTreeSet;

use curve25519_dalek::montgomery::MontgomeryPoint;
use divan::{Bencher, black_box};
use rand::{SeedableRng, rngs::StdRng};
use rustbalance::proto::onion::address::HsId;
use rustbalance::proto::onion::blinding::HsBlindKeypair;
use rustbalance::proto::onion::counter::{MAX_PLAINTEXT, RevisionCounter, ope};
use rustbalance::proto::onion::descriptor::build::DescriptorBuilder;
use rustbalance::proto::onion::descriptor::capabilities::Capabilities;
use rustbalance::proto::onion::descriptor::client_auth::{ClientKey, ClientSecretKey};
use rustbalance::proto::onion::descriptor::intro_point::IntroPoint;
use rustbalance::proto::onion::descriptor::outer::Outer;
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

const NOW: u64 = 1_795_453_051;

/// An introduction point at a relay of its own.
fn point(number: u8) -> IntroPoint {
    let mut link_specifiers = vec![3, 0, 6, 192, 0, 2, number, 0x23, 0x29, 2, 20];
    link_specifiers.extend([number; 20]);
    link_specifiers.extend([3, 32]);
    link_specifiers.extend([number; 32]);
    let key = MontgomeryPoint::mul_base_clamped([number; 32]).0;
    IntroPoint { link_specifiers, onion_key: key, auth_key: [number; 32], enc_key: key }
}

fn build(blind: &HsBlindKeypair, points: &[IntroPoint], clients: &[ClientKey]) -> String {
    let builder = DescriptorBuilder {
        blind,
        subcredential: identity().hs_id().subcredential(&blind.id()),
        counter: RevisionCounter(1_234_567_890),
        points,
        clients,
        capabilities: Capabilities::default(),
        now_unix_secs: NOW,
    };
    builder.build(&mut StdRng::seed_from_u64(1)).unwrap()
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

/// For each descriptor that is posted: 3 points as of one tor, 20 as of a full house.
#[divan::bench(args = [3, 20])]
fn build_descriptor(bencher: Bencher, points: u8) {
    let blind = identity().blind(PERIOD).unwrap();
    let points: Vec<IntroPoint> = (1..=points).map(point).collect();
    bencher.bench(|| build(&blind, black_box(&points), &[]));
}

/// The same with as many authorised clients as fit beside 20 points.
#[divan::bench]
fn build_descriptor_for_112_clients(bencher: Bencher) {
    let blind = identity().blind(PERIOD).unwrap();
    let points: Vec<IntroPoint> = (1..=20).map(point).collect();
    let clients: Vec<ClientKey> = (1..=112).map(|key| ClientSecretKey::new([key; 32]).public()).collect();
    bencher.bench(|| build(&blind, &points, black_box(&clients)));
}

/// For each descriptor that is read back, and for each that our own tor shows: verify, decrypt, check all certificates.
#[divan::bench(args = [3, 20])]
fn open_descriptor(bencher: Bencher, points: u8) {
    let id = identity().hs_id();
    let points: Vec<IntroPoint> = (1..=points).map(point).collect();
    let text = build(&identity().blind(PERIOD).unwrap(), &points, &[]);
    bencher.bench(|| {
        let outer = Outer::parse(black_box(&text)).unwrap().verify(NOW).unwrap();
        outer.open(&id, &[PERIOD], None).unwrap()
    });
}
