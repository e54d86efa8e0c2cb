//! What the configuration comes to: all about the proxy that can change while it runs.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::circuits::Circuits;
use super::connection::Ways;
use super::dial::Dialer;
use super::door::Door;
use super::http::check::Check;
use super::http::naming::Naming;
use super::http::pages::Pages;
use super::http::rewritten::PLACES;
use crate::config::endpoint::{Endpoint, Target};
use crate::config::file::{Config, ConfigError};
use crate::config::proxy::{Mode, Proxy as ProxyConfig};
use crate::config::reload::{Reloads, Scope, tell_refused};
use crate::proto::balance::member::Limits;
use crate::proto::http::authority::Authority;
use crate::sys::logging::LogLevel;
use crate::sys::process;

/// What this daemon reads of the configuration. Where it listens, and who may talk to it, was settled at the start.
const SCOPE: Scope = Scope {
    sections: &["proxy", "service.address", "tor", "join", "ipc", "log", "integrity"],
    live: &[
        "proxy.target",
        "proxy.targets",
        "proxy.mode",
        "proxy.host",
        "proxy.verify",
        "proxy.roots",
        "proxy.pins",
        "service.address",
        "proxy.connect_timeout_secs",
        "proxy.idle_timeout_secs",
        "proxy.probe_interval_secs",
        "proxy.drain_timeout_secs",
        "proxy.max_connections",
        "proxy.error_page",
        "proxy.probe_path",
        "proxy.probe_status",
        "proxy.circuits",
        "proxy.rewrite_content",
        "proxy.eject_failures",
        "proxy.trial_interval_secs",
        "proxy.readmission_secs",
        "tor",
        "join",
        "log.level",
    ],
};
/// Files of one connection: the client's, and two of the target's, as two tors can be asked at once.
const FILES_EACH: u64 = 3;
/// Files besides connections: listeners, control connections, probes and trials, clients who are turned away, the
/// runtime's own, standard ones.
const OTHER_FILES: u64 = 256;

/// What bounds the proxy.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Connections carried at once.
    pub connections: usize,
    /// See `probe_interval_secs`.
    pub probe: Duration,
    /// When a target gets no connections, and how it comes back.
    pub limits: Limits,
    /// See `drain_timeout_secs`.
    pub drain: Duration,
}

/// What new connections meet.
#[derive(Debug)]
pub struct Settings {
    /// The ways to the targets.
    pub dialers: Vec<Arc<Dialer>>,
    /// Where they lead.
    pub ways: Ways,
    /// What probes ask the targets for, if anything.
    pub check: Option<Arc<Check>>,
    /// What bounds them.
    pub bounds: Bounds,
}

impl Settings {
    /// Takes them from a configuration, for the daemon of this name; `coordinator` is where it can be asked about join
    /// requests, `before` what counted so far.
    pub fn of(
        config: &Config,
        daemon: &str,
        coordinator: PathBuf,
        before: Option<&Self>,
    ) -> Result<Self, ConfigError> {
        let proxy = config.proxy(daemon)?;
        let tors = tors(config, proxy, daemon)?;
        let dialer = |(index, target)| {
            let dialer = Dialer::new(target, &tors, proxy.connect_timeout_secs);
            dialer
                .map(Arc::new)
                .map_err(|error| config.refuse(&proxy.key_of(index, error.key()), error.to_string()))
        };
        let dialers: Vec<Arc<Dialer>> =
            proxy.targets().into_iter().enumerate().map(dialer).collect::<Result<_, _>>()?;
        let pool = before.map_or_else(Arc::default, |before| Arc::clone(&before.ways.pool));
        // Whether there is a secret is all that this daemon has to know of it.
        let joining = config.join().is_some_and(|join| join.secret_file.is_some());
        let door = joining.then(|| Arc::new(Door::new(coordinator)));
        let naming = (proxy.mode == Mode::Http).then(|| {
            let public = config.service(daemon).ok().map(|service| service.address.to_string());
            Arc::new(Naming { public, targets: names(&dialers) })
        });
        let pages = Pages::read(proxy.error_page.as_deref())
            .map_err(|reason| config.refuse(&["proxy", "error_page"], reason))?;
        let circuits = circuits(proxy, before);
        // A reload makes no new places beside those that are taken.
        let places = before.and_then(|before| before.ways.rewriting.clone());
        let places = places.unwrap_or_else(|| Arc::new(Semaphore::new(PLACES)));
        let rewriting = proxy.rewrite_content.then_some(places);
        let ways = Ways { pool, door, idle: proxy.idle_timeout_secs, circuits, naming, pages, rewriting };
        Ok(Self { dialers, ways, check: check_of(config, proxy)?, bounds: bounds(proxy) })
    }
}

