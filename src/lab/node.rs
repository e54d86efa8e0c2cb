//! One node: namespaces, files, two tors and three daemons.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::cluster::{ClusterPlan, Member, NodeFiles};
use super::error::{LabError, io as doing};
use super::namespaces::STATE;
use super::place::Place;
use super::supervisor::{Supervised, supervise};
use super::tor_network::{TorNetwork, make_private};
use super::torrc::Service;
use super::unit::Unit;
use super::wires::Wires;
use crate::proto::node::NodeId;
use crate::sys::listen::{CONTROL, ONION};

/// `WatchdogSec=` of the daemons. Long for a lab: its cores are shared by forty processes.
const KEEPALIVE: Duration = Duration::from_secs(20);
/// The daemons, in no order: they wait for each other.
const DAEMONS: [Daemon; 3] = [Daemon::Proxy, Daemon::Coordinator, Daemon::Publisher];

/// One of a node's daemons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Daemon {
    /// `rustbalance-proxy`.
    Proxy,
    /// `rustbalance-coordinator`.
    Coordinator,
    /// `rustbalance-publisher`.
    Publisher,
}

impl Daemon {
    fn name(self) -> &'static str {
        match self {
            Self::Proxy => "proxy",
            Self::Coordinator => "coordinator",
            Self::Publisher => "publisher",
        }
    }
}

/// A node.
#[derive(Debug)]
pub(super) struct Node {
    /// Counts from 1.
    pub(super) number: u8,
    /// Its name.
    pub(super) id: NodeId,
    /// The serving tor.
    pub(super) tor_a: Supervised,
    /// The other tor.
    pub(super) tor_b: Supervised,
    /// Killed, and all can be well without it.
    pub(super) away: bool,
    daemons: Vec<Supervised>,
    place: Arc<Place>,
    files: NodeFiles,
}

impl Node {
    /// Makes a node and starts everything on it.
    pub(super) async fn start(
        network: &TorNetwork,
        wires: &Wires,
        plan: &ClusterPlan,
        member: &Member,
        programs: &Path,
    ) -> Result<Self, LabError> {
        let run = Path::new(STATE).join("nodes").join(member.id.to_string());
        make_private(&run)?;
        let place = Arc::new(Place::open(&run).await?);
        wires.plug(member.number, &place).await?;
        let files = NodeFiles::new();
        write_files(plan, member, &files, &place)?;

        let name = |part: &str| format!("{}-{part}", member.id);
        let service = Service {
            directory: files.tor_a.join("service"),
            port: files.onion_socket(),
            published_elsewhere: true,
        };
        let torrc = network.torrc("a", &files.tor_a).socks_unix(&files.tor_a.join("socks")).service(&service);
        let joined = Some(files.joined());
        let tor_a = network.run_once(&name("tor-a"), &place, &files.tor_a, &torrc, joined)?;
        let torrc = network.torrc("b", &files.tor_b).socks_unix(&files.tor_b.join("socks"));
        let tor_b = network.run(&name("tor-b"), &place, &files.tor_b, &torrc)?;

        let mut daemons = Vec::new();
        for daemon in DAEMONS {
            let mut sockets =
                vec![(CONTROL, bind(&place, &files.ipc.join(format!("{}.sock", daemon.name())))?)];
            if daemon == Daemon::Proxy {
                sockets.push((ONION, bind(&place, &files.onion_socket())?));
            }
            let unit = Unit {
                name: name(daemon.name()),
                place: Arc::clone(&place),
                program: programs.join(format!("rustbalance-{}", daemon.name())),
                arguments: vec!["--config".into(), files.configuration.clone().into_os_string()],
                condition: None,
                sockets,
                notify: true,
                keepalive: Some(KEEPALIVE),
            };
            daemons.push(supervise(unit)?);
        }
        let (number, id) = (member.number, member.id.clone());
        Ok(Self { number, id, tor_a, tor_b, away: false, daemons, place, files })
    }

    /// Everything that runs on it.
    fn units(&self) -> impl Iterator<Item = &Supervised> {
        [&self.tor_a, &self.tor_b].into_iter().chain(&self.daemons)
    }

    /// The machine is gone: everything is killed and stays dead.
    pub(super) async fn kill(&self) {
        for unit in self.units() {
            unit.kill().await;
        }
    }

    /// The machine is back.
    pub(super) async fn revive(&self) {
        for unit in self.units() {
            unit.start().await;
        }
    }

    /// The machine hangs: nothing on it runs, its connections stay open.
    pub(super) async fn freeze(&self) {
        for unit in self.units() {
            unit.freeze().await;
        }
    }

    /// The machine goes on.
    pub(super) async fn thaw(&self) {
        for unit in self.units() {
            unit.thaw().await;
        }
    }

    /// Waits until every daemon has said that it is ready.
    pub(super) async fn ready(&self, limit: Duration) -> Result<(), LabError> {
        for unit in self.units() {
            unit.ready(limit).await?;
        }
        Ok(())
    }

    /// A daemon's control socket, as the lab sees it.
    pub(super) fn control_socket(&self, daemon: Daemon) -> PathBuf {
        self.place.outside(&self.files.ipc.join(format!("{}.sock", daemon.name())))
    }

    /// The serving tor's directory, as the lab sees it.
    pub(super) fn tor_a_directory(&self) -> PathBuf {
        self.place.outside(&self.files.tor_a)
    }
}

/// Keys and configuration, as an operator would put them there.
fn write_files(
    plan: &ClusterPlan,
    member: &Member,
    files: &NodeFiles,
    place: &Place,
) -> Result<(), LabError> {
    let service = files.tor_a.join("service");
    for directory in [&files.ipc, &files.state, &service, Path::new("/run/keys"), Path::new("/run/wireguard")]
    {
        make_private(&place.outside(directory))?;
    }
    let balance = format!("MasterOnionAddress {}\n", plan.address);
    let configuration = plan.configuration(member, files);
    for (path, content) in [
        (&files.master_key, plan.master_key.as_slice()),
        (&service.join("hs_ed25519_secret_key"), plan.master_key.as_slice()),
        (&service.join("ob_config"), balance.as_bytes()),
        (&files.token, plan.token.as_bytes()),
        (&files.wireguard_key, member.key.to_base64().as_bytes()),
        (&files.configuration, configuration.as_bytes()),
        // A node that is configured by hand has joined.
        (&files.joined(), b""),
    ] {
        let file =
            fs::File::options().write(true).create(true).truncate(true).mode(0o600).open(place.outside(path));
        file.and_then(|mut file| file.write_all(content)).map_err(doing("writing a node's files"))?;
    }
    Ok(())
}

/// `ListenStream=`.
fn bind(place: &Place, path: &Path) -> Result<UnixListener, LabError> {
    UnixListener::bind(place.outside(path)).map_err(doing("binding a daemon's socket"))
}
