//! The core: facts in, remedies out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use super::budget::Budget;
use super::diagnosis::diagnose;
use super::failure::{Failure, Remedy};
use super::fence::{Fence, Situation, Turn};
use super::part::{Daemon, Part, Tor};
use super::report::{Complaint, Deed, DeedKind, HealthReport, Stage, Tried};
use super::vitals::{Answer, Observation, Vitals};

/// How often a failure that lasts is looked at again although nothing new was observed.
const REVIEW: Duration = Duration::from_secs(1);
/// How many past events are kept: some hours of a node that is not well.
const MOST_DEEDS: usize = 64;

/// What the core hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Something was observed.
    Observed(Observation),
    /// A remedy was asked for; the service manager refused it, in its words, or took it.
    Tried(Remedy, Result<(), String>),
    /// [`Health::next_timeout`] has come.
    Timeout,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Try this.
    Perform(Remedy),
    /// Write this into the log.
    Tell(Deed),
}

/// A failure under treatment.
#[derive(Debug, Clone)]
pub(super) struct Case {
    /// Since when it counts: from its begin, from the end of what explained it, or from when it last got better.
    pub(super) since: Instant,
    /// How far a start has come, in percent.
    progress: u8,
    pub(super) stage: Stage,
    /// What explains it now.
    pub(super) cause: Option<Failure>,
    /// Whether anything was told of it, so that its end is told, too.
    told: bool,
}

/// What a deed is about.
#[derive(Clone, Copy)]
struct About {
    kind: DeedKind,
    failure: Option<Failure>,
    part: Option<Part>,
}

impl About {
    fn failure(kind: DeedKind, failure: Failure) -> Self {
        Self { kind, failure: Some(failure), part: failure.part() }
    }

    fn remedy(kind: DeedKind, remedy: Remedy) -> Self {
        Self { kind, failure: None, part: Some(remedy.part()) }
    }
}

/// The health of this node.
#[derive(Debug, Default)]
pub struct Health {
    pub(super) vitals: Vitals,
    pub(super) cases: BTreeMap<Failure, Case>,
    pub(super) budgets: BTreeMap<Part, Budget>,
    /// Why the last remedy was refused, by part.
    pub(super) refusals: BTreeMap<Part, String>,
    fence: Fence,
    past: VecDeque<Deed>,
    remedies_total: u64,
    next: Option<Instant>,
    /// The wall clock's time when something was heard last.
    pub(super) unix_secs: u64,
}

impl Health {
    /// Takes an event in, and says what is to be done. `unix_secs` is the wall clock's time.
    pub fn handle(&mut self, now: Instant, unix_secs: u64, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        self.unix_secs = unix_secs;
        match event {
            Event::Observed(observation) => self.vitals.note(observation),
            Event::Tried(remedy, outcome) => self.came_of(now, unix_secs, remedy, outcome, &mut actions),
            Event::Timeout => {}
        }
        let mut failures = diagnose(&self.vitals, self.fence.is_closed(), unix_secs);
        self.keep_untold(&mut failures);
        self.close_cases(unix_secs, &failures, &mut actions);
        for failure in &failures {
            self.treat(now, unix_secs, *failure, &failures, &mut actions);
        }
        self.note_budgets(now);
        self.turn_fence(now, unix_secs, &mut actions);
        self.next = (!self.is_calm()).then(|| now + REVIEW);
        actions
    }

