//! Told stories of tokens that are replaced.

use std::time::Duration;

use rustbalance::proto::cluster::timing::Timing;
use rustbalance::proto::cluster::token::TokenName;

use crate::laws::{BOUND, Laws};
use crate::life::watch;
use crate::network::Network;
use crate::stories::{holders, ordered, secs, settled, until};
use crate::world::World;

/// Whether all running nodes hold this token, and know it of each other.
fn all_hold(world: &World, token: TokenName) -> bool {
    let up: Vec<usize> = (0..world.nodes.len()).filter(|node| world.nodes[*node].is_up()).collect();
    up.iter().all(|node| {
        let status = world.status(*node);
        let known = up.iter().filter_map(|other| {
            status.nodes.iter().find(|seen| seen.node == world.nodes[*other].id).map(|seen| seen.token)
        });
        world.nodes[*node].tokens.last() == Some(&token)
            && known.clone().count() == up.len()
            && known.into_iter().all(|known| known == Some(token))
    })
}

fn settle(world: &mut World, time: f64) {
    let end = world.now + secs(time);
    watch(world, &mut Laws::new(BOUND), end);
}

#[test]
fn a_new_token_loses_no_datagram_and_no_node() {
    for (seed, nodes) in [(0, 2), (1, 3), (2, 10)] {
        let mut world = settled(seed, nodes, Network { loss_per_mille: 20, ..Network::good() });
        world.overlap = secs(60.0);
        let token = world.rotate(nodes - 1);
        let took = until(&mut world, BOUND, "everyone has it", |world| all_hold(world, token));
        assert!(took <= secs(3.0), "{took:?}");
        // Beyond the overlap.
        settle(&mut world, 100.0);
        assert_eq!(world.unopened, 0, "{}", world.story("a datagram was lost"));
        assert_eq!(world.verdicts, 0, "{}", world.story("somebody was taken for dead"));
        let again = world.rotate(0);
        assert_eq!(again.seq, 2);
        until(&mut world, BOUND, "everyone has the next", |world| all_hold(world, again));
        settle(&mut world, 100.0);
        assert_eq!((world.unopened, world.verdicts), (0, 0));
    }
}

/// A world whose tokens retire after ten seconds.
fn quick(seed: u64, nodes: usize) -> World {
    let mut world =
        World::new(seed, nodes, Network { loss_per_mille: 20, ..Network::good() }, Timing::default());
    world.overlap = secs(10.0);
    (0..nodes).for_each(|node| world.start(node));
    settle(&mut world, 10.0);
    world
}

#[test]
fn whoever_was_away_catches_up_through_any_peer() {
    for seed in 0..12 {
        let mut world = quick(seed, 4);
        let (amnesiac, through_one) = (seed % 2 == 1, seed % 3 == 1);
        world.crash(3);
        if amnesiac {
            world.forget(3);
        }
        world.rotate(0);
        world.run_until(world.now + secs(12.0));
        world.rotate(1);
        world.run_until(world.now + secs(12.0));
        let newest = world.rotate(2);
        world.run_until(world.now + secs(60.0));
        if through_one {
            world.network.cut.extend([(0, 3), (3, 0), (1, 3), (3, 1)]);
        }
        world.start(3);
        let back = |world: &World| all_hold(world, newest) && ordered(world, holders(world)[0]).contains(&3);
        let took = until(&mut world, BOUND, "it has caught up and serves", back);
        assert!(took <= secs(3.5), "{}", world.story(&format!("{took:?}")));
        settle(&mut world, 10.0);
    }
}

#[test]
fn whoever_was_frozen_or_cut_off_catches_up() {
    for seed in 0..12 {
        let mut world = quick(seed, 3);
        if seed % 2 == 0 {
            world.freeze(2);
        } else {
            world.network.parts.insert(2, 1);
        }
        world.run_until(world.now + secs(5.0));
        let token = world.rotate(0);
        world.run_until(world.now + secs(30.0));
        world.network.parts.clear();
        if seed % 2 == 0 {
            world.thaw(2);
        }
        let back = |world: &World| all_hold(world, token) && holders(world).len() == 1;
        until(&mut world, BOUND, "it has caught up", back);
        settle(&mut world, 10.0);
    }
}

#[test]
fn of_two_made_on_both_sides_of_a_partition_one_wins() {
    for seed in 0..12 {
        let mut world = quick(seed, 4);
        world.network.parts.extend([(2, 1), (3, 1)]);
        world.run_until(world.now + secs(5.0));
        let (one, other) = (world.rotate(0), world.rotate(3));
        // Every other time both sides go on until the token they share has retired.
        let apart = if seed % 2 == 0 { secs(2.0) } else { secs(30.0) };
        world.run_until(world.now + apart);
        world.network.parts.clear();
        let winner = one.max(other);
        until(&mut world, BOUND, "all have the same", |world| all_hold(world, winner));
        let next = world.rotate(1);
        assert_eq!(next.seq, 2);
        until(&mut world, BOUND, "the next follows it", |world| all_hold(world, next));
        settle(&mut world, 30.0);
    }
}

#[test]
fn a_node_that_rotates_while_it_is_away_brings_its_token_along() {
    let mut world = quick(20, 3);
    world.network.parts.insert(2, 1);
    world.run_until(world.now + secs(3.0));
    let first = world.rotate(2);
    let second = world.rotate(2);
    assert_eq!((first.seq, second.seq), (1, 2));
    world.run_until(world.now + secs(30.0));
    world.network.parts.clear();
    until(&mut world, BOUND, "all have the last", |world| all_hold(world, second));
    settle(&mut world, 10.0);
}

#[test]
fn a_token_that_cannot_be_opened_is_refused_by_all_and_harms_nobody() {
    let mut world = quick(21, 3);
    let token = world.rotate(0);
    until(&mut world, BOUND, "all have it", |world| all_hold(world, token));
    world.forge_next = true;
    let forged = world.rotate(1);
    world.run_until(world.now + secs(5.0));
    assert!(all_hold(&world, token));
    let past = world.status(2).past;
    assert!(past.iter().any(|past| past.alarming && past.text.contains(&forged.to_string())), "{past:?}");
    let next = world.rotate(2);
    until(&mut world, BOUND, "a good one replaces it", |world| all_hold(world, next));
    settle(&mut world, 30.0);
}

#[test]
fn all_restart_after_rotations_and_meet_under_the_newest() {
    let mut world = quick(22, 3);
    world.rotate(0);
    world.run_until(world.now + secs(5.0));
    let newest = world.rotate(1);
    world.run_until(world.now + Duration::from_mins(1));
    (0..3).for_each(|node| world.crash(node));
    world.run_until(world.now + secs(10.0));
    (0..3).for_each(|node| world.start(node));
    until(&mut world, BOUND, "all hold it again", |world| all_hold(world, newest));
    settle(&mut world, 10.0);
}
