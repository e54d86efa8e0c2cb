//! The health of this node: what fails and what is done, its parts, its facts. Writing to a `String` cannot fail, so
//! results are dropped.

use std::fmt::Write;

use data_encoding::HEXUPPER;

use super::markup::{escaped, short, span};
use crate::proto::health::part::{Part, Tor};
use crate::proto::health::report::{HealthReport, Stage};
use crate::proto::health::vitals::Answer;
use crate::watchdog::overview::Descriptors;

/// The health in a line.
pub(super) fn line(report: &HealthReport, page: &mut String) {
    let tone = if report.alarms() { "bad" } else { tone_of(!report.complaints.is_empty() || report.fenced) };
    let _ = writeln!(page, "<p class={tone}>{}</p>", escaped(&report.line()));
}

fn tone_of(troubled: bool) -> &'static str {
    if troubled { "fair" } else { "good" }
}

/// What fails, and what is done about it.
pub(super) fn complaints(report: &HealthReport, page: &mut String) {
    if report.complaints.is_empty() {
        return;
    }
    page.push_str("<h2>What fails</h2><table><tr><th>For<th>State<th>What, and what is done\n");
    for complaint in &report.complaints {
        let (tone, stage) = match complaint.stage {
            Stage::Alarm => ("bad", "needs you"),
            Stage::Treated => ("fair", "being repaired"),
            Stage::Suspected => ("fair", "just begun"),
            Stage::Consequence => ("fair", "a consequence"),
        };
        let text = escaped(&complaint.text);
        let lasts = span(complaint.lasts_secs);
        let _ = writeln!(page, "<tr><td>{lasts}<td class={tone}>{stage}<td>{text}");
    }
    page.push_str("</table>\n");
}

/// Who answers.
pub(super) fn parts(report: &HealthReport, page: &mut String) {
    page.push_str("<h2>Parts</h2><table><tr><th>Part<th>Answers<th>Says\n");
    for part in Part::ALL {
        let (tone, word) = match report.vitals.answer(part) {
            Answer::Unasked => ("fair", "not asked yet"),
            Answer::Answers => ("good", "yes"),
            Answer::Silent => ("bad", "hangs"),
            Answer::Away => ("bad", "is away"),
            Answer::Refuses => ("bad", "refuses to tell"),
        };
        let said = match part {
            Part::Tor(tor) => tor_in_words(report, tor),
            Part::Daemon(_) | Part::KeyInstaller => String::new(),
        };
        let _ = writeln!(page, "<tr><td>{part}<td class={tone}>{word}<td>{said}");
    }
    page.push_str("</table>\n");
}

fn tor_in_words(report: &HealthReport, tor: Tor) -> String {
    let Some(vitals) = report.vitals.tor(tor) else { return String::new() };
    let circuits = if vitals.circuits { "has circuits" } else { "has no circuits" };
    let points = match tor {
        Tor::Serving => format!(", {} introduction circuits", vitals.introduction_circuits),
        Tor::Standby => String::new(),
    };
    format!("{} % started, {circuits}{points}", vitals.bootstrap_percent)
}

/// What else is known of this node.
pub(super) fn facts(report: &HealthReport, descriptors: Option<&Descriptors>, now: u64, page: &mut String) {
    page.push_str("<h2>This node</h2><table>\n");
    let mut fact = |name: &str, value: String| {
        let _ = writeln!(page, "<tr><th>{name}<td>{value}");
    };
    let vitals = &report.vitals;
    if let Some(cluster) = &vitals.cluster {
        let lease = match (cluster.leads, cluster.led) {
            (true, _) => "this node holds it",
            (false, true) => "another node holds it, or they are finding out who",
            (false, false) => "nobody holds it",
        };
        fact("Lease", lease.to_owned());
        fact(
            "Nodes",
            format!("{} of {} others serve", cluster.others_serving, cluster.nodes.saturating_sub(1)),
        );
    }
    if let Some(publishing) = &vitals.publishing {
        fact("Introduction points", points(publishing.points, descriptors));
        if publishing.publishes {
            fact(
                "HSDirs",
                format!("{} of {} have the descriptors", publishing.hsdirs_holding, publishing.hsdirs),
            );
        }
    }
    if let Some(traffic) = &vitals.traffic {
        let target = match (traffic.target_well, traffic.targets) {
            (true, 2..) => format!("{} of {} can be reached", traffic.targets_well, traffic.targets),
            (true, _) => "can be reached".to_owned(),
            (false, _) => "cannot be reached".to_owned(),
        };
        fact("Target", target);
        fact("Connections", format!("{} now, {} since the proxy's start", traffic.active, traffic.accepted));
    }
    if let Some(until) = vitals.serving_tor.and_then(|tor| tor.consensus_valid_until) {
        fact("Consensus", format!("valid for {} min more", until.saturating_sub(now) / 60));
    }
    if let Some(host) = &vitals.host {
        fact("Disk", format!("{} of {} MiB free", host.disk_free_bytes >> 20, host.disk_bytes >> 20));
    }
    page.push_str("</table>\n");
}

/// How many introduction points there are, and at which relays.
fn points(number: u32, descriptors: Option<&Descriptors>) -> String {
    let relay = |id: &[u8; 20]| {
        let fingerprint = HEXUPPER.encode(id);
        format!("<code title={fingerprint}>{}</code>", short(&fingerprint))
    };
    let relays: Vec<_> = descriptors.into_iter().flat_map(|told| &told.relays).map(relay).collect();
    let at = if relays.is_empty() { "" } else { ", at the relays " };
    format!("{number}{at}{}", relays.join(", "))
}
