//! The private Tor network: authorities, relays, and a way to add clients and services.

use std::ffi::OsString;
use std::fmt::Write;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::errand;
use super::error::{LabError, io as doing};
use super::namespaces::STATE;
use super::place::Place;
use super::requirements::TorTools;
use super::supervisor::{Supervised, supervise};
use super::torrc::{Authority, CONTROL, Network, Site, Torrc, directory_port};
use super::unit::{First, Unit};
use super::unit_file::TOR;
use crate::sys::clock::unix_secs;
use crate::tor::relay_name;

/// Directory authorities: the fewest that have a majority when one is late.
const AUTHORITIES: u16 = 3;
/// Relays besides. With twelve in all, four of them responsible for a descriptor, nodes find introduction points
/// of their own and a descriptor on the wrong HSDir is noticed.
const RELAYS: u16 = 9;
/// How long the first consensus with every relay in it may take. It takes 15 s; a loaded machine misses a vote.
const CONSENSUS_LIMIT: Duration = Duration::from_secs(90);
/// How long a relay may take to make its keys. It takes less than a second of one core.
const FINGERPRINT_LIMIT: Duration = Duration::from_secs(30);
/// What each relay is said to carry, in kilobytes a second. Only that it is the same for all matters.
const BANDWIDTH: u32 = 1000;
/// Between two looks at a file that a tor writes.
const POLL: Duration = Duration::from_millis(100);
/// Ends the password of a key that never leaves the tmpfs.
const PASSWORD: &[u8] = b"lab\n";

/// The network, running.
#[derive(Debug)]
pub(super) struct TorNetwork {
    tools: TorTools,
    facts: Network,
    relays: Vec<Relay>,
}

/// A relay that is no authority.
#[derive(Debug)]
pub(super) struct Relay {
    /// Its RSA identity, 40 hex digits.
    fingerprint: String,
    /// Its name, and that of its log.
    pub(super) name: String,
    /// Its tor.
    pub(super) tor: Supervised,
}

impl Relay {
    /// Its control socket.
    pub(super) fn control(&self) -> PathBuf {
        tor_directory(&self.name).join(CONTROL)
    }
}

impl TorNetwork {
    /// Makes keys and starts authorities and relays. `verbose`: whether the logs of all tors tell more.
    pub(super) async fn start(
        tools: &TorTools,
        place: &Arc<Place>,
        site: Site,
        verbose: bool,
    ) -> Result<Self, LabError> {
        let keys = (0..AUTHORITIES).map(|number| make_authority(tools, site, number));
        let authorities = futures_util::future::try_join_all(keys).await?;
        let facts = Network { site, authorities, verbose };
        let mut network = Self { tools: tools.clone(), facts, relays: Vec::new() };
        let bandwidths = Path::new(STATE).join("tor/bandwidths");
        for number in 0..AUTHORITIES + RELAYS {
            let name = relay_name(number);
            let directory = tor_directory(&name);
            let torrc = network.torrc(&name, &directory);
            let torrc = if number < AUTHORITIES {
                torrc.authority(site, number, &bandwidths)
            } else {
                torrc.relay(site, number)
            };
            let tor = network.run(&name, place, &directory, &torrc)?;
            if number >= AUTHORITIES {
                network.relays.push(Relay { fingerprint: String::new(), name, tor });
            }
        }
        let fingerprints = Self::level(&bandwidths, site.time(FINGERPRINT_LIMIT)).await?;
        let others = fingerprints.into_iter().skip(usize::from(AUTHORITIES));
        for (relay, fingerprint) in network.relays.iter_mut().zip(others) {
            relay.fingerprint = fingerprint;
        }
        Ok(network)
    }

    /// The RSA identities of all relays, the authorities' too.
    pub(super) fn identities(&self) -> Vec<[u8; 20]> {
        let authorities = self.facts.authorities.iter().map(|authority| &authority.fingerprint);
        let relays = self.relays.iter().map(|relay| &relay.fingerprint);
        authorities.chain(relays).filter_map(|fingerprint| relay_name::parse(fingerprint)).collect()
    }

