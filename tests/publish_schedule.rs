//! The schedule of posts: what is posted where, when, and what happens to it on the way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustbalance::proto::onion::blinding::HsBlindId;
use rustbalance::proto::onion::counter::RevisionCounter;
use rustbalance::proto::onion::descriptor::capabilities::Capabilities;
use rustbalance::proto::onion::descriptor::intro_point::IntroPoint;
use rustbalance::proto::onion::hsdir::HsDir;
use rustbalance::proto::onion::identity::HsIdKeypair;
use rustbalance::proto::onion::network::{Slot, SlotKind};
use rustbalance::proto::onion::period::TimePeriod;
use rustbalance::proto::onion::shared_random::SharedRandom;
use rustbalance::proto::publish::exchange::{
    HsDirAnswer, Launch, Material, Post, ScheduleAction, ScheduleEvent,
};
use rustbalance::proto::publish::order::Candidate;
use rustbalance::proto::publish::plan::{Plan, SlotPlan};
use rustbalance::proto::publish::report::{Alarm, HsDirState};
use rustbalance::proto::publish::schedule::Schedule;

/// The wall clock at the start; the counters' epochs are a little before, so that they are quickly reckoned.
/// By then everything that was accepted is read back.
const LOOK_INTERVAL: Duration = Duration::from_secs(46);
const START: u64 = 1_800_000_000;
const REFRESH: Duration = Duration::from_mins(10);
const MS: Duration = Duration::from_millis(1);

fn point(key: u8) -> IntroPoint {
    let mut enc_key = [0; 32];
    enc_key[0] = 9;
    IntroPoint {
        link_specifiers: [&[1, 2, 20][..], &[key; 20]].concat(),
        onion_key: [key; 32],
        auth_key: [key; 32],
        enc_key,
    }
}

/// Two nodes with points at these relays.
fn material(first: &[u8], second: &[u8]) -> Material {
    let candidate = |name: &str, keys: &[u8]| Candidate {
        node: name.parse().unwrap(),
        points: keys.iter().map(|&key| point(key)).collect(),
    };
    Material {
        epoch: 1,
        candidates: vec![candidate("a", first), candidate("b", second)],
        capabilities: Capabilities::default(),
    }
}

fn keys(points: &[IntroPoint]) -> BTreeSet<u8> {
    points.iter().map(|point| point.auth_key[0]).collect()
}

/// A view: period `num` in the first slot at these HSDirs, `num + 1` in the second at those.
fn plan(num: u64, clients_fetch_first: bool, first: &[u8], second: &[u8]) -> Plan {
    let identity = HsIdKeypair::from_seed([1; 32]).unwrap();
    let slot = |which, num, client_fetches, hsdirs: &[u8]| {
        let period = TimePeriod { num, length_minutes: 1440 };
        let slot =
            Slot { which, period, srv: SharedRandom([0; 32]), counter_epoch: START - 100, client_fetches };
        let hsdirs = hsdirs.iter().map(|&id| HsDir { rsa_id: [id; 20], ed_id: [id; 32] }).collect();
        SlotPlan { slot, keys: Arc::new(identity.blind(period).unwrap()), hsdirs, replicas: Vec::new() }
    };
    Plan {
        slots: [
            slot(SlotKind::First, num, clients_fetch_first, first),
            slot(SlotKind::Second, num + 1, !clients_fetch_first, second),
        ],
        relays: (0..200).map(|id| [id; 20]).collect(),
    }
}

/// A schedule and its time.
struct Desk {
    schedule: Schedule,
    start: Instant,
    now: Instant,
}

impl Desk {
    fn new() -> Self {
        let now = Instant::now();
        let mut schedule = Schedule::default();
        schedule.renew_every(REFRESH);
        Self { schedule, start: now, now }
    }

    /// A schedule with a plan (period 10 at HSDirs 1, 2, 3; period 11, for clients, at 3, 4) and material, and its
    /// first posts.
    fn publishing() -> (Self, Vec<Post>) {
        let mut desk = Self::new();
        assert!(desk.plan(plan(10, false, &[1, 2, 3], &[3, 4])).is_empty());
        let posts = desk.order(&[21, 22], &[23]);
        (desk, posts)
    }