/// Whether settings can be taken from this configuration.
pub fn check(config: &Config, daemon: &str) -> Result<(), ConfigError> {
    tors(config, config.proxy(daemon)?, daemon).map(|_| ())
}

/// Takes a changed configuration over.
#[derive(Debug)]
pub struct Reload {
    daemon: &'static str,
    coordinator: PathBuf,
    reloads: Reloads,
    level: LogLevel,
}

impl Reload {
    /// The daemon of this name has started with this configuration.
    pub fn new(daemon: &'static str, started: Config, level: LogLevel) -> Self {
        let coordinator = started.ipc.coordinator_socket();
        Self { daemon, coordinator, reloads: Reloads::new(SCOPE, started), level }
    }

    /// Reads the configuration again, and says what is and what is not taken over. Gives what new connections meet from now
    /// on; `None` if that is refused, and all stays as before.
    pub fn settings(&mut self, before: &Settings) -> Option<Settings> {
        let read = self.reloads.read().and_then(|(config, changes)| {
            check_files(&config, self.daemon)?;
            let settings = Settings::of(&config, self.daemon, self.coordinator.clone(), Some(before))?;
            Ok((config, changes, settings))
        });
        let (config, changes, settings) = read.inspect_err(|error| tell_refused(error)).ok()?;
        if let Err(error) = self.level.set(&config.log.level) {
            tracing::error!(%error, "the log goes on as before");
        }
        self.reloads.adopt(config);
        changes.tell();
        // Also where nothing in it has changed: the files that it names may have.
        Some(settings)
    }
}

/// Refuses files that this daemon may not read any more, and says what to do.
fn check_files(config: &Config, daemon: &str) -> Result<(), ConfigError> {
    let denied =
        |path: &Path| File::open(path).is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied);
    let files = config.proxy(daemon)?.files();
    match files.into_iter().find(|(_, path)| denied(path)) {
        Some((key, path)) => {
            let reason = format!(
                "{} cannot be read; at its start this daemon confined itself to the directories of the files that the \
                 configuration named then: start it again if the file's owner and mode are right",
                path.display()
            );
            Err(config.refuse(&key, reason))
        }
        None => Ok(()),
    }
}

/// The SOCKS ports to use, in order; none are needed where all targets are local.
fn tors(config: &Config, proxy: &ProxyConfig, daemon: &str) -> Result<Vec<Endpoint>, ConfigError> {
    if proxy.targets().iter().all(|target| matches!(target.address, Target::Local { .. })) {
        return Ok(Vec::new());
    }
    let tor = config.tor(daemon)?;
    Ok(tor.outgoing().into_iter().map(|(_, instance)| instance.socks.clone()).collect())
}

/// The circuits that are known, or may be from now on.
fn circuits(proxy: &ProxyConfig, before: Option<&Settings>) -> Option<Arc<Circuits>> {
    let limits = proxy.circuits.as_ref()?.limits();
    let known = before.and_then(|before| before.ways.circuits.clone());
    Some(known.inspect(|known| known.limit(limits)).unwrap_or_else(|| Arc::new(Circuits::new(limits))))
}

/// All names and addresses of the targets, the longer ones first, as one can be a part of another.
fn names(dialers: &[Arc<Dialer>]) -> Arc<[Authority]> {
    let mut names: Vec<Authority> = Vec::new();
    for name in dialers.iter().flat_map(|dialer| dialer.names()) {
        if names.iter().all(|known| known.host() != name.host()) {
            names.push(name.clone());
        }
    }
    names.sort_by_key(|name| std::cmp::Reverse(name.host().len()));
    names.into()
}

/// What probes ask.
fn check_of(config: &Config, proxy: &ProxyConfig) -> Result<Option<Arc<Check>>, ConfigError> {
    let Some(path) = &proxy.probe_path else { return Ok(None) };
    let path = path.parse().map_err(|_| config.refuse(&["proxy", "probe_path"], "cannot be asked for"))?;
    Ok(Some(Arc::new(Check::new(path, proxy.probe_status))))
}

/// The configured bounds, as far as the limit of open files allows.
fn bounds(proxy: &ProxyConfig) -> Bounds {
    let wanted = proxy.max_connections;
    let files = process::raise_open_files(wanted as u64 * FILES_EACH + OTHER_FILES);
    let possible =
        usize::try_from(files.saturating_sub(OTHER_FILES) / FILES_EACH).unwrap_or(usize::MAX).max(1);
    if possible < wanted {
        tracing::warn!(wanted, possible, "the limit of open files (LimitNOFILE=) is below max_connections");
    }
    Bounds {
        connections: wanted.min(possible),
        probe: proxy.probe_interval_secs,
        limits: proxy.limits(),
        drain: proxy.drain_timeout_secs,
    }
}
