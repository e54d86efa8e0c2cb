//! The matrix as Markdown.

use std::fmt::Write;

use super::entry::{Entry, Verdict};

/// What stands for nothing.
const NOTHING: &str = "";

/// The table, and what its marks mean.
pub(super) fn markdown(entries: &[Entry], nodes: u8) -> String {
    let mut text = format!(
        "{nodes} nodes. Times are from the failure until clients meet nothing of it, and until all is as before.\n\n\
         | | row | failure | before | limit | clear | mended | clients | scene |\n\
         |---|---|---|---|---|---|---|---|---|\n"
    );
    for entry in entries {
        let clients = entry
            .fetches
            .map_or_else(String::new, |(all, failed)| format!("{failed:.0} of {all:.0} fetches failed"));
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {clients} | {} |",
            mark(entry.verdict),
            entry.id,
            entry.failure,
            seconds(entry.seed_secs, 0),
            seconds(entry.limit_secs, 0),
            seconds(entry.clear_secs, 2),
            seconds(entry.mended_secs, 2),
            entry.made,
        );
    }
    let count = |verdict| entries.iter().filter(|entry| entry.verdict == verdict).count();
    let _ = writeln!(
        text,
        "\n✓ {} within their limits, ✗ {} missed, ~ {} measured and not judged, … {} not played.",
        count(Verdict::Good),
        count(Verdict::Missed),
        count(Verdict::NotJudged),
        count(Verdict::NotPlayed),
    );
    text
}

fn mark(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Good => "✓",
        Verdict::Missed => "✗",
        Verdict::NotJudged => "~",
        Verdict::NotPlayed => "…",
    }
}

fn seconds(time: Option<f64>, digits: usize) -> String {
    time.map_or_else(|| NOTHING.to_owned(), |time| format!("{time:.digits$} s"))
}