    /// The same, and everything is accepted and read back.
    fn settled() -> Self {
        let (mut desk, mut posts) = Self::publishing();
        while !posts.is_empty() {
            posts = posts.iter().flat_map(|post| desk.accept(post)).collect();
        }
        let looked = desk.run(Duration::from_secs(2));
        let (counter, ids) = (desk.held(11, 3), [3, 4]);
        assert_eq!(looked.looks, [(Duration::from_secs(1), ids.to_vec())]);
        for id in ids {
            desk.found(id, 11, counter);
        }
        assert!(desk.states().iter().all(|(_, state)| *state >= HsDirState::Accepted as u8));
        assert_eq!(desk.alarms(), []);
        desk
    }

    fn handle(&mut self, event: ScheduleEvent) -> Vec<ScheduleAction> {
        let unix_secs = START + (self.now - self.start).as_secs();
        let actions = self.schedule.handle(self.now, unix_secs, event);
        assert!(self.schedule.next_timeout().is_none_or(|at| at > self.now), "the shell would spin");
        actions
    }

    fn posts(&mut self, event: ScheduleEvent) -> Vec<Post> {
        self.handle(event)
            .into_iter()
            .filter_map(|action| if let ScheduleAction::Post(post) = action { Some(post) } else { None })
            .collect()
    }

    fn plan(&mut self, plan: Plan) -> Vec<Post> {
        self.posts(ScheduleEvent::Plan(plan))
    }

    fn order(&mut self, first: &[u8], second: &[u8]) -> Vec<Post> {
        self.posts(ScheduleEvent::Material(Some(material(first, second)), Vec::new()))
    }

    fn answer(&mut self, id: u8, answer: HsDirAnswer) -> Vec<ScheduleAction> {
        self.handle(ScheduleEvent::Answer([id; 20], None, answer))
    }

    fn answered(&mut self, id: u8, answer: HsDirAnswer) -> Vec<Post> {
        self.posts(ScheduleEvent::Answer([id; 20], None, answer))
    }

    /// All HSDirs of a post accept it.
    fn accept(&mut self, post: &Post) -> Vec<Post> {
        ids(post).into_iter().flat_map(|id| self.answered(id, HsDirAnswer::Uploaded)).collect()
    }

    fn found(&mut self, id: u8, period: u64, counter: u64) -> Vec<ScheduleAction> {
        self.handle(ScheduleEvent::ReadBack([id; 20], blinded(period), RevisionCounter(counter)))
    }

    /// Lets time pass, timeout by timeout.
    fn run(&mut self, time: Duration) -> Log {
        let end = self.now + time;
        let begin = self.now;
        let mut log = Log::default();
        while let Some(at) = self.schedule.next_timeout().filter(|&at| at <= end) {
            self.now = at;
            for action in self.handle(ScheduleEvent::Timeout) {
                match action {
                    ScheduleAction::Post(post) => log.posts.push((self.now - begin, post)),
                    ScheduleAction::Look(dirs) => {
                        log.looks.push((self.now - begin, dirs.iter().map(|dir| dir.rsa_id[0]).collect()));
                    }
                    ScheduleAction::MetAnotherPublisher => panic!("nobody else publishes"),
                }
            }
        }
        self.now = end;
        log
    }

    fn held(&self, period: u64, id: u8) -> u64 {
        let slots = self.schedule.slots();
        let slot = slots.iter().find(|slot| slot.period == period).unwrap();
        let hsdir = slot.hsdirs.iter().find(|dir| dir.fingerprint.starts_with(&format!("{id:02X}"))).unwrap();
        hsdir.counter.unwrap()
    }

    /// (period, state) of all places.
    fn states(&self) -> Vec<(u64, u8)> {
        let slots = self.schedule.slots();
        slots.iter().flat_map(|slot| slot.hsdirs.iter().map(|dir| (slot.period, dir.state as u8))).collect()
    }

    fn alarms(&self) -> Vec<Alarm> {
        self.schedule.alarms().iter().copied().collect()
    }
}

