//! What the user can ask of the lab.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use serde::{Deserialize, Serialize};

use super::matrix;
use super::scene_name::SceneName;

/// Fewest nodes: one serves the address alone, and takes part in the scenes that need no second.
const MIN_NODES: u8 = 1;
/// Most nodes: each is two tors and four daemons, and a descriptor has room for twenty introduction points.
const MAX_NODES: u8 = 6;
/// Slowest machine, in times: the first voting interval is half a minute then, and must divide half an hour.
const MAX_SLOWNESS: u8 = 6;

/// Three nodes serve one onion address on a private Tor network, and things happen to them.
///
/// Everything runs in namespaces of its own: nothing listens outside them, no internet is used, and nothing is
/// left behind. Neither root nor a configuration is needed; C tor 0.4.9 and iproute2 and nftables are.
#[derive(Clone, Debug, Parser, Serialize, Deserialize)]
#[command(name = "rustbalance-lab", version)]
pub struct Arguments {
    /// How many nodes serve the address.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(i64::from(MIN_NODES)..=i64::from(MAX_NODES)))]
    pub nodes: u8,
    /// Play this scene only; may be given more than once. Without it all are played that so many nodes can play.
    #[arg(long = "scene", value_name = "NAME", value_enum)]
    pub scenes: Vec<SceneName>,
    /// Leave the lab running afterwards, until Ctrl-C, and say how to reach it. Without --scene none is played.
    #[arg(long)]
    pub keep: bool,
    /// Show times, do not judge them: for a machine that has other work to do. Failed fetches still fail a scene.
    #[arg(long)]
    pub show_times: bool,
    /// Write the results to this file too, as JSON.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Play the scenes that show the failures a cluster must live with, and write matrix.md, matrix.json and matrix.svg into
    /// this directory. With --scene, only those are played.
    #[arg(long, value_name = "DIRECTORY")]
    pub matrix: Option<PathBuf>,
    /// With --matrix: fill in the rows that take a whole machine, from what `tests/vm/run` has left in this directory
    /// (target/vm).
    #[arg(long, value_name = "DIRECTORY", requires = "matrix")]
    pub machines: Option<PathBuf>,
    /// Keep every process's log in this directory.
    #[arg(long, value_name = "DIRECTORY")]
    pub log_dir: Option<PathBuf>,
    /// Let every process tell more in its log; takes time and room. Useful together with --log-dir.
    #[arg(long)]
    pub verbose: bool,
    /// Run the private Tor network alone, until Ctrl-C or SIGTERM, for nodes and clients on other machines.
    ///
    /// Its authorities and relays listen on this address of this machine, TCP ports 5000 to 5011 and 7000 to 7002. Tells
    /// a service manager when it is ready. Only tor is needed.
    #[arg(
        long,
        value_name = "ADDRESS",
        requires = "torrc",
        conflicts_with_all = ["nodes", "scenes", "keep", "show_times", "json"]
    )]
    pub network_only: Option<Ipv4Addr>,
    /// With --network-only: write to this file, once the network is there, the lines that a tor elsewhere needs to be in it.
    #[arg(long, value_name = "FILE", requires = "network_only")]
    pub torrc: Option<PathBuf>,
    /// With --network-only: vote so many times less often, and wait so many times longer, as on a machine that is emulated.
    #[arg(
        long,
        value_name = "TIMES",
        default_value_t = 1,
        value_parser = clap::value_parser!(u8).range(1..=i64::from(MAX_SLOWNESS)),
        requires = "network_only"
    )]
    pub slowness: u8,
}

impl Arguments {
    /// What was asked for, if it can be done; what clap shows otherwise.
    pub(super) fn ask() -> Result<Self, clap::Error> {
        Self::try_parse()?.checked()
    }

    /// Refuses a scene that was named and needs more nodes.
    fn checked(self) -> Result<Self, clap::Error> {
        match self.scenes.iter().find(|scene| scene.least_nodes() > self.nodes) {
            None => Ok(self),
            Some(scene) => {
                let least = scene.least_nodes();
                let reason = format!("scene {} needs at least --nodes {least}", scene.word());
                Err(Self::command().error(ErrorKind::ValueValidation, reason))
            }
        }
    }

    /// The scenes to be played, in the order of the list.
    pub(super) fn chosen(&self) -> Vec<SceneName> {
        let matrix = matrix::scenes();
        let wanted = |name: &&SceneName| {
            if self.scenes.is_empty() {
                let possible = name.least_nodes() <= self.nodes;
                possible && if self.matrix.is_some() { matrix.contains(name) } else { !self.keep }
            } else {
                self.scenes.contains(name)
            }
        };
        SceneName::all().iter().filter(wanted).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from([&["rustbalance-lab"], words].concat())?.checked()
    }

    #[test]
    fn few_nodes_play_what_they_can_and_a_scene_by_name_is_played_or_refused() {
        let one = parsed(&["--nodes", "1"]).unwrap().chosen();
        assert!(one.contains(&SceneName::Spread) && !one.contains(&SceneName::Kill), "{one:?}");
        assert_eq!(parsed(&[]).unwrap().chosen(), SceneName::all());
        assert_eq!(parsed(&["--nodes", "2", "--scene", "kill"]).unwrap().chosen(), [SceneName::Kill]);
        assert!(parsed(&["--nodes", "1", "--scene", "kill"]).is_err());
        assert!(parsed(&["--keep"]).unwrap().chosen().is_empty());
    }

    #[test]
    fn a_network_alone_has_a_file_to_write_to_and_nothing_that_nodes_have() {
        let alone = ["--network-only", "192.0.2.1", "--torrc", "x"];
        assert_eq!(parsed(&alone).unwrap().slowness, 1);
        assert_eq!(parsed(&[&alone[..], &["--slowness", "6"]].concat()).unwrap().slowness, 6);
        for more in [["--nodes", "2"], ["--scene", "kill"], ["--json", "y"], ["--slowness", "7"]] {
            assert!(parsed(&[&alone[..], &more].concat()).is_err(), "{more:?}");
        }
        for less in [&alone[..2], &alone[2..], &["--slowness", "2"]] {
            assert!(parsed(less).is_err(), "{less:?}");
        }
    }
}
