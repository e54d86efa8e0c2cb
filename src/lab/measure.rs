//! What a scene measures, and what is expected of it.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

/// What a measurement is allowed to be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Bound {
    /// No more than this.
    AtMost(f64),
    /// No less than this.
    AtLeast(f64),
    /// Between these.
    Between(f64, f64),
    /// It came about; when is shown, not judged.
    Happens,
    /// Anything: it is shown, not judged.
    Shown,
}

/// What is counted or timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Unit {
    /// Seconds.
    Seconds,
    /// Things.
    Count,
}

/// One line of the table.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Measure {
    /// What was measured.
    pub(super) what: String,
    /// In what.
    pub(super) unit: Unit,
    /// What it should be.
    pub(super) expected: Bound,
    /// What it was; None when it did not come about in the time that was waited.
    pub(super) measured: Option<f64>,
    /// Whether it is as it should be.
    pub(super) ok: bool,
}

impl Measure {
    /// How long something took, None if it did not happen.
    pub(super) fn time(what: impl Into<String>, expected: Bound, took: Option<Duration>) -> Self {
        Self::new(what.into(), Unit::Seconds, expected, took.map(|took| took.as_secs_f64()))
    }

    /// How many.
    #[allow(clippy::cast_precision_loss)] // counts of fetches, far below 2^52
    pub(super) fn count(what: impl Into<String>, expected: Bound, count: usize) -> Self {
        Self::new(what.into(), Unit::Count, expected, Some(count as f64))
    }

    fn new(what: String, unit: Unit, expected: Bound, measured: Option<f64>) -> Self {
        let ok = match (expected, measured) {
            (Bound::Shown, _) | (Bound::Happens, Some(_)) => true,
            (_, None) => false,
            (Bound::AtMost(most), Some(value)) => value <= most,
            (Bound::AtLeast(least), Some(value)) => value >= least,
            (Bound::Between(least, most), Some(value)) => (least..=most).contains(&value),
        };
        Self { what, unit, expected, measured, ok }
    }

    fn number(&self, value: f64) -> String {
        match self.unit {
            Unit::Seconds => format!("{value:.2} s"),
            Unit::Count => format!("{value:.0}"),
        }
    }

    /// The expectation, for people.
    pub(super) fn expectation(&self) -> String {
        match self.expected {
            Bound::AtMost(most) => format!("≤ {}", self.number(most)),
            Bound::AtLeast(least) => format!("≥ {}", self.number(least)),
            Bound::Between(least, most) => format!("{} – {}", self.number(least), self.number(most)),
            Bound::Happens => "at all".to_owned(),
            Bound::Shown => String::new(),
        }
    }

    /// The measurement, for people.
    pub(super) fn measurement(&self) -> String {
        self.measured.map_or_else(|| "not in time".to_owned(), |value| self.number(value))
    }
}

/// What came out of a scene.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Outcome {
    /// Its name on the command line.
    pub(super) scene: String,
    /// Everything it measured.
    pub(super) measures: Vec<Measure>,
    /// Why it could not be played to its end.
    pub(super) error: Option<String>,
    /// What failed clients were told, each once with its number.
    pub(super) notes: Vec<String>,
}

impl Outcome {
    /// Judges no time by its length any more, only that what was waited for came about.
    pub(super) fn show_times(&mut self) {
        for measure in self.measures.iter_mut().filter(|measure| measure.unit == Unit::Seconds) {
            if measure.expected != Bound::Shown {
                measure.expected = Bound::Happens;
                measure.ok = measure.measured.is_some();
            }
        }
    }

    /// Whether everything was as it should be.
    pub(super) fn ok(&self) -> bool {
        self.error.is_none() && self.measures.iter().all(|measure| measure.ok)
    }
}

impl fmt::Display for Outcome {
    /// The scene in one line, while others are still being played.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.scene, if self.ok() { "ok" } else { "FAILED" })?;
        if let Some(error) = &self.error {
            write!(f, ", {error}")?;
        }
        for measure in self.measures.iter().filter(|measure| !measure.ok) {
            write!(f, "; {}: {} (expected {})", measure.what, measure.measurement(), measure.expectation())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_measure_is_judged_by_its_bound_and_what_did_not_happen_fails() {
        let second = Duration::from_secs(1);
        assert!(Measure::time("x", Bound::AtMost(1.0), Some(second)).ok);
        assert!(!Measure::time("x", Bound::AtMost(0.9), Some(second)).ok);
        assert!(!Measure::time("x", Bound::AtMost(9.0), None).ok);
        assert!(Measure::time("x", Bound::Shown, None).ok);
        assert!(!Measure::count("x", Bound::AtLeast(1.0), 0).ok);
        assert!(!Measure::count("x", Bound::Between(2.0, 3.0), 4).ok);
        assert_eq!(Measure::time("x", Bound::AtMost(2.0), None).measurement(), "not in time");
        assert_eq!(Measure::count("x", Bound::AtMost(0.0), 3).expectation(), "≤ 0");
    }

    #[test]
    fn times_that_are_only_shown_must_still_have_been_taken_and_counts_are_judged() {
        let second = Duration::from_secs(1);
        let judged = |measure| {
            let mut outcome =
                Outcome { scene: "x".into(), measures: vec![measure], error: None, notes: Vec::new() };
            outcome.show_times();
            outcome.ok()
        };
        assert!(judged(Measure::time("x", Bound::AtMost(0.1), Some(second))));
        assert!(!judged(Measure::time("x", Bound::AtMost(0.1), None)));
        assert!(judged(Measure::time("x", Bound::Shown, None)));
        assert!(!judged(Measure::count("x", Bound::AtMost(0.0), 1)));
    }
}
