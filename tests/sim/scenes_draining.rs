//! Told stories of nodes that are drained, and of targets that fail.

use std::time::Duration;

use rustbalance::proto::cluster::drain::DrainPhase;
use rustbalance::proto::cluster::events::Event;
use rustbalance::proto::cluster::note::Drain;
use rustbalance::proto::cluster::status::Lifecycle;

use crate::laws::{BOUND, Laws};
use crate::life::watch;
use crate::network::Network;
use crate::stories::{holders, ordered, secs, settled, throughout, until};
use crate::world::World;

fn phase(world: &World, node: usize) -> Option<DrainPhase> {
    let status = world.status(node);
    status.nodes.iter().find(|seen| seen.node == status.node).and_then(|own| own.drain_phase)
}

/// Whom the clients' HSDirs have: what the holder's publisher has achieved.
fn published(world: &World) -> Vec<usize> {
    let holder = holders(world)[0];
    let status = world.status(holder);
    let own = status.nodes.iter().find(|seen| seen.node == status.node).unwrap();
    own.published.iter().map(|node| world.number(node)).collect()
}

fn serves_somebody(world: &World) -> bool {
    let holders = holders(world);
    !holders.is_empty() && holders.iter().all(|holder| !ordered(world, *holder).is_empty())
}

#[test]
fn a_drained_node_goes_step_by_step_and_comes_back() {
    for drained in 0..3 {
        let mut world = settled(30 + drained as u64, 3, Network { loss_per_mille: 20, ..Network::good() });
        world.happen(drained, Event::Connections(4));
        world.drain(drained, true);
        assert_eq!(phase(&world, drained), Some(DrainPhase::Draining));
        let others: Vec<usize> = (0..3).filter(|node| *node != drained).collect();
        throughout(&mut world, secs(5.0), "somebody serves; who is muted is not published", |world| {
            serves_somebody(world) && (!world.nodes[drained].muted || !published(world).contains(&drained))
        });
        assert_eq!(phase(&world, drained), Some(DrainPhase::Muted));
        assert_eq!(published(&world), others);
        let seen = world.status(others[0]);
        let seen = seen.nodes.iter().find(|seen| seen.node == world.nodes[drained].id).unwrap();
        assert_eq!((seen.lifecycle, seen.drain_phase), (Lifecycle::Draining, Some(DrainPhase::Muted)));
        world.happen(drained, Event::Connections(0));
        until(&mut world, BOUND, "it carries nothing any more", |world| world.nodes[drained].cuts == 1);
        assert_eq!(phase(&world, drained), Some(DrainPhase::Drained));
        world.drain(drained, false);
        until(&mut world, BOUND, "it is back", |world| published(world) == [0, 1, 2]);
        assert!(!world.nodes[drained].muted && phase(&world, drained).is_none());
    }
}

#[test]
fn connections_that_stay_are_cut_at_the_deadline() {
    let mut world = settled(33, 2, Network::good());
    world.happen(1, Event::Connections(1));
    world.drain(1, true);
    until(&mut world, BOUND, "it is muted", |world| world.nodes[1].muted);
    world.run_until(world.now + secs(59.0));
    assert_eq!(world.nodes[1].cuts, 0);
    world.run_until(world.now + secs(2.0));
    assert_eq!(world.nodes[1].cuts, 1);
    world.run_until(world.now + secs(60.0));
    assert_eq!(world.nodes[1].cuts, 1, "once");
}

#[test]
fn any_node_can_be_told_also_about_one_that_is_away() {
    let mut world = settled(34, 3, Network::good());
    let wish = world.wish(2, true, 1);
    world.happen(1, Event::Drain(wish));
    until(&mut world, BOUND, "it is muted", |world| world.nodes[2].muted);
    world.crash(2);
    world.run_until(world.now + secs(5.0));
    let wish = world.wish(2, false, 1);
    world.happen(1, Event::Drain(wish));
    world.start(2);
    // It believes that it is drained until it hears otherwise, for a moment in which no circuit is closed yet.
    until(&mut world, BOUND, "it is back in use", |world| published(world) == [0, 1, 2]);
    world.run_until(world.now + secs(10.0));
    assert_eq!(published(&world), [0, 1, 2], "what it remembers of itself is not the latest");
}

#[test]
fn a_drained_node_that_loses_its_memory_stays_drained() {
    let mut world = settled(35, 3, Network::good());
    let wish = world.wish(2, true, 0);
    world.happen(0, Event::Drain(wish));
    until(&mut world, BOUND, "it is muted", |world| world.nodes[2].muted);
    world.crash(2);
    world.forget(2);
    world.run_until(world.now + secs(5.0));
    world.start(2);
    throughout(&mut world, secs(10.0), "it stays out", |world| ordered(world, holders(world)[0]) == [0, 1]);
    assert!(world.nodes[2].muted);
}

