//! The recipe of the process: what is done in which order until the main loop runs.

use std::ffi::OsString;
use std::process::ExitCode;

use tokio::net::UnixListener;
use tokio::sync::{mpsc, watch};

use super::abusive::Abusive;
use super::daemon_link::Told;
use super::events::Shown;
use super::overview::Overview;
use super::serve::{Lines, Reload, Watchdog};
use super::service_manager::Units;
use super::tor_link::Watched;
use super::{configuration, daemon_link, host, key, tor_link, uses, web};
use crate::config::file::DEFAULT_PATH;
use crate::config::reload::{Reloads, Scope};
use crate::config::tor::{Tor as TorConfig, TorName};
use crate::daemon::address::socket_address;
use crate::daemon::begin::{Begun, begin, log};
use crate::daemon::failure::StartError;
use crate::daemon::front::{self, Arguments};
use crate::ipc::server::{self, Limits};
use crate::proto::health::part::{Daemon, Tor};
use crate::proto::health::report::HealthReport;
use crate::sys::capabilities;
use crate::sys::confine::{NOTHING, confine};
use crate::sys::listen::{CONTROL, WEB};
use crate::sys::stop::{Hangup, Stop};
use crate::tor::address::ControlAuth;

/// This daemon's name in logs and errors.
const DAEMON: &str = "rustbalance-watchdog";
/// What it is for, in its help.
const ABOUT: &str = "Watches this node, repairs it, and tells how it is";
/// Calls that wait for the main loop; the callers' connections are bounded anyway.
const WAITING_CALLS: usize = 8;
/// Observations that wait for the main loop; whoever watches waits with more.
const WAITING_OBSERVATIONS: usize = 32;
/// What this daemon reads of the configuration. Where everything is, is settled at the start.
const SCOPE: Scope =
    Scope { sections: &["node", "tor", "cluster", "ipc", "log", "integrity"], live: &["log.level"] };

/// Runs the daemon until it is told to stop.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    front::run(DAEMON, ABOUT, DEFAULT_PATH, arguments, start)
}

fn start(arguments: &Arguments) -> Result<(), StartError> {
    let Begun { mut inherited, config, swap } = begin(arguments, &[CONTROL, WEB])?;
    let node = config.node(DAEMON)?.id.to_string();
    let tors = config.tor(DAEMON)?;
    let units = Units { serving: tors.serving };
    let state = config.cluster(DAEMON)?.state_directory.clone();
    // Nobody but people and their monitoring asks it.
    let allowed = config.ipc.allowed_uids(DAEMON)?;
    if arguments.check_config {
        return Ok(());
    }
    let level = log(DAEMON, &config, swap)?;
    let control = inherited.control_or_open(&config.ipc.watchdog_socket())?;
    let pages = inherited.unix_or_open(WEB, &config.ipc.web_socket())?;
    let tors = watched_tors(tors);
    // Everything that needs a privilege is open now.
    capabilities::trim(&[])?;
    // Each tor says itself where its cookie and its key are; the key cannot be read, only whose it is.
    confine(["/"], NOTHING)?.tell();
    tracing::info!(%node, "watching");

    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(async {
        let (stop, hangup) = (Stop::new()?, Hangup::new()?);
        let (seen, observations) = mpsc::channel(WAITING_OBSERVATIONS);
        let (abusive, named) = watch::channel(Vec::new());
        let overview = watch::Sender::new(Overview::default());
        for mut tor in tors {
            tor.abusive = (tor.tor == Tor::Serving).then(|| Abusive::new(named.clone()));
            tokio::spawn(tor_link::watch(tor, seen.clone()));
        }
        for daemon in Daemon::ALL {
            let socket = match daemon {
                Daemon::Proxy => config.ipc.proxy_socket(),
                Daemon::Coordinator => config.ipc.coordinator_socket(),
                Daemon::Publisher => config.ipc.publisher_socket(),
            };
            tokio::spawn(uses::watch_files(daemon, socket.clone(), seen.clone()));
            let told = Told { abusive: abusive.clone(), overview: overview.clone() };
            tokio::spawn(daemon_link::watch(daemon, socket, told, seen.clone()));
        }
        tokio::spawn(uses::watch_memory(units, seen.clone()));
        tokio::spawn(key::watch(units, seen.clone()));
        let loaded = watch::Sender::new(config.clone());
        tokio::spawn(configuration::watch(loaded.subscribe(), seen.clone()));
        tokio::spawn(host::watch(state, seen));
        let (calls, inbox) = mpsc::channel(WAITING_CALLS);
        tokio::spawn(server::serve(UnixListener::from_std(control)?, allowed, calls, Limits::default()));
        let (health, known) = watch::channel(HealthReport::default());
        let shown = Shown { node, health: known, overview: overview.subscribe() };
        tokio::spawn(web::serve(UnixListener::from_std(pages)?, shown));
        let lines = Lines { observations, calls: inbox, health };
        let reload = Reload { reloads: Reloads::new(SCOPE, config), loaded, level };
        Watchdog::new(units, lines, reload).run(stop, hangup).await;
        Ok(())
    })
}

/// Both tors, as far as there are two and a cookie opens them: a password would be a secret, and this daemon holds none.
fn watched_tors(tors: &TorConfig) -> Vec<Watched> {
    let watched = [TorName::A, TorName::B].into_iter().filter_map(|name| {
        let instance = tors.instance(name)?;
        if instance.password_file.is_some() {
            tracing::warn!(
                "tor {name} is not watched: the watchdog holds no password; let tor write a cookie"
            );
            return None;
        }
        let address = socket_address(&instance.control);
        let tor = if name == tors.serving { Tor::Serving } else { Tor::Standby };
        Some(Watched { tor, address, auth: ControlAuth::Auto, abusive: None })
    });
    watched.collect()
}
