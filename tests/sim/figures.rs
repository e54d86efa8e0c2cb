//! How long things take, from many simulated clusters: a table, and a picture of the distributions.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use rand::RngExt;
use rustbalance::proto::cluster::timing::Timing;
use rustbalance::proto::node::Priority;

use crate::network::Network;
use crate::picture::{Curve, Panel, draw as draw_panels};
use crate::stories::{holders, ordered, secs, until};
use crate::world::World;

/// How many clusters of each size.
const CLUSTERS: [(usize, u64); 3] = [(3, 200), (10, 100), (50, 20)];
/// Long enough for everything that is measured.
const PATIENCE: Duration = Duration::from_secs(400);

/// What is measured, in one cluster of so many nodes.
type Measure = fn(seed: u64, nodes: usize, timing: Timing) -> Duration;

const MEASURES: [(&str, Measure); 4] = [
    ("a death is known to all", detection),
    ("a dead holder is replaced, its points are out", takeover),
    ("a healed partition has one holder and all points", healing),
    ("a node that returns is in the descriptor's order", returning),
];

/// Measures everything, prints the table, and writes the picture.
pub fn draw(picture: &Path) -> ExitCode {
    println!(
        "| what, default timing | nodes | clusters | median | 90 % | worst |\n|---|---|---|---|---|---|"
    );
    let mut panels = Vec::new();
    for (what, measure) in MEASURES {
        let curves = CLUSTERS.map(|(nodes, clusters)| {
            let times = many(measure, nodes, clusters, Timing::default());
            row(what, nodes, &times);
            Curve { name: format!("{nodes} nodes"), times }
        });
        panels.push(Panel { title: what.to_owned(), curves: curves.to_vec() });
    }
    let slow = Timing::new(secs(10.0), secs(30.0), secs(90.0)).unwrap();
    println!(
        "\n| what, timing 10/30/90 s | nodes | clusters | median | 90 % | worst |\n|---|---|---|---|---|---|"
    );
    for (what, measure) in MEASURES {
        row(what, 3, &many(measure, 3, 200, slow));
    }
    match std::fs::write(picture, draw_panels(&panels)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("The picture could not be written to {}: {error}", picture.display());
            ExitCode::FAILURE
        }
    }
}

fn row(what: &str, nodes: usize, times: &[Duration]) {
    let at = |part: usize| times[(times.len() * part / 100).min(times.len() - 1)].as_secs_f64();
    println!("| {what} | {nodes} | {} | {:.2} s | {:.2} s | {:.2} s |", times.len(), at(50), at(90), at(100));
}

/// The sorted times of so many clusters.
fn many(measure: Measure, nodes: usize, clusters: u64, timing: Timing) -> Vec<Duration> {
    let mut times: Vec<_> = (0..clusters).map(|seed| measure(seed, nodes, timing)).collect();
    times.sort_unstable();
    times
}

/// Nodes of falling rank, settled, at a moment that no timer knows of.
fn settled(seed: u64, nodes: usize, timing: Timing) -> World {
    let network = Network { loss_per_mille: 20, ..Network::good() };
    let mut world = World::new(seed, nodes, network, timing);
    for node in 0..nodes {
        world.nodes[node].priority = Priority(u32::try_from(node).unwrap() + 1);
        world.start(node);
    }
    let round = timing.heartbeat_interval();
    until(&mut world, PATIENCE, "all are ordered", |world| {
        holders(world) == [0] && all_are_ordered(world, 0, nodes)
    });
    let moment = world.now + round * 10 + round.mul_f64(world.rng.random_range(0.0..3.0));
    world.run_until(moment);
    world
}

/// The first twenty of a cluster are in an order; the rest has no room there.
fn all_are_ordered(world: &World, holder: usize, nodes: usize) -> bool {
    ordered(world, holder).len() == nodes
}

fn detection(seed: u64, nodes: usize, timing: Timing) -> Duration {
    let mut world = settled(seed, nodes, timing);
    let before = world.verdicts;
    world.crash(nodes - 1);
    let all = before + u64::try_from(nodes).unwrap() - 1;
    until(&mut world, PATIENCE, "everybody knows", |world| world.verdicts >= all)
}

fn takeover(seed: u64, nodes: usize, timing: Timing) -> Duration {
    let mut world = settled(seed, nodes, timing);
    world.crash(0);
    until(&mut world, PATIENCE, "the next best took over", |world| {
        holders(world) == [1] && !ordered(world, 1).contains(&0)
    })
}

fn healing(seed: u64, nodes: usize, timing: Timing) -> Duration {
    let mut world = settled(seed, nodes, timing);
    for node in 0..nodes / 2 {
        world.network.parts.insert(node, 1);
    }
    until(&mut world, PATIENCE, "each part has its holder", |world| holders(world) == [0, nodes / 2]);
    let round = timing.heartbeat_interval();
    let moment = world.now + round * 20 + round.mul_f64(world.rng.random_range(0.0..40.0));
    world.run_until(moment);
    world.network.parts.clear();
    until(&mut world, PATIENCE, "one holder, all points", |world| {
        holders(world) == [0] && all_are_ordered(world, 0, nodes)
    })
}

fn returning(seed: u64, nodes: usize, timing: Timing) -> Duration {
    let mut world = settled(seed, nodes, timing);
    let last = nodes - 1;
    world.crash(last);
    until(&mut world, PATIENCE, "its points are out", |world| !ordered(world, 0).contains(&last));
    let moment = world.now + timing.heartbeat_interval() * 10;
    world.run_until(moment);
    world.start(last);
    until(&mut world, PATIENCE, "its points are in", |world| ordered(world, 0).contains(&last))
}
