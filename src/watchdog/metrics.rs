//! The metrics, as OpenMetrics has them: numbers about this node, nothing about clients, few labels with few values.

use std::fmt::{Display, Write};
use std::time::Duration;

use crate::proto::health::part::{Daemon, Part, Tor};
use crate::proto::health::report::{HealthReport, Stage};
use crate::proto::health::vitals::{Answer, Canary, TargetCertificate};

/// What the answer is called in HTTP.
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The metrics as text. Writing to a `String` cannot fail, so results are dropped.
pub(super) fn text(report: &HealthReport) -> String {
    let mut page = Page::default();
    of_the_watchdog(report, &mut page);
    of_the_parts(report, &mut page);
    of_what_they_use(report, &mut page);
    of_the_tors(report, &mut page);
    of_the_daemons(report, &mut page);
    if let Some(host) = &report.vitals.host {
        page.gauge("state_filesystem_free_bytes", "bytes", "Room left where the daemons keep their state.");
        page.sample("state_filesystem_free_bytes", &[], host.disk_free_bytes);
        page.gauge("state_filesystem_size_bytes", "bytes", "Size of that file system.");
        page.sample("state_filesystem_size_bytes", &[], host.disk_bytes);
        if let Some(free) = host.inodes_free {
            page.gauge("state_filesystem_files_free", "", "Files that may still be made there.");
            page.sample("state_filesystem_files_free", &[], free);
        }
    }
    page.end()
}

