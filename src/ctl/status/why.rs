//! `rustbalance status --why`: what the watchdog knows of this node's health.

use std::fmt::Write as _;
use std::io::{self, Write};

use crate::config::ipc::Ipc;
use crate::ctl::daemon_error::Daemon;
use crate::ctl::error::CtlError;
use crate::ctl::moment::Moment;
use crate::ctl::status::paint::{Paint, Tone};
use crate::ctl::status::table::{Cell, Table};
use crate::ipc::watchdog::WatchdogClient;
use crate::proto::health::report::{HealthReport, Stage};

/// How many past events are shown; `--json` has all.
const SHOWN_PAST: usize = 20;

/// Asks the watchdog, and writes what it says.
pub(super) async fn write(sockets: &Ipc, json: bool, out: &mut Vec<u8>) -> Result<(), CtlError> {
    let path = sockets.watchdog_socket();
    let asked = async { WatchdogClient::connect(&path).await?.status().await };
    let report = asked.await.map_err(|error| Daemon::Watchdog.explain(&path, error))?;
    if json {
        serde_json::to_writer_pretty(&mut *out, &report).map_err(io::Error::from)?;
        writeln!(out)?;
    } else {
        out.write_all(lines(&report, Paint::for_standard_output()).as_bytes())?;
    }
    Ok(())
}

/// The health in words. Writing to a `String` cannot fail, so results are dropped.
fn lines(report: &HealthReport, paint: Paint) -> String {
    let mut text = String::new();
    if report.complaints.is_empty() {
        let _ = writeln!(text, "{}", paint.tone(Tone::Good, "all is well"));
    } else {
        text.push_str(&complaints(report).lines(paint));
    }
    if report.fenced {
        let fenced = "this node does not serve: its proxy or its way to the target was not well, and clients find other nodes";
        let _ = writeln!(text, "{}", paint.tone(Tone::Bad, fenced));
    }
    if let Some(ailment) = report.vitals.cluster.as_ref().and_then(|cluster| cluster.stands_back.as_ref()) {
        let back = format!(
            "this node stands back from the lease, for others that can publish: {ailment}, or was so until lately"
        );
        let _ = writeln!(text, "{}", paint.tone(Tone::Fair, &back));
    }
    let skipped = report.past.len().saturating_sub(SHOWN_PAST);
    if !report.past.is_empty() {
        let _ = writeln!(text, "\n{}", paint.tone(Tone::Head, "LATELY"));
    }
    for deed in &report.past[skipped..] {
        let tone = if deed.alarming { Tone::Bad } else { Tone::Plain };
        let _ =
            writeln!(text, "{}  {}", Moment::from_unix_secs(deed.unix_secs), paint.tone(tone, &deed.text));
    }
    text
}

/// What fails.
fn complaints(report: &HealthReport) -> Table {
    let mut table = Table::new(&["FOR", "STATE", "WHAT, AND WHAT IS DONE"]);
    for complaint in &report.complaints {
        let (tone, stage) = match complaint.stage {
            Stage::Alarm => (Tone::Bad, "needs you"),
            Stage::Treated => (Tone::Fair, "being repaired"),
            Stage::Suspected => (Tone::Fair, "just begun"),
            Stage::Consequence => (Tone::Fair, "a consequence"),
        };
        let lasts = format!("{} s", complaint.lasts_secs);
        table.add(vec![Cell::plain(lasts), Cell::new(stage, tone), Cell::plain(complaint.text.clone())]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::health::report::{Complaint, Deed, DeedKind};
    use crate::proto::health::vitals::ClusterVitals;

    #[test]
    fn what_fails_and_what_was_done_is_told_in_words() {
        let mut report = HealthReport::default();
        assert_eq!(lines(&report, Paint(false)), "all is well\n");
        report.complaints = vec![Complaint {
            failure: "target_away".to_owned(),
            part: None,
            lasts_secs: 90,
            stage: Stage::Alarm,
            text: "the target cannot be reached".to_owned(),
        }];
        report.past = vec![Deed {
            unix_secs: 0,
            text: "it was so".to_owned(),
            alarming: true,
            kind: DeedKind::Alarm,
            failure: None,
            part: None,
        }];
        let stands_back = Some("its publisher is away, or hangs".to_owned());
        report.vitals.cluster = Some(ClusterVitals { stands_back, ..ClusterVitals::default() });
        let text = lines(&report, Paint(false));
        assert!(
            text.contains(
                "\nthis node stands back from the lease, for others that can publish: its publisher"
            ),
            "{text}"
        );
        assert!(text.contains("90 s  needs you  the target cannot be reached\n"), "{text}");
        assert!(text.contains("\nLATELY\n") && text.ends_with("it was so\n"), "{text}");
    }
}
