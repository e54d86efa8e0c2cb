//! Joining, with real coordinators, proxies and tunnels; only the way through tor is short-circuited.

use std::collections::BTreeSet;
use std::time::Duration;

use nix::sys::signal::Signal;
use rustbalance::ipc::coordinator::CoordinatorStatus;
use rustbalance::mesh::token::ClusterToken;
use rustbalance::proto::cluster::status::Lifecycle;
use rustbalance::proto::join::ticket::Ticket;
use rustbalance::proto::node::NodeId;
use rustbalance::sys::clock::unix_ms;

use crate::node::{Node, TOKEN, until};
use crate::onion::{Onion, target};
use crate::place::{Place, with_namespaces};
use crate::{BOUND, START};

/// A canary's first question comes within so long.
const CANARY: Duration = Duration::from_mins(1);

/// A ticket of this number.
fn ticket(number: u8, uses: u16) -> String {
    let keys = ClusterToken::from_file_bytes(TOKEN.as_bytes()).unwrap().join_keys();
    Ticket::issue(&keys, [number; 16], unix_ms() + 600_000, uses).to_string()
}

/// A node with a target, a proxy and a publisher, and its way to the others.
fn node(number: u8, place: Place, directory: &std::path::Path, ticket: Option<&str>) -> (Node, Onion) {
    let mut node = Node::alone(number, place, directory, ticket);
    target(&node.directory);
    let onion = Onion::new(&node.directory);
    node.publish();
    node.serve();
    (node, onion)
}

fn story(test: &str, places: u8, story: impl AsyncFnOnce(Vec<Place>, &std::path::Path)) {
    with_namespaces(test, || {
        let directory = tempfile::tempdir().unwrap();
        let (places, _hub) = Place::joined(places);
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(async { story(places, directory.path()).await });
    });
}

/// Names of the nodes that one sees serving.
fn serving(status: &CoordinatorStatus) -> Vec<&str> {
    let serving = status.cluster.nodes.iter().filter(|node| node.lifecycle == Lifecycle::Healthy);
    serving.map(|node| node.node.as_str()).collect()
}

#[test]
fn invited_nodes_join_one_by_one_and_a_chain_becomes_a_mesh() {
    story("join::invited_nodes_join_one_by_one_and_a_chain_becomes_a_mesh", 3, async |places, directory| {
        let mut places = places.into_iter();
        let mut place = || places.next().unwrap();
        let (mut first, _) = node(1, place(), directory, None);
        first.start();
        first
            .until_status(START, "a founder is a cluster at once", |status| status.cluster.holder.is_some())
            .await;
        assert!(first.is_joined());

        let (mut second, onion) = node(2, place(), directory, Some(&ticket(2, 1)));
        onion.lead_to(&first.directory);
        second.start();
        let mut nodes = vec![first, second];
        let both = |nodes: &[Node]| nodes[0].order() == Some(vec![1, 2]) && nodes[1].is_joined();
        until(&nodes, START, "n2 is let in and n1 publishes for both", both).await;
        assert!(nodes[1].status().await.joining.is_none());
        assert_eq!(onion.isolations().len(), 1);

        // The third knows only the second, and another ticket.
        let (mut third, onion) = node(3, place(), directory, Some(&ticket(3, 1)));
        onion.lead_to(&nodes[1].directory);
        third.start();
        nodes.push(third);
        let all = |nodes: &[Node]| nodes[0].order() == Some(vec![1, 2, 3]);
        until(&nodes, START, "n3 is let in by n2 and n1 publishes for all", all).await;
        for node in &nodes {
            let sees_all = |status: &CoordinatorStatus| serving(status) == ["n1", "n2", "n3"];
            let status = node.until_status(BOUND, "all are seen to serve", sees_all).await;
            let told = serde_json::to_string(&status).unwrap();
            assert!(!told.contains(TOKEN) && !told.contains("SSSSSSSS"), "a secret is told: {told}");
        }

        // Nobody has peers in a configuration, and there is no way to ask again: what was kept is enough.
        for node in &mut nodes {
            node.signal(Signal::SIGKILL);
            node.wait();
        }
        let asked = onion.isolations().len();
        for node in &mut nodes {
            node.unpublish();
            node.publish();
            node.start();
        }
        until(&nodes, START, "all were killed and are back", all).await;
        assert_eq!(onion.isolations().len(), asked, "who is in does not ask");
    });
}

