//! What the proxy has done: the counters behind `Status`, and what is worth a log line.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::time::Instant;

use super::connection::Ending;
use super::health::TargetHealth;
use super::relay::Traffic;
use crate::ipc::proxy::{FailureReason, ProxyStatus};

/// The main loop's counters. Only numbers: nothing about who connected.
#[derive(Debug)]
pub struct Tally {
    status: ProxyStatus,
    traffic: Arc<Traffic>,
    health: TargetHealth,
    /// Why the target could not be reached last time; `None` when it could.
    trouble: Option<FailureReason>,
}

/// A change that an operator should hear of, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// The target cannot be reached, or for another reason than before.
    Trouble(FailureReason),
    /// It can be reached again.
    Recovered,
}

impl Tally {
    /// Counters at zero.
    pub fn new(target: String, health: TargetHealth) -> Self {
        let status = ProxyStatus { target, ..ProxyStatus::default() };
        Self { status, traffic: Arc::default(), health, trouble: None }
    }

    /// Where connections count their bytes.
    pub fn traffic(&self) -> Arc<Traffic> {
        Arc::clone(&self.traffic)
    }

    /// A connection was accepted and is carried.
    pub fn accepted(&mut self) {
        self.status.accepted += 1;
        self.status.active += 1;
    }

    /// A connection was turned away because too many are being carried.
    pub fn refused(&mut self) {
        self.status.accepted += 1;
        self.status.refused += 1;
    }

    /// A carried connection ended.
    pub fn ended(&mut self, now: Instant, outcome: Result<Ending, FailureReason>) -> Option<News> {
        self.status.active = self.status.active.saturating_sub(1);
        match outcome {
            Ok(Ending::Carried) => self.status.finished += 1,
            Ok(Ending::Joined) => self.status.joins += 1,
            Err(reason) => *self.status.failed.entry(reason).or_default() += 1,
        }
        match outcome {
            // It tells nothing of the target.
            Ok(Ending::Joined) | Err(FailureReason::CutByStop) => None,
            Ok(Ending::Carried) => self.tried(now, Ok(())),
            Err(reason) => self.tried(now, Err(reason)),
        }
    }

    /// The target was tried, by a client's connection or by a probe.
    pub fn tried(&mut self, now: Instant, outcome: Result<(), FailureReason>) -> Option<News> {
        self.health.tried(now, !outcome.is_err_and(FailureReason::is_about_the_target));
        self.judge(outcome)
    }

    /// When the target is to be probed.
    pub fn probe_at(&self) -> Instant {
        self.health.probe_at()
    }

    /// The proxy stops and accepts nothing more.
    pub fn draining(&mut self) {
        self.status.draining = true;
    }

    /// The counters now.
    pub fn status(&self) -> ProxyStatus {
        ProxyStatus {
            target_well: self.health.is_well(),
            bytes_to_target: self.traffic.to_target.load(Ordering::Relaxed),
            bytes_to_client: self.traffic.to_client.load(Ordering::Relaxed),
            ..self.status.clone()
        }
    }

    /// One line for the service manager.
    pub fn line(&self) -> String {
        let status = &self.status;
        let mut line = format!(
            "{}{} connections, {} carried, {} refused, {} failed",
            if status.draining { "stopping: " } else { "" },
            status.active,
            status.finished,
            status.refused,
            status.failed.values().sum::<u64>(),
        );
        if let Some(reason) = self.trouble {
            let _ = write!(line, "; the target cannot be reached: {reason}");
        }
        line
    }

    /// A broken target would fill the log with one line per client; only changes are told.
    fn judge(&mut self, outcome: Result<(), FailureReason>) -> Option<News> {
        match outcome {
            Err(reason) if reason.is_about_the_target() => {
                (self.trouble.replace(reason) != Some(reason)).then_some(News::Trouble(reason))
            }
            // Whatever else ended it, it had been connected.
            Ok(()) | Err(_) => self.trouble.take().map(|_| News::Recovered),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn tally() -> Tally {
        Tally::new("x".into(), TargetHealth::new(Instant::now(), Duration::from_mins(1)))
    }

    #[test]
    fn trouble_is_told_once_per_reason_and_its_end_once() {
        let (mut tally, now) = (tally(), Instant::now());
        let gone = Err(FailureReason::TargetUnreachable);
        assert_eq!(tally.ended(now, Ok(Ending::Carried)), None);
        assert_eq!(tally.ended(now, gone), Some(News::Trouble(FailureReason::TargetUnreachable)));
        assert_eq!(tally.ended(now, gone), None);
        assert!(tally.line().contains("cannot be reached"), "{}", tally.line());
        assert_eq!(tally.ended(now, Err(FailureReason::NoTor)), Some(News::Trouble(FailureReason::NoTor)));
        assert_eq!(tally.ended(now, Err(FailureReason::Idle)), Some(News::Recovered));
        assert_eq!(tally.ended(now, Ok(Ending::Carried)), None);
        assert_eq!(tally.status().failed[&FailureReason::TargetUnreachable], 2);
        assert_eq!(tally.ended(now, Ok(Ending::Joined)), None);
        assert_eq!((tally.status().joins, tally.status().finished), (1, 2));
    }

    #[test]
    fn a_target_that_fails_everybody_is_not_well_and_a_join_tells_nothing_of_it() {
        let (mut tally, now) = (tally(), Instant::now());
        for outcome in [Err(FailureReason::NoTor), Ok(Ending::Joined), Err(FailureReason::ConnectTimedOut)] {
            tally.ended(now, outcome);
            assert!(tally.status().target_well);
        }
        tally.tried(now, Err(FailureReason::TargetUnreachable));
        assert!(!tally.status().target_well);
        tally.ended(now, Err(FailureReason::ClientBroke));
        assert!(tally.status().target_well, "it had been connected");
    }

    #[test]
    fn counters_add_up() {
        let (mut tally, now) = (tally(), Instant::now());
        tally.accepted();
        tally.accepted();
        tally.refused();
        tally.ended(now, Ok(Ending::Carried));
        let status = tally.status();
        assert_eq!((status.accepted, status.active, status.refused, status.finished), (3, 1, 1, 1));
    }
}
