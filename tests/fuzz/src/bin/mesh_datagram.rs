//! Datagrams as they come from the network, alone and between those of honest nodes: nothing forged is accepted, and
//! nothing twice, in whatever order and however late they arrive.
// max_len=1400
#![no_main]

use std::collections::BTreeSet;
use std::sync::Arc;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rustbalance::mesh::open::Opener;
use rustbalance::mesh::seal::{Sealer, SessionSalt, key_id};
use rustbalance::mesh::token::ClusterToken;
use rustbalance::proto::cluster::token::TokenName;

const START_MS: u64 = 1_790_000_000_000;

fn token() -> ClusterToken {
    ClusterToken::from_file_bytes(&[b'x'; 32]).expect("long enough")
}

fn sealer(name: &str, seed: u64) -> Sealer {
    let salt = SessionSalt::generate(&mut StdRng::seed_from_u64(seed));
    Sealer::new(&token(), name.parse().expect("a node name"), salt)
}

fn opener() -> Opener {
    let mut opener = Opener::new("me".parse().expect("a node name"));
    opener.trust(TokenName { seq: 0, tag: key_id(&token()) }, Arc::new(token()));
    opener
}

/// The input as a single datagram.
fn alone(data: &[u8]) {
    let mut opener = opener();
    let first = opener.open(data, START_MS).is_ok();
    assert!(!(opener.open(data, START_MS).is_ok() && first), "accepted twice");
    assert_eq!(opener.counters().accepted, u64::from(first));
    assert_eq!(opener.counters().refused(), 2 - u64::from(first));
}

/// The input as what the network does with honest datagrams: four bytes each time.
fn among_others(data: &[u8]) {
    let mut opener = opener();
    let mut sealers = [sealer("n1", 1), sealer("n1", 2), sealer("n2", 3), sealer("me", 4)];
    let (mut now, mut sent, mut accepted) = (START_MS, Vec::new(), BTreeSet::new());
    for step in data.chunks_exact(4) {
        let &[what, which, one, two] = step else { unreachable!("chunks of four") };
        let index = usize::from(which) % (sent.len() + 1);
        match what % 4 {
            0 => {
                let skew = i64::from(i8::from_le_bytes([one])) * 60;
                let sealed = sealers[usize::from(which) % 4].seal(&[two], now.saturating_add_signed(skew));
                sent.push(sealed.expect("a small payload"));
            }
            1 => now += u64::from(one) * 100,
            2 if index < sent.len() => {
                if opener.open(&sent[index], now).is_ok() {
                    assert!(accepted.insert(index), "datagram {index} was accepted twice");
                }
            }
            3 if index < sent.len() => {
                let mut changed: Vec<u8> = sent[index].clone();
                let at = usize::from(one) % changed.len();
                changed[at] ^= two;
                assert!(two == 0 || opener.open(&changed, now).is_err(), "accepted although changed at {at}");
            }
            _ => {}
        }
    }
    assert_eq!(opener.counters().accepted, accepted.len() as u64);
}

rustbalance_fuzz::target!(|data: &[u8]| {
    alone(data);
    among_others(&data[..data.len().min(400)]);
});
