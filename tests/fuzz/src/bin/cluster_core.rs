//! Datagrams, one after the other, as a peer that went mad would send them: the core survives, and holds little.
//!
//! The input is read as pieces, each behind its length in two bytes; its time runs a tenth of a second per piece.
// max_len=8192
#![no_main]

use std::net::IpAddr;
use std::time::{Duration, Instant};

use rustbalance::proto::cluster::core::{Cluster, ClusterConfig};
use rustbalance::proto::cluster::events::{Action, Event};
use rustbalance::proto::cluster::message::MAX_DATAGRAM;
use rustbalance::proto::cluster::memory::Memory;
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

rustbalance_fuzz::target!(|data: &[u8]| {
    let mut now = Instant::now();
    let mut unix_ms = 1_800_000_000_000;
    let config = ClusterConfig {
        own: peer("a", 1),
        priority: Priority(1),
        timing: Timing::default(),
        token: TokenName::default(),
        overlap: DEFAULT_TOKEN_OVERLAP,
        memory: Memory::default(),
    };
    let mut core = Cluster::new(config, 1, now, unix_ms);
    core.handle(now, unix_ms, Event::PeerConfigured(peer("b", 2)));
    core.handle(now, unix_ms, Event::Start);
    let from = peer("b", 2).node;
    let mut rest = data;
    while let Some((length, after)) = rest.split_first_chunk::<2>() {
        let (bytes, after) = after.split_at(after.len().min(usize::from(u16::from_be_bytes(*length))));
        rest = after;
        now += Duration::from_millis(100);
        unix_ms += 100;
        for event in [Event::Datagram { from: &from, bytes, under: TokenName::default() }, Event::Timer] {
            for action in core.handle(now, unix_ms, event) {
                if let Action::Send { bytes, .. } = action {
                    assert!(bytes.len() <= MAX_DATAGRAM);
                }
            }
        }
    }
});
