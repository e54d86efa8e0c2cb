//! The recipe of the process: what is done in which order until the main loop runs.

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;

use secrecy::ExposeSecret;
use tokio::sync::mpsc;

use crate::config::file::DEFAULT_PATH;
use crate::config::ipc::COORDINATOR_USER;
use crate::config::secret::{SecretError, Unseal};
use crate::config::tor::{Instance, TorName};
use crate::daemon::address::socket_address;
use crate::daemon::begin::{Begun, begin, log};
use crate::daemon::failure::{Fatal, StartError};
use crate::daemon::front::{self, Arguments};
use crate::ipc::server::{self, Limits};
use crate::proto::publish::publication::Publication;
use crate::proto::publish::uplink::TorRole;
use crate::publisher::identity::{Identity, IdentityError};
use crate::publisher::link;
use crate::publisher::reload::{Reload, pace};
use crate::publisher::serve::Publisher;
use crate::publisher::work::Workshop;
use crate::sys::confine::{NOTHING, confine};
use crate::sys::exit::Exit;
use crate::sys::listen::CONTROL;
use crate::sys::stop::{Hangup, Stop};
use crate::sys::{capabilities, process};
use crate::tor::address::ControlAuth;
use crate::tor::controller::ControlLimits;
use crate::tor::reconnect::{BackoffPlan, Reconnector};
use crate::vault::opener::Opener;
use crate::vault::passphrase::Passphrase;

/// This daemon's name in logs and errors.
const DAEMON: &str = "rustbalance-publisher";
/// What it is for, in its help.
const ABOUT: &str = "Collects introduction points, signs and posts the merged descriptor";
/// Calls that wait for the main loop; the callers' connections are bounded anyway.
const WAITING_CALLS: usize = 8;
/// Messages of the tors that wait for the main loop; when it is full, the connections' own queues begin to fill.
const WAITING_MESSAGES: usize = 64;

/// What tor's control port wants to hear cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("tor's password: {0}")]
struct NoPassword(#[from] SecretError);

impl Fatal for NoPassword {
    fn exit(&self) -> Exit {
        Exit::Config
    }
}

impl Fatal for IdentityError {
    fn exit(&self) -> Exit {
        Exit::Config
    }
}

/// Runs the daemon until it is told to stop.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    front::run(DAEMON, ABOUT, DEFAULT_PATH, arguments, start)
}

fn start(arguments: &Arguments) -> Result<(), StartError> {
    let Begun { mut inherited, config, swap } = begin(arguments, &[CONTROL])?;
    let (node, service) = (config.node(DAEMON)?, config.service(DAEMON)?);
    let tors = config.tor(DAEMON)?;
    let allowed = config.ipc.allowed_uids(COORDINATOR_USER)?;
    if arguments.check_config {
        return Ok(());
    }
    let level = log(DAEMON, &config, swap)?;
    let control = inherited.control_or_open(&config.ipc.publisher_socket())?;
    let opener = Opener::new(|| {
        let text = config.vault.passphrase().map_err(|error| error.to_string())?;
        Passphrase::new(text.expose_secret()).map_err(|error| error.to_string())
    });
    let unseal: Unseal<'_> = &|secret| opener.open(secret).map_err(|error| error.to_string());
    let identity = Arc::new(Identity::load(service, unseal)?);
    let links = [TorName::A, TorName::B].into_iter().filter_map(|name| {
        let role = if name == tors.serving { TorRole::Serving } else { TorRole::Standby };
        Some(reconnector(tors.instance(name)?, unseal).map(|tor| (role, tor)))
    });
    let links = links.collect::<Result<Vec<_>, _>>()?;
    drop(opener);
    if let Some(name) = &config.vault.passphrase_variable {
        process::wipe_variable(name);
    }
    // Everything that needs a privilege is open now.
    capabilities::trim(&[])?;
    // Each tor says itself where its cookie is.
    confine(["/"], NOTHING)?.tell();
    let publication = Publication::new(node.id.clone(), pace(&config.publisher));
    tracing::info!(service = %identity.hs_id(), node = %node.id, "starting");
    let reload = Reload::new(config, level);

    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(async {
        let (stop, hangup) = (Stop::new()?, Hangup::new()?);
        let control = tokio::net::UnixListener::from_std(control)?;
        let (calls, inbox) = mpsc::channel(WAITING_CALLS);
        tokio::spawn(server::serve(control, allowed, calls, Limits::default()));
        let (to, messages) = mpsc::channel(WAITING_MESSAGES);
        for (role, tor) in links {
            tokio::spawn(link::keep(role, identity.hs_id(), tor, to.clone()));
        }
        drop(to);
        let workshop = Workshop::new(identity);
        Publisher::new(publication, workshop, messages, inbox, reload).run(stop, hangup).await;
        Ok(())
    })
}

fn reconnector(instance: &Instance, unseal: Unseal<'_>) -> Result<Reconnector, NoPassword> {
    let address = socket_address(&instance.control);
    let password = instance.password_file.as_ref().map(|password| password.read_text(unseal)).transpose()?;
    let auth = password.map_or(ControlAuth::Auto, ControlAuth::Password);
    Ok(Reconnector::new(address, auth, ControlLimits::default(), BackoffPlan::default()))
}
