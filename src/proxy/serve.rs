//! The main loop: accept, count, answer, keep alive, and at the end drain.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep, sleep_until};

use super::connection::{Ending, Finish, Ways, carry};
use super::http::carry::{carry as carry_requests, turn_away};
use super::probe::probe;
use super::relay::Traffic;
use super::settings::{Reload, Settings};
use super::tally::{News, Tally};
use crate::ipc::call::Taken;
use crate::ipc::proxy::{FailureReason, ProxyCall, ProxyStatus, TargetStatus};
use crate::sys::listen::Listener;
use crate::sys::notify::{Keepalive, Notice, notify};
use crate::sys::stop::{Hangup, Stop};
use crate::tor::stream::Stream;

/// Pause after a failed accept (out of files, out of memory): trying again at once would only burn the processor.
/// Short, because the main loop stands still meanwhile.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Clients who are told at once that all places are taken; more than these just find no connection. Each takes a file and
/// a second or two.
const TURNED_AWAY: usize = 32;
/// How often those who watch are told, if there is news. A drained node waits for its last connection, and a target that is
/// ill costs clients; nobody needs it faster.
const REPORT_EVERY: Duration = Duration::from_millis(250);
/// How often the line in `systemctl status` is renewed.
const STATUS_EVERY: Duration = Duration::from_secs(10);

/// The status for who finds all places taken.
const FULL: u16 = 503;
/// The status for who asks for too much.
const TOO_MANY: u16 = 429;

/// The listeners, asked in turn.
#[derive(Debug)]
pub struct Listeners {
    open: Vec<AnyListener>,
    /// Where to begin asking, so that a busy listener does not starve the others.
    turn: usize,
}

#[derive(Debug)]
enum AnyListener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listeners {
    /// Hands listeners to the asynchronous runtime, inside of which this must be called.
    pub fn new(listeners: Vec<Listener>) -> io::Result<Self> {
        let open = listeners
            .into_iter()
            .map(|listener| match listener {
                Listener::Tcp(listener) => TcpListener::from_std(listener).map(AnyListener::Tcp),
                Listener::Unix(listener) => UnixListener::from_std(listener).map(AnyListener::Unix),
            })
            .collect::<io::Result<_>>()?;
        Ok(Self { open, turn: 0 })
    }

    /// The next connection on any of them.
    async fn accept(&mut self) -> io::Result<Stream> {
        poll_fn(|cx| self.poll_accept(cx)).await
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Stream>> {
        for step in 0..self.open.len() {
            let index = (self.turn + step) % self.open.len();
            let accepted = match &self.open[index] {
                AnyListener::Tcp(listener) => {
                    listener.poll_accept(cx).map_ok(|(stream, _)| Stream::from(stream))
                }
                AnyListener::Unix(listener) => {
                    listener.poll_accept(cx).map_ok(|(stream, _)| Stream::Unix(stream))
                }
            };
            if accepted.is_ready() {
                self.turn = index + 1;
                return accepted;
            }
        }
        Poll::Pending
    }
}

/// The running proxy.
#[derive(Debug)]
pub struct Proxy {
    listeners: Listeners,
    settings: Settings,
    reload: Reload,
    calls: mpsc::Receiver<ProxyCall>,
    tally: Tally,
    connections: JoinSet<Result<Finish, FailureReason>>,
    /// One for each target.
    probes: JoinSet<()>,
    /// Whether the connections under way have to end.
    ending: watch::Sender<Ending>,
    /// Clients who are being told that all places are taken.
    turned_away: JoinSet<()>,
    /// The latest counters, for those who watch.
    reports: watch::Sender<ProxyStatus>,
    keepalive: Keepalive,
    report: Interval,
    status: Interval,
    told: String,
}

impl Proxy {
    /// A proxy that accepts nothing until [`Proxy::run`].
    pub fn new(
        listeners: Listeners,
        settings: Settings,
        reload: Reload,
        calls: mpsc::Receiver<ProxyCall>,
    ) -> Self {
        let (mut status, mut report) = (interval(STATUS_EVERY), interval(REPORT_EVERY));
        status.set_missed_tick_behavior(MissedTickBehavior::Delay);
        report.set_missed_tick_behavior(MissedTickBehavior::Delay);
        settings.ways.pool.lead_to(&settings.dialers, settings.bounds.limits);
        let tally = Tally::new(settings.ways.pool.status());
        Self {
            listeners,
            settings,
            reload,
            calls,
            reports: watch::Sender::new(tally.status()),
            tally,
            connections: JoinSet::new(),
            probes: JoinSet::new(),
            ending: watch::Sender::default(),
            turned_away: JoinSet::new(),
            keepalive: Keepalive::from_environment(),
            report,
            status,
            told: String::new(),
        }
    }