/// What happened while time passed, and how long after its begin.
#[derive(Default)]
struct Log {
    posts: Vec<(Duration, Post)>,
    looks: Vec<(Duration, Vec<u8>)>,
}

impl Log {
    fn posts(&self) -> Vec<(Duration, u64, Vec<u8>)> {
        self.posts.iter().map(|(at, post)| (*at, post.period.num, ids(post))).collect()
    }
}

fn ids(post: &Post) -> Vec<u8> {
    post.hsdirs.iter().map(|dir| dir.rsa_id[0]).collect()
}

fn shape(posts: &[Post]) -> Vec<(u64, Vec<u8>)> {
    posts.iter().map(|post| (post.period.num, ids(post))).collect()
}

fn blinded(period: u64) -> HsBlindId {
    let identity = HsIdKeypair::from_seed([1; 32]).unwrap();
    identity.hs_id().blind(TimePeriod { num: period, length_minutes: 1440 }).unwrap()
}

#[test]
fn the_clients_descriptor_goes_first_and_no_hsdir_gets_two_at_once() {
    let (mut desk, posts) = Desk::publishing();
    assert_eq!(shape(&posts), [(11, vec![3, 4]), (10, vec![1, 2])]);
    assert_eq!(keys(&posts[0].points), BTreeSet::from([21, 22, 23]));
    assert_eq!(posts[0].keys.id(), blinded(11));
    assert_eq!(desk.answered(4, HsDirAnswer::Uploaded).len(), 0);
    let next = desk.answered(3, HsDirAnswer::Uploaded);
    assert_eq!(shape(&next), [(10, vec![3])]);
    assert!(next[0].counter > posts[1].counter);
    assert_eq!(desk.accept(&next[0]).len() + desk.accept(&posts[1]).len(), 0);
    let log = desk.run(Duration::from_secs(599));
    assert_eq!(log.posts(), []);
    assert!(
        log.looks.iter().all(|(_, ids)| ids.iter().all(|id| [3, 4].contains(id))),
        "only period 11 can be read"
    );
}

#[test]
fn a_change_is_posted_at_once_and_a_burst_goes_out_as_one() {
    let mut desk = Desk::settled();
    let posts = desk.order(&[21, 22], &[]);
    assert_eq!(shape(&posts), [(11, vec![3, 4]), (10, vec![1, 2])]);
    assert_eq!(keys(&posts[0].points), BTreeSet::from([21, 22]));
    desk.now += 100 * MS;
    let rest: Vec<_> = posts.iter().flat_map(|post| desk.accept(post)).collect();
    assert_eq!(shape(&rest), [(10, vec![3])]);
    desk.accept(&rest[0]);
    for burst in 0..10 {
        assert_eq!(shape(&desk.order(&[21, 22, 30 + burst], &[])), []);
    }
    let log = desk.run(450 * MS);
    assert_eq!(log.posts(), [(400 * MS, 11, vec![3, 4]), (400 * MS, 10, vec![1, 2])]);
    assert_eq!(keys(&log.posts[0].1.points), BTreeSet::from([21, 22, 39]));
    // The same material again, in another order, is no change.
    desk.accept(&log.posts[0].1);
    assert_eq!(desk.run(Duration::from_secs(3)).posts.len(), 0);
    assert_eq!(shape(&desk.order(&[39, 22, 21], &[])), []);
}

