//! What the proxy has done: the counters behind `Status`, and what is worth a log line.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::connection::Finish;
use super::relay::Traffic;
use crate::ipc::proxy::{FailureReason, ProxyStatus, TargetStatus};

/// The main loop's counters. Only numbers: nothing about who connected.
#[derive(Debug, Default)]
pub struct Tally {
    status: ProxyStatus,
    traffic: Arc<Traffic>,
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
    /// tor does not tell the first time which circuit a connection comes over.
    NoCircuit,
}

impl Tally {
    /// Counters at zero, with these targets.
    pub fn new(targets: Vec<TargetStatus>) -> Self {
        let status = ProxyStatus { target_well: true, ..ProxyStatus::default() };
        let mut tally = Self { status, ..Self::default() };
        tally.leads_to(targets);
        tally
    }

    /// New connections are carried to these targets.
    pub fn leads_to(&mut self, targets: Vec<TargetStatus>) {
        let names: Vec<&str> = targets.iter().map(|target| target.target.as_str()).collect();
        let names = names.join(", ");
        if self.status.target != names {
            self.status.target = names;
            // What was wrong with the others.
            self.trouble = None;
        }
        self.status.targets = targets;
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
    pub fn ended(&mut self, outcome: Result<Finish, FailureReason>) -> Option<News> {
        self.status.active = self.status.active.saturating_sub(1);
        match outcome {
            Ok(Finish::Carried | Finish::Unasked) => self.status.finished += 1,
            // It says nothing about the target.
            Ok(Finish::Answered) => {
                self.status.joins += 1;
                return None;
            }
            Err(reason) => *self.status.failed.entry(reason).or_default() += 1,
        }
        self.judge(outcome)
    }

    /// These circuits are to be closed, and so many requests were refused.
    pub fn circuits(&mut self, abusive: Vec<u32>, refused: u64) {
        (self.status.abusive_circuits, self.status.over_limit) = (abusive, refused);
    }

    /// The proxy stops and accepts nothing more.
    pub fn draining(&mut self) {
        self.status.draining = true;
    }

    /// Whether the target can be reached; true if that is news.
    pub fn target_well(&mut self, well: bool) -> bool {
        std::mem::replace(&mut self.status.target_well, well) != well
    }

    /// How the targets stand now; gives those of several that get connections again, or no more.
    pub fn targets(&mut self, targets: Vec<TargetStatus>) -> Vec<&TargetStatus> {
        let before = std::mem::replace(&mut self.status.targets, targets);
        let now = self.status.targets.iter();
        let pairs = now.zip(&before).filter(|(now, before)| now.target == before.target);
        let changed = pairs.filter(|(now, before)| before.well != now.well);
        let changed: Vec<_> = changed.map(|(now, _)| now).collect();
        if self.status.targets.len() > 1 { changed } else { Vec::new() }
    }

    /// The counters now.
    pub fn status(&self) -> ProxyStatus {
        ProxyStatus {
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
    fn judge(&mut self, outcome: Result<Finish, FailureReason>) -> Option<News> {
        match outcome {
            Err(FailureReason::NoCircuit)
                if self.status.failed.get(&FailureReason::NoCircuit) == Some(&1) =>
            {
                Some(News::NoCircuit)
            }
            Err(reason) if reason.is_about_the_target() => {
                (self.trouble.replace(reason) != Some(reason)).then_some(News::Trouble(reason))
            }
            Ok(Finish::Carried) => self.trouble.take().map(|_| News::Recovered),
            // The target may not even have been asked.
            Ok(_) | Err(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_is_told_once_per_reason_and_its_end_once() {
        let mut tally = Tally::new(Vec::new());
        let gone = Err(FailureReason::TargetUnreachable);
        assert_eq!(tally.ended(Ok(Finish::Carried)), None);
        assert_eq!(tally.ended(gone), Some(News::Trouble(FailureReason::TargetUnreachable)));
        assert_eq!(tally.ended(gone), None);
        assert!(tally.line().contains("cannot be reached"), "{}", tally.line());
        assert_eq!(tally.ended(Err(FailureReason::NoTor)), Some(News::Trouble(FailureReason::NoTor)));
        // Who says nothing, or leaves, could else fill the log by turns.
        for says_nothing in [Ok(Finish::Unasked), Err(FailureReason::Idle), Err(FailureReason::ClientBroke)] {
            assert_eq!(tally.ended(says_nothing), None);
        }
        assert_eq!(tally.ended(Ok(Finish::Carried)), Some(News::Recovered));
        assert_eq!(tally.ended(Ok(Finish::Carried)), None);
        assert_eq!(tally.status().failed[&FailureReason::TargetUnreachable], 2);
    }

    #[test]
    fn an_answered_join_is_counted_apart_and_says_nothing_of_the_target() {
        let mut tally = Tally::new(Vec::new());
        tally.ended(Err(FailureReason::TargetUnreachable));
        tally.accepted();
        assert_eq!(tally.ended(Ok(Finish::Answered)), None);
        let status = tally.status();
        assert_eq!((status.joins, status.finished, status.active), (1, 0, 0));
        assert!(tally.line().contains("cannot be reached"));
        assert!(tally.target_well(false) && !tally.target_well(false) && tally.target_well(true));
    }

    #[test]
    fn counters_add_up() {
        let mut tally = Tally::new(Vec::new());
        tally.accepted();
        tally.accepted();
        tally.refused();
        tally.ended(Ok(Finish::Carried));
        let status = tally.status();
        assert_eq!((status.accepted, status.active, status.refused, status.finished), (3, 1, 1, 1));
    }
}