#[test]
fn a_canary_knows_which_node_answers_at_the_address_and_tells_strangers_nothing() {
    let test = "join::a_canary_knows_which_node_answers_at_the_address_and_tells_strangers_nothing";
    story(test, 2, async |places, directory| {
        let mut places = places.into_iter();
        let mut place = || places.next().unwrap();
        let (mut first, onion) = node(1, place(), directory, None);
        first.write("config.toml", &first.configuration().replace("canary = false", "canary = true"));
        let (mut second, way) = node(2, place(), directory, Some(&ticket(2, 1)));
        way.lead_to(&first.directory);
        onion.lead_to(&second.directory);
        first.start();
        second.start();
        let nodes = vec![first, second];
        let both = |nodes: &[Node]| nodes[0].order() == Some(vec![1, 2]);
        until(&nodes, START, "n2 is let in", both).await;
        let met = |status: &CoordinatorStatus, node: &str| {
            let canary = status.canary.as_ref().unwrap();
            canary.met.keys().map(NodeId::as_str).eq([node]) && canary.round_trip_ms.is_some()
        };
        let status =
            nodes[0].until_status(CANARY, "n2 has answered n1's canary", |status| met(status, "n2")).await;
        assert!(nodes[1].status().await.canary.is_none(), "it was told to send none");
        // Each over a circuit of its own, and nothing that lets anybody in.
        let isolations: BTreeSet<String> = onion.isolations().into_iter().collect();
        assert_eq!(isolations.len() as u64, status.canary.unwrap().tried);
        let log = std::fs::read_to_string(nodes[1].directory.join("proxy.log")).unwrap();
        assert!(!log.contains("/.rb/"), "{log}");
    });
}

#[test]
fn who_is_not_let_in_says_why_does_not_serve_and_goes_on_asking() {
    story(
        "join::who_is_not_let_in_says_why_does_not_serve_and_goes_on_asking",
        3,
        async |places, directory| {
            let mut places = places.into_iter();
            let mut place = || places.next().unwrap();
            let (mut first, _) = node(1, place(), directory, None);
            first.start();
            let (mut second, onion) = node(2, place(), directory, Some(&ticket(2, 1)));

            // Nobody can be reached at first: three tries, then ever more rarely, and never alone.
            second.start();
            let status = second
                .until_status(START, "the tries are used up", |status| {
                    status.joining.as_ref().is_some_and(|joining| joining.failed_tries >= 3)
                })
                .await;
            let reason = status.joining.unwrap().reason.unwrap();
            assert!(reason.contains("(F2)"), "{reason}");
            assert_eq!((status.cluster.holder, second.is_joined()), (None, false));
            let isolations = onion.isolations();
            let different: BTreeSet<_> = isolations.iter().collect();
            assert_eq!((isolations.len(), different.len()), (3, 3), "a circuit of its own for each");
            assert!(
                second.log().contains("this node is not in the cluster and does not serve"),
                "{}",
                second.log()
            );
            let refused = second.client().await.rotate_token().await.unwrap_err().to_string();
            assert!(refused.contains("not in the cluster yet"), "{refused}");

            // Told to stop, it stops.
            second.signal(Signal::SIGTERM);
            assert_eq!(second.wait(), Some(0), "{}", second.log());
            onion.lead_to(&first.directory);
            second.start();
            let nodes = vec![first, second];
            until(&nodes, START, "n2 is let in", |nodes| nodes[0].order() == Some(vec![1, 2])).await;
            assert!(!nodes.iter().any(|node| node.log().contains(TOKEN)), "a secret is in a log");
        },
    );
}