#[test]
fn silence_is_answered_with_a_higher_counter_and_growing_pauses() {
    let (mut desk, posts) = Desk::publishing();
    desk.answer(4, HsDirAnswer::Uploaded);
    desk.answer(1, HsDirAnswer::Uploaded);
    desk.answer(2, HsDirAnswer::Uploaded);
    let log = desk.run(Duration::from_mins(5));
    let to_3: Vec<_> = log.posts.iter().filter(|(_, post)| ids(post) == [3]).collect();
    // 5 s for the answer and a pause of 0.5 s; meanwhile the other descriptor gets its chance at the same HSDir.
    assert_eq!(to_3[0].0, Duration::from_secs(5));
    assert_eq!(to_3[0].1.period.num, 10);
    for period in [10, 11] {
        let own: Vec<_> = to_3.iter().filter(|(_, post)| post.period.num == period).collect();
        assert!(own.len() >= 4, "given up: {period}");
        assert!(own.is_sorted_by(|a, b| a.1.counter < b.1.counter));
    }
    assert!(to_3.iter().any(|(_, post)| post.period.num == 11 && post.counter > posts[0].counter));
    assert!(to_3.len() < 30, "{} posts to a dead HSDir in five minutes", to_3.len());
    let mut gaps = to_3.windows(2).map(|pair| pair[1].0.saturating_sub(pair[0].0));
    assert!(gaps.all(|gap| gap >= Duration::from_secs(5)), "posted before the answer's time was over");
    assert_eq!(desk.alarms(), [Alarm::HsDirsBehind]);
    // The others were left in peace.
    assert!(log.posts.iter().all(|(_, post)| ids(post) == [3]));
}

#[test]
fn a_rejection_is_cured_by_looking_what_is_there() {
    let (mut desk, posts) = Desk::publishing();
    assert_eq!(shape(&desk.accept(&posts[0])), [(10, vec![3])]);
    let posts = desk.order(&[21], &[]);
    assert_eq!(shape(&posts), [], "within the spacing");
    let log = desk.run(500 * MS);
    assert_eq!(log.posts(), [(500 * MS, 11, vec![3, 4])].map(|(at, p, _)| (at, p, vec![4])));
    let actions = desk.answer(4, HsDirAnswer::Rejected);
    assert!(matches!(&actions[..], [ScheduleAction::Look(dirs)] if dirs[0].rsa_id == [4; 20]));
    // Another publisher got there before us, far ahead.
    let stored = log.posts[0].1.counter.0 + 1_000_000;
    let actions = desk.found(4, 11, stored);
    let [ScheduleAction::MetAnotherPublisher, ScheduleAction::Post(post)] = &actions[..] else {
        panic!("{actions:?}")
    };
    assert_eq!((post.period.num, ids(post), post.counter.0), (11, vec![4], stored + 1));
    assert_eq!(desk.schedule.counters().iter().find(|(period, _)| *period == 11).unwrap().1, stored + 1);
}

#[test]
fn a_rejection_that_cannot_be_looked_into_is_jumped_over() {
    let mut desk = Desk::new();
    desk.plan(plan(10, false, &[1], &[3]));
    // Far above tor's own value, so that time alone does not help.
    let told = vec![(10, 9_000_000_000)];
    let posts = desk.posts(ScheduleEvent::Material(Some(material(&[21], &[])), told));
    desk.accept(&posts[0]);
    let mut counter = posts[1].counter.0;
    assert_eq!((posts[1].period.num, counter), (10, 9_000_000_001));
    // Some seconds of another publisher's clock lie between its counters and ours.
    let stored = counter + 200_000;
    let mut jumps = Vec::new();
    while counter <= stored {
        assert_eq!(desk.answered(1, HsDirAnswer::Rejected).len(), 0);
        let post = std::iter::repeat_with(|| desk.run(100 * MS).posts).find(|posts| !posts.is_empty());
        let (_, post) = &post.unwrap()[0];
        assert_eq!((post.period.num, ids(post)), (10, vec![1]));
        jumps.push(post.counter.0 - counter);
        counter = post.counter.0;
        assert!(jumps.len() < 12, "{jumps:?}");
    }
    assert!(jumps.is_sorted() && jumps[0] > 1000 && jumps.iter().all(|jump| *jump <= 65_537), "{jumps:?}");
}

#[test]
fn under_a_new_lease_everything_is_posted_anew() {
    let mut desk = Desk::settled();
    let again =
        |epoch| ScheduleEvent::Material(Some(Material { epoch, ..material(&[21, 22], &[23]) }), Vec::new());
    let (same, quiet) = (desk.posts(again(1)), desk.run(Duration::from_secs(1)));
    assert!(same.is_empty() && quiet.posts.is_empty());
    let mut periods: Vec<u64> = desk.posts(again(2)).iter().map(|post| post.period.num).collect();
    periods.sort_unstable();
    assert_eq!(periods, [10, 11]);
}

