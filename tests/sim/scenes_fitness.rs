//! Told stories of nodes that cannot publish, though they are alive and serve.

use std::time::Duration;

use rand::RngExt;
use rand::seq::IndexedRandom;
use rustbalance::proto::cluster::events::Event;
use rustbalance::proto::cluster::fitness::{Ailment, MOST_REST};

use crate::laws::{BOUND, Laws};
use crate::life::watch;
use crate::network::Network;
use crate::stories::{holders, ordered, secs, settled, throughout, until};
use crate::world::World;

/// How often the lease has been taken since the world began: epochs rise by one each time.
fn taken(world: &World) -> u64 {
    (0..world.nodes.len())
        .filter(|node| world.nodes[*node].is_up())
        .map(|node| world.status(node).epoch)
        .max()
        .unwrap()
}

/// The publisher stops answering and is started again, some seconds later, as a service manager would do it.
fn hang(world: &mut World, node: usize) {
    world.crash_publisher(node);
    world.run_until(world.now + secs(15.0));
    world.start_publisher(node);
}

#[test]
fn a_holder_whose_publisher_hangs_again_and_again_leaves_the_lease_to_another() {
    let mut world = settled(80, 3, Network::good());
    let before = taken(&world);
    let began = world.now;
    while world.now < began + Duration::from_hours(1) {
        hang(&mut world, 0);
        let answers = secs(world.rng.random_range(1.0..20.0));
        let clean = |world: &World| holders(world) == [1] && ordered(world, 1).contains(&2);
        throughout(&mut world, answers, "the next best holds it", clean);
    }
    assert_eq!(taken(&world) - before, 1, "{}", world.story("it went to and fro"));
    // It serves meanwhile, and holds the lease again when it has been well for long.
    assert_eq!(ordered(&world, 1), [0, 1, 2]);
    until(&mut world, secs(60.0), "it has the lease back", |world| holders(world) == [0]);
}

#[test]
fn a_holder_whose_descriptors_nobody_accepts_leaves_the_lease_to_another() {
    let mut world = settled(81, 3, Network::good());
    world.ail(0, Some(Ailment::NotAccepted));
    throughout(&mut world, secs(29.0), "it may pass", |world| holders(world) == [0]);
    until(&mut world, secs(3.0), "the next best holds it", |world| holders(world) == [1]);
    // Who does not publish finds nothing wrong; that proves nothing yet.
    world.ail(0, None);
    throughout(&mut world, Duration::from_mins(14), "it rests", |world| holders(world) == [1]);
    until(&mut world, Duration::from_mins(2), "it is tried again", |world| holders(world) == [0]);
    assert!(world.status(0).past.iter().any(|past| past.text.contains("stands back") && past.alarming));
}

#[test]
fn a_bad_holder_is_better_than_none_and_better_than_another_bad_one() {
    let mut world = settled(82, 3, Network::good());
    let before = taken(&world);
    // The holder last, and the best of the others first.
    for node in [1, 2, 0] {
        world.ail(node, Some(Ailment::NotAccepted));
    }
    throughout(&mut world, Duration::from_mins(10), "it stays", |world| holders(world) == [0]);
    assert_eq!(taken(&world), before);
    // Nor does it go back to who is better by priority only.
    world.ail(2, None);
    until(&mut world, Duration::from_mins(16), "who is fit again takes it", |world| holders(world) == [2]);
    world.ail(2, Some(Ailment::NotMade));
    throughout(&mut world, Duration::from_mins(10), "it stays there", |world| holders(world) == [2]);
    // And who serves and is ill takes over from the dead.
    world.crash(2);
    until(&mut world, BOUND, "the best of the ill takes it", |world| holders(world) == [0]);
}

#[test]
fn a_node_without_points_publishes_for_one_that_cannot() {
    let mut world = settled(83, 2, Network::good());
    world.change_points(1, true);
    world.run_until(world.now + secs(5.0));
    assert_eq!(holders(&world), [0]);
    world.ail(0, Some(Ailment::NotAccepted));
    until(&mut world, secs(40.0), "the other one publishes", |world| holders(world) == [1]);
    assert_eq!(ordered(&world, 1), [0]);
}

#[test]
fn what_comes_and_goes_hands_the_lease_over_a_few_times_only() {
    for seed in 90..92 {
        let mut world = settled(seed, 3, Network { loss_per_mille: 20, ..Network::good() });
        let (before, hours) = (taken(&world), 4);
        let end = world.now + Duration::from_hours(hours);
        while world.now < end {
            let node = world.rng.random_range(0..3);
            match world.rng.random_range(0..3) {
                0 => hang(&mut world, node),
                1 => world.ail(node, None),
                _ => {
                    let all = [Ailment::NoNetwork, Ailment::NotAccepted, Ailment::NotMade];
                    let ailment = all.choose(&mut world.rng).copied();
                    world.ail(node, ailment);
                }
            }
            let pause = secs(world.rng.random_range(0.0..120.0));
            world.run_until(world.now + pause);
            assert!(holders(&world).len() <= 2, "{}", world.story("two at most, for a moment"));
        }
        // Each rest twice as long as the one before, up to an hour: some eight in the first hours, then one an hour.
        let most = 2 * 3 * (8 + hours);
        assert!(taken(&world) - before <= most, "seed {seed}: {} times", taken(&world) - before);
        for node in 0..3 {
            assert!(world.status(node).stood_back <= 8 + hours, "{}", world.story("it stood back too often"));
            world.ail(node, None);
        }
        // When all is well for long, it is as if nothing had been.
        let mut laws = Laws::new(BOUND);
        let end = world.now + MOST_REST + secs(10.0);
        watch(&mut world, &mut laws, end);
        assert_eq!((holders(&world), ordered(&world, 0)), (vec![0], vec![0, 1, 2]));
    }
}

#[test]
fn a_node_that_has_not_heard_its_publisher_takes_nothing() {
    let mut world = settled(84, 2, Network::good());
    world.ail(0, Some(Ailment::NotMade));
    world.ail(1, Some(Ailment::NotMade));
    world.run_until(world.now + secs(40.0));
    world.crash_coordinator(1);
    world.crash_publisher(1);
    world.run_until(world.now + secs(10.0));
    let quiet = |world: &World| holders(world) == [0];
    // Its coordinator is there, and no publisher.
    world.start(1);
    world.stop_publisher(1);
    world.happen(1, Event::PublisherLost);
    throughout(&mut world, secs(20.0), "the ill one keeps it", quiet);
}
