//! What a row comes to with the scenes that were played.

use serde::Serialize;

use super::machines::{Machines, Measures};
use super::row::{Made, Row};
use crate::lab::measure::{Measure, Outcome};
use crate::lab::rotations::LOST;

/// How clients' fetches are named among a scene's measurements.
const FETCHES: &str = "client fetches";
/// How those that failed are.
const FAILED: [&str; 3] = ["failed, cached descriptor", "failed, fresh descriptor", LOST];
/// How they are among a test's in machines.
const FAILED_OF_MACHINES: &str = "client fetches that failed";

/// What is known of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::lab) enum Verdict {
    /// It was measured, within all limits.
    Good,
    /// It was tried, and a limit was missed or something else went wrong.
    Missed,
    /// The lab has measured, and was told not to judge times.
    NotJudged,
    /// The scene was not played in this run, or nothing of its machines was handed to it.
    NotPlayed,
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
    /// Where it was made.
    pub(super) made: String,
    /// What is known.
    pub(super) verdict: Verdict,
}

impl Entry {
    /// A row after these scenes and these machines. `judged`: whether the scenes' times were.
    pub(super) fn new(row: &Row, outcomes: &[Outcome], machines: &Machines, judged: bool) -> Self {
        let entry = Self {
            id: row.id,
            failure: row.failure,
            seed_secs: row.seed,
            limit_secs: row.limit,
            clear_secs: None,
            mended_secs: None,
            fetches: None,
            made: match row.made {
                Made::Lab(scene) => format!("`{}`", scene.word()),
                Made::Machines(test) => format!("machines: `{test}`"),
            },
            verdict: Verdict::NotPlayed,
        };
        match row.made {
            Made::Lab(scene) => {
                let outcome = outcomes.iter().find(|outcome| outcome.scene == scene.word());
                outcome.map(|it| entry.clone().of_lab(row, it, judged))
            }
            Made::Machines(test) => machines.of(test).map(|it| entry.clone().of_machines(row, it)),
        }
        .unwrap_or(entry)
    }

    /// With what a scene has measured.
    fn of_lab(mut self, row: &Row, outcome: &Outcome, judged: bool) -> Self {
        let counted = |what: &str| outcome.measures.iter().find(|it| it.what == what)?.measured;
        self.clear_secs = longest(&outcome.measures, row.clear);
        self.mended_secs = row.mended.and_then(|mended| longest(&outcome.measures, mended));
        self.fetches = counted(FETCHES).map(|all| (all, FAILED.into_iter().filter_map(counted).sum()));
        self.verdict = match (outcome.ok() && self.is_whole(row), self.is_in_time(), judged) {
            (true, true, true) => Verdict::Good,
            (true, _, false) => Verdict::NotJudged,
            (false, ..) | (true, false, true) => Verdict::Missed,
        };
        self
    }

    /// With what a test that has passed has measured.
    fn of_machines(mut self, row: &Row, measures: &Measures) -> Self {
        let measured = |what: &str| measures.get(what).copied();
        self.clear_secs = measured(row.clear);
        self.mended_secs = row.mended.and_then(measured);
        self.fetches = measured(FETCHES).zip(measured(FAILED_OF_MACHINES));
        self.verdict = if self.is_whole(row) && self.is_in_time() { Verdict::Good } else { Verdict::Missed };
        self
    }

    /// Whether all was measured that the row names.
    fn is_whole(&self, row: &Row) -> bool {
        self.clear_secs.is_some() && (row.mended.is_none() || self.mended_secs.is_some())
    }

    /// Whether it took no longer than it may, and all of it less than it once took.
    fn is_in_time(&self) -> bool {
        let took_in_all = self.clear_secs.into_iter().chain(self.mended_secs).reduce(f64::max);
        self.clear_secs.is_some_and(|took| self.limit_secs.is_none_or(|limit| took <= limit))
            && took_in_all.is_some_and(|took| self.seed_secs.is_none_or(|seed| took < seed))
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
        Entry::new(row, outcomes, &Machines::default(), judged).verdict
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
        let mut late = outcome(Some(4));
        late.measures.push(Measure::time("points back", Bound::Happens, Some(Duration::from_secs(31))));
        assert_eq!(
            verdict(&ROW.mended("points back"), &[late], true),
            Verdict::Missed,
            "the seed's time is for all"
        );
    }

    #[test]
    fn a_test_in_machines_makes_a_row_good_with_what_it_has_measured() {
        let row = Row::machines("1", "x", "clock", "told").limit(5.0);
        let of =
            |row: &Row, measures| Entry::new(row, &[], &Machines::default().with("clock", measures), false);
        let good = of(&row, &[("told", 4.0), (FETCHES, 9.0), (FAILED_OF_MACHINES, 2.0)]);
        assert_eq!(
            (good.verdict, good.clear_secs, good.fetches),
            (Verdict::Good, Some(4.0), Some((9.0, 2.0)))
        );
        assert_eq!(of(&row, &[("told", 6.0)]).verdict, Verdict::Missed);
        assert_eq!(of(&row, &[("untold", 4.0)]).verdict, Verdict::Missed, "nobody measured it");
        assert_eq!(of(&row.mended("right"), &[("told", 4.0)]).verdict, Verdict::Missed);
        assert_eq!(verdict(&row, &[outcome(Some(4))], true), Verdict::NotPlayed);
    }

    #[test]
    fn clients_are_counted_together() {
        assert_eq!(
            Entry::new(&ROW, &[outcome(Some(4))], &Machines::default(), true).fetches,
            Some((200.0, 3.0))
        );
    }
}