#[test]
fn an_hsdir_that_forgot_or_fell_behind_is_posted_to_again() {
    let mut desk = Desk::settled();
    let (held, log) = (desk.held(11, 3), desk.run(LOOK_INTERVAL));
    assert_eq!(log.looks.iter().map(|(_, ids)| ids.clone()).collect::<Vec<_>>(), [vec![3, 4]]);
    assert_eq!(shape(&desk.answered(4, HsDirAnswer::NotFound)), []);
    assert_eq!(desk.found(3, 11, held - 1).len(), 0);
    let log = desk.run(Duration::from_secs(1));
    assert_eq!(log.posts(), [(500 * MS, 11, vec![3, 4])]);
    assert!(log.posts[0].1.counter.0 > held);
    assert_eq!(keys(&log.posts[0].1.points), BTreeSet::from([21, 22, 23]));
}

#[test]
fn an_hsdir_that_accepts_and_forgets_is_tried_ever_more_slowly() {
    let mut desk = Desk::settled();
    desk.run(LOOK_INTERVAL);
    let mut posts = desk.answered(4, HsDirAnswer::NotFound);
    let mut times = Vec::new();
    while desk.now - desk.start < Duration::from_mins(5) {
        let log = desk.run(Duration::from_secs(1));
        posts.extend(log.posts.into_iter().map(|(_, post)| post));
        for post in std::mem::take(&mut posts) {
            times.push(desk.now);
            desk.accept(&post);
        }
        for (_, ids) in log.looks {
            for id in ids {
                let answer = if id == 4 { HsDirAnswer::NotFound } else { HsDirAnswer::Failed };
                posts.extend(desk.answered(id, answer));
            }
        }
    }
    assert!((4..16).contains(&times.len()), "{} posts in four minutes", times.len());
}

#[test]
fn a_lost_answer_is_found_out_by_looking() {
    let mut desk = Desk::settled();
    // Shortly before everything is read back anyway, HSDir 4 stores what it gets, but its answer is lost.
    desk.run(Duration::from_millis(295_200));
    let posts = desk.order(&[21], &[]);
    for id in [1, 2, 3, 3] {
        desk.answer(id, HsDirAnswer::Uploaded);
    }
    let log = desk.run(Duration::from_millis(5400));
    assert!(log.looks.iter().any(|(at, ids)| *at >= Duration::from_secs(5) && ids.contains(&4)));
    assert_eq!(desk.found(4, 11, posts[0].counter.0).len(), 0);
    assert_eq!(desk.held(11, 4), posts[0].counter.0);
    assert!(!desk.run(Duration::from_mins(1)).posts.iter().any(|(_, post)| ids(post).contains(&4)));
}

#[test]
fn a_rejected_counter_found_at_the_hsdir_is_another_publishers() {
    let mut desk = Desk::settled();
    // Both sides of a partition publish in the same second, and tor's counter is the same for both.
    let posts = desk.order(&[21], &[]);
    let counter = posts[0].counter.0;
    let actions = desk.answer(4, HsDirAnswer::Rejected);
    assert!(matches!(&actions[..], [ScheduleAction::Look(dirs)] if dirs[0].rsa_id == [4; 20]));
    let actions = desk.found(4, 11, counter);
    let [ScheduleAction::MetAnotherPublisher, ScheduleAction::Post(post)] = &actions[..] else {
        panic!("{actions:?}")
    };
    assert_eq!((post.period.num, ids(post), keys(&post.points)), (11, vec![4], BTreeSet::from([21])));
    assert!(post.counter.0 > counter);
}

