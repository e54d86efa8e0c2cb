//! The lab inside its namespaces, from nothing to the table.

use std::io::Write;
use std::net::Shutdown;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;

use super::babysit;
use super::build;
use super::client::fetch;
use super::error::{LabError, io as doing};
use super::matrix::papers::Papers;
use super::measure::{Bound, Measure, Outcome};
use super::namespaces::{WAY_IN, stdin_channel};
use super::place::Place;
use super::plan::{NetworkPlan, Plan, ScenePlan};
use super::pool::FETCH_LIMIT;
use super::report::{Delivery, Report};
use super::scenes;
use super::screen::Screen;
use super::supervisor::log_path;
use super::world::World;
use crate::sys::exit::Exit;

/// A scene missed its figure.
const MISSED: u8 = 1;
/// What a shell reports after Ctrl-C.
const STOPPED: u8 = 130;
/// Between two attempts at the first page.
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(300);

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
    let screen = Screen::new(&log_path("lab"));
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
                match plan {
                    Plan::Scenes(_) => STOPPED,
                    // It has no other end.
                    Plan::Network(_) => Exit::Success.code(),
                }
            }
        }
    });
    screen.clear();
    // Whatever still runs is killed by the kernel when process 1 ends, right after this.
    runtime.shutdown_background();
    code
}

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
    match plan {
        Plan::Scenes(plan) => play(plan, screen).await,
        Plan::Network(plan) => keep_network(plan, screen).await,
    }
}

/// Builds the Tor network alone, tells how to be in it, and keeps it until told to stop.
async fn keep_network(plan: &NetworkPlan, screen: &Screen) -> Result<u8, LabError> {
    let place = Arc::new(Place::lab());
    let network = build::build_network(&plan.tools, &place, plan.site, plan.verbose, screen).await?;
    deliver(network.elsewhere().text()).map_err(doing("handing over the torrc"))?;
    screen.doing("running until Ctrl-C");
    std::future::pending().await
}

/// Builds the lab, plays, reports.
async fn play(plan: &ScenePlan, screen: &Screen) -> Result<u8, LabError> {
    let arguments = &plan.arguments;
    let mut world = build::build(plan, screen.clone()).await?;
    let mut outcomes = Vec::new();
    let mut played = |mut outcome: Outcome| {
        if arguments.show_times {
            outcome.show_times();
        }
        screen.done(outcome.to_string());
        outcomes.push(outcome);
    };
    played(first_page(&world).await?);
    for name in arguments.chosen() {
        played(scenes::play(name, &mut world).await);
    }
    let report = Report::new(arguments.nodes, &outcomes);
    let papers = || Papers::new(&outcomes, arguments.nodes, &plan.machines, !arguments.show_times);
    let matrix = arguments.matrix.as_ref().map(|_| papers());
    screen.print(&report.table());
    if let Some(matrix) = &matrix {
        screen.print(&matrix.markdown);
    }
    let delivery = serde_json::to_string(&Delivery { report: report.to_json(), matrix });
    let delivered = delivery.map_err(std::io::Error::from).and_then(|text| deliver(&text));
    delivered.map_err(doing("handing over the report"))?;
    if arguments.keep {
        screen.print(&how_to_reach(&world));
        screen.doing("running until Ctrl-C");
        std::future::pending::<()>().await;
    }
    Ok(if report.ok() { Exit::Success.code() } else { MISSED })
}

/// How long the first page may take.
const FIRST_PAGE: f64 = 60.0;
/// After this it is not waited for any longer.
const FIRST_PAGE_LIMIT: Duration = Duration::from_mins(3);

/// From nothing to the first page of the address that all nodes serve.
async fn first_page(world: &World) -> Result<Outcome, LabError> {
    world.screen.doing("waiting for the first page");
    let mut first = None;
    for client in &world.clients {
        for attempt in 0.. {
            let circuit = format!("first-{attempt}");
            let fetch = fetch(client.socks, &world.address(), &circuit, FETCH_LIMIT).await;
            let Some(failure) = fetch.failure else { break };
            if world.screen.elapsed() > FIRST_PAGE_LIMIT {
                let what = format!("the first page (at last: {failure})");
                return Err(LabError::TimedOut { what, limit: FIRST_PAGE_LIMIT });
            }
            sleep(BETWEEN_ATTEMPTS).await;
        }
        first.get_or_insert_with(|| world.screen.elapsed());
    }
    Ok(Outcome {
        scene: "start".to_owned(),
        measures: vec![Measure::time("from nothing to the first page", Bound::AtMost(FIRST_PAGE), first)],
        error: None,
        notes: Vec::new(),
    })
}

/// Hands the result to the outer process, which writes the files that the user named.
fn deliver(result: &str) -> std::io::Result<()> {
    let mut channel = stdin_channel()?;
    // The other user of this channel only reads, and never finds it ready.
    channel.set_nonblocking(false)?;
    channel.write_all(result.as_bytes())?;
    // That was all: the outer process need not wait for our end to know it.
    channel.shutdown(Shutdown::Write)
}

fn how_to_reach(world: &World) -> String {
    let way_in = std::env::var(WAY_IN).unwrap_or_default();
    let socks = world.clients.first().map(|client| client.socks.to_string()).unwrap_or_default();
    let address = world.address();
    format!("The lab goes on. A page:\n\n  {way_in} curl --socks5-hostname {socks} http://{address}/\n")
}
