//! A failure in words: what happened, what is done about it, what remains to be done.

use std::fmt::{self, Write};
use std::time::{Duration, Instant};

use super::budget::TRIES;
use super::core::{Case, Health};
use super::diagnosis::{is_near_limit, renewal_due};
use super::failure::Failure;
use super::report::{Complaint, Stage};
use super::vitals::{Share, TargetCertificate, Uses, Vitals};

/// A cluster may have a hundred nodes; so many of them are named.
const MOST_NAMES: usize = 5;

impl Health {
    /// What is told of one failure.
    pub(super) fn complaint(&self, now: Instant, failure: Failure, case: &Case) -> Complaint {
        let lasts_secs = now.saturating_duration_since(case.since).as_secs();
        Complaint {
            failure: failure.name().to_owned(),
            part: failure.part().map(|part| part.name().to_owned()),
            lasts_secs,
            stage: case.stage,
            text: self.explain(now, failure, case),
        }
    }

    /// Writing to a string cannot fail, so its results are dropped.
    fn explain(&self, now: Instant, failure: Failure, case: &Case) -> String {
        let mut text = failure.to_string();
        detail(failure, &self.vitals, self.unix_secs, &mut text);
        match (case.stage, failure.remedy()) {
            (Stage::Suspected, _) => text.push_str("; this has just begun, and may pass by itself"),
            (Stage::Consequence, _) => {
                if let Some(cause) = case.cause {
                    let _ = write!(text, "; it follows from another failure: {cause}");
                }
            }
            (_, None) => {
                let _ = write!(text, "; {}", failure.advice());
            }
            (Stage::Treated, Some(remedy)) => {
                let budget = self.budgets.get(&remedy.part()).copied().unwrap_or_default();
                let (part, spent) = (remedy.part(), budget.spent());
                let _ = write!(text, "; {spent} of {TRIES} remedies were tried on {part}");
                if let Some(next) = budget.next().filter(|next| *next > now) {
                    let secs = next.saturating_duration_since(now).as_secs();
                    let _ = if spent < TRIES {
                        write!(text, "; the next one, in {secs} s: {remedy}")
                    } else {
                        write!(text, "; the last one has {secs} s more to help")
                    };
                }
            }
            (Stage::Alarm, Some(remedy)) => {
                let _ = write!(
                    text,
                    "; {TRIES} remedies, tried on {}, did not help; no more will be tried; {}",
                    remedy.part(),
                    failure.advice()
                );
            }
        }
        if let Some(refusal) = failure.remedy().and_then(|remedy| self.refusals.get(&remedy.part())) {
            let _ = write!(text, "; the last one could not be carried out: {refusal}");
        }
        text
    }
}

/// What of the facts makes a failure easier to find.
fn detail(failure: Failure, vitals: &Vitals, unix_secs: u64, text: &mut String) {
    let _ = match failure {
        Failure::LostNodes => match &vitals.cluster {
            Some(cluster) => write_some(text, &cluster.lost),
            None => Ok(()),
        },
        Failure::Unreachable => match canary_failure(vitals) {
            Some(reason) => write!(text, " ({reason})"),
            None => Ok(()),
        },
        Failure::UnmetNodes => match vitals.cluster.as_ref().and_then(|cluster| cluster.canary.as_ref()) {
            Some(canary) => write_some(text, &canary.unmet),
            None => Ok(()),
        },
        Failure::HsDirsBehind => match vitals.publishing {
            Some(it) => write!(text, " ({} of {} have it)", it.hsdirs_holding, it.hsdirs),
            None => Ok(()),
        },
        Failure::FewPoints => match vitals.serving_tor {
            Some(it) => {
                write!(text, " ({} of {})", it.introduction_circuits, it.introduction_circuits_expected)
            }
            None => Ok(()),
        },
        Failure::LostPoints => match vitals.publishing {
            Some(it) => write!(text, " ({} of {})", it.points_lost, it.points),
            None => Ok(()),
        },
        Failure::Unbootstrapped(tor) => match vitals.tor(tor) {
            Some(it) => write!(text, " ({} %)", it.bootstrap_percent),
            None => Ok(()),
        },
        Failure::OldCertificates => match vitals.publishing {
            Some(it) => {
                let ends = [it.points_certified_until, it.descriptors_certified_until];
                ends.into_iter().flatten().min().map_or(Ok(()), |until| write!(text, " ({})", moment(until)))
            }
            None => Ok(()),
        },
        Failure::OldTargetCertificate => match first_to_renew(vitals) {
            Some(it) => write!(text, " (target {}: {})", it.target, moment(it.until)),
            None => Ok(()),
        },
        Failure::FullDisk => match vitals.host {
            Some(host) => write!(text, " ({} MiB free)", host.disk_free_bytes >> 20),
            None => Ok(()),
        },
        Failure::NearLimit(part) => write_uses(text, vitals.uses(part)),
        Failure::UnreadConfiguration => match &vitals.configuration {
            Some(it) => write_named(text, &it.changed, it.changed_more),
            None => Ok(()),
        },
        Failure::WrongClock | Failure::DriftingClock => write_skew(text, vitals, unix_secs),
        _ => Ok(()),
    };
}

