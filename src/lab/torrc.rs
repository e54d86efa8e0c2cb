//! Configuration of each tor in the lab, as small as it can be.

use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How often the authorities vote. Ten seconds is tor's floor, and stays stable with two busy cores. A time
/// period, which is a day in the real network, then lasts four minutes.
const VOTING_INTERVAL: Duration = Duration::from_secs(10);
/// The first vote comes sooner. Tor's floor again.
const FIRST_VOTING_INTERVAL: Duration = Duration::from_secs(5);
/// How long votes and signatures may take to arrive; tor's floor for a testing network.
const VOTE_DELAY: Duration = Duration::from_secs(2);
/// Replicas and HSDirs of a descriptor: four of twelve HSDirs are responsible, so that a wrong ring is noticed.
const HSDIR_PARAMETERS: &str = "hsdir_n_replicas=2 hsdir_spread_store=2 hsdir_spread_fetch=2";

/// What the serving tor of a node is shipped with.
pub(super) const TORRC_A: &str = include_str!("../../nixos/units/tor/a.torrc");
/// What the other one is shipped with.
pub(super) const TORRC_B: &str = include_str!("../../nixos/units/tor/b.torrc");
/// What of it is otherwise in the lab: nobody adds to it, only `/run` is a node's own, and the log is a file's.
const NOT_SHIPPED: [&str; 3] = ["%include", "DataDirectory", "Log"];

/// Name of the control socket in the directory of a tor that is no node's.
pub(super) const CONTROL: &str = "control";
/// The lab's own password for every control port, beside the cookie that daemons use: a cookie's path is another
/// one inside a node. It protects nothing, as nobody but the lab's user reaches the sockets.
pub(super) const CONTROL_PASSWORD: &str = "lab";
/// What `tor --hash-password` makes of it.
const HASHED_PASSWORD: &str = "16:A55F245759FE84E7605311A8A4E598A914F41AF1558934CAF7EBC1CF18";

/// When a tor of the lab gives a circuit up: what tors of the public network learn. On loopback they would learn a
/// fiftieth of it, and a service that gives up a rendezvous after 43 ms, and for good after the second, leaves its
/// client waiting for many seconds whenever the machine is busy; clients would forget what they learnt and wait a
/// minute then (three, for an introduction whose node has died). Users see nothing of that kind.
const BUILD_TIMEOUT: Duration = Duration::from_secs(2);

/// What makes a node's serving tor say which circuit a connection comes over, as the proxy's documentation has it.
pub(super) const EXPORT_CIRCUITS: &str = "HiddenServiceExportCircuitID haproxy\n";

/// Where the first authority's, and the first relay's, OR port is; the others follow.
const FIRST_OR_PORT: u16 = 5000;
/// Where the first authority's directory port is.
const FIRST_DIRECTORY_PORT: u16 = 7000;

/// A directory authority, as everyone's configuration names it.
#[derive(Clone, Debug)]
pub(super) struct Authority {
    /// Counts from 0.
    pub(super) number: u16,
    /// RSA identity as a relay, 40 hex digits.
    pub(super) fingerprint: String,
    /// Identity of its voting key, 40 hex digits.
    pub(super) voting_identity: String,
}

/// Where an authority takes votes and descriptors.
pub(super) fn directory_port(number: u16) -> u16 {
    FIRST_DIRECTORY_PORT + number
}

/// Where a network is.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Site {
    /// The address of its authorities and relays.
    pub(super) address: Ipv4Addr,
    /// How many times as long everything takes there as on the machine that the times above were found on.
    pub(super) slowness: u32,
}

impl Site {
    /// How long there takes what takes `time` on a machine that is not slow.
    pub(super) fn time(self, time: Duration) -> Duration {
        time * self.slowness
    }
}

