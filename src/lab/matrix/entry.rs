//! What a row comes to with the scenes that were played.

use serde::Serialize;

use super::row::{Row, Shown};
use crate::lab::measure::{Measure, Outcome};
use crate::lab::rotations::LOST;

/// How clients' fetches are named among a scene's measurements.
const FETCHES: &str = "client fetches";
/// How those that failed are.
const FAILED: [&str; 3] = ["failed, cached descriptor", "failed, fresh descriptor", LOST];

/// What is known of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::lab) enum Verdict {
    /// The lab has shown it, within all limits.
    Good,
    /// The lab has tried, and a limit was missed or something else went wrong.
    Missed,
    /// The lab has measured, and was told not to judge times.
    NotJudged,
    /// The scene was not played in this run.
    NotPlayed,
    /// It is shown, but not by the lab.
    Elsewhere,
}

/// A row with its figures.
#[derive(Clone, Debug, Serialize)]
pub(in crate::lab) struct Entry {
    /// As in [`Row`].
    pub(super) id: &'static str,
    /// As in [`Row`].
    pub(super) failure: &'static str,
    /// The older system's time, in seconds.
    pub(super) seed_secs: Option<f64>,
    /// What it may take, in seconds.
    pub(super) limit_secs: Option<f64>,
    /// Until clients met nothing of it, in seconds.
    pub(super) clear_secs: Option<f64>,
    /// Until all was as before, in seconds.
    pub(super) mended_secs: Option<f64>,
    /// Clients' fetches meanwhile, and how many of them failed.
    pub(super) fetches: Option<(f64, f64)>,
    /// Where it is shown.
    pub(super) shown: String,
    /// What is known.
    pub(super) verdict: Verdict,
}

impl Entry {
    /// A row after these scenes. `judged`: whether times were.
    pub(super) fn new(row: &Row, outcomes: &[Outcome], judged: bool) -> Self {
        let mut entry = Self {
            id: row.id,
            failure: row.failure,
            seed_secs: row.seed,
            limit_secs: row.limit,
            clear_secs: None,
            mended_secs: None,
            fetches: None,
            shown: String::new(),
            verdict: Verdict::NotPlayed,
        };
        match row.shown {
            Shown::Lab { scene, clear, mended } => {
                let word = scene.word();
                entry.shown = format!("lab: `{word}`");
                let outcome = outcomes.iter().find(|outcome| outcome.scene == word);
                entry.take(outcome, clear, mended, judged);
            }
            Shown::Vm(test, part) => {
                (entry.shown, entry.verdict) =
                    (format!("virtual machine: `{test}`, {part}"), Verdict::Elsewhere);
            }
            Shown::Test(what) => {
                (entry.shown, entry.verdict) = (format!("no whole system: {what}"), Verdict::Elsewhere);
            }
        }
        entry
    }

    /// Takes over what a scene has measured.
    fn take(&mut self, outcome: Option<&Outcome>, clear: &str, mended: Option<&str>, judged: bool) {
        let Some(outcome) = outcome else {
            self.verdict = Verdict::NotPlayed;
            return;
        };
        self.clear_secs = longest(&outcome.measures, clear);
        self.mended_secs = mended.and_then(|mended| longest(&outcome.measures, mended));
        let counted = |what: &str| outcome.measures.iter().find(|it| it.what == what)?.measured;
        self.fetches = counted(FETCHES).map(|all| (all, FAILED.into_iter().filter_map(counted).sum()));
        let in_time = self.clear_secs.is_some_and(|took| {
            self.limit_secs.is_none_or(|limit| took <= limit) && self.seed_secs.is_none_or(|seed| took < seed)
        });
        let whole = self.clear_secs.is_some() && (mended.is_none() || self.mended_secs.is_some());
        self.verdict = match (outcome.ok() && whole, in_time, judged) {
            (true, true, true) => Verdict::Good,
            (true, _, false) => Verdict::NotJudged,
            (false, ..) | (true, false, true) => Verdict::Missed,
        };
    }
}

/// The longest of the measurements that end like this; None if one of them did not come about.
fn longest(measures: &[Measure], end: &str) -> Option<f64> {
    let found = measures.iter().filter(|measure| measure.what.ends_with(end));
    let times: Vec<f64> = found.map(|measure| measure.measured).collect::<Option<_>>()?;
    times.into_iter().reduce(f64::max)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::lab::measure::Bound;
    use crate::lab::scene_name::SceneName;

    const ROW: Row = Row::lab("1", "x", SceneName::Kill, "points gone").seed(30.0).limit(5.0);

    fn outcome(took: Option<u64>) -> Outcome {
        let took = took.map(Duration::from_secs);
        let measures = vec![
            Measure::time("dead points gone", Bound::Happens, took),
            Measure::count(FETCHES, Bound::Shown, 200),
            Measure::count(FAILED[0], Bound::Shown, 2),
            Measure::count(FAILED[1], Bound::Shown, 1),
        ];
        Outcome { scene: "kill".into(), measures, error: None, notes: Vec::new() }
    }

    fn verdict(row: &Row, outcomes: &[Outcome], judged: bool) -> Verdict {
        Entry::new(row, outcomes, judged).verdict
    }

    #[test]
    fn only_a_scene_that_was_played_and_met_everything_makes_a_row_good() {
        assert_eq!(verdict(&ROW, &[outcome(Some(4))], true), Verdict::Good);
        assert_eq!(verdict(&ROW, &[outcome(Some(6))], true), Verdict::Missed);
        assert_eq!(verdict(&ROW, &[outcome(None)], true), Verdict::Missed);
        assert_eq!(verdict(&ROW, &[outcome(Some(4))], false), Verdict::NotJudged);
        assert_eq!(verdict(&ROW, &[], true), Verdict::NotPlayed);
        let broken = Outcome { error: Some("x".into()), ..outcome(Some(4)) };
        assert_eq!(verdict(&ROW, &[broken], true), Verdict::Missed);
        let seed = ROW.limit(9.0).seed(4.0);
        assert_eq!(verdict(&seed, &[outcome(Some(4))], true), Verdict::Missed, "no better than before");
        let other = Row::lab("1", "x", SceneName::Kill, "points back");
        assert_eq!(verdict(&other, &[outcome(Some(4))], true), Verdict::Missed, "nobody measured it");
        assert_eq!(verdict(&ROW.mended("points back"), &[outcome(Some(4))], true), Verdict::Missed);
        for shown in [Shown::Vm("single", "x"), Shown::Test("x")] {
            assert_eq!(verdict(&Row::shown("1", "x", shown), &[outcome(Some(4))], true), Verdict::Elsewhere);
        }
    }

    #[test]
    fn clients_are_counted_together() {
        assert_eq!(Entry::new(&ROW, &[outcome(Some(4))], true).fetches, Some((200.0, 3.0)));
    }
}
