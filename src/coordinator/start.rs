//! The recipe of the process: what is done in which order until the main loop runs.

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use caps::Capability;
use rand::RngExt;
use tokio::sync::{mpsc, watch};

use super::canary::CanaryLine;
use super::door::Door;
use super::joining::{self, Front};
use super::plan::{Plan, PlanError};
use super::reload::Reload;
use super::serve::{Coordinator, End, Lines, Signals, TunnelFacts};
use super::state::{self, State, StateError};
use super::tunnel::{self, WAITING_WISHES};
use super::{proxy_link, publisher_link};
use crate::config::file::{Config, DEFAULT_PATH};
use crate::config::ipc::PROXY_USER;
use crate::daemon::begin::{Begun, begin, log};
use crate::daemon::failure::{Fatal, StartError};
use crate::daemon::front::{self, Arguments};
use crate::ipc::coordinator::{CoordinatorCall, CoordinatorStatus};
use crate::ipc::server::{self, Limits};
use crate::mesh::interface::Interface;
use crate::mesh::socket::MeshSocket;
use crate::proto::cluster::core::Cluster;
use crate::proto::cluster::memory::Memory;
use crate::sys::clock::unix_ms;
use crate::sys::confine::confine;
use crate::sys::exit::Exit;
use crate::sys::link_watch::LinkWatch;
use crate::sys::listen::CONTROL;
use crate::sys::notify::{Keepalive, Notice, notify};
use crate::sys::stop::{Hangup, Stop};
use crate::sys::{capabilities, process};

/// This daemon's name in logs and errors.
const DAEMON: &str = "rustbalance-coordinator";
/// What it is for, in its help.
const ABOUT: &str = "Keeps the cluster: the mesh, membership, the lease";
/// Calls that wait for the main loop; the callers' connections are bounded anyway.
const WAITING_CALLS: usize = 8;
/// Reports that wait for the main loop; the links wait with more.
const WAITING_NEWS: usize = 8;

/// The node does not belong to the cluster any more.
#[derive(Debug, thiserror::Error)]
#[error(
    "this node has left its cluster; have it invited again (rustbalance token create, rustbalance join), or, if it is to \
     begin a cluster of its own, remove the file `left` from [cluster] state_directory"
)]
struct Left;

/// The tunnel was taken away.
#[derive(Debug, thiserror::Error)]
#[error(
    "the tunnel is lost: this coordinator ends, and the next one makes it anew; clients are served meanwhile"
)]
struct TunnelLost;

impl Fatal for TunnelLost {
    fn exit(&self) -> Exit {
        Exit::TemporaryFailure
    }
}

impl Fatal for Left {
    fn exit(&self) -> Exit {
        Exit::Config
    }
}

impl Fatal for PlanError {
    fn exit(&self) -> Exit {
        Exit::Config
    }
}

impl Fatal for StateError {
    fn exit(&self) -> Exit {
        Exit::CannotCreate
    }
}

/// Runs the daemon until it is told to stop.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    front::run(DAEMON, ABOUT, DEFAULT_PATH, arguments, start)
}

fn start(arguments: &Arguments) -> Result<(), StartError> {
    let Begun { mut inherited, config, swap } = begin(arguments, &[CONTROL])?;
    let mut plan = Plan::make(&config, DAEMON)?;
    if let Some(name) = &config.vault.passphrase_variable {
        process::wipe_variable(name);
    }
    let allowed = config.ipc.allowed_uids(PROXY_USER)?;
    if arguments.check_config {
        return Ok(());
    }
    let level = log(DAEMON, &config, swap)?;
    let control = inherited.control_or_open(&config.ipc.coordinator_socket())?;
    let state = Arc::new(State::open(plan.state.clone())?);
    let ticket = plan.asking.as_ref().map(|asking| asking.config.ticket.to_string()).unwrap_or_default();
    if let Some(left) = state.left() {
        if ticket.is_empty() || left == ticket {
            return Err(Left.into());
        }
        state.come_back()?;
    }
    // The tunnel is created below, and its peers change for as long as we live.
    capabilities::trim(&[Capability::CAP_NET_ADMIN])?;
    let tunnel = plan.settings.backend.files();
    confine(["/"], tunnel.into_iter().chain([&*plan.state]))?.tell();
    let reload = Reload::new(DAEMON, &config, level, plan.tunnel, std::mem::take(&mut plan.peers))?;

    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let signals = Signals { stop: Stop::new()?, hangup: Hangup::new()?, reload };
        let control = tokio::net::UnixListener::from_std(control)?;
        let (calls, inbox) = mpsc::channel(WAITING_CALLS);
        tokio::spawn(server::serve(control, allowed, calls, Limits::default()));
        let end = Box::pin(keep(&config, plan, &state, signals, inbox)).await?;
        match end {
            End::Stopped => {}
            End::TunnelLost => return Err(TunnelLost.into()),
            End::Left => {
                state.leave(&ticket)?;
                tracing::warn!("this node has left the cluster; what it knew of it is forgotten");
            }
        }
        Ok(())
    })
}

