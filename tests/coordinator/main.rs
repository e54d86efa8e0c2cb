//! Three real coordinators, each in a network namespace of its own, over real WireGuard tunnels.
//!
//! Needs root, or a kernel that allows unprivileged user namespaces, `/dev/net/tun`, util-linux and iproute2.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    unreachable_pub,
    missing_docs
)]

mod join;
mod node;
mod onion;
mod operate;
mod place;
mod reload;

use std::time::Duration;

use nix::sys::signal::Signal;
use rustbalance::proto::cluster::fitness::Ailment;

use crate::node::{Node, points, until};
use crate::place::{Place, with_namespaces};

/// What the issue promises, and a loaded test machine may need.
const BOUND: Duration = Duration::from_secs(5);
/// Start-up: three tunnels and their first handshakes, one of which may be lost and repeated after 5 s.
const START: Duration = Duration::from_secs(20);

/// A publisher that does not answer is given up after ten seconds.
const HUNG: Duration = Duration::from_secs(20);
/// The first rest is half a minute.
const RESTED: Duration = Duration::from_secs(45);

fn orders(nodes: &[Node]) -> Vec<Option<Vec<u8>>> {
    nodes.iter().map(Node::order).collect()
}

async fn three_nodes(places: Vec<Place>, directory: &std::path::Path) -> Vec<Node> {
    let mut nodes: Vec<Node> =
        (1..).zip(places).map(|(number, place)| Node::new(number, 3, place, directory)).collect();
    for node in &mut nodes {
        node.publish();
        node.start();
    }
    let all = |nodes: &[Node]| orders(nodes) == [Some(vec![1, 2, 3]), None, None];
    until(&nodes, START, "n1 publishes for all three", all).await;
    nodes
}

fn in_three_places(test: &str, story: impl AsyncFnOnce(&mut Vec<Node>, &Place)) {
    with_namespaces(test, || {
        let directory = tempfile::tempdir().unwrap();
        let (places, hub) = Place::joined(3);
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut nodes = three_nodes(places, directory.path()).await;
            story(&mut nodes, &hub).await;
        });
    });
}

#[test]
fn a_holder_that_dies_freezes_or_is_cut_off_is_replaced() {
    in_three_places("a_holder_that_dies_freezes_or_is_cut_off_is_replaced", async |nodes, hub| {
        nodes[0].signal(Signal::SIGKILL);
        nodes[0].wait();
        nodes[0].unpublish();
        let replaced = |nodes: &[Node]| orders(nodes)[1..] == [Some(vec![2, 3]), None];
        until(nodes, BOUND, "killed: n2 publishes without n1", replaced).await;

        nodes[0].publish();
        nodes[0].start();
        let back = |nodes: &[Node]| orders(nodes) == [Some(vec![1, 2, 3]), None, None];
        until(nodes, START, "returned: n1 publishes again for all", back).await;

        nodes[0].signal(Signal::SIGSTOP);
        until(nodes, BOUND, "frozen: n2 publishes without n1", replaced).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        nodes[0].signal(Signal::SIGCONT);
        until(nodes, BOUND, "woken: n1 lets go", |nodes| nodes[0].order().is_none()).await;
        until(nodes, BOUND, "woken: n1 publishes again for all", back).await;

        hub.ip(&["link", "set", "port1", "down"]);
        let parted = |nodes: &[Node]| orders(nodes) == [Some(vec![1]), Some(vec![2, 3]), None];
        until(nodes, BOUND, "parted: each side has its holder", parted).await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        hub.ip(&["link", "set", "port1", "up"]);
        until(nodes, BOUND, "healed: one holder, all points", back).await;
    });
}

#[test]
fn a_node_that_is_told_to_stop_leaves_in_order() {
    in_three_places("a_node_that_is_told_to_stop_leaves_in_order", async |nodes, _| {
        // CAP_NET_ADMIN is bit 12.
        let status = std::fs::read_to_string(format!("/proc/{}/status", nodes[0].pid())).unwrap();
        for set in ["CapPrm", "CapEff", "CapBnd"] {
            assert!(status.contains(&format!("{set}:\t0000000000001000")), "{status}");
        }
        for set in ["CapInh", "CapAmb"] {
            assert!(status.contains(&format!("{set}:\t0000000000000000")), "{status}");
        }
        assert!(nodes[0].place.try_ip(&["link", "show", "wg-rb"]).status.success());
        let told = nodes[0].status().await;
        assert_eq!(told.cluster.holder.as_ref().map(ToString::to_string).as_deref(), Some("n1"));
        assert!(told.cluster.publisher && told.mesh.accepted > 0 && !told.mesh.kernel, "{told:?}");

        nodes[0].signal(Signal::SIGTERM);
        let handed_over = |nodes: &[Node]| orders(nodes) == [None, Some(vec![2, 3]), None];
        let took = until(nodes, BOUND, "stopped: n2 publishes without n1", handed_over).await;
        assert!(took < Duration::from_secs(1), "a goodbye needs no detection: {took:?}");
        assert_eq!(nodes[0].wait(), Some(0), "{}", nodes[0].log());
        assert!(!nodes[0].place.try_ip(&["link", "show", "wg-rb"]).status.success());
    });
}