    /// When [`Event::Timeout`] is due, if ever.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.next
    }

    /// What can be told.
    pub fn report(&self, now: Instant) -> HealthReport {
        let mut complaints: Vec<Complaint> =
            self.cases.iter().map(|(failure, case)| self.complaint(now, *failure, case)).collect();
        complaints.sort_by_key(|complaint| complaint.stage);
        let tried = self.budgets.iter().filter(|(_, budget)| budget.spent() > 0);
        HealthReport {
            vitals: self.vitals.clone(),
            complaints,
            fenced: self.fence.is_closed(),
            tried: tried
                .map(|(part, budget)| Tried { part: part.name().to_owned(), times: budget.spent() })
                .collect(),
            remedies_total: self.remedies_total,
            past: self.past.iter().cloned().collect(),
        }
    }

    /// Whether nothing waits for time to pass.
    fn is_calm(&self) -> bool {
        let spent = self.budgets.values().any(|budget| budget.spent() > 0);
        let proxy_missed = matches!(self.proxy(), Answer::Silent | Answer::Away);
        self.cases.is_empty() && !spent && self.fence.is_calm() && !proxy_missed
    }

    /// Nobody says that a failure is over while the part that told of it says nothing: it goes on until then. A part that
    /// answers again has not said how it is yet.
    fn keep_untold(&self, failures: &mut BTreeSet<Failure>) {
        let untold = |failure: &&Failure| {
            failures.iter().any(|other| other.silences(**failure))
                || Part::ALL.into_iter().any(|part| failure.is_told_by(part) && self.vitals.is_awaited(part))
        };
        let kept: Vec<Failure> = self.cases.keys().filter(untold).copied().collect();
        failures.extend(kept);
    }

    /// Failures that are over.
    fn close_cases(&mut self, unix_secs: u64, failures: &BTreeSet<Failure>, actions: &mut Vec<Action>) {
        let over: Vec<Failure> =
            self.cases.keys().filter(|failure| !failures.contains(failure)).copied().collect();
        for failure in over {
            if self.cases.remove(&failure).is_some_and(|case| case.told) {
                let about = About::failure(DeedKind::Over, failure);
                self.tell(unix_secs, about, format!("over: {failure}"), actions);
            }
        }
    }

    /// One failure: left alone, treated, or given up.
    fn treat(
        &mut self,
        now: Instant,
        unix_secs: u64,
        failure: Failure,
        failures: &BTreeSet<Failure>,
        actions: &mut Vec<Action>,
    ) {
        let cause = failures.iter().find(|other| other.explains(failure)).copied();
        let progress = self.progress(failure);
        let new = Case { since: now, progress, stage: Stage::Suspected, cause: None, told: false };
        let case = self.cases.entry(failure).or_insert(new);
        // What it was explained by is over: from now on it has all the time that it may take by itself.
        if case.cause.is_some() && cause.is_none() || progress > case.progress {
            (case.since, case.progress) = (now, progress);
        }
        case.cause = cause;
        let before = case.stage;
        let ripe = now.saturating_duration_since(case.since) >= failure.patience();
        let stage = match failure.remedy() {
            _ if cause.is_some() => Stage::Consequence,
            _ if !ripe => Stage::Suspected,
            None => Stage::Alarm,
            Some(remedy) => self.prescribe(now, unix_secs, failure, remedy, actions),
        };
        if let Some(case) = self.cases.get_mut(&failure) {
            case.stage = stage;
            case.told |= matches!(stage, Stage::Alarm | Stage::Treated);
        }
        if stage == Stage::Alarm && before != Stage::Alarm {
            let about = About::failure(DeedKind::Alarm, failure);
            self.tell(unix_secs, about, format!("{failure}; {}", failure.advice()), actions);
        }
    }

    /// How far a start has come that does not end: a slow one that goes on is left alone.
    fn progress(&self, failure: Failure) -> u8 {
        match failure {
            Failure::Unbootstrapped(tor) => self.vitals.tor(tor).map_or(0, |tor| tor.bootstrap_percent),
            _ => 0,
        }
    }

    /// Tries a remedy, if its part has any budget left.
    fn prescribe(
        &mut self,
        now: Instant,
        unix_secs: u64,
        failure: Failure,
        remedy: Remedy,
        actions: &mut Vec<Action>,
    ) -> Stage {
        let budget = self.budgets.entry(remedy.part()).or_default();
        if budget.allows(now) {
            budget.spend(now);
            self.perform(unix_secs, remedy, &failure.to_string(), actions);
            Stage::Treated
        } else if budget.is_spent(now) {
            Stage::Alarm
        } else {
            Stage::Treated
        }
    }

    fn note_budgets(&mut self, now: Instant) {
        // What is only suspected yet fails, too: a part that needs longer to be found ill than to be calm would never use
        // its budget up.
        let failing: BTreeSet<Part> = self
            .cases
            .iter()
            .filter(|(_, case)| case.stage != Stage::Consequence)
            .filter_map(|(failure, _)| failure.remedy().map(Remedy::part))
            .collect();
        for (part, budget) in &mut self.budgets {
            budget.note(now, failing.contains(part));
            if budget.spent() == 0 {
                self.refusals.remove(part);
            }
        }
    }

    fn turn_fence(&mut self, now: Instant, unix_secs: u64, actions: &mut Vec<Action>) {
        let situation = Situation {
            proxy_well: match self.proxy() {
                Answer::Unasked | Answer::Refuses => None,
                Answer::Answers => Some(true),
                Answer::Silent | Answer::Away => Some(false),
            },
            target_well: self.vitals.traffic.as_ref().is_none_or(|traffic| traffic.target_well),
            tor_serves: matches!(
                self.vitals.answer(Part::Tor(Tor::Serving)),
                Answer::Answers | Answer::Refuses
            ),
            others_serve: self.vitals.cluster.as_ref().is_some_and(|cluster| cluster.others_serving > 0),
        };
        match self.fence.consider(now, situation) {
            Some(Turn::Fence) => {
                let reason = if situation.proxy_well == Some(true) {
                    "clients that come in here would not reach the target, as they would elsewhere"
                } else {
                    "clients that come in here would wait for ever"
                };
                self.perform(unix_secs, Remedy::Fence, reason, actions);
            }
            Some(Turn::Unfence) => {
                let useful = situation.proxy_well == Some(true) && situation.target_well;
                let reason = if useful {
                    "this node is well again"
                } else {
                    "no other node reaches the target either"
                };
                self.perform(unix_secs, Remedy::Unfence, reason, actions);
            }
            None => {}
        }
    }

    fn perform(&mut self, unix_secs: u64, remedy: Remedy, reason: &str, actions: &mut Vec<Action>) {
        self.remedies_total = self.remedies_total.saturating_add(1);
        let about = About::remedy(DeedKind::Remedy, remedy);
        self.tell(unix_secs, about, format!("{reason}; tries to {remedy}"), actions);
        actions.push(Action::Perform(remedy));
    }

    fn came_of(
        &mut self,
        now: Instant,
        unix_secs: u64,
        remedy: Remedy,
        outcome: Result<(), String>,
        actions: &mut Vec<Action>,
    ) {
        match outcome {
            Ok(()) => _ = self.refusals.remove(&remedy.part()),
            Err(reason) => {
                let about = About::remedy(DeedKind::Refused, remedy);
                self.tell(unix_secs, about, format!("could not {remedy}: {reason}"), actions);
                match remedy {
                    Remedy::Fence => self.fence.refused(now, Turn::Fence),
                    Remedy::Unfence => self.fence.refused(now, Turn::Unfence),
                    Remedy::Kill(_) | Remedy::Start(_) | Remedy::Restart(_) => {}
                }
                self.refusals.insert(remedy.part(), reason);
            }
        }
    }

    fn tell(&mut self, unix_secs: u64, about: About, text: String, actions: &mut Vec<Action>) {
        let About { kind, failure, part } = about;
        let deed = Deed {
            unix_secs,
            text,
            alarming: matches!(kind, DeedKind::Alarm | DeedKind::Refused),
            kind,
            failure: failure.map(|failure| failure.name().to_owned()),
            part: part.map(|part| part.name().to_owned()),
        };
        if self.past.len() == MOST_DEEDS {
            self.past.pop_front();
        }
        self.past.push_back(deed.clone());
        actions.push(Action::Tell(deed));
    }

    fn proxy(&self) -> Answer {
        self.vitals.answer(Part::Daemon(Daemon::Proxy))
    }
}