    /// Serves until told to stop, then finishes what is under way, within the bound.
    pub async fn run(mut self, mut stop: Stop, mut hangup: Hangup) {
        notify(&[Notice::Ready]);
        self.probe();
        loop {
            tokio::select! {
                accepted = self.listeners.accept() => self.admit(accepted).await,
                Some(ended) = self.connections.join_next() => self.note(ended),
                Some(call) = self.calls.recv() => self.answer(call),
                () = self.keepalive.ping() => {}
                _ = self.report.tick() => self.report(),
                _ = self.status.tick() => self.tell_status(),
                () = hangup.heard() => self.take_over(),
                () = stop.wanted() => break,
            }
        }
        self.probes.abort_all();
        self.drain(stop).await;
    }

    /// Begins to look at the targets, and ends what looked at those from before.
    fn probe(&mut self) {
        let pool = &self.settings.ways.pool;
        self.probes = JoinSet::new();
        for id in pool.ids() {
            let (interval, check) = (self.settings.bounds.probe, self.settings.check.clone());
            self.probes.spawn(probe(Arc::clone(pool), id, interval, check));
        }
    }

    /// Takes a changed configuration over, if there is one. Connections under way go on where they are.
    fn take_over(&mut self) {
        notify(&[Notice::Reloading]);
        if let Some(settings) = self.reload.settings(&self.settings) {
            settings.ways.pool.lead_to(&settings.dialers, settings.bounds.limits);
            self.tally.leads_to(settings.ways.pool.status());
            self.settings = settings;
            self.probe();
        }
        notify(&[Notice::Ready]);
        self.report();
    }

    /// A new connection: carry it, or refuse it at once when all places are taken.
    async fn admit(&mut self, accepted: io::Result<Stream>) {
        let client = match accepted {
            Ok(client) => client,
            // The client was gone before we came to it.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => return,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                return sleep(ACCEPT_PAUSE).await;
            }
        };
        if self.connections.len() >= self.settings.bounds.connections {
            return self.refuse(client);
        }
        self.tally.accepted();
        let ways = self.settings.ways.clone();
        let (traffic, ending) = (self.tally.traffic(), self.ending.subscribe());
        self.connections.spawn(async move { connection(client, &ways, &traffic, ending).await });
    }

    /// All places are taken: nobody waits for one, and where the client will understand it, it is told so.
    fn refuse(&mut self, client: Stream) {
        self.tally.refused();
        while self.turned_away.try_join_next().is_some() {}
        if self.settings.ways.naming.is_some() && self.turned_away.len() < TURNED_AWAY {
            self.turned_away.spawn(turn_away(client, self.settings.ways.pages.clone(), FULL));
        } else {
            client.reset();
        }
    }

    /// A connection ended.
    fn note(&mut self, ended: Result<Result<Finish, FailureReason>, JoinError>) {
        let outcome = ended.unwrap_or_else(|error| {
            tracing::error!(%error, "carrying a connection panicked; this is a mistake in rustbalance");
            Err(FailureReason::CutByStop)
        });
        match self.tally.ended(outcome) {
            Some(News::Trouble(reason)) => tracing::warn!("cannot reach the target: {reason}"),
            Some(News::Recovered) => tracing::info!("the target can be reached again"),
            Some(News::NoCircuit) => tracing::error!(
                "[proxy.circuits] is set, and a connection did not begin with tor's word about its circuit; it was refused, \
                 and so are all others like it: write `HiddenServiceExportCircuitID haproxy` behind HiddenServiceDir in the \
                 serving tor's torrc, or remove [proxy.circuits]"
            ),
            None => return,
        }
        self.tell_status();
    }

