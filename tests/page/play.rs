//! A watchdog with its status page, in a node that is played: tests/page/run starts it, and tells it what happens next.
//!
//! The watchdog is the real one. Where the HSDirs lie is reckoned from a recorded consensus; what the other daemons say of
//! them is made up here.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

// Only what the page needs is used of these.
#[allow(dead_code)]
#[path = "../watchdog/fake_tor.rs"]
mod fake_tor;
#[allow(dead_code)]
#[path = "../watchdog/node.rs"]
mod node;
#[allow(dead_code)]
#[path = "../watchdog/service_manager.rs"]
mod service_manager;

use std::io::BufRead;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use node::{Node, Said, peer, point};
use rustbalance::proto::cluster::drain::DrainPhase;
use rustbalance::proto::cluster::status::{Lifecycle, Past};
use rustbalance::proto::onion::identity::HsIdKeypair;
use rustbalance::proto::onion::network::HsDirParams;
use rustbalance::proto::publish::plan::{Plan, SlotPlan};
use rustbalance::proto::publish::report::{
    Answers, Duty, HsDirReport, HsDirState, PublisherReport, SlotReport, TorState,
};
use rustbalance::tor::consensus::parse;

/// The standby tor's unit, as the watchdog kills it.
const KILL_B: &str = "KillUnit rustbalance-tor@b.service";

#[tokio::main]
async fn main() {
    let program = std::env::args_os().nth(1).expect("the watchdog's program is the argument");
    let node = Node::start(program.as_ref()).await;
    let b = node.b.clone();
    node.manager.on(KILL_B, move |_| b.start());
    begin(&mut node.said.lock().unwrap());
    println!("{}", node.path("web.sock").display());
    // What is asked for is done, and said when it is; the end of the input is the end.
    while let Some(word) = tokio::task::spawn_blocking(next_line).await.unwrap() {
        match word.as_str() {
            "drain" => drain(&mut node.said.lock().unwrap()),
            "hang" => {
                node.b.hang();
                let begin = Instant::now();
                node.until_called(KILL_B, begin).await;
            }
            other => panic!("{other} is not known"),
        }
        println!("done");
    }
}

fn next_line() -> Option<String> {
    std::io::stdin().lock().lines().next().map(Result::unwrap)
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Four nodes, three of them serve; this one publishes for all.
fn begin(said: &mut Said) {
    let cluster = &mut said.coordinator.cluster;
    (cluster.holder, cluster.epoch) = (Some("alpha".parse().unwrap()), 7);
    cluster.nodes = ["alpha", "beta", "delta", "gamma"].map(peer).to_vec();
    cluster.nodes[0].lease_epoch = Some(7);
    cluster.nodes[0].published = ["alpha", "beta", "gamma"].map(|name| name.parse().unwrap()).to_vec();
    (cluster.nodes[2].lifecycle, cluster.nodes[2].points) = (Lifecycle::Unhealthy, 0);
    let ago = |secs: u64, text: &str, alarming| Past {
        unix_ms: (now() - secs) * 1000,
        text: text.to_owned(),
        alarming,
    };
    cluster.past = vec![
        ago(40_000, "node delta is there", false),
        ago(1_500, "alpha holds the lease", false),
        ago(200, "node delta does not answer", true),
    ];
    said.publisher = PublisherReport {
        points: [0xA1, 0xB2, 0xC3].map(point).to_vec(),
        duty: Duty::Publishing { epoch: 7 },
        serving_tor: TorState::Ready,
        standby_tor: TorState::Ready,
        slots: plan().slots.iter().map(slot).collect(),
        ..PublisherReport::default()
    };
}

/// The operator drains a node: its points leave the descriptor, which is posted anew, and one HSDir does not take it.
fn drain(said: &mut Said) {
    let cluster = &mut said.coordinator.cluster;
    let beta = &mut cluster.nodes[1];
    (beta.lifecycle, beta.draining, beta.drain_phase) = (Lifecycle::Draining, true, Some(DrainPhase::Muted));
    cluster.nodes[0].published.remove(1);
    cluster.past.push(Past {
        unix_ms: now() * 1000,
        text: "node beta is drained".to_owned(),
        alarming: false,
    });
    for slot in &mut said.publisher.slots {
        slot.points -= 3;
        slot.points_by_node.remove(1);
        for (number, hsdir) in slot.hsdirs.iter_mut().enumerate() {
            if slot.client_fetches && number == 5 {
                (hsdir.state, hsdir.failures) = (HsDirState::Behind, 2);
            } else {
                hsdir.counter = hsdir.counter.map(|counter| counter + 1_730);
                (hsdir.accepted_at, hsdir.read_back_at) = (Some(now()), slot.client_fetches.then(now));
            }
        }
    }
}

/// Where a service's descriptors lie in a recorded network of twelve relays, with the public network's numbers of replicas and
/// HSDirs.
fn plan() -> Plan {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/consensus/early");
    let read = |kind| std::fs::read_to_string(format!("{folder}.{kind}")).unwrap();
    let mut view = parse(&read("consensus"), &read("microdescs"), true).unwrap();
    view.params = HsDirParams::default();
    Plan::new(&view, &HsIdKeypair::from_seed([7; 32]).unwrap()).unwrap()
}

/// A descriptor that is everywhere; only what clients fetch can be read back.
fn slot(plan: &SlotPlan) -> SlotReport {
    let client_fetches = plan.slot.client_fetches;
    let base = if client_fetches { 2_817_440_000 } else { 96_300_000 };
    let hsdir = |hsdir| HsDirReport {
        fingerprint: rustbalance::proto::onion::hsdir::HsDir::fingerprint(hsdir),
        state: if client_fetches { HsDirState::Verified } else { HsDirState::Accepted },
        counter: Some(base + 51_283),
        accepted_at: Some(now() - 95),
        read_back_at: client_fetches.then(|| now() - 92),
        failures: 0,
        answers: Answers { accepted: 3, ..Answers::default() },
        seat: plan.seat(hsdir),
    };
    SlotReport {
        which: plan.slot.which,
        period: plan.slot.period.num,
        client_fetches,
        points: 9,
        points_by_node: ["alpha", "beta", "gamma"].map(|name| (name.parse().unwrap(), 3)).to_vec(),
        published: Vec::new(),
        renewed_at: Some(now() - 95),
        certified_until: None,
        replicas: plan.replicas.iter().map(|replica| replica.place).collect(),
        hsdirs: plan.hsdirs.iter().map(hsdir).collect(),
    }
}
