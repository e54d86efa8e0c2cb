//! The table at the end, and the same for machines.

use serde::{Deserialize, Serialize};

use super::matrix::papers::Papers;
use super::measure::Outcome;

/// Version of the JSON; it changes when a key does.
const FORMAT: u32 = 1;

/// What the lab inside hands to the outer process, which writes the files that the user named.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Delivery {
    /// For `--json`.
    pub(super) report: String,
    /// For `--matrix`.
    pub(super) matrix: Option<Papers>,
}

/// Everything that was played.
#[derive(Debug, Serialize)]
pub(super) struct Report<'a> {
    format: u32,
    nodes: u8,
    ok: bool,
    scenes: &'a [Outcome],
}

impl<'a> Report<'a> {
    /// The report of these scenes.
    pub(super) fn new(nodes: u8, scenes: &'a [Outcome]) -> Self {
        Self { format: FORMAT, nodes, ok: scenes.iter().all(Outcome::ok), scenes }
    }

    /// Whether every figure was met.
    pub(super) fn ok(&self) -> bool {
        self.ok
    }

    /// For `--json`.
    pub(super) fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// For people.
    pub(super) fn table(&self) -> String {
        let header = ["", "scene", "what", "expected", "measured"].map(str::to_owned);
        let mut rows = vec![header];
        for outcome in self.scenes {
            for measure in &outcome.measures {
                let mark = if measure.ok { "✓" } else { "✗" };
                rows.push([
                    mark.to_owned(),
                    outcome.scene.clone(),
                    measure.what.clone(),
                    measure.expectation(),
                    measure.measurement(),
                ]);
            }
            for (mark, note) in
                outcome.error.iter().map(|e| ("✗", e)).chain(outcome.notes.iter().map(|n| ("", n)))
            {
                let note = note.lines().next().unwrap_or_default().to_owned();
                rows.push([mark.into(), outcome.scene.clone(), note, String::new(), String::new()]);
            }
        }
        // The notes are long and stand alone in their lines: they do not widen the table.
        let width = |column: usize| {
            let cells = rows.iter().filter(|row| !row[4].is_empty()).map(|row| row[column].chars().count());
            cells.max().unwrap_or(0)
        };
        let widths: [usize; 5] = std::array::from_fn(width);
        let line = |row: &[String; 5]| {
            let cells: Vec<_> =
                row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            cells.join("  ").trim_end().to_owned() + "\n"
        };
        rows.iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::measure::{Bound, Measure};

    #[test]
    fn a_missed_figure_is_seen_in_table_json_and_verdict() {
        let outcome = Outcome {
            scene: "kill".into(),
            measures: vec![
                Measure::count("failed fetches", Bound::AtMost(0.0), 2),
                Measure::count("fetches", Bound::AtLeast(200.0), 201),
            ],
            error: None,
            notes: vec!["2 × no page within 10 s".into()],
        };
        let outcomes = [outcome];
        let report = Report::new(3, &outcomes);
        assert!(!report.ok());
        let json: serde_json::Value = serde_json::from_str(&report.to_json()).unwrap();
        assert_eq!(json["ok"], false);
        assert_eq!(json["scenes"][0]["measures"][0]["expected"]["at_most"], 0.0);
        assert_eq!(json["scenes"][0]["measures"][1]["measured"], 201.0);
        let table = report.table();
        assert_eq!(table.matches('✗').count(), 1, "{table}");
        assert!(table.contains("2 × no page"), "{table}");
    }
}