/// What the torrcs of one network have in common.
#[derive(Clone, Debug)]
pub(super) struct Network {
    /// Where it is.
    pub(super) site: Site,
    /// Who votes.
    pub(super) authorities: Vec<Authority>,
    /// Whether the logs of its tors tell more.
    pub(super) verbose: bool,
}

/// An onion service that a tor serves.
#[derive(Clone, Debug)]
pub(super) struct Service {
    /// Its directory, with the key in it.
    pub(super) directory: PathBuf,
    /// Where connections to port 80 go.
    pub(super) port: PathBuf,
}

/// A torrc being written.
#[derive(Clone, Debug)]
pub(super) struct Torrc(String);

impl Torrc {
    /// What every tor of the lab has that is no node's. `directory` belongs to it alone.
    pub(super) fn new(name: &str, directory: &Path, network: &Network) -> Self {
        let mut torrc = Self(String::new()).in_network(network).in_lab(name, directory, network);
        torrc.line("ControlPort", format_args!("unix:{}", directory.join(CONTROL).display()));
        torrc.line("CookieAuthentication", 1);
        torrc.line("CookieAuthFile", directory.join("cookie").display());
        torrc
    }

    /// What a tor of a node is shipped with, in the lab's network.
    pub(super) fn shipped(text: &str, name: &str, directory: &Path, network: &Network) -> Self {
        let mut torrc = Self(String::new());
        for (option, value) in text.lines().filter_map(|line| line.split_once(' ')) {
            if option != "#" && !NOT_SHIPPED.contains(&option) {
                torrc.line(option, value);
            }
        }
        torrc.in_network(network).in_lab(name, directory, network)
    }

    /// What makes any tor, wherever it is, one of this network.
    pub(super) fn elsewhere(network: &Network) -> Self {
        Self(String::new()).in_network(network)
    }

    /// Adds what belongs to the network.
    fn in_network(mut self, network: &Network) -> Self {
        let torrc = &mut self;
        let Network { site, authorities, .. } = network;
        torrc.line("TestingTorNetwork", 1);
        // With so few relays, tor would wait for the last ones before it builds a circuit.
        torrc.line("PathsNeededToBuildCircuits", "0.67");
        torrc.line("LearnCircuitBuildTimeout", 0);
        torrc.line("CircuitBuildTimeout", site.time(BUILD_TIMEOUT).as_secs());
        for authority in authorities {
            let Authority { number, fingerprint, voting_identity } = authority;
            let (or_port, directory_port) = (FIRST_OR_PORT + number, directory_port(*number));
            torrc.line(
                "DirAuthority",
                format_args!(
                    "authority{number} orport={or_port} no-v2 v3ident={voting_identity} \
                     {}:{directory_port} {fingerprint}",
                    site.address
                ),
            );
        }
        self
    }

    /// Adds what belongs to a tor that the lab runs.
    fn in_lab(mut self, name: &str, directory: &Path, network: &Network) -> Self {
        let torrc = &mut self;
        torrc.line("Nickname", name);
        torrc.line("DataDirectory", directory.join("data").display());
        torrc.line("HashedControlPassword", HASHED_PASSWORD);
        torrc.line("Log", if network.verbose { "info stdout" } else { "notice stdout" });
        // Scenes happen within seconds; whole ones would not tell what came first.
        torrc.line("LogTimeGranularity", 1);
        torrc.line("NumCPUs", 1);
        // All addresses are private. Reading where others lie takes a second of a core at every start.
        torrc.line("GeoIPFile", "/dev/null");
        torrc.line("GeoIPv6File", "/dev/null");
        // Killed tors must not leave anything to wait for.
        torrc.line("ShutdownWaitLength", 0);
        self
    }

