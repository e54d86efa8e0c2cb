//! The laws of the balance, lived through with random loads, failures and recoveries.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use rustbalance::proto::balance::core::{Balance, Standing};
use rustbalance::proto::balance::member::{Limits, MemberId};

const LIMITS: Limits = Limits { failures: 3, trial: Duration::from_secs(5), ramp: Duration::from_secs(30) };

fn balance(weights: &[u32]) -> Balance {
    let mut balance = Balance::default();
    let members: Vec<_> = (0..).map(MemberId).zip(weights.iter().copied()).collect();
    balance.arrange(LIMITS, &members);
    balance
}

fn standing(balance: &Balance, id: MemberId) -> Standing {
    balance.standings().find(|standing| standing.id == id).unwrap()
}

fn eject(balance: &mut Balance, id: MemberId, now: Instant) {
    for _ in 0..LIMITS.failures {
        balance.failed(id, now);
    }
    assert!(!standing(balance, id).well);
}

fn end_of_dial(balance: &mut Balance, id: MemberId, answers: bool, now: Instant) {
    if answers {
        balance.succeeded(id, now);
    } else {
        balance.failed(id, now);
    }
}

/// Whether nobody has more than one connection above what its weight, compared to anybody else's, allows; where there is a
/// past, the last turn of that counts, too.
fn is_fair(got: &[(u32, u64)], past: bool) -> bool {
    got.iter().all(|&(weight, number)| {
        // One in five hundred for rounding.
        let above = number.saturating_sub(1 + number / 500);
        let share = |others| (others + u64::from(past)) * u64::from(weight);
        got.iter().all(|&(other, others)| above * u64::from(other) <= share(others))
    })
}

/// How many of so many connections, which all last, each member gets.
fn lasting(balance: &mut Balance, number: usize, now: Instant) -> BTreeMap<MemberId, u64> {
    let mut got = BTreeMap::new();
    for _ in 0..number {
        *got.entry(balance.pick(&[], now).unwrap().id).or_default() += 1;
    }
    got
}

/// How many of so many connections, one after the other, each member gets.
fn passing(balance: &mut Balance, number: usize, now: Instant) -> BTreeMap<MemberId, u64> {
    let mut got = BTreeMap::new();
    for _ in 0..number {
        let id = balance.pick(&[], now).unwrap().id;
        balance.released(id);
        *got.entry(id).or_default() += 1;
    }
    got
}

fn with_weights(weights: &[u32], got: &BTreeMap<MemberId, u64>) -> Vec<(u32, u64)> {
    let got = |id| got.get(&MemberId(id)).copied().unwrap_or(0);
    (0..).zip(weights).map(|(id, weight)| (*weight, got(id))).collect()
}

/// What can happen.
#[derive(Debug, Clone)]
enum Deed {
    /// A connection, with those of its tries that fail (a bit for each member) and whether it lasts.
    Connect { failing: u16, lasts: bool },
    /// The oldest lasting connection ends.
    End,
    /// A probe of this member, which it answers or not.
    Probe { of: u64, answers: bool },
    /// So many milliseconds pass.
    Pass(u64),
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        4 => (any::<u16>(), any::<bool>()).prop_map(|(failing, lasts)| Deed::Connect { failing, lasts }),
        2 => Just(Deed::End),
        1 => (0_u64..6, any::<bool>()).prop_map(|(of, answers)| Deed::Probe { of, answers }),
        2 => (0_u64..4000).prop_map(Deed::Pass),
    ]
}

/// A balance and what it should know.
struct World {
    balance: Balance,
    now: Instant,
    lasting: Vec<MemberId>,
    trials: BTreeMap<MemberId, Vec<Instant>>,
}

impl World {
    fn live(&mut self, deed: &Deed) {
        match *deed {
            Deed::Pass(ms) => self.now += Duration::from_millis(ms),
            Deed::End if self.lasting.is_empty() => {}
            Deed::End => self.balance.released(self.lasting.remove(0)),
            Deed::Probe { of, answers } => self.probe(MemberId(of), answers),
            Deed::Connect { failing, lasts } => self.connect(failing, lasts),
        }
    }

    fn probe(&mut self, id: MemberId, answers: bool) {
        let Some(before) = self.balance.standings().find(|standing| standing.id == id) else { return };
        if self.balance.may_try(id, self.now) {
            self.tried(before);
            end_of_dial(&mut self.balance, id, answers, self.now);
        }
    }

    fn tried(&mut self, before: Standing) {
        if !before.well {
            self.trials.entry(before.id).or_default().push(self.now);
        }
    }