#[test]
fn a_spent_ticket_another_token_and_a_taken_name_are_told_as_such() {
    story(
        "join::a_spent_ticket_another_token_and_a_taken_name_are_told_as_such",
        3,
        async |places, directory| {
            let mut places = places.into_iter();
            let mut place = || places.next().unwrap();
            let (mut first, _) = node(1, place(), directory, None);
            first.start();
            let (mut second, onion) = node(2, place(), directory, Some(&ticket(2, 1)));
            onion.lead_to(&first.directory);
            second.start();
            let mut nodes = vec![first, second];
            until(&nodes, START, "n2 is let in", |nodes| nodes[0].order() == Some(vec![1, 2])).await;

            // The ticket is spent.
            let (mut third, onion) = node(3, place(), directory, Some(&ticket(2, 1)));
            onion.lead_to(&nodes[0].directory);
            third.start();
            let reason = |status: &CoordinatorStatus| {
                status.joining.as_ref().and_then(|joining| joining.reason.clone()).unwrap_or_default()
            };
            third
                .until_status(START, "a spent ticket", |status| {
                    reason(status).contains("as many nodes as it may")
                })
                .await;
            third.signal(Signal::SIGKILL);
            third.wait();

            // Another secret, or another token, is any unknown path.
            let right = std::fs::read_to_string(third.directory.join("token")).unwrap();
            third.write("ticket", &ticket(3, 1));
            third.write("token", "another token, which is as long as the right one\n");
            third.start();
            third
                .until_status(START, "another token", |status| reason(status).contains("any unknown path"))
                .await;
            third.signal(Signal::SIGKILL);
            third.wait();
            assert!(!third.is_joined());

            // The name of a node that is there is taken.
            third.write("token", &right);
            let config = third.configuration();
            third.write("config.toml", &config.replace("id = \"n3\"", "id = \"n2\""));
            third.start();
            third
                .until_status(START, "a taken name", |status| reason(status).contains("has this node's name"))
                .await;
            third.signal(Signal::SIGKILL);
            third.wait();
            third.write("config.toml", &config);
            third.start();
            nodes.push(third);
            let all = |nodes: &[Node]| nodes[0].order() == Some(vec![1, 2, 3]);
            until(&nodes, START, "and under its own name it is let in", all).await;
            for node in &nodes {
                let log = node.log();
                assert!(!log.contains(TOKEN) && !log.contains("SSSSSSSS"), "a secret is in the log: {log}");
            }
        },
    );
}

#[test]
fn a_node_that_has_left_comes_back_with_another_invitation_only() {
    let name = "join::a_node_that_has_left_comes_back_with_another_invitation_only";
    story(name, 2, async |places, directory| {
        let mut places = places.into_iter();
        let mut place = || places.next().unwrap();
        let (mut first, _) = node(1, place(), directory, None);
        first.start();
        let (mut second, onion) = node(2, place(), directory, Some(&ticket(2, 5)));
        onion.lead_to(&first.directory);
        second.start();
        let mut nodes = vec![first, second];
        let both = |nodes: &[Node]| nodes[0].order() == Some(vec![1, 2]);
        until(&nodes, START, "n2 is let in", both).await;
        nodes[1].client().await.leave().await.unwrap();
        assert_eq!(nodes[1].wait(), Some(0), "{}", nodes[1].log());
        until(&nodes, BOUND, "n2 has left", |nodes| nodes[0].order() == Some(vec![1])).await;
        nodes[1].start();
        assert_eq!(nodes[1].wait(), Some(78), "{}", nodes[1].log());
        nodes[1].write("ticket", &ticket(3, 1));
        nodes[1].unpublish();
        nodes[1].publish();
        nodes[1].start();
        until(&nodes, START, "n2 is let in again", both).await;
        tokio::time::sleep(BOUND).await;
        assert!(both(&nodes) && nodes[1].is_joined(), "{}", nodes[1].log());
    });
}

