//! Told stories of nodes that are let in, leave, and come back.

use std::time::Duration;

use rustbalance::proto::cluster::events::Verdict;
use rustbalance::proto::cluster::timing::Timing;

use crate::laws::{BOUND, Laws};
use crate::life::watch;
use crate::network::Network;
use crate::stories::{holders, ordered, secs, throughout, until};
use crate::world::World;

/// Nodes that know nobody; the first one runs.
fn founded(seed: u64, nodes: usize, network: Network) -> World {
    let mut world = World::new(seed, nodes, network, Timing::default());
    for node in 0..nodes {
        world.introduce(node, Vec::new());
    }
    world.start(0);
    world
}

/// Lets `node` in through `via`, with a ticket of its own; how long it took until it was told.
fn join(world: &mut World, node: usize, via: usize) -> Duration {
    world.ask(node, via, u8::try_from(node).unwrap(), 1);
    let took = until(world, BOUND, "it is answered", |world| world.answer(node, via).is_some());
    assert!(matches!(world.answer(node, via), Some(Verdict::Welcome(_))), "{}", world.story("not welcome"));
    world.enter(node, via);
    took
}

/// Whether every running node lets every other one in, and nobody else.
fn is_full_mesh(world: &World) -> bool {
    let up: Vec<_> = world.nodes.iter().filter(|node| node.is_up()).collect();
    up.iter().all(|node| {
        let others = up.iter().filter(|other| other.id != node.id);
        node.wireguard.len() + 1 == up.len()
            && others.clone().all(|other| node.wireguard.get(&other.id) == Some(&other.wireguard_key))
    })
}

/// Whether one node orders these nodes' points, and no other node orders anything.
fn orders(world: &World, nodes: &[usize]) -> bool {
    matches!(holders(world)[..], [holder] if ordered(world, holder) == nodes)
}

fn settle(world: &mut World, time: f64) {
    let end = world.now + secs(time);
    watch(world, &mut Laws::new(BOUND), end);
}

#[test]
fn whoever_is_let_in_through_anybody_is_in_a_full_mesh() {
    for seed in 0..10 {
        let mut world = founded(seed, 5, Network { loss_per_mille: 20, ..Network::good() });
        for node in 1..5 {
            // Each through the one before, which itself has only just come.
            let told = join(&mut world, node, node - 1);
            assert!(told <= secs(0.6), "{told:?}");
            let all: Vec<usize> = (0..=node).collect();
            let took = until(&mut world, BOUND, "its points are ordered", |world| orders(world, &all));
            assert!(took <= secs(2.0), "{took:?}");
            until(&mut world, BOUND, "everyone lets everyone in", is_full_mesh);
        }
        settle(&mut world, 10.0);
    }
}

#[test]
fn a_late_node_is_let_in_by_any_of_them() {
    for via in 0..3 {
        let mut world = founded(via as u64, 4, Network::good());
        join(&mut world, 1, 0);
        join(&mut world, 2, 0);
        settle(&mut world, 300.0);
        join(&mut world, 3, via);
        until(&mut world, BOUND, "it is in", |world| is_full_mesh(world) && orders(world, &[0, 1, 2, 3]));
    }
}

#[test]
fn a_link_that_is_down_does_not_keep_a_node_out() {
    let mut world = founded(3, 4, Network::good());
    join(&mut world, 1, 0);
    join(&mut world, 2, 0);
    settle(&mut world, 10.0);
    // Whoever of the two holds the lease: the new node never speaks to it.
    let holder = holders(&world)[0];
    let via = (holder + 1) % 3;
    world.network.cut.extend([(holder, 3), (3, holder)]);
    join(&mut world, 3, via);
    let points = world.nodes[3].points.clone();
    until(&mut world, BOUND, "the holder orders its points", |world| {
        let order = world.nodes[holder].order.as_ref();
        order.is_some_and(|order| order.candidates.iter().any(|(_, have)| *have == points))
    });
    until(&mut world, BOUND, "everyone would let everyone in", is_full_mesh);
    settle(&mut world, 20.0);
}