    fn line(&mut self, option: &str, value: impl std::fmt::Display) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "{option} {value}");
    }

    /// A relay. `number` counts all relays, the authorities first.
    pub(super) fn relay(self, site: Site, number: u16) -> Self {
        let mut torrc = self.no_socks();
        torrc.line("Address", site.address);
        torrc.line("ORPort", format_args!("{}:{}", site.address, FIRST_OR_PORT + number));
        // Nobody leaves the network here. Without a relay that would let them, though, tor builds no circuit but for a service.
        torrc.line("ExitRelay", 1);
        torrc.line("ExitPolicyRejectPrivate", 0);
        torrc.line("ExitPolicy", "accept *:80, reject *:*");
        torrc.line("AssumeReachable", 1);
        torrc.line("ContactInfo", "lab@example.invalid");
        torrc
    }

    /// A relay that is a directory authority too. `bandwidths` is the file with what it takes each relay to carry.
    pub(super) fn authority(self, site: Site, number: u16, bandwidths: &Path) -> Self {
        let mut torrc = self.relay(site, number);
        torrc.line("V3BandwidthsFile", bandwidths.display());
        torrc.line("DirPort", format_args!("{}:{}", site.address, directory_port(number)));
        torrc.line("AuthoritativeDirectory", 1);
        torrc.line("V3AuthoritativeDirectory", 1);
        for (prefix, interval) in
            [("TestingV3AuthInitial", FIRST_VOTING_INTERVAL), ("V3Auth", VOTING_INTERVAL)]
        {
            torrc.line(&format!("{prefix}VotingInterval"), site.time(interval).as_secs());
            torrc.line(&format!("{prefix}VoteDelay"), site.time(VOTE_DELAY).as_secs());
            torrc.line(&format!("{prefix}DistDelay"), site.time(VOTE_DELAY).as_secs());
        }
        torrc.line("V3AuthNIntervalsValid", 2);
        for flag in ["Exit", "Guard", "HSDir"] {
            torrc.line(&format!("TestingDirAuthVote{flag}"), "*");
        }
        torrc.line("TestingMinExitFlagThreshold", 0);
        torrc.line("ConsensusParams", HSDIR_PARAMETERS);
        torrc
    }

    /// A client for programs that connect over TCP.
    pub(super) fn socks(mut self, address: SocketAddr) -> Self {
        self.line("SocksPort", address);
        self
    }

    /// No SOCKS port.
    pub(super) fn no_socks(mut self) -> Self {
        self.line("SocksPort", 0);
        self
    }

    /// Serves an onion service too.
    pub(super) fn service(mut self, service: &Service) -> Self {
        self.line("HiddenServiceDir", service.directory.display());
        self.line("HiddenServicePort", format_args!("80 unix:{}", service.port.display()));
        self
    }

    /// The text of the file.
    pub(super) fn text(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tor_elsewhere_gets_what_the_labs_own_have_of_the_network_and_nothing_else() {
        let authorities =
            vec![Authority { number: 1, fingerprint: "F".repeat(40), voting_identity: "E".repeat(40) }];
        let site = Site { address: Ipv4Addr::new(192, 0, 2, 1), slowness: 6 };
        let network = Network { site, authorities, verbose: false };
        let elsewhere = Torrc::elsewhere(&network);
        let own = Torrc::new("x", Path::new("/x"), &network).authority(site, 1, Path::new("/bandwidths"));
        assert!(own.text().starts_with(elsewhere.text()));
        assert!(elsewhere.text().contains("\nDirAuthority authority1 orport=5001 no-v2 v3ident=EEEE"));
        assert!(elsewhere.text().contains(" 192.0.2.1:7001 FFFF"));
        for of_one_tor in ["DataDirectory", "Nickname", "Log ", "ControlPort", "SocksPort"] {
            assert!(!elsewhere.text().contains(of_one_tor), "{of_one_tor}");
        }
        // All times of a slow machine are longer, and tor takes them: they divide a day.
        for times in
            ["CircuitBuildTimeout 12", "TestingV3AuthInitialVotingInterval 30", "V3AuthVotingInterval 60"]
        {
            assert!(own.text().contains(&format!("\n{times}\n")), "{times}");
        }
    }
}
