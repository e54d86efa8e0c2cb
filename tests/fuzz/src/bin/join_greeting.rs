//! Questions and answers of a canary that a stranger made up, and honest ones with a byte changed: none is believed.
//!
//! The first byte chooses between a question, an answer, and what follows it; the next two say where and how an honest one
//! is changed.
// max_len=600
#![no_main]

use std::iter;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rustbalance::proto::join::greeting;
use rustbalance::proto::join::keys::JoinKeys;
use rustbalance::proto::node::NodeId;
use zeroize::Zeroizing;

const NOW_MS: u64 = 1_790_000_000_000;

fn keys() -> JoinKeys {
    JoinKeys::new(Zeroizing::new([1; 32]), Zeroizing::new([2; 32]))
}

fn own() -> NodeId {
    "alpha".parse().expect("a node's name")
}

fn answer(question: &[u8]) -> Option<Vec<u8>> {
    greeting::answer(question, iter::once(&keys()), &own(), NOW_MS)
}

fn honest() -> (Vec<u8>, [u8; 32], Vec<u8>) {
    let (question, tag) = greeting::ask(&keys(), NOW_MS, &mut StdRng::seed_from_u64(1)).expect("a question");
    let answer = answer(&question).expect("an answer");
    (question, tag, answer)
}

fn changed(body: &[u8], at: u8, by: u8) -> Vec<u8> {
    let mut body = body.to_vec();
    let at = usize::from(at) % body.len();
    body[at] ^= by;
    body
}

rustbalance_fuzz::target!(|data: &[u8]| {
    let (question, tag, answered) = honest();
    let body = match data {
        [0, at, by, ..] => changed(&question, *at, *by),
        [1, at, by, ..] => changed(&answered, *at, *by),
        [_, rest @ ..] => rest.to_vec(),
        [] => return,
    };
    // White space, and another spelling of a number or a letter, change nothing of what was proven.
    let means = |other: &[u8]| {
        let meaning = |body: &[u8]| serde_json::from_slice::<serde_json::Value>(body).ok();
        meaning(&body).is_some_and(|it| Some(it) == meaning(other))
    };
    match answer(&body) {
        Some(said) => assert!(means(&question) && said == answered),
        None => assert_ne!(body, question),
    }
    match greeting::read_answer(&body, &keys(), &tag) {
        Some(node) => assert!(means(&answered) && node == own()),
        None => assert_ne!(body, answered),
    }
});
