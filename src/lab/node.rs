//! One node: two tors and four daemons on a machine.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::error::{LabError, io as doing};
use super::ground::Ground;
use super::machine::Machine;
use super::place::Place;
use super::service_manager::{self, OneShot, Units};
use super::supervisor::{Supervised, supervise};
use super::torrc::{TORRC_A, TORRC_B};
use super::unit::{First, Unit};
use super::unit_file::{self, ONION_KEY, TOR, UnitFile};

/// The daemons, in no order but one: who watches the others comes last, and goes first.
const DAEMONS: [Daemon; 4] = [Daemon::Proxy, Daemon::Coordinator, Daemon::Publisher, Daemon::Watchdog];

/// One of a node's daemons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Daemon {
    /// `rustbalance-proxy`.
    Proxy,
    /// `rustbalance-coordinator`.
    Coordinator,
    /// `rustbalance-publisher`.
    Publisher,
    /// `rustbalance-watchdog`.
    Watchdog,
}

impl Daemon {
    fn name(self) -> &'static str {
        match self {
            Self::Proxy => "proxy",
            Self::Coordinator => "coordinator",
            Self::Publisher => "publisher",
            Self::Watchdog => "watchdog",
        }
    }

    /// What it is shipped with: its service, and its sockets.
    fn unit_files(self) -> (UnitFile, &'static [UnitFile]) {
        match self {
            Self::Proxy => (unit_file::PROXY, &[unit_file::PROXY_CONTROL, unit_file::PROXY_ONION]),
            Self::Coordinator => (unit_file::COORDINATOR, &[unit_file::COORDINATOR_CONTROL]),
            Self::Publisher => (unit_file::PUBLISHER, &[unit_file::PUBLISHER_CONTROL]),
            Self::Watchdog => (unit_file::WATCHDOG, &[unit_file::WATCHDOG_CONTROL, unit_file::WATCHDOG_WEB]),
        }
    }
}

/// A node.
#[derive(Debug)]
pub(super) struct Node {
    /// What it runs on.
    pub(super) machine: Machine,
    /// The serving tor.
    pub(super) tor_a: Supervised,
    /// The other tor.
    pub(super) tor_b: Supervised,
    /// Killed, and all can be well without it.
    pub(super) away: bool,
    daemons: Vec<Supervised>,
}

impl Node {
    /// Starts everything on a machine that has its configuration. The serving tor waits until the node has joined.
    pub(super) fn start(ground: &Ground, machine: Machine) -> Result<Self, LabError> {
        let Machine { name, place, files } = &machine;
        let network = &ground.network;
        let unit_name = |part: &str| format!("{name}-{part}");
        let torrc = network.shipped(TORRC_A, "a", &files.tor_a);
        let words =
            [Path::new("install-key"), Path::new("--config"), &files.configuration(), &files.service()];
        let install_key = OneShot {
            place: Arc::clone(place),
            program: ground.programs.join("rustbalance"),
            arguments: words.map(OsString::from).to_vec(),
        };
        let first = First {
            exists: Some(files.joined()),
            succeeds: Some((install_key.program.clone(), install_key.arguments.clone())),
        };
        let tor_a = network.run_after(&unit_name("tor-a"), place, &files.tor_a, &torrc, first)?;
        let torrc = network.shipped(TORRC_B, "b", &files.tor_b);
        let tor_b = network.run(&unit_name("tor-b"), place, &files.tor_b, &torrc)?;

        let tors = [(TOR.instance("a"), tor_a.clone()), (TOR.instance("b"), tor_b.clone())];
        let passing = BTreeMap::from([(ONION_KEY.name().to_owned(), install_key)]);
        let mut units = Units { remaining: tors.into(), passing };
        let mut daemons = Vec::new();
        for daemon in DAEMONS {
            let (service, sockets) = daemon.unit_files();
            let bind = |socket: &UnitFile| {
                Ok((socket.value("FileDescriptorName")?, bind(place, &socket.path("ListenStream")?)?))
            };
            let unit = Unit {
                name: unit_name(daemon.name()),
                place: Arc::clone(place),
                program: ground.programs.join(service.program()?),
                arguments: vec!["--config".into(), files.configuration().into_os_string()],
                first: First::default(),
                sockets: sockets.iter().map(bind).collect::<Result<_, LabError>>()?,
                restart: service.time("RestartSec")?,
                stop: service.time("TimeoutStopSec")?,
                notify: service.value("Type")?.starts_with("notify"),
                keepalive: Some(service.time("WatchdogSec")?),
            };
            let supervised = supervise(unit)?;
            units.remaining.insert(service.name().to_owned(), supervised.clone());
            daemons.push(supervised);
        }
        service_manager::serve(place, units)?;
        Ok(Self { tor_a, tor_b, away: false, daemons, machine })
    }

    /// Everything that runs on it.
    fn units(&self) -> impl DoubleEndedIterator<Item = &Supervised> {
        [&self.tor_a, &self.tor_b].into_iter().chain(&self.daemons)
    }

    /// The machine is gone: everything is killed and stays dead.
    pub(super) async fn kill(&self) {
        // Nobody must be there who would start what is dead.
        for unit in self.units().rev() {
            unit.kill().await;
        }
    }

    /// Every process ends at once, and is started again as after any crash.
    pub(super) async fn crash(&self) {
        for unit in self.units() {
            unit.crash().await;
        }
    }

    /// One of its daemons.
    pub(super) fn daemon(&self, daemon: Daemon) -> &Supervised {
        &self.daemons[daemon as usize]
    }

    /// One of its daemons crashes.
    pub(super) async fn crash_daemon(&self, daemon: Daemon) {
        self.daemon(daemon).crash().await;
    }

    /// One of its daemons hangs, unless it is not ready; how often it has been started.
    pub(super) async fn hang_daemon(&self, daemon: Daemon) -> u32 {
        let unit = self.daemon(daemon);
        let state = unit.state();
        if state.ready {
            unit.hang().await;
        }
        state.starts
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
        self.machine.outside(&self.machine.files.ipc.join(format!("{}.sock", daemon.name())))
    }

    /// Has its proxy carry HTTP to that target, with more lines in its section, or to the one of before.
    pub(super) async fn aim(&self, target: Option<&str>, more: &str) -> Result<(), LabError> {
        self.machine.aim(target, more)?;
        self.daemon(Daemon::Proxy).signal(Signal::SIGHUP).await;
        Ok(())
    }

    /// Has its proxy hold circuits to these limits, and its tor say which is which; without them, everything is as before.
    pub(super) async fn limit_circuits(&self, limits: Option<&str>) -> Result<(), LabError> {
        self.machine.limit_circuits(limits)?;
        for unit in [&self.tor_a, self.daemon(Daemon::Proxy)] {
            unit.signal(Signal::SIGHUP).await;
        }
        Ok(())
    }

    /// The serving tor's control socket, as the lab sees it.
    pub(super) fn tor_a_control(&self) -> PathBuf {
        self.machine.outside(&self.machine.files.tor_a_control())
    }
}

/// `ListenStream=`.
fn bind(place: &Place, path: &Path) -> Result<UnixListener, LabError> {
    UnixListener::bind(place.outside(path)).map_err(doing("binding a daemon's socket"))
}
