//! Bodies of requests that a stranger made up, and honest ones with a byte changed: none is believed.
//!
//! The first byte chooses; the rest is the body, or says where which byte of an honest one is changed.
// max_len=9000
#![no_main]

use std::sync::Arc;
use std::time::Instant;

use rustbalance::proto::join::answer::JoinAnswer;
use rustbalance::proto::join::gate::{Gate, GateAction, GateEvent, Trusted};
use rustbalance::proto::join::keys::JoinKeys;
use rustbalance::proto::join::member::Member;
use rustbalance::proto::join::request::JoinRequest;
use rustbalance::proto::join::ticket::Ticket;
use rustbalance::proto::node::Priority;
use zeroize::Zeroizing;

const NOW_MS: u64 = 1_790_000_000_000;

fn keys() -> JoinKeys {
    JoinKeys::new(Zeroizing::new([1; 32]), Zeroizing::new([2; 32]))
}

fn honest() -> Vec<u8> {
    let member = Member {
        node: "n1".parse().expect("a node's name"),
        wireguard_key: [7; 32],
        endpoint: Some(([192, 0, 2, 1], 51820).into()),
        tunnel_address: [10, 9, 9, 7].into(),
    };
    let ticket = Ticket::issue(&keys(), [7; 16], NOW_MS + 1, 1);
    let request = JoinRequest { member, priority: Priority(1), request_time: NOW_MS / 1000, ticket };
    request.prove(&keys()).expect("a request").0
}

rustbalance_fuzz::target!(|data: &[u8]| {
    let (body, is_honest) = match data {
        [0, at, by, ..] => {
            let mut body = honest();
            let at = usize::from(*at) * 3 % body.len();
            body[at] ^= by;
            (body, *by == 0)
        }
        [_, rest @ ..] => (rest.to_vec(), false),
        [] => return,
    };
    let mut gate = Gate::new(Box::new(|key| [10, 9, 9, key[0]].into()));
    let trusted = Trusted { keys: Arc::new(keys()), until_ms: None };
    gate.handle(Instant::now(), NOW_MS, GateEvent::Trust(vec![trusted]));
    let action = gate.handle(Instant::now(), NOW_MS, GateEvent::Request { number: 1, body: &body });
    // White space, and another spelling of a number, change nothing of what was proven.
    let meant = |body: &[u8]| serde_json::from_slice::<serde_json::Value>(body).ok();
    let is_honest = is_honest || meant(&body) == meant(&honest());
    match action {
        Some(GateAction::Forward(1)) => assert!(!is_honest),
        Some(GateAction::Ask(1, candidate)) => {
            assert!(is_honest);
            assert_eq!(candidate.ticket, [7; 16]);
        }
        other => panic!("{other:?}"),
    }
    for status in [200, 410] {
        assert!(JoinAnswer::parse(status, &body, &keys(), &[0; 32]).is_err());
    }
});