fn canary_failure(vitals: &Vitals) -> Option<&String> {
    vitals.cluster.as_ref()?.canary.as_ref()?.failure.as_ref()
}

/// The first few of them, and how many there are besides.
fn write_some(text: &mut String, names: &[String]) -> fmt::Result {
    let named = &names[..names.len().min(MOST_NAMES)];
    write_named(text, named, names.len() - named.len())
}

fn write_named(text: &mut String, named: &[String], more: usize) -> fmt::Result {
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    write!(text, " ({}{more})", named.join(", "))
}

fn first_to_renew(vitals: &Vitals) -> Option<&TargetCertificate> {
    vitals.traffic.as_ref()?.certificates.iter().min_by_key(|certificate| renewal_due(certificate))
}

/// When that is, in UTC.
fn moment(unix_secs: u64) -> String {
    let time = i64::try_from(unix_secs).ok().and_then(|secs| jiff::Timestamp::from_second(secs).ok());
    time.map_or_else(|| "never".to_owned(), |time| time.strftime("%F %H:%M UTC").to_string())
}

/// What there is hardly any left of.
fn write_uses(text: &mut String, uses: Uses) -> fmt::Result {
    if let Some(Share { used, limit }) = uses.memory_bytes.filter(|share| is_near_limit(*share)) {
        write!(text, " (memory: {} of {} MiB)", used >> 20, limit >> 20)?;
    }
    match uses.open_files.filter(|share| is_near_limit(*share)) {
        Some(Share { used, limit }) => write!(text, " (open files: {used} of {limit})"),
        None => Ok(()),
    }
}

/// Who says what about the clock.
fn write_skew(text: &mut String, vitals: &Vitals, unix_secs: u64) -> fmt::Result {
    let sign = |ahead: bool| if ahead { "fast" } else { "slow" };
    let tors = [vitals.serving_tor, vitals.standby_tor];
    let relays = tors.into_iter().flatten().map(|tor| tor.clock_skew_secs).find(|skew| *skew != 0);
    if let Some(after) = tors.into_iter().flatten().filter_map(|tor| tor.consensus_valid_after).max()
        && after > unix_secs
    {
        write!(text, " (it is at least {} s slow: the consensus is from later)", after - unix_secs)?;
    }
    if let Some(skew) = relays {
        write!(text, " (relays say that it is {} s {})", skew.unsigned_abs(), sign(skew > 0))?;
    }
    match vitals.cluster.as_ref().and_then(|cluster| cluster.clock_ahead_ms) {
        Some(ahead) => write!(
            text,
            " (it is {:.1} s {} beside other nodes')",
            Duration::from_millis(ahead.unsigned_abs()).as_secs_f64(),
            sign(ahead > 0)
        ),
        None => Ok(()),
    }
}
