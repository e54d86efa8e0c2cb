//! What a peer that went mad would send, and an operator who could not make up his mind would do, one after the other:
//! the core survives, holds little, and what it wants remembered it can take up again.
//!
//! The input is read as pieces, each behind two bytes: the upper five bits say what it is, the others how long. A datagram
//! under either token, or a note: what that says is asked for on this node. Time runs a tenth of a second per piece.
// max_len=8192
#![no_main]

use std::net::IpAddr;
use std::time::{Duration, Instant};

use rustbalance::proto::cluster::core::{Cluster, ClusterConfig};
use rustbalance::proto::cluster::events::{Action, Event};
use rustbalance::proto::cluster::ledger::{MAX_ADMISSIONS, MAX_DEPARTURES, MAX_DRAINS, MAX_ROTATIONS};
use rustbalance::proto::cluster::memory::Memory;
use rustbalance::proto::cluster::message::MAX_DATAGRAM;
use rustbalance::proto::cluster::note::Note;
use rustbalance::proto::cluster::record::MAX_NODES;
use rustbalance::proto::cluster::roster::Peer;
use rustbalance::proto::cluster::timing::{DEFAULT_TOKEN_OVERLAP, Timing};
use rustbalance::proto::cluster::token::TokenName;
use rustbalance::proto::node::Priority;

fn peer(name: &str, number: u8) -> Peer {
    Peer {
        node: name.parse().expect("a node's name"),
        wireguard_key: [number; 32],
        endpoint: None,
        tunnel_address: IpAddr::from([10, 9, 9, number]),
    }
}

fn node(memory: Memory, now: Instant, unix_ms: u64) -> Cluster {
    let config = ClusterConfig {
        own: peer("a", 1),
        priority: Priority(1),
        timing: Timing::default(),
        token: TokenName::default(),
        overlap: DEFAULT_TOKEN_OVERLAP,
        memory,
    };
    Cluster::new(config, 1, now, unix_ms)
}

/// The event that a piece stands for.
fn event(kind: u8, bytes: &[u8]) -> Option<Event<'static>> {
    Some(match (kind, postcard::from_bytes(bytes).ok()) {
        (2, Some(Note::Admission(admission))) => Event::Admit { number: 1, admission },
        (2, Some(Note::Rotation(rotation))) => Event::RotateToken { rotation },
        (2, Some(Note::Drain(drain))) => Event::Drain(drain),
        (2, Some(Note::Departure(departure))) if departure.node.as_str() == "a" => Event::Leave,
        (3, _) => Event::TargetWell(bytes.is_empty()),
        (4, _) => Event::Connections(bytes.len() as u64),
        (5, _) => Event::Published(vec![peer("b", 2).node]),
        _ => return None,
    })
}

fn check(memory: &Memory) {
    assert!(memory.peers.len() <= MAX_NODES);
    assert!(memory.notes.len() <= MAX_ADMISSIONS + MAX_DEPARTURES + MAX_ROTATIONS + MAX_DRAINS);
}

rustbalance_fuzz::target!(|data: &[u8]| {
    let mut now = Instant::now();
    let mut unix_ms = 1_800_000_000_000;
    let mut core = node(Memory::default(), now, unix_ms);
    core.handle(now, unix_ms, Event::PeerConfigured(peer("b", 2)));
    core.handle(now, unix_ms, Event::Start);
    let from = peer("b", 2).node;
    let mut kept = Memory::default();
    let mut newest = TokenName::default();
    let mut rest = data;
    while let Some((head, after)) = rest.split_first_chunk::<2>() {
        let (kind, length) = (head[0] >> 3, u16::from_be_bytes([head[0] & 7, head[1]]));
        let (bytes, after) = after.split_at(after.len().min(usize::from(length)));
        rest = after;
        now += Duration::from_millis(100);
        unix_ms += 100;
        let under = if kind == 1 { newest } else { TokenName::default() };
        let event = if kind < 2 { Some(Event::Datagram { from: &from, bytes, under }) } else { event(kind, bytes) };
        let mut events: Vec<Event<'_>> = event.into_iter().chain([Event::Timer]).collect();
        while !events.is_empty() {
            let actions: Vec<Action> =
                events.drain(..).flat_map(|event| core.handle(now, unix_ms, event)).collect();
            for action in actions {
                match action {
                    Action::Send { bytes, .. } => assert!(bytes.len() <= MAX_DATAGRAM),
                    Action::Remember(memory) => {
                        check(&memory);
                        kept = memory;
                    }
                    Action::Adopt(rotation) if rotation.sealed.first() == Some(&0) => {
                        events.push(Event::TokenRefused(rotation.token));
                    }
                    Action::Adopt(rotation) => {
                        newest = newest.max(rotation.token);
                        events.push(Event::TokenAdopted(rotation.token));
                    }
                    _ => {}
                }
            }
        }
    }
    let mut core = node(kept, now, unix_ms);
    core.handle(now, unix_ms, Event::Start);
});
