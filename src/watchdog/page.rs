//! The status page for people: one document, nothing from anywhere else, no script.

use std::fmt::Write;

use crate::proto::health::part::{Part, Tor};
use crate::proto::health::report::{HealthReport, Stage};
use crate::proto::health::vitals::Answer;

/// What the answer is called in HTTP.
pub(super) const CONTENT_TYPE: &str = "text/html; charset=utf-8";
/// What a browser may load for it: nothing but the style inside.
pub(super) const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";
/// Everything that is drawn the same way.
const STYLE: &str = "\
    body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}\
    h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem}table{border-collapse:collapse;width:100%}\
    th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #ddd;vertical-align:top}\
    .good{color:#176b2c}.fair{color:#8a5a00}.bad{color:#b00020;font-weight:600}\
    @media(prefers-color-scheme:dark){body{color:#ddd;background:#161616}th,td{border-color:#333}\
    .good{color:#6fcf87}.fair{color:#e0b050}.bad{color:#ff7b86}}";

/// The page. Writing to a `String` cannot fail, so results are dropped.
pub(super) fn html(node: &str, report: &HealthReport, now_unix_secs: u64) -> String {
    let mut page = String::new();
    let node = escaped(node);
    let _ = write!(
        page,
        "<!doctype html><html lang=en><head><meta charset=utf-8><meta http-equiv=refresh content=5>\
         <meta name=viewport content=\"width=device-width,initial-scale=1\"><title>{node}: rustbalance</title>\
         <style>{STYLE}</style></head><body><h1>{node}</h1>"
    );
    let tone = if report.alarms() { "bad" } else { tone_of(!report.complaints.is_empty() || report.fenced) };
    let _ = write!(page, "<p class={tone}>{}</p>", escaped(&report.line()));
    complaints(report, &mut page);
    parts(report, &mut page);
    facts(report, now_unix_secs, &mut page);
    past(report, now_unix_secs, &mut page);
    page.push_str("<p>The same for machines: <a href=/metrics>/metrics</a></p></body></html>\n");
    page
}

fn tone_of(troubled: bool) -> &'static str {
    if troubled { "fair" } else { "good" }
}

fn complaints(report: &HealthReport, page: &mut String) {
    if report.complaints.is_empty() {
        return;
    }
    page.push_str("<h2>What fails</h2><table><tr><th>For<th>State<th>What, and what is done");
    for complaint in &report.complaints {
        let (tone, stage) = match complaint.stage {
            Stage::Alarm => ("bad", "needs you"),
            Stage::Treated => ("fair", "being repaired"),
            Stage::Suspected => ("fair", "just begun"),
            Stage::Consequence => ("fair", "a consequence"),
        };
        let text = escaped(&complaint.text);
        let _ = write!(page, "<tr><td>{} s<td class={tone}>{stage}<td>{text}", complaint.lasts_secs);
    }
    page.push_str("</table>");
}

fn parts(report: &HealthReport, page: &mut String) {
    page.push_str("<h2>Parts</h2><table><tr><th>Part<th>Answers<th>Says");
    for part in Part::ALL {
        let (tone, word) = match report.vitals.answer(part) {
            Answer::Unasked => ("fair", "not asked yet"),
            Answer::Answers => ("good", "yes"),
            Answer::Silent => ("bad", "hangs"),
            Answer::Away => ("bad", "is away"),
        };
        let said = match part {
            Part::Tor(tor) => tor_in_words(report, tor),
            Part::Daemon(_) => String::new(),
        };
        let _ = write!(page, "<tr><td>{part}<td class={tone}>{word}<td>{said}");
    }
    page.push_str("</table>");
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

fn facts(report: &HealthReport, now: u64, page: &mut String) {
    page.push_str("<h2>This node</h2><table>");
    let mut fact = |name: &str, value: String| {
        let _ = write!(page, "<tr><th>{name}<td>{value}");
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
        fact("Introduction points", publishing.points.to_string());
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
    page.push_str("</table>");
}

fn past(report: &HealthReport, now: u64, page: &mut String) {
    if report.past.is_empty() {
        return;
    }
    page.push_str("<h2>Lately</h2><table><tr><th>Ago<th>What");
    for deed in report.past.iter().rev() {
        let tone = if deed.alarming { "bad" } else { "plain" };
        let ago = now.saturating_sub(deed.unix_secs);
        let _ =
            write!(page, "<tr><td>{} min {} s<td class={tone}>{}", ago / 60, ago % 60, escaped(&deed.text));
    }
    page.push_str("</table>");
}

/// Text that cannot become anything else: names and reasons come from other programs.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            _ => safe.push(letter),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watchdog::metrics::tests::whole;

    #[test]
    fn it_says_what_fails_and_nothing_in_it_can_be_markup() {
        let page = html("<script>", &whole(), 100);
        assert!(page.contains("the proxy &lt;hangs&gt; &amp; is killed") && page.contains("being repaired"));
        assert!(!page.contains("<script") && page.contains("&lt;script&gt;"), "{page}");
        assert!(!page.contains("http://") && !page.contains("https://") && !page.contains("src="), "{page}");
    }

    #[test]
    fn a_node_that_is_well_says_so() {
        let page = html("alpha", &HealthReport::default(), 100);
        assert!(page.contains("<p class=good>all is well</p>"), "{page}");
    }
}
