//! The laws of the balance, lived through with random loads, failures and recoveries.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use rustbalance::proto::balance::core::{Balance, Standing};
use rustbalance::proto::balance::member::{FIRST_TRIAL, Finding, Limits, MemberId};
use rustbalance::proto::balance::row::SPAN;

const LIMITS: Limits =
    Limits { failures: 3, trial: Duration::from_secs(5), ramp: Duration::from_secs(30), checked: false };

fn balance(weights: &[u32]) -> Balance {
    let mut balance = Balance::default();
    let members: Vec<_> = (0..).map(MemberId).zip(weights.iter().copied()).collect();
    balance.arrange(LIMITS, &members);
    balance
}

fn standing(balance: &Balance, id: MemberId) -> Standing {
    balance.standings().find(|standing| standing.id == id).unwrap()
}

/// Has a member found ill, with dials that take no time; gives when it is.
fn eject(balance: &mut Balance, id: MemberId, now: Instant) -> Instant {
    for failure in 0..LIMITS.failures {
        assert!(standing(balance, id).well);
        let now = now + SPAN * failure / (LIMITS.failures - 1);
        balance.note(id, Finding::Missed, now, now);
    }
    assert!(!standing(balance, id).well);
    now + SPAN
}

/// A dial that took no time.
fn end_of_dial(balance: &mut Balance, id: MemberId, answers: bool, now: Instant) {
    balance.note(id, if answers { Finding::Reached } else { Finding::Missed }, now, now);
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
        let Some(before) = self.balance.standings().find(|standing| standing.id == id) else {
            return;
        };
        if self.balance.pick_one(id, self.now).is_some() {
            self.tried(before);
            self.end_of_dial(id, answers);
        }
    }

    /// Each trial waits twice as long as the one before, up to the interval.
    fn tried(&mut self, before: Standing) {
        if !before.well {
            let trials = self.trials.entry(before.id).or_default();
            if let Some(last) = trials.last() {
                let pause =
                    LIMITS.trial.min(FIRST_TRIAL * 2_u32.pow(trials.len().min(9).try_into().unwrap()));
                assert!(self.now - *last >= pause, "{:?} was tried too soon after {trials:?}", before.id);
            }
            trials.push(self.now);
        }
    }

    fn end_of_dial(&mut self, id: MemberId, answers: bool) {
        end_of_dial(&mut self.balance, id, answers, self.now);
        if standing(&self.balance, id).well {
            self.trials.remove(&id);
        }
    }

    /// One connection, falling over from target to target.
    fn connect(&mut self, failing: u16, lasts: bool) {
        let mut failed = Vec::new();
        loop {
            let before: Vec<_> = self.balance.standings().collect();
            let untried_well = before.iter().any(|one| one.well && !failed.contains(&one.id));
            let Some(pick) = self.balance.pick(&failed, self.now) else {
                assert!(!untried_well, "one is well and was not picked");
                return;
            };
            assert!(!failed.contains(&pick.id), "it had failed this very connection");
            let before = *before.iter().find(|standing| standing.id == pick.id).unwrap();
            assert!(before.well && !pick.trial, "an ejected one");
            assert_eq!(standing(&self.balance, pick.id).outstanding, before.outstanding + 1);
            let answers = failing & (1 << pick.id.0) == 0;
            self.end_of_dial(pick.id, answers);
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
        now = eject(&mut balance, ill, now);
        let got = passing(&mut balance, load, now);
        prop_assert_eq!(got.get(&ill), None);
        now += LIMITS.trial;
        prop_assert!(balance.pick_one(ill, now).is_some_and(|pick| pick.trial));
        end_of_dial(&mut balance, ill, true, now);
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

const ONE: MemberId = MemberId(0);
const TWO: MemberId = MemberId(1);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn three_failures_in_a_row_that_lasts_are_an_illness_and_one_success_is_the_cure() {
    let (mut balance, begin) = (balance(&[1]), Instant::now());
    for (at, answers) in [(0, false), (600, false), (700, true), (800, false), (1700, false)] {
        end_of_dial(&mut balance, ONE, answers, begin + ms(at));
        assert!(standing(&balance, ONE).well);
    }
    // Three by now, but within less than a second, whatever else happens later.
    end_of_dial(&mut balance, ONE, false, begin + ms(1799));
    balance.note(ONE, Finding::Spoke, begin, begin + ms(5000));
    assert!(standing(&balance, ONE).well);
    let now = begin + ms(6000);
    end_of_dial(&mut balance, ONE, false, now);
    assert!(!standing(&balance, ONE).well);
    assert_eq!(balance.until_trial(ONE, now), Some(FIRST_TRIAL));
    end_of_dial(&mut balance, ONE, true, now);
    assert_eq!((standing(&balance, ONE).well, balance.until_trial(ONE, now)), (true, None));
}

#[test]
fn where_one_failure_is_enough_it_does_not_have_to_last() {
    let (mut balance, now) = (balance(&[1]), Instant::now());
    balance.arrange(Limits { failures: 1, ..LIMITS }, &[(ONE, 1)]);
    end_of_dial(&mut balance, ONE, false, now);
    assert!(!standing(&balance, ONE).well);
}

#[test]
fn dials_that_began_together_are_one_failure_and_those_begun_a_second_apart_are_not() {
    let (mut together, begin) = (balance(&[1]), Instant::now());
    for began in (0..1000).step_by(50) {
        together.note(ONE, Finding::Missed, begin + ms(began), begin + ms(30_000 + began));
    }
    together.note(ONE, Finding::Missed, begin + ms(500), begin + ms(60_000));
    assert!(standing(&together, ONE).well);

    let mut apart = balance(&[1]);
    for began in [0, 1000, 2000] {
        assert!(standing(&apart, ONE).well);
        apart.note(ONE, Finding::Missed, begin + ms(began), begin + ms(30_000 + began));
    }
    assert!(!standing(&apart, ONE).well);
}

#[test]
fn a_dial_that_began_before_the_last_success_says_nothing() {
    let (mut balance, begin) = (balance(&[1]), Instant::now());
    balance.note(ONE, Finding::Reached, begin + ms(9_000), begin + ms(10_000));
    for began in [0, 2_000, 4_000, 6_000, 9_999] {
        balance.note(ONE, Finding::Missed, begin + ms(began), begin + ms(30_000 + began));
    }
    assert!(standing(&balance, ONE).well);
}

#[test]
fn what_this_node_cannot_do_is_not_held_against_a_member() {
    let (mut balance, mut now) = (balance(&[1]), Instant::now());
    let has_way = |balance: &Balance| balance.standings().all(|standing| standing.has_way);
    for finding in [Finding::Unclear, Finding::NoWay] {
        assert!(has_way(&balance));
        for _ in 0..10 {
            now += SPAN;
            balance.note(ONE, finding, now, now);
            assert!(standing(&balance, ONE).well, "{finding:?}");
        }
    }
    assert!(!has_way(&balance), "but the node may tell the others");
    end_of_dial(&mut balance, ONE, true, now);
    assert!(has_way(&balance));
}

#[test]
fn who_fails_at_once_does_not_draw_everything_to_itself() {
    for finding in [Finding::Missed, Finding::HungUp] {
        let (mut balance, begin) = (balance(&[1, 1]), Instant::now());
        let (mut failed, mut carried) = (0, 0);
        for at in 0..500 {
            let now = begin + ms(at);
            match balance.pick(&[], now).unwrap().id {
                ONE => {
                    balance.note(ONE, finding, now, now);
                    balance.released(ONE);
                    failed += 1;
                }
                _ => carried += 1,
            }
        }
        assert!(failed <= carried + 1, "{finding:?}: {failed} of 500");
        // A second later nothing of it is left.
        let now = begin + ms(1500);
        (0..carried).for_each(|_| balance.released(TWO));
        assert!(is_fair(&with_weights(&[1, 1], &passing(&mut balance, 100, now)), true), "{finding:?}");
    }
}

#[test]
fn who_hangs_up_on_everybody_goes_but_never_the_last_one() {
    let (mut balance, begin) = (balance(&[1, 1]), Instant::now());
    let hang_up = |balance: &mut Balance, id, at: Instant| {
        for later in [0, 500, 1000] {
            balance.note(id, Finding::HungUp, at + ms(later), at + ms(later));
        }
    };
    balance.note(ONE, Finding::HungUp, begin, begin);
    balance.note(ONE, Finding::Spoke, begin, begin + ms(100));
    hang_up(&mut balance, TWO, begin);
    balance.note(ONE, Finding::HungUp, begin + ms(1100), begin + ms(1100));
    assert_eq!((standing(&balance, ONE).well, standing(&balance, TWO).well), (true, false));
    hang_up(&mut balance, ONE, begin + ms(2000));
    assert!(standing(&balance, ONE).well, "whom else should clients go to?");
    // Being reached brings it back: it may be well again. If it is not, it is left alone for longer and longer.
    let mut now = begin + ms(3000);
    for times in 0..3 {
        assert!(balance.pick_one(TWO, now).is_some_and(|pick| pick.trial));
        end_of_dial(&mut balance, TWO, true, now);
        hang_up(&mut balance, TWO, now);
        now += ms(1000);
        assert!(!standing(&balance, TWO).well);
        assert_eq!(balance.until_trial(TWO, now), Some(FIRST_TRIAL * 2 * 2_u32.pow(times)));
        now += LIMITS.trial;
    }
}

#[test]
fn where_all_are_out_all_are_refused_and_only_trials_find_out_whenever_they_are_due() {
    let (mut balance, now) = (balance(&[1, 5]), Instant::now());
    eject(&mut balance, ONE, now);
    let mut now = eject(&mut balance, TWO, now);
    assert_eq!(balance.pick(&[], now), None);
    for pause in [250, 500, 1000, 2000, 4000, 5000, 5000] {
        assert_eq!(balance.until_trial(ONE, now), Some(ms(pause)));
        now += ms(pause - 1);
        assert_eq!(balance.pick_one(ONE, now), None);
        now += ms(1);
        assert_eq!(balance.pick(&[], now), None, "a client's connection is no trial");
        for id in [ONE, TWO] {
            assert!(balance.pick_one(id, now).unwrap().trial);
            assert_eq!(balance.pick_one(id, now), None, "one at a time");
        }
    }
}

#[test]
fn a_trial_that_is_given_up_is_due_again_at_once() {
    let (mut balance, now) = (balance(&[1]), Instant::now());
    let now = eject(&mut balance, ONE, now) + FIRST_TRIAL;
    for _ in 0..3 {
        assert!(balance.pick_one(ONE, now).unwrap().trial);
        assert_eq!(balance.pick_one(ONE, now), None);
        balance.untried(ONE, now);
    }
    assert!(balance.pick_one(ONE, now).unwrap().trial);
    assert_eq!(balance.until_trial(ONE, now), Some(FIRST_TRIAL * 2), "as if there had been no other");
    // Who is in needs no trial.
    end_of_dial(&mut balance, ONE, true, now);
    balance.untried(ONE, now);
    assert_eq!(balance.until_trial(ONE, now), None);
}

#[test]
fn where_probes_ask_only_they_say_who_is_well() {
    let (mut balance, mut now) = (balance(&[1, 1]), Instant::now());
    balance.arrange(Limits { checked: true, ..LIMITS }, &[(ONE, 1), (TWO, 1)]);
    for _ in 0..LIMITS.failures {
        assert!(standing(&balance, ONE).well);
        now += SPAN;
        // Clients reach it all the time.
        balance.note(ONE, Finding::Reached, now, now);
        balance.note(ONE, Finding::Flunked, now, now);
    }
    assert!(!standing(&balance, ONE).well);
    now = eject(&mut balance, TWO, now) + LIMITS.trial;
    for id in [ONE, TWO] {
        assert!(balance.pick_one(id, now).unwrap().trial);
        balance.note(id, Finding::Reached, now, now);
        assert!(!standing(&balance, id).well);
        balance.note(id, Finding::Passed, now, now);
        assert!(standing(&balance, id).well);
    }
    // Without probes, being reached is enough again.
    balance.note(ONE, Finding::Flunked, now, now);
    now = eject(&mut balance, ONE, now);
    balance.arrange(LIMITS, &[(ONE, 1), (TWO, 1)]);
    balance.note(ONE, Finding::Reached, now, now);
    assert!(standing(&balance, ONE).well);
}

#[test]
fn a_connection_that_is_there_is_used_again_unless_its_member_is_out_and_another_is_not() {
    let (mut balance, now) = (balance(&[1, 1]), Instant::now());
    assert!(balance.take_again(ONE));
    assert_eq!(standing(&balance, ONE).outstanding, 1);
    let now = eject(&mut balance, ONE, now);
    assert!(!balance.take_again(ONE) && balance.take_again(TWO));
    eject(&mut balance, TWO, now);
    assert!(balance.take_again(ONE));
    assert_eq!(standing(&balance, ONE).outstanding, 2);
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
    let now = eject(&mut balance, MemberId(1), now);
    let held = balance.pick(&[], now).unwrap().id;
    balance.arrange(LIMITS, &[(MemberId(7), 1), (MemberId(1), 9), (held, 2)]);
    let known: Vec<_> =
        balance.standings().map(|one| (one.id, one.weight, one.well, one.outstanding)).collect();
    assert_eq!(known, [(MemberId(7), 1, true, 0), (MemberId(1), 9, false, 0), (held, 2, true, 1)]);
    // Whose connections outlive it, nobody misses.
    balance.released(MemberId(2));
    balance.note(MemberId(2), Finding::Missed, now, now);
    balance.untried(MemberId(2), now);
    assert_eq!(balance.standings().count(), 3);
}