    /// The relay with that RSA identity; none where it is an authority's.
    pub(super) fn relay(&self, fingerprint: &str) -> Option<&Relay> {
        self.relays.iter().find(|relay| relay.fingerprint == fingerprint)
    }

    /// Tells the authorities that all relays are equal; the relays' identities, the authorities' first.
    ///
    /// Else the authorities, which carry all the traffic of the beginning, are soon a hundred times as good as the
    /// others: everyone chooses them, and three nodes have the same three introduction points.
    async fn level(file: &Path, limit: Duration) -> Result<Vec<String>, LabError> {
        let mut fingerprints = Vec::new();
        let mut text = format!("{}\n", unix_secs());
        for number in 0..AUTHORITIES + RELAYS {
            let path = tor_directory(&relay_name(number)).join("data/fingerprint");
            let fingerprint = timeout(limit, fingerprint(&path)).await;
            let what = format!("{} making its keys", relay_name(number));
            let fingerprint = fingerprint.map_err(|_| LabError::TimedOut { what, limit })?;
            // Writing to a string cannot fail.
            let _ = writeln!(text, "node_id=${fingerprint} bw={BANDWIDTH}");
            fingerprints.push(fingerprint);
        }
        let written = file.with_extension("new");
        fs::write(&written, text)
            .and_then(|()| fs::rename(&written, file))
            .map_err(doing("writing bandwidths"))?;
        Ok(fingerprints)
    }

    /// Waits until every relay hands out a consensus that has every relay in it.
    ///
    /// A client that comes earlier asks a relay that does not know the others yet, and tries again only ten
    /// seconds later.
    pub(super) async fn consensus(&self) -> Result<(), LabError> {
        let complete = async {
            for number in 0..AUTHORITIES + RELAYS {
                let data = tor_directory(&relay_name(number)).join("data");
                while !is_complete(&data) {
                    sleep(POLL).await;
                }
            }
        };
        let what = "a consensus with every relay in it".to_owned();
        let limit = self.facts.site.time(CONSENSUS_LIMIT);
        timeout(limit, complete).await.map_err(|_| LabError::TimedOut { what, limit })
    }

    /// The beginning of a configuration that belongs to this network. `directory` is as that tor sees it.
    pub(super) fn torrc(&self, name: &str, directory: &Path) -> Torrc {
        Torrc::new(name, directory, &self.facts)
    }

    /// What a tor of a node is shipped with, in this network. `directory` is as that tor sees it.
    pub(super) fn shipped(&self, text: &str, name: &str, directory: &Path) -> Torrc {
        Torrc::shipped(text, name, directory, &self.facts)
    }

    /// What makes a tor on another machine one of this network.
    pub(super) fn elsewhere(&self) -> Torrc {
        Torrc::elsewhere(&self.facts)
    }

    /// Starts a tor with that configuration. `directory` is as that tor sees it.
    pub(super) fn run(
        &self,
        name: &str,
        place: &Arc<Place>,
        directory: &Path,
        torrc: &Torrc,
    ) -> Result<Supervised, LabError> {
        self.run_after(name, place, directory, torrc, First::default())
    }

    /// As [`Self::run`], but only after something else.
    pub(super) fn run_after(
        &self,
        name: &str,
        place: &Arc<Place>,
        directory: &Path,
        torrc: &Torrc,
        first: First,
    ) -> Result<Supervised, LabError> {
        let outside = place.outside(directory);
        make_private(&outside.join("data"))?;
        fs::write(outside.join("torrc"), torrc.text()).map_err(doing("writing a torrc"))?;
        supervise(Unit {
            name: name.to_owned(),
            place: Arc::clone(place),
            program: self.tools.tor.clone(),
            arguments: vec![
                OsString::from("-f"),
                directory.join("torrc").into_os_string(),
                OsString::from("--defaults-torrc"),
                OsString::from("/dev/null"),
            ],
            first,
            sockets: Vec::new(),
            restart: TOR.time("RestartSec")?,
            stop: TOR.time("TimeoutStopSec")?,
            notify: false,
            keepalive: None,
        })
    }
}