#[test]
fn a_lost_answer_is_repeated_and_spends_nothing() {
    let mut world = founded(4, 3, Network::good());
    join(&mut world, 1, 0);
    for via in [0, 1, 0] {
        world.ask(2, via, 9, 1);
        until(&mut world, BOUND, "it is answered", |world| world.answer(2, via).is_some());
        assert!(matches!(world.answer(2, via), Some(Verdict::Welcome(_))), "{}", world.story("not welcome"));
    }
    world.enter(2, 0);
    until(&mut world, BOUND, "it is in", |world| orders(world, &[0, 1, 2]));
    settle(&mut world, 5.0);
}

#[test]
fn of_two_that_use_an_invitation_at_once_one_is_welcome() {
    for seed in 0..30 {
        let mut world = founded(seed, 4, Network { loss_per_mille: 20, ..Network::good() });
        join(&mut world, 1, 0);
        settle(&mut world, 5.0);
        world.ask(2, 0, 77, 1);
        world.run_until(world.now + Duration::from_millis(seed * 10));
        world.ask(3, 1, 77, 1);
        until(&mut world, BOUND, "both are answered", |world| {
            world.answer(2, 0).is_some() && world.answer(3, 1).is_some()
        });
        let welcome = |node: usize, via: usize| matches!(world.answer(node, via), Some(Verdict::Welcome(_)));
        assert_ne!(welcome(2, 0), welcome(3, 1), "{}", world.story("not exactly one is welcome"));
        let winner = if welcome(2, 0) { 2 } else { 3 };
        world.enter(2, 0);
        world.enter(3, 1);
        until(&mut world, BOUND, "the winner is in", |world| {
            is_full_mesh(world) && orders(world, &[0, 1, winner])
        });
        settle(&mut world, 5.0);
    }
}

#[test]
fn an_invitation_used_on_both_sides_of_a_partition_lets_one_stay() {
    for seed in 0..10 {
        let mut world = founded(seed, 4, Network { loss_per_mille: 20, ..Network::good() });
        join(&mut world, 1, 0);
        settle(&mut world, 5.0);
        world.network.parts.extend([(1, 1), (3, 1)]);
        world.run_until(world.now + secs(1.0));
        world.ask(2, 0, 77, 1);
        world.run_until(world.now + Duration::from_millis(100));
        world.ask(3, 1, 77, 1);
        world.run_until(world.now + secs(1.0));
        world.enter(2, 0);
        world.enter(3, 1);
        world.run_until(world.now + secs(20.0));
        assert!(world.nodes[2].is_up() && world.nodes[3].is_up(), "each side lets one in");
        world.network.parts.clear();
        let healed = |world: &World| is_full_mesh(world) && orders(world, &[0, 1, 2]);
        let took = until(&mut world, secs(10.0), "one has stayed", healed);
        assert!(world.nodes[3].left, "{}", world.story("it does not know"));
        assert!(took <= secs(6.0), "{took:?}");
        settle(&mut world, 5.0);
    }
}

#[test]
fn a_ticket_for_two_lets_two_in_and_no_third() {
    let mut world = founded(5, 4, Network::good());
    for node in 1..4 {
        world.ask(node, 0, 50, 2);
        until(&mut world, BOUND, "it is answered", |world| world.answer(node, 0).is_some());
        world.enter(node, 0);
    }
    assert_eq!(world.answer(3, 0), Some(&Verdict::Spent));
    until(&mut world, BOUND, "two are in", |world| is_full_mesh(world) && orders(world, &[0, 1, 2]));
}

#[test]
fn the_name_of_a_living_node_is_taken_and_that_of_a_dead_one_is_free() {
    let mut world = founded(6, 3, Network::good());
    join(&mut world, 1, 0);
    join(&mut world, 2, 0);
    settle(&mut world, 5.0);
    let other_key = |world: &mut World| world.nodes[2].wireguard_key = [200; 32];
    let right_key = world.nodes[2].wireguard_key;
    other_key(&mut world);
    world.ask(2, 0, 60, 1);
    assert_eq!(world.answer(2, 0), Some(&Verdict::NameTaken));
    world.nodes[2].wireguard_key = right_key;
    world.crash(2);
    until(&mut world, BOUND, "all know that it is dead", |world| world.verdicts == 2);
    // A new machine under the old name.
    other_key(&mut world);
    world.ask(2, 1, 61, 1);
    world.run_until(world.now + secs(1.0));
    world.enter(2, 1);
    until(&mut world, BOUND, "it is in", |world| is_full_mesh(world) && orders(world, &[0, 1, 2]));
    settle(&mut world, 10.0);
}

