//! What of the publisher's state is worth a line in the log and in `systemctl status`.

use std::fmt::Write;

use tracing::{info, warn};

use crate::proto::publish::report::{Duty, HsDirState, PublisherReport, SlotReport};

/// Logs what changed from one report to the next.
pub fn log_changes(before: &PublisherReport, after: &PublisherReport) {
    if before.points.len() != after.points.len() || before.points.iter().any(|p| !after.points.contains(p)) {
        info!(points = after.points.len(), "this node's introduction points changed");
    }
    if before.duty != after.duty {
        match after.duty {
            Duty::Idle => info!("standing down: this node does not hold the lease any more"),
            Duty::Publishing { epoch } => info!(epoch, "publishing for the cluster"),
            Duty::Yielded => warn!("yielding: the coordinator is away, and another node publishes"),
        }
    }
    if (before.serving_tor, before.standby_tor) != (after.serving_tor, after.standby_tor) {
        info!(serving = ?after.serving_tor, standby = ?after.standby_tor, "the tors changed");
    }
    for slot in &after.slots {
        let old = before.slots.iter().find(|old| old.period == slot.period);
        if everywhere(slot) && !old.is_some_and(everywhere) {
            let (period, points) = (slot.period, slot.points);
            info!(period, points, hsdirs = slot.hsdirs.len(), "the descriptor is on all its HSDirs");
        }
    }
    for alarm in after.alarms.iter().filter(|alarm| !before.alarms.contains(alarm)) {
        warn!(?alarm, "alarm");
    }
    for alarm in before.alarms.iter().filter(|alarm| !after.alarms.contains(alarm)) {
        info!(?alarm, "alarm is over");
    }
}

/// One line for the service manager.
pub fn status_line(report: &PublisherReport) -> String {
    let own = report.points.len();
    let mut line = match report.duty {
        Duty::Idle => format!("{own} own introduction points; another node publishes"),
        Duty::Yielded => format!("{own} own introduction points; yielded to another publisher"),
        Duty::Publishing { epoch } => {
            let slots = report.slots.iter();
            let (done, all) =
                slots.fold((0, 0), |(done, all), slot| (done + holding(slot), all + slot.hsdirs.len()));
            let points = report.slots.iter().map(|slot| slot.points).max().unwrap_or(0);
            format!(
                "publishing {points} introduction points (epoch {epoch}): {done} of {all} HSDirs have them"
            )
        }
    };
    for alarm in &report.alarms {
        // Writing to a string cannot fail.
        let _ = write!(line, "; {alarm:?}");
    }
    line
}

fn holding(slot: &SlotReport) -> usize {
    let has = |state| matches!(state, HsDirState::Accepted | HsDirState::Verified);
    slot.hsdirs.iter().filter(|hsdir| has(hsdir.state)).count()
}

fn everywhere(slot: &SlotReport) -> bool {
    !slot.hsdirs.is_empty() && holding(slot) == slot.hsdirs.len()
}