/// Makes the tunnel, joins where that is to be done, and keeps the cluster.
async fn keep(
    config: &Config,
    plan: Plan,
    state: &Arc<State>,
    mut signals: Signals,
    mut calls: mpsc::Receiver<CoordinatorCall>,
) -> Result<End, StartError> {
    let remembered = state.memory().unwrap_or_else(|error| {
        tracing::error!(%error, "what this node knew of the cluster is lost");
        None
    });
    let links = LinkWatch::open()?;
    let interface = Interface::create(plan.settings, &plan.key).await?;
    let facts = TunnelFacts {
        interface: interface.settings().name.to_string(),
        kernel: interface.is_kernel(),
        address: interface.settings().address.ip(),
        port: plan.port,
    };
    tracing::info!(interface = %facts.interface, kernel = facts.kernel, "the tunnel is up");
    let own = plan.cluster.own.clone();
    let socket = MeshSocket::bind(&interface, plan.port, own.node.clone())?;
    let (wishes, wished) = mpsc::channel(WAITING_WISHES);
    let (seen, tunnels) = watch::channel(Vec::new());
    let tunnel = tokio::spawn(tunnel::keep(interface, links, wished, seen));

    let mut cluster = plan.cluster;
    cluster.memory = match (remembered, plan.asking) {
        (Some(memory), _) if state.is_joined() => memory,
        (memory, None) => memory.unwrap_or_default(),
        (_, Some(asking)) => {
            let seed = rand::rng().random();
            let alone = Cluster::new(cluster.clone(), seed, Instant::now(), unix_ms());
            let describe = |joining| CoordinatorStatus {
                joining: Some(joining),
                cluster: alone.status(Instant::now()),
                mesh: facts.mesh(),
                canary: None,
            };
            let mut keepalive = Keepalive::from_environment();
            let front = Front { calls: &mut calls, signals: &mut signals, keepalive: &mut keepalive };
            let Some(memory) = joining::join(asking, front, describe).await else {
                notify(&[Notice::Stopping]);
                drop(wishes);
                let _ = tunnel.await;
                return Ok(End::Stopped);
            };
            state.remember(&memory)?;
            memory
        }
    };
    // Only now: whoever serves before it is in could be asked to let itself in.
    state.mark_joined()?;

    let (memories, kept) = watch::channel(None::<Memory>);
    let keeping = tokio::spawn(state::keep(Arc::clone(state), kept));
    let (news, publisher) = mpsc::channel(WAITING_NEWS);
    tokio::spawn(publisher_link::follow(config.ipc.publisher_socket(), news));
    let (wanted, latest) = watch::channel(publisher_link::Wanted::default());
    let delivery = tokio::spawn(publisher_link::deliver(config.ipc.publisher_socket(), latest));
    let (news, proxy) = mpsc::channel(WAITING_NEWS);
    tokio::spawn(proxy_link::follow(config.ipc.proxy_socket(), news));

    cluster.priority = signals.reload.priority();
    let core = Cluster::new(cluster, rand::rng().random(), Instant::now(), unix_ms());
    let proxy_socket = config.ipc.proxy_socket();
    let canary = plan.canary.map(CanaryLine::new);
    let lines =
        Lines { socket, wishes, tunnels, publisher, wanted, proxy, proxy_socket, memories, calls, canary };
    let door = Door::new(plan.secret.as_ref(), plan.tunnel.prefix, own);
    let coordinator = Coordinator::new(core, lines, facts, door, plan.keyring, plan.overlap);
    Ok(Box::pin(coordinator.run(signals, vec![delivery, keeping, tunnel])).await)
}