#[test]
fn whoever_leaves_is_forgotten_without_a_gap_and_may_be_let_in_again() {
    for (seed, leaver) in [(7, 0), (8, 1), (9, 2)] {
        let mut world = founded(seed, 3, Network { loss_per_mille: 20, ..Network::good() });
        join(&mut world, 1, 0);
        join(&mut world, 2, 0);
        settle(&mut world, 5.0);
        let others: Vec<usize> = (0..3).filter(|node| *node != leaver).collect();
        world.leave(leaver);
        throughout(&mut world, secs(3.0), "somebody orders the others' points", |world| {
            holders(world)
                .iter()
                .any(|holder| others.iter().all(|other| ordered(world, *holder).contains(other)))
        });
        assert!(world.nodes[leaver].left && !world.nodes[leaver].is_up());
        assert!(orders(&world, &others) && is_full_mesh(&world), "{}", world.story("it is not forgotten"));
        assert_eq!(world.status(others[0]).nodes.len(), 2, "nobody waits for it");
        let via = others[1];
        world.ask(leaver, via, 99, 1);
        world.run_until(world.now + secs(1.0));
        world.enter(leaver, via);
        until(&mut world, BOUND, "it is back", |world| is_full_mesh(world) && orders(world, &[0, 1, 2]));
        settle(&mut world, 10.0);
    }
}

#[test]
fn whoever_was_away_when_somebody_left_hears_of_it() {
    let mut world = founded(10, 4, Network::good());
    (1..4).for_each(|node| _ = join(&mut world, node, 0));
    settle(&mut world, 5.0);
    world.crash(3);
    world.run_until(world.now + secs(5.0));
    world.leave(2);
    world.run_until(world.now + secs(5.0));
    world.start(3);
    until(&mut world, BOUND, "it has forgotten it too", |world| {
        is_full_mesh(world) && orders(world, &[0, 1, 3]) && world.status(3).nodes.len() == 3
    });
    settle(&mut world, 10.0);
}

#[test]
fn a_cluster_that_lost_its_power_comes_back_from_memory() {
    let mut world = founded(11, 4, Network::good());
    (1..4).for_each(|node| _ = join(&mut world, node, node - 1));
    settle(&mut world, 5.0);
    (0..4).for_each(|node| world.crash(node));
    world.run_until(world.now + secs(60.0));
    (0..4).for_each(|node| world.start(node));
    until(&mut world, BOUND, "all are there", |world| is_full_mesh(world) && orders(world, &[0, 1, 2, 3]));
    settle(&mut world, 10.0);
}

#[test]
fn a_node_that_was_let_in_is_the_same_node_after_a_restart() {
    let mut world = founded(12, 3, Network::good());
    join(&mut world, 1, 0);
    join(&mut world, 2, 1);
    settle(&mut world, 5.0);
    // The ticket it came with has expired, and so has the note of it.
    world.run_until(world.now + Duration::from_hours(2));
    world.crash(2);
    world.run_until(world.now + secs(20.0));
    world.start(2);
    until(&mut world, BOUND, "it is back", |world| is_full_mesh(world) && orders(world, &[0, 1, 2]));
}

#[test]
fn without_memory_a_node_with_configured_peers_learns_the_rest() {
    let mut world = World::new(13, 4, Network::good(), Timing::default());
    (0..3).for_each(|node| world.introduce(node, (0..3).filter(|other| *other != node).collect()));
    (0..3).for_each(|node| world.start(node));
    world.introduce(3, Vec::new());
    world.run_until(secs(5.0));
    join(&mut world, 3, 0);
    settle(&mut world, 5.0);
    world.crash(1);
    world.forget(1);
    world.run_until(world.now + secs(5.0));
    world.start(1);
    until(&mut world, BOUND, "it knows the new one", |world| {
        is_full_mesh(world) && orders(world, &[0, 1, 2, 3])
    });
    settle(&mut world, 10.0);
}
