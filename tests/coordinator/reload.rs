//! SIGHUP, and an end within a bound.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::node::{Node, public_key, until};
use crate::{BOUND, START, in_three_places, orders};

/// Has the coordinator read another configuration, and waits until its log says this.
async fn reload(node: &Node, text: &str, words: &str) {
    std::fs::write(node.directory.join("config.toml"), text).unwrap();
    node.signal(Signal::SIGHUP);
    let begin = Instant::now();
    while !node.log().contains(words) {
        assert!(begin.elapsed() < BOUND, "{words}: {}", node.log());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[test]
fn another_priority_moves_the_lease_and_peers_come_and_go_without_a_restart() {
    let test = "reload::another_priority_moves_the_lease_and_peers_come_and_go_without_a_restart";
    in_three_places(test, async |nodes, _| {
        let text = nodes[0].configuration();
        assert!(text.contains("priority = 1\n"));
        let line = 1 + text.lines().position(|line| line == "priority = 1").unwrap();
        let words = format!("config.toml:{line}: node.priority: ");
        reload(&nodes[0], &text.replace("priority = 1\n", "priority = -1\n"), &words).await;
        assert_eq!(orders(nodes), [Some(vec![1, 2, 3]), None, None]);

        let reserve = text.replace("priority = 1\n", "priority = 9\n");
        reload(&nodes[0], &reserve, "taken over: node.priority").await;
        let moved = |nodes: &[Node]| orders(nodes) == [None, Some(vec![1, 2, 3]), None];
        until(nodes, BOUND, "n2 publishes, as n1 has become a reserve", moved).await;

        let known = |node: &str| {
            let node = node.to_owned();
            move |status: &rustbalance::ipc::coordinator::CoordinatorStatus| {
                status.cluster.nodes.iter().any(|known| known.node.as_str() == node)
            }
        };
        let more = format!("{text}[[mesh.peers]]\nid = \"n9\"\npublic_key = \"{}\"\n", public_key(9));
        reload(&nodes[0], &more, "taken over: mesh.peers, node.priority").await;
        nodes[0].until_status(BOUND, "n9 is known", known("n9")).await;
        let back = |nodes: &[Node]| orders(nodes) == [Some(vec![1, 2, 3]), None, None];
        until(nodes, START, "n1 publishes again", back).await;
        let own_key = more.replace(&public_key(9), &public_key(1));
        reload(&nodes[0], &own_key, "mesh.peers.2.public_key: is this node's own").await;
        reload(
            &nodes[0],
            &text.replace("[cluster]\n", "[cluster]\ntoken_seq = 3\n"),
            "started again: cluster.token_seq",
        )
        .await;
        nodes[0].until_status(BOUND, "n9 is forgotten", |status| !known("n9")(status)).await;
        assert_eq!(orders(nodes), [Some(vec![1, 2, 3]), None, None]);
    });
}

#[test]
fn it_ends_within_its_bound_although_nobody_listens() {
    in_three_places("reload::it_ends_within_its_bound_although_nobody_listens", async |nodes, _| {
        // A publisher that has stopped in the middle of everything takes no last order.
        nodes[0].unpublish();
        nodes[0].publish_and_stall();
        tokio::time::sleep(Duration::from_secs(1)).await;
        let begin = Instant::now();
        nodes[0].signal(Signal::SIGTERM);
        assert_eq!(nodes[0].wait(), Some(0), "{}", nodes[0].log());
        let took = begin.elapsed();
        println!("the end, with a publisher that stalls: {:.3} s", took.as_secs_f64());
        assert!(took < Duration::from_secs(6), "{took:?}");
        assert!(!nodes[0].place.try_ip(&["link", "show", "wg-rb"]).status.success(), "the tunnel is left");
    });
}