    fn answer(&mut self, call: ProxyCall) {
        match call {
            ProxyCall::Status(reply) => {
                self.report();
                reply.answer(&self.tally.status());
            }
            ProxyCall::Watch(watcher) => {
                self.report();
                watcher.follow(self.reports.subscribe());
            }
            ProxyCall::Finish(reply) => {
                // Those that come from now on look at another switch.
                std::mem::take(&mut self.ending).send_replace(Ending::Now);
                tracing::warn!(
                    connections = self.connections.len(),
                    "the node is drained; cutting what is left"
                );
                reply.answer(&Taken {});
            }
        }
    }

    /// Tells those who watch, and the log, what has changed.
    fn report(&mut self) {
        let (targets, verdict) = self.settings.ways.pool.standing();
        for target in self.tally.targets(targets) {
            let TargetStatus { target, well, trouble, .. } = target;
            match trouble {
                Some(reason) if !well => tracing::warn!("{target} gets no connections for now: {reason}"),
                _ => tracing::info!("{target} gets connections again, few at first"),
            }
        }
        if self.tally.target_well(verdict.is_ok()) {
            match verdict {
                Ok(()) => tracing::info!("the target is well again"),
                Err(reason) => tracing::warn!("the target is not well: {reason}; other nodes shall serve"),
            }
        }
        if let Some(circuits) = &self.settings.ways.circuits {
            self.tally.circuits(circuits.abusive(), circuits.refused());
        }
        let status = self.tally.status();
        self.reports.send_if_modified(|latest| {
            let changed = *latest != status;
            *latest = status;
            changed
        });
    }

    fn tell_status(&mut self) {
        let line = self.tally.line();
        if line != self.told {
            notify(&[Notice::Status(&line)]);
            self.told = line;
        }
    }

    /// Accepts nothing more; gives connections under way their time, cuts what is left then (or at a second signal).
    async fn drain(mut self, mut stop: Stop) {
        self.tally.draining();
        notify(&[Notice::Stopping, Notice::Status(&self.tally.line())]);
        // An inherited socket stays open in the service manager: who connects now waits for the next process.
        self.listeners.open.clear();
        self.ending.send_replace(Ending::Soon);
        tracing::info!(connections = self.connections.len(), "stopping; finishing the connections under way");
        let deadline = Instant::now() + self.settings.bounds.drain;
        while !self.connections.is_empty() {
            let cut = *self.ending.borrow() == Ending::Now;
            tokio::select! {
                Some(ended) = self.connections.join_next() => self.note(ended),
                Some(call) = self.calls.recv() => self.answer(call),
                () = self.keepalive.ping() => {}
                _ = self.report.tick() => self.report(),
                () = sleep_until(deadline), if !cut => self.cut_all(),
                () = stop.wanted(), if !cut => self.cut_all(),
            }
        }
        tracing::info!("stopped");
    }

    fn cut_all(&mut self) {
        tracing::warn!(
            connections = self.connections.len(),
            "cutting the connections that have not finished"
        );
        self.ending.send_replace(Ending::Now);
    }
}

/// One connection, from its acceptance to its end.
async fn connection(
    mut client: Stream,
    ways: &Ways,
    traffic: &Arc<Traffic>,
    ending: watch::Receiver<Ending>,
) -> Result<Finish, FailureReason> {
    let seat = match &ways.circuits {
        None => None,
        Some(circuits) => match circuits.seat(&mut client).await {
            Ok(seat) => Some(seat),
            Err(reason) => {
                let understands = reason == FailureReason::OverLimit && ways.naming.is_some();
                match circuits.may_answer().filter(|_| understands) {
                    Some(_place) => turn_away(client, ways.pages.clone(), TOO_MANY).await,
                    None => client.reset(),
                }
                return Err(reason);
            }
        },
    };
    match ways.naming.clone() {
        Some(naming) => carry_requests(client, ways, naming, traffic, seat, ending).await,
        None => carry(client, ways, traffic, ending).await,
    }
}
