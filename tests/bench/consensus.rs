//! What a new consensus costs, on a network of 8 000 relays. Run with `cargo bench --bench consensus`.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::fmt::Write;

use data_encoding::BASE64_NOPAD;
use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use rustbalance::tor::consensus::parse;
use rustbalance::tor::reply::ReplyDecoder;
use sha2::{Digest, Sha256};

/// As many relays as the public network has.
const RELAYS: u16 = 8_000;
/// Bytes that arrive at once from the control port.
const READ_BYTES: usize = 64 * 1024;

fn main() {
    divan::main();
}

/// A consensus and its microdescriptors, of about the size of the public network's: 3.5 and 8.5 MB.
fn documents() -> (String, String) {
    let mut consensus = String::from(
        "network-status-version 3 microdesc\nvalid-after 2026-11-23 17:00:00\nfresh-until 2026-11-23 18:00:00\n\
         valid-until 2026-11-23 20:00:00\nparams hsdir_interval=1440\n",
    );
    let mut microdescs = String::new();
    let family = " $0123456789ABCDEF0123456789ABCDEF01234567".repeat(14);
    let rsa_key = format!("{}\n", "M".repeat(64)).repeat(3);
    for number in 0..RELAYS {
        let mut id = [0x5a; 32];
        id[..2].copy_from_slice(&number.to_be_bytes());
        let key = BASE64_NOPAD.encode(&id);
        let body = format!(
            "onion-key\n-----BEGIN RSA PUBLIC KEY-----\n{rsa_key}-----END RSA PUBLIC KEY-----\nntor-onion-key {key}\n\
             family{family}\np accept 20-23,43,53,79-81,88,110,143,194,220,389,443,464,531,543-544\nid ed25519 {key}\n"
        );
        let digest = BASE64_NOPAD.encode(&Sha256::digest(&body));
        let rsa_id = BASE64_NOPAD.encode(&id[..20]);
        write!(
            consensus,
            "r nickname{number} {rsa_id} 2038-01-01 00:00:00 198.51.100.7 443 0\na [2001:db8::{number:x}]:443\nm {digest}\n\
             s Exit Fast Guard HSDir Running Stable V2Dir Valid\nv Tor 0.4.9.11\npr Conflux=1 Cons=1-2 Desc=1-4 \
             DirCache=2 FlowCtrl=1-2 HSDir=2 HSIntro=4-5 HSRend=1-2 Link=3-5 LinkAuth=3 Microdesc=1-3 Padding=2 \
             Relay=2-6\nw Bandwidth=1234\n"
        )
        .unwrap();
        microdescs.push_str(&body);
    }
    consensus.push_str("directory-footer\n");
    (consensus, microdescs)
}

/// Both documents into a view of the network.
#[divan::bench]
fn consensus_8000(bencher: Bencher) {
    let (consensus, microdescs) = documents();
    assert_eq!(parse(&consensus, &microdescs, false).unwrap().hsdirs.len(), usize::from(RELAYS));
    bencher
        .counter(BytesCount::new(consensus.len() + microdescs.len()))
        .bench_local(|| parse(black_box(&consensus), black_box(&microdescs), false));
}

/// `GETINFO md/all` as it comes from the control port.
#[divan::bench]
fn reply_md_all(bencher: Bencher) {
    let (_, microdescs) = documents();
    let bytes = format!("250+md/all=\r\n{}.\r\n250 OK\r\n", microdescs.replace('\n', "\r\n"));
    bencher.counter(BytesCount::new(bytes.len())).bench_local(|| {
        let mut decoder = ReplyDecoder::new();
        let mut reply = None;
        for mut piece in black_box(bytes.as_bytes()).chunks(READ_BYTES) {
            reply = decoder.decode(&mut piece).unwrap();
        }
        reply.unwrap()
    });
}