#[test]
fn a_replaced_node_stays_until_its_replacement_is_published() {
    for seed in 0..5 {
        let mut world = settled(40 + seed, 3, Network { loss_per_mille: 20, ..Network::good() });
        world.hsdirs.slowness = secs(2.0);
        world.crash(2);
        world.change_points(2, true);
        until(&mut world, BOUND, "two serve", |world| published(world) == [0, 1]);
        let old = usize::try_from(seed % 2).unwrap();
        let wish = Drain { after: Some(world.nodes[2].id.clone()), ..world.wish(old, true, 0) };
        world.nodes[old].draining = true;
        world.happen(0, Event::Drain(wish));
        let stays =
            |world: &World| ordered(world, holders(world)[0]).contains(&old) && !world.nodes[old].muted;
        throughout(&mut world, secs(30.0), "it waits for its replacement", stays);
        world.start(2);
        world.change_points(2, false);
        throughout(&mut world, secs(10.0), "there is always one of them", |world| {
            let published = published(world);
            // A holder that has just taken over has not published yet; what the last one did still stands.
            published.is_empty() || published.contains(&old) || published.contains(&2)
        });
        assert_eq!(published(&world), [1 - old, 2]);
        assert!(world.nodes[old].muted);
    }
}

#[test]
fn the_last_one_that_serves_is_not_drained() {
    let mut world = settled(50, 2, Network::good());
    world.drain(0, true);
    world.drain(1, true);
    throughout(&mut world, secs(20.0), "somebody serves", |world| {
        !holders(world).is_empty() && (0..2).any(|node| !world.nodes[node].shown_points().is_empty())
    });
    assert!(published(&world).len() == 2, "{}", world.story("both serve, as long as nobody else does"));
}

#[test]
fn a_drained_node_steps_in_when_the_others_die() {
    let mut world = settled(51, 3, Network::good());
    world.drain(0, true);
    until(&mut world, BOUND, "it is muted", |world| world.nodes[0].muted);
    world.crash(1);
    world.crash(2);
    until(&mut world, BOUND, "it serves", |world| holders(world) == [0] && ordered(world, 0) == [0]);
    assert!(!world.nodes[0].muted);
    world.start(1);
    until(&mut world, secs(10.0), "it may go again", |world| {
        world.nodes[0].muted && holders(world) == [1] && ordered(world, 1) == [1]
    });
}

#[test]
fn a_drain_survives_the_death_of_the_holder() {
    for seed in 0..10 {
        let mut world = settled(60 + seed, 4, Network { loss_per_mille: 20, ..Network::good() });
        world.drain(3, true);
        world.run_until(world.now + Duration::from_millis(50 * seed));
        world.crash(0);
        throughout(&mut world, secs(8.0), "who is muted is not published", |world| {
            !world.nodes[3].muted || holders(world).is_empty() || !published(world).contains(&3)
        });
        assert!(world.nodes[3].muted, "{}", world.story("it is stuck"));
        assert_eq!(published(&world), [1, 2]);
    }
}

#[test]
fn a_node_whose_target_is_down_leaves_while_others_reach_theirs() {
    let mut world = settled(70, 3, Network::good());
    world.change_target(0, false);
    throughout(&mut world, secs(5.0), "somebody serves", serves_somebody);
    assert_eq!((holders(&world), ordered(&world, 1)), (vec![1], vec![1, 2]));
    world.change_target(1, false);
    throughout(&mut world, secs(5.0), "somebody serves", serves_somebody);
    assert_eq!((holders(&world), ordered(&world, 2)), (vec![2], vec![2]));
    world.change_target(2, false);
    throughout(&mut world, secs(5.0), "somebody serves", serves_somebody);
    assert_eq!((holders(&world), ordered(&world, 0)), (vec![0], vec![0, 1, 2]));
    world.change_target(1, true);
    throughout(&mut world, secs(5.0), "somebody serves", serves_somebody);
    assert_eq!((holders(&world), ordered(&world, 1)), (vec![1], vec![1]));
    world.change_target(0, true);
    world.change_target(2, true);
    let mut laws = Laws::new(BOUND);
    let end = world.now + secs(10.0);
    watch(&mut world, &mut laws, end);
    assert_eq!(ordered(&world, 0), [0, 1, 2]);
}

#[test]
fn a_drained_node_is_no_worse_than_others_whose_targets_are_down() {
    let mut world = settled(71, 2, Network::good());
    world.change_target(1, false);
    world.run_until(world.now + secs(3.0));
    world.drain(0, true);
    throughout(&mut world, secs(20.0), "the one that works stays", |world| {
        holders(world).iter().all(|holder| ordered(world, *holder) == [0]) && !world.nodes[0].muted
    });
    world.change_target(1, true);
    until(&mut world, BOUND, "it may go", |world| world.nodes[0].muted && ordered(world, 1) == [1]);
}
