//! Runs units as systemd does: socket activation, readiness, keepalive, `Restart=on-failure`.
//!
//! One task per unit. It owns the unit's listeners and notification socket for as long as the lab runs, so that
//! what connects while a daemon restarts waits in the backlog instead of being refused.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use command_fds::{CommandFdExt, FdMapping};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::net::UnixDatagram;
use tokio::process::Child;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::error::{LabError, io as doing};
use super::namespaces::LOGS;
use super::unit::{Unit, UnitState};

/// `SD_LISTEN_FDS_START`.
const FIRST_SOCKET: i32 = 3;
/// `StartLimitBurst=` within [`START_LIMIT_INTERVAL`]: after so many failures it is left alone, and whoever waits for it
/// hears why. Real nodes are tried for ever, more and more slowly.
const START_LIMIT: usize = 5;
/// `StartLimitIntervalSec=`, systemd's own default.
const START_LIMIT_INTERVAL: Duration = Duration::from_secs(10);
/// Between two looks at whether a condition is met. A `.path` unit is told by the kernel; a tenth of a second more is
/// nothing beside a tor's start.
const CONDITION_POLL: Duration = Duration::from_millis(100);
/// Longest notification: systemd's daemons send some hundred bytes.
const MAX_NOTIFICATION: usize = 4096;
/// How much of a log an error shows.
const LOG_TAIL_LINES: usize = 12;

/// Something to do with a running unit.
#[derive(Clone, Copy, Debug)]
enum Order {
    /// A signal to every process of it. With `hold`, it is not started again when it ends.
    Signal { signal: Signal, hold: bool },
    /// It hangs, and whoever waits for a word of it does something about that.
    Hang,
    /// Ask it to end, and make it when its time is over. With `again` it is started afterwards, also if it did not run.
    Stop { again: bool },
    /// Run it again after it was held.
    Start,
}

/// What becomes of a unit when its process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Afterwards {
    /// `Restart=on-failure`.
    AsItEnded,
    /// It stays dead.
    Dead,
    /// It is started, however it ended.
    Again,
}

/// A unit that the supervisor looks after.
#[derive(Clone, Debug)]
pub(super) struct Supervised {
    name: String,
    orders: mpsc::Sender<Order>,
    state: watch::Receiver<UnitState>,
}

impl Supervised {
    /// What it does now.
    pub(super) fn state(&self) -> UnitState {
        self.state.borrow().clone()
    }

    /// `kill -9`, and it stays dead until [`Self::start`].
    pub(super) async fn kill(&self) {
        self.order(Order::Signal { signal: Signal::SIGKILL, hold: true }).await;
        // Else one that is started again at once would seem ready, as the process before it was.
        let _ = self.state.clone().wait_for(|state| state.pid.is_none()).await;
    }

    /// `kill -9`, as an accident: it is started again.
    pub(super) async fn crash(&self) {
        self.order(Order::Signal { signal: Signal::SIGKILL, hold: false }).await;
    }

    /// `kill -STOP`: it hangs. Its keepalive is not asked for meanwhile, as on a machine that hangs whole.
    pub(super) async fn freeze(&self) {
        self.order(Order::Signal { signal: Signal::SIGSTOP, hold: false }).await;
    }

    /// `kill -STOP`, on a machine that goes on.
    pub(super) async fn hang(&self) {
        self.order(Order::Hang).await;
    }

    /// `kill -CONT`.
    pub(super) async fn thaw(&self) {
        self.order(Order::Signal { signal: Signal::SIGCONT, hold: false }).await;
    }

    /// `systemctl kill`: a signal, and whatever comes of it.
    pub(super) async fn signal(&self, signal: Signal) {
        self.order(Order::Signal { signal, hold: false }).await;
    }

    /// `systemctl stop`.
    pub(super) async fn stop(&self) {
        self.order(Order::Stop { again: false }).await;
    }

    /// `systemctl restart`.
    pub(super) async fn restart(&self) {
        self.order(Order::Stop { again: true }).await;
    }

    /// `systemctl start`: runs it again after [`Self::kill`] or [`Self::stop`], or when it was given up.
    pub(super) async fn start(&self) {
        self.order(Order::Start).await;
    }

    async fn order(&self, order: Order) {
        // A task that is gone has a unit that is gone; whoever waits for it hears so from `state`.
        let _ = self.orders.send(order).await;
    }

    /// Waits until it is ready.
    pub(super) async fn ready(&self, limit: Duration) -> Result<(), LabError> {
        let mut state = self.state.clone();
        let waited = timeout(limit, state.wait_for(|state| state.ready || state.given_up)).await;
        match waited {
            Ok(Ok(state)) if state.ready => Ok(()),
            Ok(Ok(state)) => Err(self.ended(&state)),
            Ok(Err(_)) => Err(self.ended(&self.state())),
            Err(_) => Err(LabError::TimedOut { what: format!("{} getting ready", self.name), limit }),
        }
    }