#[test]
fn an_hsdir_that_rejects_everything_is_tried_ever_more_slowly() {
    let mut desk = Desk::settled();
    let held = desk.held(11, 4);
    let mut actions = desk.handle(ScheduleEvent::Material(Some(material(&[21], &[])), Vec::new()));
    let mut rejections = 0;
    for _ in 0..300 {
        while let Some(action) = actions.pop() {
            match action {
                ScheduleAction::Post(post) => {
                    for id in ids(&post) {
                        rejections += u32::from(id == 4);
                        let answer = if id == 4 { HsDirAnswer::Rejected } else { HsDirAnswer::Uploaded };
                        actions.extend(desk.answer(id, answer));
                    }
                }
                // It gives what it accepted long ago.
                ScheduleAction::Look(_) => actions.extend(desk.found(4, 11, held)),
                ScheduleAction::MetAnotherPublisher => panic!("nobody else publishes"),
            }
            assert!(rejections < 50, "posted without a pause");
        }
        let log = desk.run(Duration::from_secs(1));
        actions.extend(log.posts.into_iter().map(|(_, post)| ScheduleAction::Post(post)));
        actions.extend(log.looks.into_iter().map(|_| ScheduleAction::Look(Vec::new())));
    }
    assert!((5..20).contains(&rejections), "{rejections} posts in five minutes");
}

#[test]
fn an_answer_after_its_time_is_credited_or_doubted() {
    let (mut desk, posts) = Desk::publishing();
    desk.answer(4, HsDirAnswer::Uploaded);
    desk.accept(&posts[1]);
    // HSDir 3 is silent about period 11; at 5 s period 10 gets its turn there.
    let log = desk.run(Duration::from_secs(5));
    assert_eq!(log.posts(), [(Duration::from_secs(5), 10, vec![3])]);
    // This may be the answer to either. Period 10 counts as done, but is posted again to be sure, and 11 is retried.
    assert_eq!(desk.answered(3, HsDirAnswer::Uploaded).len(), 0);
    let log = desk.run(Duration::from_secs(1));
    assert_eq!(log.posts(), [(500 * MS, 11, vec![3])]);
    desk.accept(&log.posts[0].1);
    let log = desk.run(Duration::from_secs(10));
    assert_eq!(log.posts(), [(Duration::from_secs(9), 10, vec![3])]);
    desk.accept(&log.posts[0].1);
    assert_eq!(desk.run(Duration::from_mins(1)).posts.len(), 0);

    // Without a retry under way, a late answer spares it.
    let (mut desk, posts) = Desk::publishing();
    desk.accept(&posts[1]);
    assert_eq!(desk.answered(3, HsDirAnswer::Uploaded).len(), 1);
    desk.answer(3, HsDirAnswer::Uploaded);
    desk.run(Duration::from_secs(5));
    desk.answer(4, HsDirAnswer::Uploaded);
    assert_eq!(desk.run(Duration::from_mins(1)).posts.len(), 0);
}

#[test]
fn standing_down_stops_everything_and_a_new_order_starts_afresh() {
    let (mut desk, posts) = Desk::publishing();
    desk.answer(4, HsDirAnswer::Failed);
    assert_eq!(desk.posts(ScheduleEvent::Material(None, Vec::new())).len(), 0);
    assert_eq!(desk.accept(&posts[0]).len(), 0);
    let log = desk.run(Duration::from_hours(1));
    assert_eq!((log.posts.len(), log.looks.len()), (0, 0));
    assert_eq!(desk.alarms(), []);
    assert!(desk.states().iter().all(|(_, state)| *state == HsDirState::Idle as u8));
    let told = vec![(11, 9_000_000_000), (10, 8_000_000_000), (11, u64::MAX)];
    let posts = desk.posts(ScheduleEvent::Material(Some(material(&[21], &[])), told));
    assert_eq!(shape(&posts), [(11, vec![3, 4]), (10, vec![1, 2])]);
    assert_eq!(posts.iter().map(|post| post.counter.0).collect::<Vec<_>>(), [9_000_000_001, 8_000_000_001]);
}

