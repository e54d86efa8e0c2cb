//! Being told to end or to read the configuration again, and waiting until some time: what the main loops of all daemons
//! listen to.

use std::io;
use std::time::Instant;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::sleep_until;

/// SIGTERM and SIGINT.
#[derive(Debug)]
pub struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    /// Takes both signals over. Must be called inside of the runtime.
    pub fn new() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for either. Safe to drop in a `select!`.
    pub async fn wanted(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// SIGHUP: the configuration has changed.
#[derive(Debug)]
pub struct Hangup(Signal);

impl Hangup {
    /// Takes the signal over. Must be called inside of the runtime; before that it ends the process.
    pub fn new() -> io::Result<Self> {
        Ok(Self(signal(SignalKind::hangup())?))
    }

    /// Waits for it; several that come at once are one. Safe to drop in a `select!`.
    pub async fn heard(&mut self) {
        self.0.recv().await;
    }
}

/// Waits until then; for ever if there is no time. Safe to drop in a `select!`.
pub async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_waits_until_then_or_for_ever() {
        let begin = tokio::time::Instant::now();
        until(Some(begin.into_std() + Duration::from_secs(3))).await;
        assert_eq!(begin.elapsed(), Duration::from_secs(3));
        assert!(tokio::time::timeout(Duration::from_hours(1), until(None)).await.is_err());
    }
}