    fn ended(&self, state: &UnitState) -> LabError {
        let how = state.ended.clone().unwrap_or_else(|| "unknown".to_owned());
        LabError::Ended { unit: self.name.clone(), how, log: log_tail(&self.name) }
    }
}

/// Where a unit's log is, inside the lab.
pub(super) fn log_path(unit: &str) -> PathBuf {
    Path::new(LOGS).join(format!("{unit}.log"))
}

fn log_tail(unit: &str) -> String {
    let text = fs::read_to_string(log_path(unit)).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n")
}

/// Runs a unit from now until the lab ends.
pub(super) fn supervise(unit: Unit) -> Result<Supervised, LabError> {
    let (orders, inbox) = mpsc::channel(4);
    let (report, state) = watch::channel(UnitState::default());
    let name = unit.name.clone();
    let notifications = if unit.notify { Some(Notifications::open(&unit)?) } else { None };
    let task = Task { unit, notifications, report, inbox };
    tokio::spawn(task.run());
    Ok(Supervised { name, orders, state })
}

/// `NOTIFY_SOCKET`.
struct Notifications {
    socket: UnixDatagram,
    /// As the unit sees it.
    path: PathBuf,
}

impl Notifications {
    fn open(unit: &Unit) -> Result<Self, LabError> {
        let path = Path::new("/run").join(format!("notify-{}", unit.name));
        let socket = UnixDatagram::bind(unit.place.outside(&path)).map_err(doing("binding NOTIFY_SOCKET"))?;
        Ok(Self { socket, path })
    }

    async fn next(this: Option<&Self>) -> String {
        let Some(this) = this else { return std::future::pending().await };
        let mut buffer = vec![0; MAX_NOTIFICATION];
        match this.socket.recv(&mut buffer).await {
            Ok(length) => String::from_utf8_lossy(&buffer[..length]).into_owned(),
            Err(_) => String::new(),
        }
    }
}

/// What happened to a process that is being watched.
enum Outcome {
    Ended(ExitStatus),
    Order(Order),
}

struct Task {
    unit: Unit,
    notifications: Option<Notifications>,
    report: watch::Sender<UnitState>,
    inbox: mpsc::Receiver<Order>,
}

impl Task {
    async fn run(mut self) {
        let mut starts: Vec<Instant> = Vec::new();
        loop {
            let hold = self.kept_waiting().await
                || match self.start().await {
                    Ok(child) => self.watch(child).await,
                    Err(error) => self.note_end(format!("not started: {error}")),
                };
            starts.retain(|start| start.elapsed() < START_LIMIT_INTERVAL);
            starts.push(Instant::now());
            if hold || starts.len() >= START_LIMIT {
                self.report.send_modify(|state| state.given_up = !hold);
                loop {
                    match self.inbox.recv().await {
                        Some(Order::Start | Order::Stop { again: true }) => break starts.clear(),
                        Some(Order::Signal { .. } | Order::Hang | Order::Stop { again: false }) => {}
                        None => return,
                    }
                }
            } else {
                sleep(self.unit.restart).await;
            }
        }
    }

    /// Waits until its condition is met. Whether it shall stay dead instead.
    async fn kept_waiting(&mut self) -> bool {
        let Some(file) = self.unit.first.exists.as_ref().map(|file| self.unit.place.outside(file)) else {
            return false;
        };
        while !file.exists() {
            tokio::select! {
                order = self.inbox.recv() => match order {
                    Some(
                        Order::Start
                        | Order::Hang
                        | Order::Stop { again: true }
                        | Order::Signal { hold: false, .. },
                    ) => {}
                    // Ended before it ran; or nobody is left to need it.
                    Some(Order::Signal { hold: true, .. } | Order::Stop { again: false }) | None => return true,
                },
                () = sleep(CONDITION_POLL) => {}
            }
        }
        false
    }