/// Whether the relay with that data directory knows every relay, as an HSDir and by its keys.
fn is_complete(data: &Path) -> bool {
    let count = |file: &str, wanted: fn(&str) -> bool| {
        let text = fs::read_to_string(data.join(file)).unwrap_or_default();
        text.lines().filter(|line| wanted(line)).count()
    };
    let hsdirs =
        count("cached-microdesc-consensus", |line| line.starts_with("s ") && line.contains(" HSDir"));
    // Received ones are added to a journal, which is made into the file without `.new` now and then.
    let keys = count("cached-microdescs", |line| line == "onion-key")
        + count("cached-microdescs.new", |line| line == "onion-key");
    let all = usize::from(AUTHORITIES + RELAYS);
    hsdirs == all && keys >= all
}

/// The identity that a relay has written, once it has.
async fn fingerprint(path: &Path) -> String {
    loop {
        let text = fs::read_to_string(path).unwrap_or_default();
        if let Some(fingerprint) = text.strip_suffix('\n').and_then(|line| line.split(' ').nth(1)) {
            return fingerprint.to_owned();
        }
        sleep(POLL).await;
    }
}

/// Relays are counted through, the authorities first.
fn relay_name(number: u16) -> String {
    if number < AUTHORITIES { format!("authority{number}") } else { format!("relay{number}") }
}

/// The directory of a tor that runs in the lab's own namespaces.
pub(super) fn tor_directory(name: &str) -> PathBuf {
    Path::new(STATE).join("tor").join(name)
}

/// Makes a directory that tor accepts for keys and sockets.
pub(super) fn make_private(directory: &Path) -> Result<(), LabError> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(doing("making a directory"))
}

/// The keys of an authority, made anew for each run.
async fn make_authority(tools: &TorTools, site: Site, number: u16) -> Result<Authority, LabError> {
    let data = tor_directory(&relay_name(number)).join("data");
    let keys = data.join("keys");
    make_private(&keys)?;
    let certificate = keys.join("authority_certificate");
    let mut gencert = Command::new(&tools.tor_gencert);
    gencert.args(["--create-identity-key", "--passphrase-fd", "0", "-m", "12"]);
    gencert.args(["-a", &format!("{}:{}", site.address, directory_port(number))]);
    gencert.arg("-i").arg(keys.join("authority_identity_key"));
    gencert.arg("-s").arg(keys.join("authority_signing_key")).arg("-c").arg(&certificate);
    errand::run("tor-gencert", gencert, PASSWORD).await?;
    let text = fs::read_to_string(&certificate).map_err(doing("reading an authority's certificate"))?;
    let voting_identity = text.lines().find_map(|line| line.strip_prefix("fingerprint "));

    // Any authority will do here: without one, tor refuses to be a testing tor.
    let placeholder = format!("x 127.0.0.1:1 {}", "F".repeat(40));
    let mut tor = Command::new(&tools.tor);
    tor.args(["--list-fingerprint", "--quiet", "--ignore-missing-torrc", "-f", "/nonexistent"]);
    tor.args(["--defaults-torrc", "/dev/null", "--DirAuthority", &placeholder]);
    tor.args(["--ORPort", "1", "--Nickname", "lab", "--DataDirectory"]).arg(&data);
    let said = errand::run("tor --list-fingerprint", tor, b"").await?;
    let fingerprint: String = said.split_whitespace().skip(1).collect();
    match voting_identity {
        Some(voting_identity) if fingerprint.len() == 40 => {
            Ok(Authority { number, fingerprint, voting_identity: voting_identity.to_owned() })
        }
        _ => Err(LabError::File { path: certificate, what: "the certificate of an authority" }),
    }
}
