//! The recipe of the process: what is done in which order until the main loop runs.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use tokio::sync::mpsc;

use super::serve::{Listeners, Proxy};
use super::settings::{self, Reload, Settings};
use crate::config::endpoint::Endpoint;
use crate::config::file::DEFAULT_PATH;
use crate::config::ipc::COORDINATOR_USER;
use crate::config::proxy::Proxy as ProxyConfig;
use crate::daemon::begin::{Begun, begin, log};
use crate::daemon::failure::{Fatal, StartError};
use crate::daemon::front::{self, Arguments};
use crate::ipc::server::{self, Limits};
use crate::sys::capabilities;
use crate::sys::confine::{NOTHING, SYSTEM, confine};
use crate::sys::exit::Exit;
use crate::sys::listen::{CONTROL, InheritedSockets, Listener, ONION};
use crate::sys::stop::{Hangup, Stop};

/// This daemon's name in logs and errors.
const DAEMON: &str = "rustbalance-proxy";
/// What it is for, in its help.
const ABOUT: &str = "Carries client connections from tor to the target";
/// Calls that wait for the main loop; the callers' connections are bounded anyway.
const WAITING_CALLS: usize = 8;

/// There is nothing to listen on.
#[derive(Debug, thiserror::Error)]
#[error("nothing to listen on: no socket named {ONION:?} was inherited, and [proxy] has no `listen`")]
struct NoListener;

impl Fatal for NoListener {
    fn exit(&self) -> Exit {
        Exit::Config
    }
}

/// Runs the daemon until it is told to stop.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    front::run(DAEMON, ABOUT, DEFAULT_PATH, arguments, start)
}

fn start(arguments: &Arguments) -> Result<(), StartError> {
    let Begun { mut inherited, config, swap } = begin(arguments, &[ONION, CONTROL])?;
    let allowed = config.ipc.allowed_uids(COORDINATOR_USER)?;
    settings::check(&config, DAEMON)?;
    if arguments.check_config {
        return Ok(());
    }
    let level = log(DAEMON, &config, swap)?;
    let settings = Settings::of(&config, DAEMON, config.ipc.coordinator_socket(), None)?;
    let listeners = listeners(&mut inherited, config.proxy(DAEMON)?)?;
    let control = inherited.control_or_open(&config.ipc.proxy_socket())?;
    // Everything that needs a privilege is open now.
    capabilities::trim(&[])?;
    // The configuration is read again at a reload, and the files that it names.
    let named = config.proxy(DAEMON)?.files().into_iter().map(|(_, path)| path);
    let again: Vec<_> = named.chain([arguments.config.clone()]).flat_map(|file| places(&file)).collect();
    confine(SYSTEM.iter().map(Path::new).chain(again.iter().map(PathBuf::as_path)), NOTHING)?.tell();
    let reload = Reload::new(DAEMON, config, level);

    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let (stop, hangup) = (Stop::new()?, Hangup::new()?);
        let listeners = Listeners::new(listeners)?;
        let control = tokio::net::UnixListener::from_std(control)?;
        let (calls, inbox) = mpsc::channel(WAITING_CALLS);
        tokio::spawn(server::serve(control, allowed, calls, Limits::default()));
        Proxy::new(listeners, settings, reload, inbox).run(stop, hangup).await;
        Ok(())
    })
}

/// Where a file is, so that it can be read again after another one was put in its place: its directory, and that of the
/// file to which its name leads. Of the root directory, which holds everything, the file alone.
fn places(file: &Path) -> Vec<PathBuf> {
    let directory = |path: &Path| match path.parent() {
        Some(directory) if directory.parent().is_some() => directory.to_owned(),
        _ => path.to_owned(),
    };
    let real = file.canonicalize().map(|real| directory(&real));
    real.into_iter().chain([directory(file)]).collect()
}

/// The inherited listeners, or else the configured one.
fn listeners(inherited: &mut InheritedSockets, proxy: &ProxyConfig) -> Result<Vec<Listener>, StartError> {
    let mut listeners = inherited.claim(ONION);
    let how = if listeners.is_empty() { "configured" } else { "inherited" };
    if listeners.is_empty() {
        listeners.push(match proxy.listen.as_ref().ok_or(NoListener)? {
            Endpoint::Tcp(address) => Listener::open_tcp(*address)?,
            Endpoint::Unix(path) => Listener::open_unix(path)?,
        });
    }
    let targets: Vec<_> = proxy.targets().iter().map(|target| target.address.to_string()).collect();
    for listener in &listeners {
        tracing::info!(%listener, how, target = %targets.join(", "), "listening");
    }
    Ok(listeners)
}
