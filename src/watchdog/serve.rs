//! The main loop: an observation, the core's answer to it, the remedies that follow.

use std::time::Instant;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::service_manager::Units;
use crate::config::file::Config;
use crate::config::reload::{Reloads, tell_refused};
use crate::ipc::watchdog::WatchdogCall;
use crate::proto::health::core::{Action, Event, Health};
use crate::proto::health::failure::Remedy;
use crate::proto::health::report::{Deed, DeedKind, HealthReport};
use crate::proto::health::vitals::Observation;
use crate::sys::clock::unix_secs;
use crate::sys::logging::LogLevel;
use crate::sys::notify::{Keepalive, Notice, notify};
use crate::sys::stop::{Hangup, Stop, until};

/// What comes in.
#[derive(Debug)]
pub(super) struct Lines {
    /// What those who watch have seen.
    pub(super) observations: mpsc::Receiver<Observation>,
    /// Calls over the control socket.
    pub(super) calls: mpsc::Receiver<WatchdogCall>,
    /// Where the web pages take the health from.
    pub(super) health: watch::Sender<HealthReport>,
}

/// The configuration, as it can be taken over.
#[derive(Debug)]
pub(super) struct Reload {
    /// As it was read last.
    pub(super) reloads: Reloads,
    /// The same, for those who look whether the file still says so.
    pub(super) loaded: watch::Sender<Config>,
    /// How much is logged.
    pub(super) level: LogLevel,
}

/// The running watchdog.
#[derive(Debug)]
pub(super) struct Watchdog {
    health: Health,
    units: Units,
    lines: Lines,
    reload: Reload,
    /// Remedies under way, each with its own limit of time. The core gives one part's one after the other.
    orders: JoinSet<(Remedy, Result<(), String>)>,
    keepalive: Keepalive,
    told: String,
}

impl Watchdog {
    /// A watchdog that hears nothing until [`Watchdog::run`].
    pub(super) fn new(units: Units, lines: Lines, reload: Reload) -> Self {
        Self {
            health: Health::default(),
            units,
            lines,
            reload,
            orders: JoinSet::new(),
            keepalive: Keepalive::from_environment(),
            told: String::new(),
        }
    }

    /// Watches until told to stop. What was stopped stays so, and is started by the next watchdog.
    pub(super) async fn run(mut self, mut stop: Stop, mut hangup: Hangup) {
        notify(&[Notice::Ready]);
        loop {
            let timeout = self.health.next_timeout();
            tokio::select! {
                Some(observation) = self.lines.observations.recv() => self.handle(Event::Observed(observation)),
                Some(call) = self.lines.calls.recv() => self.answer(call),
                Some(ended) = self.orders.join_next() => if let Ok((remedy, outcome)) = ended {
                    self.handle(Event::Tried(remedy, outcome));
                },
                () = until(timeout) => self.handle(Event::Timeout),
                () = self.keepalive.ping() => {}
                () = hangup.heard() => self.take_over(),
                () = stop.wanted() => break,
            }
            self.tell();
        }
        notify(&[Notice::Stopping]);
        tracing::info!("stopped; nobody watches this node now");
    }

    /// Takes a changed configuration over: how much is logged. Sockets and tors are settled at the start.
    fn take_over(&mut self) {
        notify(&[Notice::Reloading]);
        match self.reload.reloads.read() {
            Ok((config, changes)) => {
                if let Err(error) = self.reload.level.set(&config.log.level) {
                    tracing::error!(%error, "the log goes on as before");
                }
                changes.tell();
                self.reload.loaded.send_replace(config.clone());
                self.reload.reloads.adopt(config);
            }
            Err(error) => tell_refused(&error),
        }
        notify(&[Notice::Ready]);
    }

    fn answer(&self, call: WatchdogCall) {
        match call {
            WatchdogCall::Status(reply) => reply.answer(&self.health.report(Instant::now())),
        }
    }

    fn handle(&mut self, event: Event) {
        tracing::trace!(?event, "event");
        for action in self.health.handle(Instant::now(), unix_secs(), event) {
            match action {
                Action::Tell(deed) => log(&deed),
                Action::Perform(remedy) => {
                    let units = self.units;
                    self.orders.spawn(async move {
                        (remedy, units.perform(remedy).await.map_err(|error| error.to_string()))
                    });
                }
            }
        }
    }

    /// Tells the web pages and the service manager.
    fn tell(&mut self) {
        let report = self.health.report(Instant::now());
        let line = report.line();
        self.lines.health.send_replace(report);
        // The seconds in it change all the time: only what is said without them is news.
        let news: String = line.chars().filter(|letter| !letter.is_ascii_digit()).collect();
        if news != self.told {
            notify(&[Notice::Status(&line)]);
            self.told = news;
        }
    }
}

/// Writes a deed into the log, where `journalctl MESSAGE_ID=…`, `FAILURE=…` and `PART=…` find it.
fn log(deed: &Deed) {
    let message_id = message_id(deed.kind);
    let (failure, part) = (deed.failure.as_deref(), deed.part.as_deref());
    if deed.alarming {
        tracing::error!(message_id, failure, part, "{}", deed.text);
    } else {
        tracing::warn!(message_id, failure, part, "{}", deed.text);
    }
}

/// What the journal knows this kind of deed by, for ever (`systemd-id128 new`).
fn message_id(kind: DeedKind) -> &'static str {
    match kind {
        DeedKind::Alarm => "1872751e4a68432781cad08d0ccb883b",
        DeedKind::Over => "2a9fb282d413471cad6edb484ce9d927",
        DeedKind::Remedy => "9a48f9aac21249c7965c4832c4e8c904",
        DeedKind::Refused => "23bd4324aeed4b078064d5cd6ddb8c72",
    }
}
