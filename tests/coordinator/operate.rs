//! What operators ask of a cluster: another token, draining, leaving.

use std::time::Duration;

use nix::sys::signal::Signal;
use rustbalance::ipc::coordinator::DrainWish;
use rustbalance::proto::cluster::drain::DrainPhase;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use crate::node::{Node, until};
use crate::{BOUND, START, in_three_places};

/// Whether this node, and every node it sees, has a token of this number.
async fn all_have(nodes: &[Node], seq: u32) {
    for node in nodes {
        node.until_status(START, &format!("all have token {seq}"), |status| {
            let tokens: Vec<_> = status.cluster.nodes.iter().map(|node| node.token).collect();
            tokens.len() == 3 && tokens.iter().all(|token| token.is_some_and(|token| token.seq == seq))
        })
        .await;
    }
}

#[test]
fn a_new_token_reaches_all_also_those_that_were_away_or_restart() {
    let test = "operate::a_new_token_reaches_all_also_those_that_were_away_or_restart";
    in_three_places(test, async |nodes, _| {
        let made = nodes[1].client().await.rotate_token().await.unwrap();
        assert_eq!(made.token.seq, 1);
        all_have(nodes, 1).await;

        // One is away while two more are made, one of them by a node that restarts right afterwards.
        nodes[2].signal(Signal::SIGKILL);
        nodes[2].wait();
        nodes[2].unpublish();
        nodes[0].client().await.rotate_token().await.unwrap();
        nodes[1]
            .until_status(BOUND, "n2 follows", |status| {
                status
                    .cluster
                    .nodes
                    .iter()
                    .filter(|node| node.token.is_some_and(|token| token.seq == 2))
                    .count()
                    == 2
            })
            .await;
        let made = nodes[0].client().await.rotate_token().await.unwrap();
        nodes[0]
            .until_status(BOUND, "n1 keeps it", |status| {
                status.cluster.nodes.iter().any(|node| node.token == Some(made.token))
            })
            .await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        nodes[0].signal(Signal::SIGKILL);
        nodes[0].wait();
        nodes[0].unpublish();
        for number in [0, 2] {
            nodes[number].publish();
            nodes[number].start();
        }
        all_have(nodes, 3).await;
        let all = |nodes: &[Node]| nodes[0].order() == Some(vec![1, 2, 3]);
        until(nodes, START, "and publish together as before", all).await;

        // What is kept on the disk tells no token.
        let memory = std::fs::read_to_string(nodes[2].directory.join("state/memory.json")).unwrap();
        assert!(memory.contains("rotation") && !memory.contains(crate::node::TOKEN));
    });
}

