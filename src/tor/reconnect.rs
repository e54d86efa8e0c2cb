//! Brings a control connection back, again and again, but not too fast.
//!
//! ```text
//! attempt ── fails ──► wait first·2ⁿ, at most longest, minus up to half of it by chance ──► attempt
//!    └── connected, and stayed so for stable_after ──► n = 0
//! ```

use std::time::Duration;

use rand::Rng;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, info, warn};

use crate::tor::address::{ControlAuth, SocketAddress};
use crate::tor::controller::{ControlLimits, Controller};
use crate::tor::event::TorEvent;

/// How the waits between attempts grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackoffPlan {
    /// The first wait. A tor that was killed takes longer than this to come back, and trying costs nothing.
    pub first: Duration,
    /// No wait is longer: how late a tor that was away for hours is noticed.
    pub longest: Duration,
    /// A connection that held this long begins anew with the first wait. Shorter ones count as failures, or a tor
    /// that crashes after each start would be hammered.
    pub stable_after: Duration,
}

impl Default for BackoffPlan {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(100),
            longest: Duration::from_secs(5),
            stable_after: Duration::from_secs(10),
        }
    }
}

/// Reckons the waits. Pure: time and chance are arguments.
#[derive(Debug, Clone)]
pub struct Backoff {
    plan: BackoffPlan,
    /// Attempts since the last stable connection.
    attempts: u32,
    /// Since when there is a connection.
    connected: Option<std::time::Instant>,
}

impl Backoff {
    /// Nothing has been tried yet.
    pub fn new(plan: BackoffPlan) -> Self {
        Self { plan, attempts: 0, connected: None }
    }

    /// An attempt has succeeded.
    pub fn connected(&mut self, now: std::time::Instant) {
        self.connected = Some(now);
    }

    /// An attempt has failed, or the connection is lost: how long to wait before the next attempt. `chance` takes
    /// up to half of the wait away, so that many do not come back at the same moment.
    pub fn wait(&mut self, now: std::time::Instant, chance: u32) -> Duration {
        let held = self.connected.take().map(|since| now.saturating_duration_since(since));
        if held.is_some_and(|held| held >= self.plan.stable_after) {
            self.attempts = 0;
        }
        let factor = 2u32.saturating_pow(self.attempts);
        self.attempts = self.attempts.saturating_add(1);
        let whole = self.plan.first.saturating_mul(factor).min(self.plan.longest);
        whole.mul_f64(1.0 - f64::from(chance) / f64::from(u32::MAX) / 2.0)
    }
}

/// A control connection that comes back.
#[derive(Debug)]
pub struct Reconnector {
    address: SocketAddress,
    auth: ControlAuth,
    limits: ControlLimits,
    backoff: Backoff,
    /// When the next attempt is due; `None` before the first.
    due: Option<Instant>,
    /// Whether the present trouble has been logged.
    complained: bool,
}

impl Reconnector {
    /// Nothing is tried before [`Self::next`] is called.
    pub fn new(address: SocketAddress, auth: ControlAuth, limits: ControlLimits, plan: BackoffPlan) -> Self {
        Self { address, auth, limits, backoff: Backoff::new(plan), due: None, complained: false }
    }

    /// Where it connects to.
    pub fn address(&self) -> &SocketAddress {
        &self.address
    }

    /// Connects; call it again when the connection is lost. It tries until it succeeds, for a tor may be away for
    /// any time; drop the future to give up. Dropping it loses nothing: the next call goes on waiting.
    pub async fn next(&mut self) -> (Controller, mpsc::Receiver<TorEvent>) {
        if self.backoff.connected.is_some() {
            self.schedule();
        }
        loop {
            if let Some(due) = self.due {
                sleep_until(due).await;
            }
            match Controller::connect_with(&self.address, &self.auth, self.limits).await {
                Ok(connection) => {
                    info!(address = %self.address, "connected to tor");
                    self.backoff.connected(Instant::now().into_std());
                    self.complained = false;
                    return connection;
                }
                Err(error) if self.complained => debug!(address = %self.address, %error, "still no tor"),
                Err(error) => {
                    warn!(address = %self.address, %error, "no connection to tor; trying again until there is one");
                    self.complained = true;
                }
            }
            self.schedule();
        }
    }

    /// Sets the time of the next attempt.
    fn schedule(&mut self) {
        let now = Instant::now();
        self.due = Some(now + self.backoff.wait(now.into_std(), rand::rng().next_u32()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: BackoffPlan = BackoffPlan {
        first: Duration::from_millis(100),
        longest: Duration::from_secs(5),
        stable_after: Duration::from_secs(10),
    };

    #[test]
    fn waits_double_up_to_the_longest() {
        let now = std::time::Instant::now();
        let mut backoff = Backoff::new(PLAN);
        let waits: Vec<_> = (0..8).map(|_| backoff.wait(now, 0).as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        backoff.attempts = u32::MAX;
        assert_eq!(backoff.wait(now, 0), PLAN.longest, "for ever");
    }

    #[test]
    fn chance_takes_at_most_half() {
        let now = std::time::Instant::now();
        assert_eq!(Backoff::new(PLAN).wait(now, u32::MAX).as_millis(), 50);
        assert_eq!(Backoff::new(PLAN).wait(now, u32::MAX / 2).as_millis(), 75);
    }

    #[test]
    fn only_a_stable_connection_begins_anew() {
        let start = std::time::Instant::now();
        let mut backoff = Backoff::new(PLAN);
        for _ in 0..3 {
            backoff.wait(start, 0);
        }
        backoff.connected(start);
        assert_eq!(backoff.wait(start + Duration::from_secs(9), 0).as_millis(), 800, "lost too early");
        backoff.connected(start);
        assert_eq!(backoff.wait(start + Duration::from_secs(10), 0).as_millis(), 100);
        assert_eq!(backoff.wait(start + Duration::from_secs(99), 0).as_millis(), 200, "counted once");
    }
}