fn of_the_watchdog(report: &HealthReport, page: &mut Page) {
    page.family("build", "info", "", "The version that runs.");
    page.sample("build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
    page.gauge("failure", "", "What fails, by how far its treatment is. Absent when all is well.");
    for complaint in &report.complaints {
        let stage = match complaint.stage {
            Stage::Alarm => "alarm",
            Stage::Treated => "treated",
            Stage::Suspected => "suspected",
            Stage::Consequence => "consequence",
        };
        let part = complaint.part.as_deref().unwrap_or("node");
        page.sample("failure", &[("failure", &complaint.failure), ("part", part), ("stage", stage)], 1);
    }
    page.gauge("fenced", "", "Whether this node was made to stop serving, as it was useless to clients.");
    page.sample("fenced", &[], u8::from(report.fenced));
    page.counter("remedies", "", "Remedies that were tried.");
    page.sample("remedies_total", &[], report.remedies_total);
    page.gauge("remedies_since_calm", "", "Remedies tried since the part was last well for ten minutes.");
    for part in Part::ALL {
        let times =
            report.tried.iter().find(|tried| tried.part == part.name()).map_or(0, |tried| tried.times);
        page.sample("remedies_since_calm", &[("part", part.name())], times);
    }
}

fn of_the_parts(report: &HealthReport, page: &mut Page) {
    page.gauge("part_up", "", "Whether a tor or a daemon answers. Absent while it was not asked.");
    for part in Part::ALL {
        let up = match report.vitals.answer(part) {
            Answer::Unasked => continue,
            Answer::Answers | Answer::Refuses => 1,
            Answer::Silent | Answer::Away => 0,
        };
        page.sample("part_up", &[("part", part.name())], up);
    }
}

/// Named as Prometheus' clients name what they tell of their own process.
fn of_what_they_use(report: &HealthReport, page: &mut Page) {
    let parts = || Part::ALL.into_iter().map(|part| (part.name(), report.vitals.uses(part)));
    let memory = || parts().filter_map(|(part, uses)| Some((part, uses.memory_bytes?)));
    page.gauge(
        "part_memory_bytes",
        "bytes",
        "Memory that a part uses, as the kernel counts it for its limit.",
    );
    for (part, memory) in memory() {
        page.sample("part_memory_bytes", &[("part", part)], memory.used);
    }
    page.gauge("part_memory_limit_bytes", "bytes", "With more than this the kernel kills it.");
    for (part, memory) in memory() {
        page.sample("part_memory_limit_bytes", &[("part", part)], memory.limit);
    }
    let files = || parts().filter_map(|(part, uses)| Some((part, uses.open_files?)));
    page.gauge("part_open_fds", "", "Files, sockets and the like that a daemon has open.");
    for (part, files) in files() {
        page.sample("part_open_fds", &[("part", part)], files.used);
    }
    page.gauge("part_max_fds", "", "How many it may have open.");
    for (part, files) in files() {
        page.sample("part_max_fds", &[("part", part)], files.limit);
    }
}

fn of_the_tors(report: &HealthReport, page: &mut Page) {
    let tors =
        || Tor::ALL.into_iter().filter_map(|tor| Some((Part::Tor(tor).name(), report.vitals.tor(tor)?)));
    page.gauge("tor_bootstrap_ratio", "ratio", "How far a tor is with its start.");
    for (part, tor) in tors() {
        page.sample("tor_bootstrap_ratio", &[("part", part)], f64::from(tor.bootstrap_percent) / 100.0);
    }
    page.gauge(
        "tor_circuits_established",
        "",
        "Whether a tor has built a circuit and believes it can build more.",
    );
    for (part, tor) in tors() {
        page.sample("tor_circuits_established", &[("part", part)], u8::from(tor.circuits));
    }
    page.gauge("tor_introduction_circuits", "", "Introduction circuits that are established.");
    for (part, tor) in tors() {
        page.sample("tor_introduction_circuits", &[("part", part)], tor.introduction_circuits);
    }
    page.gauge(
        "tor_introduction_circuits_expected",
        "",
        "Introduction circuits that there are once all are established.",
    );
    for (part, tor) in tors() {
        page.sample(
            "tor_introduction_circuits_expected",
            &[("part", part)],
            tor.introduction_circuits_expected,
        );
    }
    page.gauge(
        "tor_consensus_valid_until_timestamp_seconds",
        "seconds",
        "When a tor's consensus ends, Unix time.",
    );
    for (part, tor) in tors() {
        if let Some(until) = tor.consensus_valid_until {
            page.sample("tor_consensus_valid_until_timestamp_seconds", &[("part", part)], until);
        }
    }
    page.gauge(
        "tor_clock_skew_seconds",
        "seconds",
        "By how much this machine's clock is fast, as relays say.",
    );
    for (part, tor) in tors() {
        page.sample("tor_clock_skew_seconds", &[("part", part)], tor.clock_skew_secs);
    }
}

fn of_the_cluster(report: &HealthReport, page: &mut Page) {
    let vitals = &report.vitals;
    if vitals.answer(Part::Daemon(Daemon::Coordinator)) == Answer::Answers
        && let Some(cluster) = &vitals.cluster
    {
        page.gauge("nodes", "", "Nodes of the cluster, this one included.");
        page.sample("nodes", &[], cluster.nodes);
        page.gauge("nodes_lost", "", "Nodes that do not answer.");
        page.sample("nodes_lost", &[], cluster.lost.len());
        page.gauge("lease_held", "", "Whether this node holds the lease.");
        page.sample("lease_held", &[], u8::from(cluster.leads));
        page.gauge(
            "lease_stands_back",
            "",
            "Whether this node leaves the lease to others, as it cannot publish.",
        );
        page.sample("lease_stands_back", &[], u8::from(cluster.stands_back.is_some()));
        page.counter("lease_stood_back", "", "How often this node has left the lease to others.");
        page.sample("lease_stood_back_total", &[], cluster.stood_back);
        page.counter(
            "datagrams_refused_for_clock",
            "",
            "Datagrams whose sender's clock is too far from this one's.",
        );
        page.sample("datagrams_refused_for_clock_total", &[], cluster.refused_for_clock);
        if let Some(canary) = &cluster.canary {
            of_the_canary(canary, page);
        }
        if let Some(ahead_ms) = cluster.clock_ahead_ms {
            page.gauge(
                "clock_ahead_of_peers_seconds",
                "seconds",
                "By how much this machine's clock is fast, as other nodes' datagrams tell.",
            );
            // Some days at most, in milliseconds.
            #[allow(clippy::cast_precision_loss)]
            page.sample("clock_ahead_of_peers_seconds", &[], ahead_ms as f64 / 1000.0);
        }
    }
}

fn of_the_canary(canary: &Canary, page: &mut Page) {
    page.counter("canary_tried", "", "Questions asked, through Tor, at the service's own address.");
    page.sample("canary_tried_total", &[], canary.tried);
    page.counter("canary_answered", "", "Those of them that a node of the cluster answered.");
    page.sample("canary_answered_total", &[], canary.answered);
    page.gauge("canary_nodes_met", "", "Nodes that have answered within the last hour.");
    page.sample("canary_nodes_met", &[], canary.met);
    page.gauge(
        "canary_nodes_unmet",
        "",
        "Nodes in the descriptor that have not answered for longer than can be chance.",
    );
    page.sample("canary_nodes_unmet", &[], canary.unmet.len());
    if let Some(at) = canary.answered_at {
        page.gauge("canary_answered_timestamp_seconds", "seconds", "When a node answered last, Unix time.");
        page.sample("canary_answered_timestamp_seconds", &[], at);
    }
    if let Some(millis) = canary.round_trip_ms {
        page.gauge(
            "canary_round_trip_seconds",
            "seconds",
            "How long the last answer took, with the way there.",
        );
        page.sample("canary_round_trip_seconds", &[], Duration::from_millis(millis).as_secs_f64());
    }
}

fn of_the_daemons(report: &HealthReport, page: &mut Page) {
    let vitals = &report.vitals;
    if let Some(publishing) = &vitals.publishing {
        page.gauge("introduction_points", "", "Introduction points at which this node serves.");
        page.sample("introduction_points", &[], publishing.points);
        page.gauge("introduction_points_lost", "", "Of these, those at relays that have left the network.");
        page.sample("introduction_points_lost", &[], publishing.points_lost);
        let ends = [
            ("points", publishing.points_certified_until),
            ("descriptors", publishing.descriptors_certified_until),
        ];
        page.gauge(
            "onion_certificates_until_timestamp_seconds",
            "seconds",
            "Until when tor's certificates of this node's introduction points last, and those of the descriptors that it published.",
        );
        for (of, until) in ends.into_iter().filter_map(|(of, until)| Some((of, until?))) {
            page.sample("onion_certificates_until_timestamp_seconds", &[("of", of)], until);
        }
        page.gauge("publishing", "", "Whether this node publishes the descriptor for the cluster.");
        page.sample("publishing", &[], u8::from(publishing.publishes));
        page.gauge(
            "hsdirs",
            "",
            "HSDirs that should hold the present descriptors; 0 if another node publishes.",
        );
        page.sample("hsdirs", &[], publishing.hsdirs);
        page.gauge("hsdirs_holding", "", "HSDirs that accepted them.");
        page.sample("hsdirs_holding", &[], publishing.hsdirs_holding);
    }
    of_the_cluster(report, page);
    if let Some(traffic) = &vitals.traffic {
        page.gauge("target_up", "", "Whether any target could be reached when it was last tried.");
        page.sample("target_up", &[], u8::from(traffic.target_well));
        page.gauge("targets", "", "Targets that connections are carried to.");
        page.sample("targets", &[], traffic.targets);
        page.gauge("targets_up", "", "Targets that get connections.");
        page.sample("targets_up", &[], traffic.targets_well);
        page.gauge(
            "target_certificate_until_timestamp_seconds",
            "seconds",
            "Until when a target's certificate is valid, if that matters; targets in the configuration's order.",
        );
        for TargetCertificate { target, until, .. } in &traffic.certificates {
            let target = target.to_string();
            page.sample("target_certificate_until_timestamp_seconds", &[("target", &target)], until);
        }
        page.gauge("connections", "", "Connections being carried.");
        page.sample("connections", &[], traffic.active);
        page.counter("connections_accepted", "", "Connections accepted from tor.");
        page.sample("connections_accepted_total", &[], traffic.accepted);
        page.counter("connections_refused", "", "Connections refused, as too many were being carried.");
        page.sample("connections_refused_total", &[], traffic.refused);
        page.counter(
            "requests_over_limit",
            "",
            "Requests and connections refused, as their circuit asked for too much.",
        );
        page.sample("requests_over_limit_total", &[], traffic.over_limit);
        page.counter(
            "connections_failed",
            "",
            "Connections that failed, by reason; a reason that was none is absent.",
        );
        for (reason, number) in &traffic.failed {
            page.sample("connections_failed_total", &[("reason", reason)], number);
        }
        page.counter("carried_bytes", "bytes", "Bytes carried.");
        page.sample("carried_bytes_total", &[("to", "target")], traffic.bytes_to_target);
        page.sample("carried_bytes_total", &[("to", "client")], traffic.bytes_to_client);
    }
}

/// A page in the making. Every name begins with `rustbalance_`.
#[derive(Default)]
struct Page(String);

impl Page {
    fn gauge(&mut self, name: &str, unit: &str, help: &str) {
        self.family(name, "gauge", unit, help);
    }

    fn counter(&mut self, name: &str, unit: &str, help: &str) {
        self.family(name, "counter", unit, help);
    }

    fn family(&mut self, name: &str, kind: &str, unit: &str, help: &str) {
        let _ = writeln!(self.0, "# TYPE rustbalance_{name} {kind}");
        if !unit.is_empty() {
            let _ = writeln!(self.0, "# UNIT rustbalance_{name} {unit}");
        }
        let _ = writeln!(self.0, "# HELP rustbalance_{name} {help}");
    }

    /// Labels are words of ours: nothing in them has to be escaped.
    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let labels: Vec<_> = labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
        let braces = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(self.0, "rustbalance_{name}{braces} {value}");
    }

    fn end(mut self) -> String {
        self.0.push_str("# EOF\n");
        self.0
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::proto::health::report::{Complaint, Tried};
    use crate::proto::health::vitals::{
        ClusterVitals, Host, Observation, Publishing, Share, TorVitals, Traffic,
    };

    /// A report with everything in it.
    pub(in crate::watchdog) fn whole() -> HealthReport {
        let mut report = HealthReport::default();
        for part in Part::ALL {
            report.vitals.note(Observation::Answer(part, Answer::Answers));
        }
        for tor in Tor::ALL {
            let vitals =
                TorVitals { bootstrap_percent: 100, consensus_valid_until: Some(7), ..TorVitals::default() };
            report.vitals.note(Observation::Tor(tor, vitals));
        }
        report.vitals.note(Observation::Publishing(Publishing::default()));
        let canary = Canary { answered_at: Some(7), round_trip_ms: Some(850), ..Canary::default() };
        let cluster = ClusterVitals { canary: Some(canary), ..ClusterVitals::default() };
        report.vitals.note(Observation::Cluster(cluster));
        let failed = [("no_tor".to_owned(), 1), ("descriptor_not_found".to_owned(), 4)].into();
        let certificates = vec![TargetCertificate { target: 1, from: 0, until: 8 }];
        let traffic = Traffic { bytes_to_client: 9, failed, certificates, ..Traffic::default() };
        report.vitals.note(Observation::Traffic(traffic));
        report.vitals.note(Observation::Host(Host { inodes_free: Some(1), ..Host::default() }));
        for part in Part::ALL {
            report.vitals.note(Observation::Memory(part, Some(Share { used: 5, limit: 9 })));
            report.vitals.note(Observation::Files(part, Share { used: 3, limit: 7 }));
        }
        report.tried = vec![Tried { part: "proxy".to_owned(), times: 2 }];
        report.complaints = vec![Complaint {
            failure: "silent".to_owned(),
            part: Some("proxy".to_owned()),
            lasts_secs: 3,
            stage: Stage::Treated,
            text: "the proxy <hangs> & is killed".to_owned(),
        }];
        report
    }

    #[test]
    fn every_sample_belongs_to_the_family_before_it_and_every_family_is_explained_once() {
        let text = text(&whole());
        let (mut family, mut kind, mut seen) = (String::new(), String::new(), Vec::new());
        for line in text.lines() {
            let words: Vec<&str> = line.splitn(4, ' ').collect();
            match words.as_slice() {
                ["#", "TYPE", name, of] => {
                    assert!(
                        name.starts_with("rustbalance_") && !seen.contains(&(*name).to_owned()),
                        "{line}"
                    );
                    (family, kind) = ((*name).to_owned(), (*of).to_owned());
                    seen.push(family.clone());
                }
                ["#", "UNIT", name, unit] => {
                    assert!(*name == family && name.ends_with(&format!("_{unit}")), "{line}");
                }
                ["#", "HELP", name, help] => assert!(*name == family && help.ends_with('.'), "{line}"),
                ["#", "EOF"] => assert!(text.ends_with("# EOF\n")),
                [sample, ..] => {
                    let name = sample.split('{').next().unwrap();
                    let ending = match kind.as_str() {
                        "counter" => "_total",
                        "info" => "_info",
                        _ => "",
                    };
                    assert_eq!(name, format!("{family}{ending}"), "{line}");
                    assert!(line.rsplit(' ').next().unwrap().parse::<f64>().is_ok(), "{line}");
                }
                [] => panic!("an empty line"),
            }
        }
        assert!(text.contains("rustbalance_connections_failed_total{reason=\"descriptor_not_found\"} 4\n"));
        assert!(text.contains("rustbalance_carried_bytes_total{to=\"client\"} 9\n"));
        assert!(
            text.contains("rustbalance_failure{failure=\"silent\",part=\"proxy\",stage=\"treated\"} 1\n")
        );
        assert!(text.contains("rustbalance_part_memory_limit_bytes{part=\"standby_tor\"} 9\n"));
        assert!(text.contains("rustbalance_part_open_fds{part=\"publisher\"} 3\n"));
        assert!(text.contains("rustbalance_canary_round_trip_seconds 0.85\n"));
        assert!(text.contains("rustbalance_remedies_since_calm{part=\"proxy\"} 2\n"));
    }

    #[test]
    fn what_is_not_known_is_not_told() {
        let text = text(&HealthReport::default());
        for name in ["part_up", "target_up", "introduction_points", "nodes"] {
            assert!(!text.lines().any(|line| line.starts_with(&format!("rustbalance_{name}"))), "{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }
}