#[test]
fn an_invitation_that_cannot_work_is_refused_with_its_line() {
    with_namespaces("join::an_invitation_that_cannot_work_is_refused_with_its_line", || {
        let directory = tempfile::tempdir().unwrap();
        let (mut places, _hub) = Place::joined(1);
        let node = Node::alone(1, places.pop().unwrap(), directory.path(), Some(&ticket(1, 1)));
        let text = node.configuration();
        assert_eq!(node.check(&text), (Some(0), String::new()));
        let without = |line: &str| {
            assert!(text.contains(line), "{line}");
            text.lines().filter(|other| !other.starts_with(line)).collect::<Vec<_>>().join("\n")
        };
        let one_tor = &without("[tor.b]").replacen("[tor.a]\n", "[tor.a]\npassword_file = \"/x\"\n", 1);
        let one_tor = one_tor.lines().filter(|line| !line.contains("/b.")).collect::<Vec<_>>().join("\n");
        for (config, expected) in [
            (without("secret_file"), "join.secret_file: is missing; a node with a ticket needs it"),
            (one_tor, "tor: has no [tor.b], through which an invited node joins"),
            (without("address"), "missing field `address`"),
            (
                text.replace("[cluster]", "[cluster]\ntoken_seq = 1"),
                "mesh.prefix: is missing; it follows from",
            ),
            (
                text.replace("[mesh]", "[mesh]\ntunnel_address = \"10.9.9.1\""),
                "mesh.tunnel_address: cannot be chosen",
            ),
        ] {
            let (code, said) = node.check(&config);
            assert_eq!(code, Some(78), "{said}");
            assert!(said.contains(expected) && said.contains("config.toml:"), "{said}");
        }
        node.write("ticket", "not a ticket");
        let (code, said) = node.check(&text);
        assert_eq!(code, Some(78), "{said}");
        assert!(said.contains("does not hold the ticket of an invitation"), "{said}");
    });
}

#[test]
fn one_use_of_a_ticket_asked_for_on_two_nodes_at_once_lets_one_in() {
    let name = "join::one_use_of_a_ticket_asked_for_on_two_nodes_at_once_lets_one_in";
    story(name, 4, async |places, directory| {
        let mut places = places.into_iter();
        let mut place = || places.next().unwrap();
        let (mut first, _) = node(1, place(), directory, None);
        first.start();
        let (mut second, onion) = node(2, place(), directory, Some(&ticket(2, 1)));
        onion.lead_to(&first.directory);
        second.start();
        let mut nodes = vec![first, second];
        until(&nodes, START, "two nodes", |nodes| nodes[0].order() == Some(vec![1, 2])).await;

        let same = ticket(9, 1);
        for (number, at) in [(3, 0), (4, 1)] {
            let (mut node, onion) = node(number, place(), directory, Some(&same));
            onion.lead_to(&nodes[at].directory);
            node.start();
            nodes.push(node);
        }
        let one = |nodes: &[Node]| nodes[2].is_joined() || nodes[3].is_joined();
        until(&nodes, START, "one of them is in", one).await;
        tokio::time::sleep(BOUND).await;
        assert!(nodes[2].is_joined() != nodes[3].is_joined(), "both, or none, are in");
        let (inside, outside) = if nodes[2].is_joined() { (3, &nodes[3]) } else { (4, &nodes[2]) };
        until(&nodes, START, "and serves", |nodes| nodes[0].order() == Some(vec![1, 2, inside])).await;
        let reason = outside.status().await.joining.unwrap().reason.unwrap();
        assert!(reason.contains("as many nodes as it may"), "{reason}");
        assert!(!nodes.iter().any(|node| node.log().contains(&same)), "a ticket is in a log");
    });
}
