//! What every mesh datagram costs. Run with `cargo bench --bench mesh`.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::sync::Arc;

use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rustbalance::mesh::open::Opener;
use rustbalance::mesh::seal::{MAX_PAYLOAD, Sealer, SessionSalt, key_id};
use rustbalance::mesh::token::ClusterToken;
use rustbalance::proto::cluster::token::TokenName;

const NOW: u64 = 1_790_000_000_000;

fn main() {
    divan::main();
}

fn token() -> ClusterToken {
    ClusterToken::from_file_bytes(&[b'x'; 32]).unwrap()
}

fn sealer(seed: u64) -> Sealer {
    Sealer::new(&token(), "n1".parse().unwrap(), SessionSalt::generate(&mut StdRng::seed_from_u64(seed)))
}

fn opener() -> Opener {
    let mut opener = Opener::new("n2".parse().unwrap());
    opener.trust(TokenName { seq: 0, tag: key_id(&token()) }, Arc::new(token()));
    opener
}

#[divan::bench(args = [64, MAX_PAYLOAD])]
fn seal(bencher: Bencher, length: usize) {
    let mut sealer = sealer(1);
    let payload = vec![7; length];
    bencher.counter(BytesCount::new(length)).bench_local(|| sealer.seal(black_box(&payload), NOW).unwrap());
}

/// Of a session that is remembered, as nearly all are.
#[divan::bench(args = [64, MAX_PAYLOAD])]
fn open(bencher: Bencher, length: usize) {
    let (mut sealer, mut opener) = (sealer(1), opener());
    let payload = vec![7; length];
    bencher
        .counter(BytesCount::new(length))
        .with_inputs(|| sealer.seal(&payload, NOW).unwrap())
        .bench_local_values(|datagram| opener.open(black_box(&datagram), NOW).unwrap());
}

/// The most a stranger can make us do per datagram: a key derivation and a failed decryption.
#[divan::bench]
fn refuse_forged(bencher: Bencher) {
    let mut opener = opener();
    let mut datagram = sealer(1).seal(&[7; MAX_PAYLOAD], NOW).unwrap();
    *datagram.last_mut().unwrap() ^= 1;
    bencher.bench_local(|| opener.open(black_box(&datagram), NOW).unwrap_err());
}