    /// Looks after one process until its end. Whether it shall stay dead.
    async fn watch(&mut self, mut child: Child) -> bool {
        let group = child.id().and_then(|pid| i32::try_from(pid).ok()).map(Pid::from_raw);
        let send = |signal| _ = group.map(|group| killpg(group, signal));
        let (mut afterwards, mut frozen) = (Afterwards::AsItEnded, false);
        let (mut silent_since, mut force_at) = (Instant::now(), None);
        loop {
            let overdue = self.unit.keepalive.filter(|_| !frozen).map(|limit| silent_since + limit);
            let outcome = tokio::select! {
                status = child.wait() => Outcome::Ended(status.unwrap_or_default()),
                // When nobody is left to give orders, it still runs.
                Some(order) = self.inbox.recv() => Outcome::Order(order),
                text = Notifications::next(self.notifications.as_ref()) => {
                    self.notified(&text);
                    silent_since = Instant::now();
                    continue;
                }
                // As systemd does, so that a hung daemon leaves a trace of where it hung.
                () = until(overdue) => Outcome::Order(Order::Signal { signal: Signal::SIGABRT, hold: false }),
                () = until(force_at) => Outcome::Order(Order::Signal { signal: Signal::SIGKILL, hold: false }),
            };
            match outcome {
                Outcome::Ended(status) => {
                    self.note_end(status.to_string());
                    return match afterwards {
                        Afterwards::AsItEnded => status.success(),
                        Afterwards::Dead => true,
                        Afterwards::Again => false,
                    };
                }
                Outcome::Order(Order::Signal { signal, hold }) => {
                    if hold {
                        afterwards = Afterwards::Dead;
                    }
                    frozen = signal == Signal::SIGSTOP;
                    silent_since = Instant::now();
                    force_at = force_at.filter(|_| signal != Signal::SIGKILL);
                    send(signal);
                }
                Outcome::Order(Order::Hang) => send(Signal::SIGSTOP),
                Outcome::Order(Order::Stop { again }) => {
                    afterwards = if again { Afterwards::Again } else { Afterwards::Dead };
                    force_at = Some(Instant::now() + self.unit.stop);
                    send(Signal::SIGTERM);
                    // As systemd does: one that was stopped by a signal could not hear the other.
                    send(Signal::SIGCONT);
                }
                Outcome::Order(Order::Start) if afterwards == Afterwards::Dead => {
                    afterwards = Afterwards::Again;
                }
                Outcome::Order(Order::Start) => {}
            }
        }
    }

    fn notified(&self, text: &str) {
        self.report.send_if_modified(|state| {
            let before = state.clone();
            for line in text.lines() {
                match line.split_once('=') {
                    Some(("READY", "1")) => state.ready = true,
                    Some(("STOPPING", "1")) => state.ready = false,
                    Some(("STATUS", status)) => status.clone_into(&mut state.status),
                    _ => {}
                }
            }
            *state != before
        });
    }

    /// The unit does not run any more; not to be held.
    fn note_end(&self, how: String) -> bool {
        self.report.send_modify(|state| {
            state.pid = None;
            state.ready = false;
            state.ended = Some(how);
        });
        false
    }

    async fn start(&self) -> io::Result<Child> {
        if let Some((program, arguments)) = &self.unit.first.succeeds {
            let mut before = tokio::process::Command::from(self.command(program, arguments)?);
            let status = before.kill_on_drop(true).status().await?;
            if !status.success() {
                return Err(io::Error::other(format!("{} has failed ({status})", program.display())));
            }
        }
        self.spawn()
    }

    /// A command in the unit's place, which writes into its log.
    fn command(&self, program: &Path, arguments: &[OsString]) -> io::Result<Command> {
        let log = File::options().create(true).append(true).open(log_path(&self.unit.name))?;
        let mut command = self.unit.place.command(program);
        command.args(arguments).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        Ok(command)
    }

    fn spawn(&self) -> io::Result<Child> {
        let mut command = self.command(&self.unit.program, &self.unit.arguments)?;
        if !self.unit.sockets.is_empty() {
            let mut mappings = Vec::new();
            for (child_fd, (_, listener)) in (FIRST_SOCKET..).zip(&self.unit.sockets) {
                mappings.push(FdMapping { parent_fd: OwnedFd::from(listener.try_clone()?), child_fd });
            }
            let names: Vec<_> = self.unit.sockets.iter().map(|(name, _)| *name).collect();
            command.env("LISTEN_FDS", names.len().to_string()).env("LISTEN_FDNAMES", names.join(":"));
            command.fd_mappings(mappings).map_err(io::Error::other)?;
        }
        if let Some(notifications) = &self.notifications {
            command.env("NOTIFY_SOCKET", &notifications.path);
        }
        if let Some(limit) = self.unit.keepalive {
            command.env("WATCHDOG_USEC", limit.as_micros().to_string());
        }
        let mut command = tokio::process::Command::from(command);
        let child = command.process_group(0).spawn()?;
        self.report.send_modify(|state| {
            state.pid = child.id().and_then(|pid| i32::try_from(pid).ok());
            state.ready = !self.unit.notify;
            state.starts += 1;
            state.ended = None;
            state.given_up = false;
        });
        Ok(child)
    }
}

/// Waits until then; for ever when there is no such moment.
async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