#[test]
fn a_publisher_may_come_and_go() {
    in_three_places("a_publisher_may_come_and_go", async |nodes, _| {
        nodes[2].report(Vec::new());
        let without = |nodes: &[Node]| nodes[0].order() == Some(vec![1, 2]);
        until(nodes, BOUND, "n3's tor lost its points", without).await;
        nodes[2].report(points(3));
        let all = |nodes: &[Node]| nodes[0].order() == Some(vec![1, 2, 3]);
        until(nodes, BOUND, "n3's tor has points again", all).await;

        nodes[0].unpublish();
        nodes[0].publish();
        until(nodes, BOUND, "n1's publisher restarted and is told again", all).await;
        assert!(nodes[1].order().is_none(), "a restart is not seen");

        nodes[0].unpublish();
        until(nodes, BOUND, "n1's publisher is gone, n2 publishes", |nodes| {
            nodes[1].order() == Some(vec![2, 3])
        })
        .await;
    });
}

#[test]
fn a_holder_whose_publisher_hangs_leaves_the_lease_to_another_until_it_has_been_well() {
    let test = "a_holder_whose_publisher_hangs_leaves_the_lease_to_another_until_it_has_been_well";
    in_three_places(test, async |nodes, _| {
        let others = |nodes: &[Node]| nodes[1].order() == Some(vec![2, 3]);
        let all = |nodes: &[Node]| nodes[1].order() == Some(vec![1, 2, 3]);
        let back = |nodes: &[Node]| orders(nodes) == [Some(vec![1, 2, 3]), None, None];
        nodes[0].hang_publisher();
        until(nodes, HUNG, "n1's publisher hangs, n2 publishes", others).await;
        let status = nodes[1].status().await;
        assert_eq!(status.cluster.nodes[0].stands_back, Some(Ailment::PublisherAway));
        nodes[0].unpublish();
        nodes[0].publish();
        until(nodes, BOUND, "it is started again: n1 serves, and n2 publishes", all).await;
        let took = until(nodes, RESTED, "n1 publishes again", back).await;
        assert!(took > Duration::from_secs(20), "it has not shown that it is well: {took:?}");
        assert_eq!(nodes[0].status().await.cluster.stood_back, 1);
        let log = nodes[0].log();
        assert!(
            log.contains("stands back from the lease") && log.contains("may hold the lease again"),
            "{log}"
        );
    });
}

#[test]
fn a_configuration_that_cannot_work_is_refused_with_its_line() {
    with_namespaces("a_configuration_that_cannot_work_is_refused_with_its_line", || {
        let directory = tempfile::tempdir().unwrap();
        let (mut places, _) = Place::joined(1);
        let node = Node::new(1, 2, places.pop().unwrap(), directory.path());
        let text = node.configuration();
        let check = |from: &str, to: &str| {
            assert!(text.contains(from), "{from}");
            node.check(&text.replacen(from, to, 1))
        };
        assert_eq!(check("priority", "priority"), (Some(0), String::new()));
        for (from, to, expected) in [
            (node::public_key(2), node::public_key(1), "mesh.peers.0.public_key: is this node's own"),
            (
                "[mesh]".into(),
                "[mesh]\ntunnel_address = \"10.9.9.1\"".into(),
                "mesh.peers.0.tunnel_address: comes to fd",
            ),
            (
                "[mesh]".into(),
                "[mesh]\ntunnel_address = \"127.0.0.1\"".into(),
                "mesh.tunnel_address: 127.0.0.1 cannot",
            ),
        ] {
            let (code, said) = check(&from, &to);
            assert_eq!(code, Some(78), "{said}");
            assert!(said.contains(expected) && said.contains("config.toml:"), "{said}");
        }
    });
}