#[test]
fn a_drained_node_leaves_the_descriptor_first_and_its_clients_last() {
    in_three_places(
        "operate::a_drained_node_leaves_the_descriptor_first_and_its_clients_last",
        async |nodes, _| {
            // n2 has a proxy with a client.
            let target = UnixListener::bind(nodes[1].directory.join("target.sock")).unwrap();
            let config = nodes[1].configuration();
            let at = nodes[1].directory.display().to_string();
            let proxy = format!(
                "[proxy]\nlisten = \"unix:{at}/onion.sock\"\ntarget = \"unix:{at}/target.sock\"\n{config}"
            );
            nodes[1].write("config.toml", &proxy);
            nodes[1].serve();
            tokio::spawn(async move {
                while let Ok((mut stream, _)) = target.accept().await {
                    tokio::spawn(async move {
                        let (mut read, mut write) = stream.split();
                        tokio::io::copy(&mut read, &mut write).await
                    });
                }
            });
            let client = async || loop {
                if let Ok(stream) = UnixStream::connect(nodes[1].directory.join("onion.sock")).await {
                    return stream;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            };
            let mut client = client().await;
            client.write_all(b"ping").await.unwrap();
            client.read_exact(&mut [0; 4]).await.unwrap();

            let wish = |draining| DrainWish {
                node: Some("n2".parse().unwrap()),
                draining,
                deadline_secs: 3,
                after: None,
            };
            let unknown = DrainWish { node: Some("n9".parse().unwrap()), ..wish(true) };
            let refused = nodes[2].client().await.drain(&unknown).await.unwrap_err().to_string();
            assert!(refused.contains("no node n9"), "{refused}");
            // Told to any node.
            nodes[2].client().await.drain(&wish(true)).await.unwrap();
            let out = |nodes: &[Node]| nodes[0].order() == Some(vec![1, 3]) && nodes[1].is_muted();
            until(nodes, BOUND, "n2's points are out and its circuits are closed", out).await;
            client.write_all(b"ping").await.unwrap();
            client.read_exact(&mut [0; 4]).await.unwrap();
            let phase = |nodes: &[Node]| nodes[1].number;
            assert_eq!(phase(nodes), 2);
            let begin = std::time::Instant::now();
            let drained = |status: &rustbalance::ipc::coordinator::CoordinatorStatus| {
                status.cluster.nodes.iter().any(|node| node.drain_phase == Some(DrainPhase::Drained))
            };
            nodes[0].until_status(BOUND, "n2's time is up", drained).await;
            assert!(begin.elapsed() > Duration::from_secs(2), "{:?}", begin.elapsed());
            let cut = tokio::time::timeout(BOUND, client.read(&mut [0; 4])).await.unwrap();
            assert!(!matches!(cut, Ok(1..)), "the client was not cut");

            nodes[0].client().await.drain(&wish(false)).await.unwrap();
            let back = |nodes: &[Node]| nodes[0].order() == Some(vec![1, 2, 3]) && !nodes[1].is_muted();
            until(nodes, BOUND, "n2 is in use again", back).await;
        },
    );
}

#[test]
fn a_node_whose_target_or_proxy_is_gone_leaves_the_descriptor_while_others_are_well() {
    let test = "operate::a_node_whose_target_or_proxy_is_gone_leaves_the_descriptor_while_others_are_well";
    in_three_places(test, async |nodes, _| {
        let config = nodes[0].configuration();
        let at = nodes[0].directory.display().to_string();
        let proxy = format!(
            "[proxy]\nlisten = \"unix:{at}/onion.sock\"\ntarget = \"unix:{at}/target.sock\"\nprobe_interval_secs = 1\n{config}"
        );
        nodes[0].write("config.toml", &proxy);
        nodes[0].serve();
        // Nothing listens there: three probes, five seconds apart.
        let moved = |nodes: &[Node]| nodes[1].order() == Some(vec![2, 3]) && nodes[0].order().is_none();
        until(nodes, START, "n1's target is gone: n2 publishes without n1", moved).await;
        let _target = UnixListener::bind(nodes[0].directory.join("target.sock")).unwrap();
        let back = |nodes: &[Node]| nodes[0].order() == Some(vec![1, 2, 3]);
        until(nodes, START, "it is back", back).await;
        nodes[0].stop_serving();
        until(nodes, START, "n1's proxy is gone: n2 publishes without n1", moved).await;
    });
}

#[test]
fn a_node_that_leaves_is_forgotten_and_forgets() {
    in_three_places("operate::a_node_that_leaves_is_forgotten_and_forgets", async |nodes, _| {
        nodes[1].client().await.leave().await.unwrap();
        assert_eq!(nodes[1].wait(), Some(0), "{}", nodes[1].log());
        let without = |nodes: &[Node]| nodes[0].order() == Some(vec![1, 3]);
        until(nodes, BOUND, "n1 publishes without n2", without).await;
        let state = nodes[1].directory.join("state");
        assert!(!nodes[1].is_joined() && !state.join("memory.json").exists() && state.join("left").exists());
        for number in [0, 2] {
            let known = |status: &rustbalance::ipc::coordinator::CoordinatorStatus| {
                !status.cluster.nodes.iter().any(|node| node.node.as_str() == "n2")
            };
            nodes[number].until_status(BOUND, "n2 is forgotten", known).await;
        }
        // Its service manager starts it again, in vain.
        nodes[1].start();
        assert_eq!(nodes[1].wait(), Some(78), "{}", nodes[1].log());
        assert!(nodes[1].log().contains("has left its cluster"), "{}", nodes[1].log());
    });
}