#[test]
fn no_points_never_means_an_empty_descriptor() {
    let mut desk = Desk::settled();
    assert_eq!(desk.order(&[], &[]).len(), 0);
    assert_eq!(desk.alarms(), [Alarm::AllPointsGone]);
    // The old content goes on, also into a period that begins meanwhile.
    let posts = desk.plan(plan(11, true, &[3, 4], &[5, 6]));
    assert_eq!(shape(&posts), [(12, vec![5, 6])]);
    assert_eq!(keys(&posts[0].points), BTreeSet::from([21, 22, 23]));
    assert_eq!(desk.alarms(), [Alarm::AllPointsGone]);
    desk.accept(&posts[0]);
    let posts = desk.order(&[40], &[]);
    let log = desk.run(500 * MS);
    let all: Vec<_> = posts.into_iter().chain(log.posts.into_iter().map(|(_, post)| post)).collect();
    assert_eq!(shape(&all), [(11, vec![3, 4]), (12, vec![5, 6])]);
    assert!(all.iter().all(|post| keys(&post.points) == BTreeSet::from([40])));
    assert_eq!(desk.alarms(), []);
}

#[test]
fn points_at_relays_that_stopped_running_leave_the_descriptor() {
    let mut desk = Desk::settled();
    let mut view = plan(10, false, &[1, 2, 3], &[3, 4]);
    view.relays.remove(&[22; 20]);
    let posts = desk.plan(view);
    assert_eq!(shape(&posts), [(11, vec![3, 4]), (10, vec![1, 2])]);
    assert_eq!(keys(&posts[0].points), BTreeSet::from([21, 23]));
}

#[test]
fn nothing_to_publish_is_an_alarm_after_two_minutes() {
    let mut desk = Desk::new();
    desk.plan(plan(10, false, &[1], &[2]));
    desk.order(&[], &[]);
    desk.run(Duration::from_secs(119));
    assert_eq!(desk.alarms(), []);
    desk.run(Duration::from_secs(1));
    assert_eq!(desk.alarms(), [Alarm::NothingToPublish]);
    assert_eq!(shape(&desk.order(&[21], &[])), [(11, vec![2]), (10, vec![1])]);
    assert_eq!(desk.alarms(), []);
}

#[test]
fn alarms_come_when_hsdirs_stay_behind_and_go_when_they_follow() {
    let (mut desk, _) = Desk::publishing();
    desk.run(Duration::from_secs(59));
    assert_eq!(desk.alarms(), []);
    desk.run(Duration::from_secs(1));
    assert_eq!(desk.alarms(), [Alarm::HsDirsBehind]);
    desk.run(Duration::from_mins(2));
    assert_eq!(desk.alarms(), [Alarm::HsDirsBehind, Alarm::Nowhere], "none has it");
    desk.run(Duration::from_mins(12));
    assert_eq!(desk.alarms(), [Alarm::HsDirsBehind, Alarm::Nowhere, Alarm::Stale]);
    for _ in 0..200 {
        for id in 1..5 {
            desk.answer(id, HsDirAnswer::Uploaded);
        }
        desk.run(Duration::from_secs(1));
    }
    assert_eq!(desk.alarms(), []);
}

#[test]
fn everything_is_renewed_now_and_then() {
    let mut desk = Desk::settled();
    let counters = desk.schedule.counters();
    desk.run(Duration::from_secs(597));
    let log = desk.run(Duration::from_secs(2));
    assert_eq!(
        log.posts.iter().map(|(_, post)| (post.period.num, ids(post))).collect::<Vec<_>>(),
        [(11, vec![3, 4]), (10, vec![1, 2])]
    );
    assert!(desk.schedule.counters().iter().zip(counters).all(|(new, old)| new.1 > old.1));
}

#[test]
fn the_rotation_moves_a_descriptor_and_begins_another() {
    let mut desk = Desk::settled();
    let held = desk.held(11, 3);
    // Period 11 becomes the first slot; its ring has changed by one relay, as it may at any consensus.
    let posts = desk.plan(plan(11, true, &[3, 7], &[1, 8]));
    assert_eq!(shape(&posts), [(11, vec![7]), (12, vec![1, 8])]);
    assert!(posts[0].counter.0 > held);
    assert_eq!(desk.held(11, 3), held, "what 3 has is right and stays");
    for post in &posts {
        assert!(desk.accept(post).is_empty());
    }
    // Clients begin to fetch period 12: it can be read back from now on.
    assert_eq!(desk.plan(plan(11, false, &[3, 7], &[1, 8])).len(), 0);
    let log = desk.run(Duration::from_secs(2));
    assert!(log.looks.iter().any(|(_, ids)| *ids == [1, 8]), "{:?}", log.looks);
    let periods: Vec<_> = desk.schedule.counters().iter().map(|(period, _)| *period).collect();
    assert_eq!(periods, [10, 11, 12]);
}

