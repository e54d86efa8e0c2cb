//! Talking to the service manager: readiness, status and the keepalive (`sd_notify(3)`, `sd_watchdog_enabled(3)`).

use std::ffi::OsStr;
use std::fmt::Write;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::Instant;

/// The service manager shows one line; longer status text is cut here (systemd itself refuses some kilobytes).
const MAX_STATUS_BYTES: usize = 512;
/// How long a manager that does not read may keep a main loop waiting; a living one takes microseconds.
const PATIENCE: Duration = Duration::from_millis(20);
/// The same for what it must hear, or it kills a daemon that is well.
const PATIENCE_FOR_STATES: Duration = Duration::from_secs(1);
/// How soon a keepalive is tried again that was not taken.
const AGAIN: Duration = Duration::from_secs(1);

/// What a daemon tells the service manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice<'a> {
    /// It serves: the unit counts as started.
    Ready,
    /// It reloads its configuration; a [`Notice::Ready`] must follow.
    Reloading,
    /// It is on its way out.
    Stopping,
    /// One line for `systemctl status`. No client data and no secret belongs here.
    Status(&'a str),
}

/// Sends notices to the service manager; without one (`NOTIFY_SOCKET` unset) nothing happens.
///
/// A failure is logged and otherwise ignored: a daemon that serves must not die because its supervisor is deaf.
pub fn notify(notices: &[Notice<'_>]) {
    let lines: Vec<String> = notices
        .iter()
        .map(|notice| if let Notice::Status(text) = notice { one_line(text) } else { String::new() })
        .collect();
    let mut states = Vec::with_capacity(notices.len() + 1);
    for (notice, line) in notices.iter().zip(&lines) {
        match notice {
            Notice::Ready => states.push(NotifyState::Ready),
            Notice::Reloading => {
                states.push(NotifyState::Reloading);
                // `Type=notify-reload` compares this with its own clock to tell an old message from a new one.
                states.extend(NotifyState::monotonic_usec_now());
            }
            Notice::Stopping => states.push(NotifyState::Stopping),
            Notice::Status(_) => states.push(NotifyState::Status(line)),
        }
    }
    let is_state = |notice: &Notice<'_>| !matches!(notice, Notice::Status(_));
    let patience = if notices.iter().any(is_state) { PATIENCE_FOR_STATES } else { PATIENCE };
    if let Err(error) = send(&states, patience) {
        tracing::warn!(%error, "the service manager cannot be told about this daemon's state");
    }
}

/// Sends a message as `sd_notify(3)` does, but does not wait for ever: the manager may be frozen, or have a longer queue
/// than it can read just now, and the main loop has more to do than to tell it so.
fn send(states: &[NotifyState<'_>], patience: Duration) -> io::Result<()> {
    let Some(manager) = std::env::var_os("NOTIFY_SOCKET") else { return Ok(()) };
    let mut message = String::new();
    for state in states {
        // Writing to a string cannot fail.
        let _ = writeln!(message, "{state}");
    }
    let socket = UnixDatagram::unbound()?;
    socket.set_write_timeout(Some(patience))?;
    socket.connect_addr(&address(&manager)?)?;
    socket.send(message.as_bytes()).map(|_| ())
}

/// Where the manager listens: a path, or a name in the abstract namespace, which is written with an `@`.
fn address(manager: &OsStr) -> io::Result<SocketAddr> {
    match manager.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(manager),
    }
}

/// A newline would start another assignment (`STATUS=x\nMAINPID=1`), so control characters become spaces.
fn one_line(text: &str) -> String {
    let mut line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let mut end = line.len().min(MAX_STATUS_BYTES);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    line.truncate(end);
    line
}

/// The keepalive that `WatchdogSec=` asks for, to be awaited by the daemon's *main loop*.
///
/// It is not a task of its own on purpose: a daemon whose main loop is stuck must go silent and be restarted.
#[derive(Debug)]
pub struct Keepalive {
    every: Option<Duration>,
    next: Instant,
}

impl Keepalive {
    /// Reads `WATCHDOG_USEC`; the first ping is due at once.
    pub fn from_environment() -> Self {
        Self::every(sd_notify::watchdog_enabled())
    }

    /// `limit` is after what silence the service manager acts; pings go out at half of it.
    fn every(limit: Option<Duration>) -> Self {
        // `WATCHDOG_USEC=0` means off; below a millisecond no loop could keep its promise.
        let every = limit.map(|limit| limit / 2).filter(|every| *every >= Duration::from_millis(1));
        Self { every, next: Instant::now() }
    }

    /// Waits until a ping is due and sends it; for ever when no keepalive is wanted. Safe to drop in a `select!`.
    pub async fn ping(&mut self) {
        let Some(every) = self.every else {
            return std::future::pending().await;
        };
        tokio::time::sleep_until(self.next).await;
        let pause = match send(&[NotifyState::Watchdog], PATIENCE) {
            Ok(()) => every,
            Err(error) => {
                tracing::warn!(%error, "the service manager does not take the keepalive");
                every.min(AGAIN)
            }
        };
        self.next = Instant::now() + pause;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_cannot_smuggle_another_assignment() {
        assert_eq!(one_line("up\nMAINPID=1\r\0x"), "up MAINPID=1  x");
        assert_eq!(one_line(&"é".repeat(400)).len(), MAX_STATUS_BYTES);
    }

    #[test]
    fn the_manager_has_a_path_or_an_abstract_name() {
        assert_eq!(
            address(OsStr::new("/run/x")).unwrap().as_pathname(),
            Some(std::path::Path::new("/run/x"))
        );
        assert_eq!(address(OsStr::new("@x")).unwrap().as_abstract_name(), Some(&b"x"[..]));
    }

    #[tokio::test(start_paused = true)]
    async fn pings_come_at_half_the_limit_and_only_when_awaited() {
        let mut keepalive = Keepalive::every(Some(Duration::from_secs(10)));
        let start = Instant::now();
        keepalive.ping().await;
        assert_eq!(start.elapsed(), Duration::ZERO);
        keepalive.ping().await;
        assert_eq!(start.elapsed(), Duration::from_secs(5));
        // Cancelled by another branch of a select!, it keeps its deadline.
        let _ = tokio::time::timeout(Duration::from_secs(3), keepalive.ping()).await;
        keepalive.ping().await;
        assert_eq!(start.elapsed(), Duration::from_secs(10));
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_limit_it_never_wakes_the_loop() {
        for limit in [None, Some(Duration::ZERO), Some(Duration::from_micros(10))] {
            let mut keepalive = Keepalive::every(limit);
            assert!(tokio::time::timeout(Duration::from_hours(10), keepalive.ping()).await.is_err());
        }
    }
}