    /// One connection, falling over from target to target.
    fn connect(&mut self, failing: u16, lasts: bool) {
        let mut failed = Vec::new();
        loop {
            let before: Vec<_> = self.balance.standings().collect();
            let any_well = before.iter().any(|standing| standing.well);
            let untried_well = before.iter().any(|one| one.well && !failed.contains(&one.id));
            let Some(pick) = self.balance.pick(&failed, self.now) else {
                assert!(!untried_well, "one is well and was not picked");
                return;
            };
            assert!(!failed.contains(&pick.id), "it had failed this very connection");
            let before = *before.iter().find(|standing| standing.id == pick.id).unwrap();
            assert!(before.well || !any_well, "an ejected one while another is well");
            assert_eq!(standing(&self.balance, pick.id).outstanding, before.outstanding + 1);
            self.tried(before);
            let answers = failing & (1 << pick.id.0) == 0;
            end_of_dial(&mut self.balance, pick.id, answers, self.now);
            if answers && lasts {
                self.lasting.push(pick.id);
            } else {
                self.balance.released(pick.id);
            }
            if answers {
                return;
            }
            failed.push(pick.id);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn whatever_happens(
        weights in prop::collection::vec(1_u32..=1000, 1..=6),
        deeds in prop::collection::vec(deed(), 0..300),
    ) {
        let mut world = World {
            balance: balance(&weights),
            now: Instant::now(),
            lasting: Vec::new(),
            trials: BTreeMap::new(),
        };
        for deed in &deeds {
            world.live(deed);
            let outstanding: u32 = world.balance.standings().map(|standing| standing.outstanding).sum();
            prop_assert_eq!(outstanding as usize, world.lasting.len(), "every connection is somebody's");
            prop_assert_eq!(world.balance.standings().count(), weights.len());
        }
        for (id, trials) in &world.trials {
            for pair in trials.windows(2) {
                prop_assert!(pair[1] - pair[0] >= LIMITS.trial, "{:?} was tried twice in an interval", id);
            }
        }
    }

    #[test]
    fn weights_are_respected_by_lasting_and_by_passing_connections(
        weights in prop::collection::vec(1_u32..=1000, 1..=6),
        number in 0_usize..3000,
    ) {
        let now = Instant::now();
        let got = lasting(&mut balance(&weights), number, now);
        prop_assert!(is_fair(&with_weights(&weights, &got), false), "lasting: {:?}", got);
        let got = passing(&mut balance(&weights), number, now);
        prop_assert!(is_fair(&with_weights(&weights, &got), false), "passing: {:?}", got);
    }

    #[test]
    fn who_comes_back_begins_with_little_and_gets_its_share_in_the_end(
        weights in prop::collection::vec(1_u32..=20, 2..=6),
        load in 0_usize..500,
    ) {
        let mut balance = balance(&weights);
        let (ill, mut now) = (MemberId(0), Instant::now());
        eject(&mut balance, ill, now);
        let got = passing(&mut balance, load, now);
        prop_assert_eq!(got.get(&ill), None);
        prop_assert!(balance.may_try(ill, now + LIMITS.trial));
        now += LIMITS.trial;
        balance.succeeded(ill, now);
        // At once a tenth of its share, as far as connections are whole.
        let at_first = with_weights(&weights, &passing(&mut balance.clone(), 1000, now));
        let mut scaled = at_first;
        scaled[1..].iter_mut().for_each(|(weight, _)| *weight *= 10);
        prop_assert!(is_fair(&scaled, true), "{:?}", scaled);
        now += LIMITS.ramp;
        for got in [passing(&mut balance.clone(), 1000, now), lasting(&mut balance, 1000, now)] {
            prop_assert!(is_fair(&with_weights(&weights, &got), true), "{:?}", got);
        }
    }
}

#[test]
fn three_failures_in_a_row_are_an_illness_and_one_success_is_the_cure() {
    let (mut balance, one, now) = (balance(&[1]), MemberId(0), Instant::now());
    for answers in [false, false, true, false, false] {
        end_of_dial(&mut balance, one, answers, now);
        assert!(standing(&balance, one).well);
    }
    balance.failed(one, now);
    assert!(!standing(&balance, one).well);
    assert_eq!(balance.until_trial(one, now), Some(LIMITS.trial));
    balance.succeeded(one, now);
    assert_eq!((standing(&balance, one).well, balance.until_trial(one, now)), (true, None));
}

#[test]
fn where_all_are_out_one_trial_each_is_let_through_per_interval() {
    let (mut balance, mut now) = (balance(&[1, 5]), Instant::now());
    eject(&mut balance, MemberId(0), now);
    eject(&mut balance, MemberId(1), now);
    assert_eq!(balance.pick(&[], now), None);
    for _ in 0..3 {
        now += LIMITS.trial;
        let trials: Vec<_> = (0..10).filter_map(|_| balance.pick(&[], now)).map(|pick| pick.id.0).collect();
        assert_eq!(trials.len(), 2);
        assert!(trials.contains(&0) && trials.contains(&1));
        assert!(!balance.may_try(MemberId(0), now), "a probe is a trial like any other");
    }
}

#[test]
fn a_busy_past_is_not_held_against_anybody() {
    let (mut balance, now) = (balance(&[1, 1]), Instant::now());
    let slow = balance.pick(&[], now).unwrap().id;
    // The other one gets everything as long as this one is busy.
    assert_eq!(passing(&mut balance, 500, now), BTreeMap::from([(MemberId(1), 500)]));
    balance.released(slow);
    assert!(is_fair(&with_weights(&[1, 1], &passing(&mut balance, 100, now)), true));
}

#[test]
fn what_is_known_of_who_stays_stays_known() {
    let (mut balance, now) = (balance(&[1, 1, 1]), Instant::now());
    eject(&mut balance, MemberId(1), now);
    let held = balance.pick(&[], now).unwrap().id;
    balance.arrange(LIMITS, &[(MemberId(7), 1), (MemberId(1), 9), (held, 2)]);
    let known: Vec<_> =
        balance.standings().map(|one| (one.id, one.weight, one.well, one.outstanding)).collect();
    assert_eq!(known, [(MemberId(7), 1, true, 0), (MemberId(1), 9, false, 0), (held, 2, true, 1)]);
    // Whose connections outlive it, nobody misses.
    balance.released(MemberId(2));
    balance.failed(MemberId(2), now);
    balance.succeeded(MemberId(2), now);
    assert_eq!(balance.standings().count(), 3);
}