#[test]
fn an_hsdir_unknown_to_our_tor_does_not_hold_up_the_others() {
    let (mut desk, posts) = Desk::publishing();
    let launch = Launch::UnknownHsDir([4; 20]);
    let again = desk.posts(ScheduleEvent::PostLaunched(posts[0].id(), launch));
    assert_eq!(shape(&again), [(11, vec![3])]);
    assert!(again[0].counter > posts[0].counter);
    assert!(!desk.run(Duration::from_secs(30)).posts.iter().any(|(_, post)| ids(post).contains(&4)));
    // The next consensus may know it.
    let posts = desk.plan(plan(10, false, &[1, 2, 3], &[3, 4]));
    assert!(posts.iter().any(|post| (post.period.num, ids(post)) == (11, vec![4])));
}

#[test]
fn a_refused_descriptor_is_an_alarm_and_is_tried_again() {
    let (mut desk, posts) = Desk::publishing();
    desk.handle(ScheduleEvent::PostLaunched(posts[0].id(), Launch::Refused));
    assert_eq!(desk.alarms(), [Alarm::NotBuilt]);
    let log = desk.run(Duration::from_secs(1));
    assert!(
        log.posts.iter().any(|(at, post)| *at == 500 * MS && post.period.num == 11 && ids(post).contains(&4))
    );
    desk.handle(ScheduleEvent::PostLaunched(log.posts[0].1.id(), Launch::Launched));
    assert_eq!(desk.alarms(), []);
}

#[test]
fn posts_lost_with_the_uploading_tor_are_repeated_by_the_next() {
    let (mut desk, posts) = Desk::publishing();
    desk.answer(4, HsDirAnswer::Uploaded);
    assert_eq!(desk.posts(ScheduleEvent::UploaderLost).len(), 0);
    let log = desk.run(Duration::from_mins(1));
    assert_eq!((log.posts.len(), log.looks.len()), (0, 0), "there is nobody to post through");
    let again = desk.plan(plan(10, false, &[1, 2, 3], &[3, 4]));
    assert_eq!(shape(&again), [(11, vec![3]), (10, vec![1, 2])]);
    assert!(again[0].counter > posts[0].counter && again[1].counter > posts[1].counter);
}

#[test]
fn failures_of_everything_suggest_that_the_tor_is_cut_off() {
    let (mut desk, _) = Desk::publishing();
    desk.run(Duration::from_secs(4));
    assert!(!desk.schedule.seems_cut_off());
    desk.run(Duration::from_secs(8));
    assert!(desk.schedule.seems_cut_off());
    desk.answer(1, HsDirAnswer::Uploaded);
    assert!(!desk.schedule.seems_cut_off());
}

#[test]
fn a_descriptor_that_clients_cannot_read_is_an_alarm() {
    let mut desk = Desk::settled();
    desk.run(LOOK_INTERVAL);
    desk.answer(3, HsDirAnswer::Unreadable);
    assert_eq!(desk.alarms(), [Alarm::Unreadable]);
    let held = desk.held(11, 4);
    desk.found(4, 11, held);
    assert_eq!(desk.alarms(), []);
}

#[test]
fn a_descriptor_of_another_period_proves_nothing() {
    let mut desk = Desk::settled();
    desk.run(LOOK_INTERVAL);
    assert_eq!(desk.found(3, 12, 5).len(), 0);
    assert_eq!(desk.run(Duration::from_secs(4)).posts.len(), 0);
}

#[test]
fn counters_follow_tors_own() {
    let (desk, posts) = Desk::publishing();
    for post in &posts {
        assert_eq!(post.counter, RevisionCounter::at(&post.keys, START - 100, START));
    }
    drop(desk);
}
