//! The recipe of the process: what is done in which order until the main loop runs.

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;

use rand::RngExt;
use tokio::sync::mpsc;

use super::connection::Ways;
use super::dial::Dialer;
use super::door::Door;
use super::serve::{Bounds, Listeners, Proxy};
use crate::config::endpoint::{Endpoint, Target};
use crate::config::file::{Config, ConfigError, DEFAULT_PATH};
use crate::config::ipc::{COORDINATOR_USER, UnknownUser};
use crate::config::proxy::Proxy as ProxyConfig;
use crate::ipc::server::{self, Limits};
use crate::sys::daemon::{self, Arguments, StartFailure};
use crate::sys::exit::Exit;
use crate::sys::listen::{CONTROL, InheritedSockets, ListenError, Listener, ONION};
use crate::sys::stop::Stop;
use crate::sys::{capabilities, logging, process};

/// This daemon's name in logs and errors.
const DAEMON: &str = "rustbalance-proxy";
/// What it is for, in its help.
const ABOUT: &str = "Carries client connections from tor to the target";
/// Files besides connections: listeners, control connections, the runtime's own, standard ones.
const OTHER_FILES: u64 = 64;
/// Calls that wait for the main loop; the callers' connections are bounded anyway.
const WAITING_CALLS: usize = 8;

/// Why the proxy does not run. No connection was accepted.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error(transparent)]
    Harden(#[from] process::HardenError),
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    UnknownUser(#[from] UnknownUser),
    #[error("nothing to listen on: no socket named {ONION:?} was inherited, and [proxy] has no `listen`")]
    NoListener,
    #[error(transparent)]
    Logging(#[from] logging::LoggingError),
    #[error(transparent)]
    Capabilities(#[from] capabilities::CapabilityError),
    #[error("the operating system refused: {0}")]
    Os(#[from] std::io::Error),
}

impl StartFailure for StartError {
    fn exit(&self) -> Exit {
        match self {
            Self::Config(_) | Self::UnknownUser(_) | Self::NoListener | Self::Logging(_) => Exit::Config,
            Self::Capabilities(_) => Exit::Permission,
            Self::Harden(_) | Self::Listen(_) | Self::Os(_) => Exit::Os,
        }
    }
}

/// Runs the daemon until it is told to stop.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    daemon::run(DAEMON, ABOUT, DEFAULT_PATH, arguments, start)
}

fn start(arguments: &Arguments) -> Result<(), StartError> {
    process::harden()?;
    let mut inherited = InheritedSockets::take(&[ONION, CONTROL])?;
    let config = Config::load(&arguments.config)?;
    let proxy = config.proxy(DAEMON)?;
    let tors = tors(&config, proxy)?;
    let allowed = config.ipc.allowed_uids(COORDINATOR_USER)?;
    if arguments.check_config {
        return Ok(());
    }
    logging::init(DAEMON, &config.log.level, config.log.journal)?;
    let listeners = listeners(&mut inherited, proxy)?;
    let control = inherited.control_or_open(&config.ipc.proxy_socket())?;
    let bounds = bounds(proxy);
    // Everything that needs a privilege is open now.
    capabilities::trim(&[])?;
    let dialer = Dialer::new(proxy.target.clone(), &tors, proxy.connect_timeout_secs, rand::rng().random());
    // Whether there is a secret is all that this daemon has to know of it.
    let joining = config.join().is_some_and(|join| join.secret_file.is_some());
    let door = joining.then(|| Arc::new(Door::new(config.ipc.coordinator_socket())));
    let ways = Ways { dialer: Arc::new(dialer), door, idle: proxy.idle_timeout_secs };

    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let stop = Stop::new()?;
        let listeners = Listeners::new(listeners)?;
        let control = tokio::net::UnixListener::from_std(control)?;
        let (calls, inbox) = mpsc::channel(WAITING_CALLS);
        tokio::spawn(server::serve(control, allowed, calls, Limits::default()));
        Proxy::new(listeners, ways, bounds, proxy.target.to_string(), inbox).run(stop).await;
        Ok(())
    })
}

/// The SOCKS ports to use, in order; none are needed for a local target.
fn tors(config: &Config, proxy: &ProxyConfig) -> Result<Vec<Endpoint>, ConfigError> {
    match proxy.target {
        Target::Local(_) => Ok(Vec::new()),
        Target::Onion { .. } => {
            let tor = config.tor(DAEMON)?;
            Ok(tor.outgoing().into_iter().map(|(_, instance)| instance.socks.clone()).collect())
        }
    }
}

/// The inherited listeners, or else the configured one.
fn listeners(inherited: &mut InheritedSockets, proxy: &ProxyConfig) -> Result<Vec<Listener>, StartError> {
    let mut listeners = inherited.claim(ONION);
    let how = if listeners.is_empty() { "configured" } else { "inherited" };
    if listeners.is_empty() {
        listeners.push(match proxy.listen.as_ref().ok_or(StartError::NoListener)? {
            Endpoint::Tcp(address) => Listener::open_tcp(*address)?,
            Endpoint::Unix(path) => Listener::open_unix(path)?,
        });
    }
    for listener in &listeners {
        tracing::info!(%listener, how, target = %proxy.target, "listening");
    }
    Ok(listeners)
}

/// The configured bounds, as far as the limit of open files allows: a connection takes two.
fn bounds(proxy: &ProxyConfig) -> Bounds {
    let wanted = proxy.max_connections;
    let files = process::raise_open_files(wanted as u64 * 2 + OTHER_FILES);
    let possible = usize::try_from(files.saturating_sub(OTHER_FILES) / 2).unwrap_or(usize::MAX).max(1);
    if possible < wanted {
        tracing::warn!(wanted, possible, "the limit of open files (LimitNOFILE=) is below max_connections");
    }
    Bounds {
        connections: wanted.min(possible),
        probe: proxy.probe_interval_secs,
        drain: proxy.drain_timeout_secs,
    }
}
