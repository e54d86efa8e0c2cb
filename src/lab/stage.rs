//! The lab inside its namespaces, from nothing to the table.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;

use super::babysit;
use super::client;
use super::error::{LabError, io as doing};
use super::namespaces::{STATE, stdin_channel};
use super::place::Place;
use super::plan::Plan;
use super::screen::Screen;
use super::target;
use super::tor_network::{TorNetwork, make_private, tor_directory};
use super::torrc::Service;
use super::wires::Wires;
use crate::sys::exit::Exit;

/// [`super::role::Role::Inside`]: runs everything; the exit code.
#[allow(clippy::print_stderr)] // a terminal is this program's purpose
pub(super) fn run(plan: &Plan) -> u8 {
    let started = babysit::release_signals()
        .map_err(std::io::Error::from)
        .and_then(|()| tokio::runtime::Builder::new_multi_thread().enable_all().build());
    let runtime = match started {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("rustbalance-lab: cannot start: {error}");
            return Exit::Os.code();
        }
    };
    let screen = Screen::new();
    let code = runtime.block_on(async {
        tokio::select! {
            done = perform(plan, &screen) => match done {
                Ok(code) => code,
                Err(error) => {
                    screen.clear();
                    eprintln!("rustbalance-lab: {error}");
                    Exit::Software.code()
                }
            },
            () = told_to_stop() => {
                screen.clear();
                eprintln!("rustbalance-lab: stopped");
                STOPPED
            }
        }
    });
    screen.clear();
    // Whatever still runs is killed by the kernel when process 1 ends, right after this.
    runtime.shutdown_background();
    code
}

/// What a shell reports after Ctrl-C.
const STOPPED: u8 = 130;

/// Waits for a signal to end, or for the outer process to be gone.
async fn told_to_stop() {
    let (Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()), signal(SignalKind::hangup()))
    else {
        return;
    };
    let outer_gone = async {
        let channel = stdin_channel().and_then(|channel| {
            channel.set_nonblocking(true)?;
            tokio::net::UnixStream::from_std(channel)
        });
        if let Ok(mut channel) = channel {
            // The outer process says nothing more; what comes is the end.
            let _ = channel.read_u8().await;
        }
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
        () = outer_gone => {}
    }
}

async fn perform(plan: &Plan, screen: &Screen) -> Result<u8, LabError> {
    let place = Arc::new(Place::lab());
    screen.doing("laying wires and making keys");
    let _wires = Wires::lay(&plan.tools.ip).await?;
    let network = TorNetwork::start(&plan.tools, &place).await?;
    screen.done("authorities and relays started");
    screen.doing("waiting for the first consensus");
    network.consensus().await?;
    screen.done("first consensus");

    let web = Path::new(STATE).join("target.sock");
    target::serve(&web)?;
    let directory = tor_directory("target");
    make_private(&directory.join("service"))?;
    let service = Service { directory: directory.join("service"), port: web, published_elsewhere: false };
    let torrc = network.torrc("target", &directory).service(&service);
    let target = network.run("target", &place, &directory, &torrc)?;
    let socks = SocketAddr::from((Ipv4Addr::LOCALHOST, 9050));
    let directory = tor_directory("client");
    let torrc = network.torrc("client", &directory).socks(socks);
    network.run("client", &place, &directory, &torrc)?;
    let hostname = target.directory.join("service/hostname");
    while !hostname.exists() {
        sleep(Duration::from_millis(50)).await;
    }
    let address = fs::read_to_string(hostname).map_err(doing("reading the target's address"))?;
    for attempt in 0.. {
        let fetch = client::fetch(socks, address.trim(), &attempt.to_string(), Duration::from_secs(10)).await;
        match fetch.failure {
            None => {
                screen.done(format!("page after {:?}", fetch.took));
                break;
            }
            Some(error) => screen.done(format!("{error}")),
        }
        sleep(Duration::from_millis(500)).await;
    }
    Ok(0)
}
