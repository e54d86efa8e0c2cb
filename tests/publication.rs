//! The publisher's mind as a whole: own points, order, tors and coordinator together.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustbalance::proto::onion::counter::RevisionCounter;
use rustbalance::proto::onion::descriptor::capabilities::{Capabilities, FlowControl};
use rustbalance::proto::onion::descriptor::intro_point::IntroPoint;
use rustbalance::proto::onion::hsdir::HsDir;
use rustbalance::proto::onion::identity::HsIdKeypair;
use rustbalance::proto::onion::network::{Slot, SlotKind};
use rustbalance::proto::onion::period::TimePeriod;
use rustbalance::proto::onion::ring::{Replica, RingPlace};
use rustbalance::proto::onion::shared_random::SharedRandom;
use rustbalance::proto::publish::collect::Reading;
use rustbalance::proto::publish::event::{Action, Event, Pace};
use rustbalance::proto::publish::exchange::{HsDirAnswer, Post};
use rustbalance::proto::publish::intro_circuit::{IntroCircuit, IntroCircuits};
use rustbalance::proto::publish::order::{Candidate, Order};
use rustbalance::proto::publish::plan::{Plan, SlotPlan};
use rustbalance::proto::publish::publication::Publication;
use rustbalance::proto::publish::report::{Alarm, Duty, Seat, TorState};
use rustbalance::proto::publish::uplink::TorRole::{self, Serving, Standby};

const START: u64 = 1_800_000_000;
const CAPABILITIES: Capabilities =
    Capabilities { flow_control: Some(FlowControl { versions: 0b110, sendme_inc: 31 }), single_onion: false };

fn points(keys: &[u8]) -> Vec<IntroPoint> {
    let mut enc_key = [0; 32];
    enc_key[0] = 9;
    let point = |&key: &u8| IntroPoint {
        link_specifiers: [&[1, 2, 20][..], &[key; 20]].concat(),
        onion_key: [key; 32],
        auth_key: [key; 32],
        enc_key,
    };
    keys.iter().map(point).collect()
}

fn order(candidates: &[(&str, &[u8])]) -> Event {
    let candidates = candidates
        .iter()
        .map(|(node, keys)| Candidate { node: node.parse().unwrap(), points: points(keys) })
        .collect();
    Event::Order(Some(Order { epoch: 3, candidates, capabilities: None, last_counters: Vec::new() }))
}

/// Clients fetch period 11, which HSDirs 3 and 4 store; period 10 is at 1 and 2.
fn plan() -> Plan {
    let identity = HsIdKeypair::from_seed([1; 32]).unwrap();
    let slot = |which, num, client_fetches, hsdirs: [u8; 2]| {
        let period = TimePeriod { num, length_minutes: 1440 };
        let srv = SharedRandom([0; 32]);
        let slot = Slot { which, period, srv, counter_epoch: START - 100, client_fetches };
        let hsdirs = hsdirs.map(|id| HsDir { rsa_id: [id; 20], ed_id: [id; 32] });
        // Each HSDir stores a replica of its own.
        let replica = |hsdir: &HsDir| Replica {
            place: RingPlace(u32::from(hsdir.rsa_id[0]) * 100),
            hsdirs: vec![(RingPlace(u32::from(hsdir.rsa_id[0]) * 100 + 7), *hsdir)],
        };
        let (replicas, hsdirs) = (hsdirs.iter().map(replica).collect(), hsdirs.into());
        SlotPlan { slot, keys: Arc::new(identity.blind(period).unwrap()), hsdirs, replicas }
    };
    Plan {
        slots: [slot(SlotKind::First, 10, false, [1, 2]), slot(SlotKind::Second, 11, true, [3, 4])],
        relays: (0..=255).map(|id| [id; 20]).collect(),
    }
}

struct Desk {
    publication: Publication,
    start: Instant,
    now: Instant,
}

impl Desk {
    fn new() -> Self {
        let pace = Pace { refresh: Duration::from_mins(10), poll: Duration::from_secs(30) };
        let now = Instant::now();
        Self { publication: Publication::new("me".parse().unwrap(), pace), start: now, now }
    }

    /// Both tors are ready, and this node has introduction points 1 and 2.
    fn ready() -> Self {
        let mut desk = Self::new();
        desk.up(Standby);
        let actions = desk.handle(Event::TorUp(Serving));
        let [Action::ReadOwn(own), Action::ListIntroCircuits, Action::ReadNetwork(Serving, network)] =
            actions[..]
        else {
            panic!("{actions:?}")
        };
        assert!(desk.handle(Event::Network(Serving, network, Some(plan()))).is_empty());
        assert!(desk.own(own, &[1, 2]).is_empty());
        desk
    }

    fn handle(&mut self, event: Event) -> Vec<Action> {
        let unix_secs = START + (self.now - self.start).as_secs();
        let actions = self.publication.handle(self.now, unix_secs, event);
        let next = self.publication.next_timeout();
        assert!(next.is_none_or(|at| at > self.now), "the shell would spin");
        actions
    }

    fn posts(&mut self, event: Event) -> Vec<(TorRole, Post)> {
        self.handle(event).into_iter().filter_map(post).collect()
    }

    fn up(&mut self, role: TorRole) {
        let actions = self.handle(Event::TorUp(role));
        let Some(Action::ReadNetwork(_, ticket)) = actions.last() else { panic!("{actions:?}") };
        self.handle(Event::Network(role, *ticket, Some(plan())));
    }

    fn own(&mut self, ticket: u64, keys: &[u8]) -> Vec<(TorRole, Post)> {
        self.posts(Event::OwnRead(ticket, Reading::Points(points(keys), CAPABILITIES, START + 190_000)))
    }

    /// The uploading tor says that all HSDirs accepted everything, over and over.
    fn accept_everything(&mut self, role: TorRole) {
        for _ in 0..3 {
            for id in 1..5 {
                self.handle(Event::Answer(role, [id; 20], None, HsDirAnswer::Uploaded));
            }
        }
    }

    /// Lets time pass; gives the looks.
    fn run(&mut self, time: Duration) -> Vec<Action> {
        let end = self.now + time;
        let mut done = Vec::new();
        while let Some(at) = self.publication.next_timeout().filter(|&at| at <= end) {
            self.now = at;
            done.extend(self.handle(Event::Timeout));
        }
        self.now = end;
        done
    }
}

fn post(action: Action) -> Option<(TorRole, Post)> {
    if let Action::Post(role, post) = action { Some((role, post)) } else { None }
}

fn keys(post: &Post) -> BTreeSet<u8> {
    post.points.iter().map(|point| point.auth_key[0]).collect()
}

#[test]
fn points_at_relays_that_no_view_has_any_more_are_counted() {
    let mut desk = Desk::new();
    let Some(Action::ReadOwn(own)) = desk.handle(Event::TorUp(Serving)).into_iter().next() else { panic!() };
    desk.own(own, &[1, 2]);
    assert_eq!(desk.publication.report().points_lost, 0, "no view is known yet");
    let mut desk = Desk::ready();
    let without = |lost: &[u8]| {
        let relays = (0..=255).filter(|id| !lost.contains(id)).map(|id| [id; 20]).collect();
        Plan { relays, ..plan() }
    };
    let mut views = [(Serving, plan()), (Standby, plan())];
    let mut lose = |role, lost: &[u8]| {
        views.iter_mut().filter(|(whose, _)| *whose == role).for_each(|(_, view)| *view = without(lost));
        let mut asked = desk.handle(Event::NewConsensus(role));
        // The serving tor is asked a little later; and each again, as it may learn more.
        asked.extend(desk.run(Duration::from_secs(4)));
        while let Some(action) = asked.pop() {
            let Action::ReadNetwork(role, ticket) = action else { continue };
            let view = views.iter().find(|(whose, _)| *whose == role).map(|(_, view)| view.clone());
            asked.extend(desk.handle(Event::Network(role, ticket, view)));
        }
        desk.publication.report().points_lost
    };
    assert_eq!(lose(Standby, &[1, 2, 3]), 0, "the serving tor knows them");
    assert_eq!(lose(Serving, &[2, 3]), 1);
    assert_eq!(lose(Standby, &[]), 0);
    assert_eq!(desk.publication.report().points_certified_until, Some(START + 190_000));
}

#[test]
fn while_others_publish_the_tor_that_asks_for_this_node_gets_the_clients_descriptor_anew() {
    let mut desk = Desk::new();
    desk.up(Standby);
    let asked = |actions: Vec<Action>| -> Vec<(TorRole, u8)> {
        let look = |action| match action {
            Action::Look(role, hsdirs) => Some((role, hsdirs.into_iter().map(|hsdir| hsdir.rsa_id[0]).sum())),
            _ => None,
        };
        actions.into_iter().filter_map(look).collect()
    };
    // HSDirs 3 and 4 have it, and each is asked in its turn.
    assert_eq!(asked(desk.run(Duration::from_mins(9))), []);
    assert_eq!(
        asked(desk.run(Duration::from_mins(32))),
        [(Standby, 4), (Standby, 3), (Standby, 4), (Standby, 3)]
    );
    desk.handle(Event::TorDown(Standby));
    assert_eq!(asked(desk.run(Duration::from_hours(1))), []);
    // Who publishes looks by itself, at all that have accepted something: here none has.
    desk.up(Standby);
    desk.handle(order(&[("other", &[5])]));
    assert_eq!(asked(desk.run(Duration::from_hours(1))), []);
}

#[test]
fn the_own_points_are_always_the_freshest() {
    let mut desk = Desk::ready();
    // The coordinator is behind by a rotation.
    let posts = desk.posts(order(&[("me", &[91, 92]), ("other", &[5])]));
    assert_eq!(posts.len(), 2);
    assert!(posts.iter().all(|(role, post)| *role == Standby && keys(post) == BTreeSet::from([1, 2, 5])));
    assert!(posts.iter().all(|(_, post)| post.capabilities == CAPABILITIES));
    desk.accept_everything(Standby);

    desk.run(Duration::from_secs(1));
    let actions = desk.handle(Event::Created);
    let [Action::ReadOwn(ticket)] = actions[..] else { panic!("{actions:?}") };
    let posts = desk.own(ticket, &[3, 4]);
    assert!(posts.iter().all(|(_, post)| keys(post) == BTreeSet::from([3, 4, 5])), "{posts:?}");
    assert_eq!(posts.len(), 2);
    let report = desk.publication.report();
    assert_eq!((report.points, report.duty), (points(&[3, 4]), Duty::Publishing { epoch: 3 }));
}

#[test]
fn until_the_own_points_are_read_those_of_the_order_count() {
    // The publisher has restarted, and the uploading tor answers before the serving one.
    let mut desk = Desk::new();
    desk.up(Standby);
    let posts = desk.posts(order(&[("me", &[1, 2]), ("other", &[5])]));
    assert!(posts.iter().all(|(_, post)| keys(post) == BTreeSet::from([1, 2, 5])), "{posts:?}");
    desk.accept_everything(Standby);
    desk.run(Duration::from_secs(1));
    let actions = desk.handle(Event::TorUp(Serving));
    let Action::ReadOwn(ticket) = actions[0] else { panic!("{actions:?}") };
    let posts = desk.own(ticket, &[]);
    assert!(posts.len() == 2 && posts.iter().all(|(_, post)| keys(post) == BTreeSet::from([5])), "{posts:?}");
}

#[test]
fn only_what_every_node_can_do_is_offered() {
    let mut desk = Desk::ready();
    let Event::Order(Some(known)) = order(&[("me", &[]), ("other", &[5])]) else { unreachable!() };
    let others =
        Capabilities { flow_control: Some(FlowControl { versions: 0b10, sendme_inc: 31 }), ..CAPABILITIES };
    for (theirs, offered) in [
        (None, CAPABILITIES),
        (Some(others), others),
        (Some(Capabilities::default()), Capabilities::default()),
    ] {
        let posts = desk.posts(Event::Order(Some(Order { capabilities: theirs, ..known.clone() })));
        assert!(posts.len() == 2 && posts.iter().all(|(_, post)| post.capabilities == offered), "{posts:?}");
        desk.accept_everything(Standby);
        desk.run(Duration::from_secs(1));
    }
}

#[test]
fn a_draining_node_leaves_its_own_points_out() {
    let mut desk = Desk::ready();
    let posts = desk.posts(order(&[("other", &[5])]));
    assert!(posts.iter().all(|(_, post)| keys(post) == BTreeSet::from([5])), "{posts:?}");
    assert_eq!(desk.publication.report().points, points(&[1, 2]), "they are still reported");
}

#[test]
fn a_dead_serving_tor_is_out_of_the_descriptor_in_the_same_instant() {
    let mut desk = Desk::ready();
    desk.posts(order(&[("me", &[]), ("other", &[5])]));
    desk.accept_everything(Standby);
    desk.run(Duration::from_secs(1));
    let posts = desk.posts(Event::TorDown(Serving));
    assert!(posts.len() == 2 && posts.iter().all(|(_, post)| keys(post) == BTreeSet::from([5])), "{posts:?}");
    assert_eq!(desk.publication.report().serving_tor, TorState::Away);
}

#[test]
fn the_serving_tor_uploads_only_while_the_other_cannot() {
    let mut desk = Desk::ready();
    let posts = desk.posts(order(&[("me", &[])]));
    assert_eq!(posts.iter().map(|(role, _)| *role).collect::<Vec<_>>(), [Standby, Standby]);
    let again = desk.posts(Event::TorDown(Standby));
    assert_eq!(again.iter().map(|(role, _)| *role).collect::<Vec<_>>(), [Serving, Serving]);
    assert!(again.iter().zip(&posts).all(|(new, old)| new.1.counter > old.1.counter));
    // What the dead tor's successor says about the old posts means nothing.
    desk.handle(Event::Answer(Standby, [3; 20], None, HsDirAnswer::Uploaded));
    desk.accept_everything(Serving);
    desk.up(Standby);
    desk.run(Duration::from_secs(1));
    let posts = desk.posts(order(&[("me", &[]), ("other", &[6])]));
    assert_eq!(posts.iter().map(|(role, _)| *role).collect::<Vec<_>>(), [Standby, Standby]);

    assert_eq!(desk.posts(Event::TorDown(Standby)).len(), 2);
    desk.handle(Event::TorDown(Serving));
    assert!(desk.publication.report().alarms.contains(&Alarm::NoNetwork));
}

#[test]
fn nothing_is_asked_of_a_tor_in_the_turn_in_which_another_takes_over() {
    let mut desk = Desk::ready();
    desk.posts(order(&[("me", &[]), ("other", &[5])]));
    // The serving tor has relieved the other one, and now dies: its points leave the descriptor.
    desk.run(Duration::from_secs(6));
    desk.accept_everything(Serving);
    desk.run(Duration::from_secs(1));
    let posts = desk.posts(Event::TorDown(Serving));
    assert_eq!(posts.iter().map(|(role, _)| *role).collect::<Vec<_>>(), [Standby, Standby]);
    assert!(posts.iter().all(|(_, post)| keys(post) == BTreeSet::from([5])), "{posts:?}");
}

#[test]
fn a_tor_that_gets_nothing_through_is_relieved_by_the_other() {
    let mut desk = Desk::ready();
    assert_eq!(desk.posts(order(&[("me", &[])])).len(), 2);
    // Nobody answers; after as many silences as there are HSDirs the other tor tries.
    let actions = desk.run(Duration::from_secs(6));
    let roles: Vec<_> = actions
        .iter()
        .filter_map(|action| if let Action::Post(role, _) = action { Some(*role) } else { None })
        .collect();
    assert!(roles.ends_with(&[Serving, Serving]), "{roles:?}");
    desk.accept_everything(Serving);
    // It keeps the task until the next consensus: the other one may still be cut off.
    desk.run(Duration::from_secs(1));
    assert_eq!(desk.posts(order(&[("me", &[]), ("other", &[6])]))[0].0, Serving);
    desk.handle(Event::NewConsensus(Standby));
    desk.accept_everything(Standby);
    desk.run(Duration::from_secs(1));
    assert_eq!(desk.posts(order(&[("me", &[])]))[0].0, Standby);
}

#[test]
fn the_order_outlives_the_coordinator_until_another_publisher_is_met() {
    let mut desk = Desk::ready();
    desk.handle(Event::CoordinatorBack);
    desk.posts(order(&[("me", &[]), ("other", &[5])]));
    desk.accept_everything(Standby);
    desk.handle(Event::CoordinatorAway);
    // Changes of the own points are published.
    desk.run(Duration::from_millis(900));
    let actions = desk.handle(Event::Created);
    let Action::ReadOwn(ticket) = actions[0] else { panic!("{actions:?}") };
    let posts = desk.own(ticket, &[7]);
    assert_eq!(keys(&posts[0].1), BTreeSet::from([5, 7]));
    desk.accept_everything(Standby);
    // Another node has been elected, and its descriptor is newer.
    let blinded = plan().clients_slot().keys.id();
    let looks = desk.run(Duration::from_secs(2));
    assert!(looks.iter().any(|action| matches!(action, Action::Look(Standby, _))), "{looks:?}");
    let newer = RevisionCounter(posts[0].1.counter.0 + 1_000_000);
    assert!(desk.posts(Event::ReadBack(Standby, [3; 20], blinded, newer)).is_empty());
    assert_eq!(desk.publication.report().duty, Duty::Yielded);
    assert!(desk.run(Duration::from_mins(30)).iter().all(|action| !matches!(action, Action::Post(..))));

    // The coordinator returns and orders again: now above the other's counter.
    desk.handle(Event::CoordinatorBack);
    let posts = desk.posts(order(&[("me", &[])]));
    assert!(posts[0].1.counter > newer);
    desk.accept_everything(Standby);
    // With the coordinator there, a newer descriptor is a leftover of the last holder, and is overwritten.
    desk.run(Duration::from_secs(2));
    let newer = RevisionCounter(posts[0].1.counter.0 + 1_000_000);
    let mut actions = desk.handle(Event::ReadBack(Standby, [3; 20], blinded, newer));
    actions.extend(desk.run(Duration::from_secs(5)));
    let above = |action: &Action| matches!(action, Action::Post(_, post) if post.counter > newer);
    assert!(actions.iter().any(above), "{actions:?}");
    assert_eq!(desk.publication.report().duty, Duty::Publishing { epoch: 3 });
}

#[test]
fn the_view_is_read_until_it_is_there_and_again_after_each_consensus() {
    let mut desk = Desk::new();
    let actions = desk.handle(Event::TorUp(Standby));
    let [Action::ReadNetwork(Standby, mut ticket)] = actions[..] else { panic!("{actions:?}") };
    for _ in 0..20 {
        assert!(desk.handle(Event::Network(Standby, ticket, None)).is_empty());
        assert_eq!(desk.publication.report().standby_tor, TorState::Connected);
        let before = desk.now;
        desk.now = desk.publication.next_timeout().unwrap();
        assert!(desk.now - before <= Duration::from_secs(5));
        let actions = desk.handle(Event::Timeout);
        let [Action::ReadNetwork(Standby, next)] = actions[..] else { panic!("{actions:?}") };
        ticket = next;
    }
    desk.handle(Event::Network(Standby, ticket, Some(plan())));
    assert_eq!(desk.publication.report().standby_tor, TorState::Ready);
    assert_eq!(desk.publication.report().alarms, []);

    let reads = |actions: &[Action]| {
        actions.iter().filter(|action| matches!(action, Action::ReadNetwork(Standby, _))).count()
    };
    let actions = desk.handle(Event::NewConsensus(Standby));
    let [Action::ReadNetwork(Standby, ticket)] = actions[..] else { panic!("{actions:?}") };
    // While a read is under way no other begins; an answer that never comes is given up in the end.
    assert_eq!(reads(&desk.run(Duration::from_secs(119))), 0);
    assert_eq!(reads(&desk.run(Duration::from_secs(1))), 1);
    desk.handle(Event::Network(Standby, ticket, None));
    desk.handle(Event::Network(Standby, ticket + 1, Some(plan())));
    assert_eq!(reads(&desk.run(Duration::from_hours(2))), 0);
    desk.handle(Event::TorDown(Standby));
    assert_eq!(desk.publication.report().alarms, [Alarm::NoNetwork]);
}

#[test]
fn the_view_of_a_tor_that_has_just_come_is_read_again() {
    // It may be learning about relays still, and the ring is only right with all of them.
    let mut desk = Desk::new();
    desk.up(Standby);
    let mut reads = Vec::new();
    while let Some(at) =
        desk.publication.next_timeout().filter(|at| *at < desk.start + Duration::from_hours(2))
    {
        desk.now = at;
        for action in desk.handle(Event::Timeout) {
            let Action::ReadNetwork(role, ticket) = action else { continue };
            reads.push((desk.now - desk.start).as_secs());
            desk.handle(Event::Network(role, ticket, Some(plan())));
        }
    }
    assert_eq!(reads, [2, 15, 120]);
}

#[test]
fn another_pace_counts_at_once() {
    let mut desk = Desk::ready();
    desk.handle(order(&[("me", &[1, 2])]));
    desk.accept_everything(Standby);
    desk.run(Duration::from_secs(100));
    let done = |actions: &[Action]| {
        let posts = actions.iter().filter(|action| matches!(action, Action::Post(..))).count();
        (posts, actions.iter().filter(|action| matches!(action, Action::ReadOwn(_))).count())
    };
    // A minute is over already, so both descriptors are renewed now.
    let actions =
        desk.handle(Event::Pace(Pace { refresh: Duration::from_mins(1), poll: Duration::from_secs(5) }));
    assert!(done(&actions).0 > 0, "{actions:?}");
    desk.accept_everything(Standby);
    let (posts, reads) = done(&desk.run(Duration::from_secs(59)));
    assert_eq!(posts, 0);
    assert!(reads > 0);
    assert!(done(&desk.run(Duration::from_secs(2))).0 > 0);
}

#[test]
fn lost_events_lead_to_reading_everything_anew() {
    let mut desk = Desk::ready();
    let actions = desk.handle(Event::EventsMissed(Standby));
    assert!(matches!(actions[..], [Action::ReadNetwork(Standby, _)]), "{actions:?}");
    let actions = desk.handle(Event::EventsMissed(Serving));
    assert!(matches!(actions[..], [Action::ReadOwn(_), Action::ListIntroCircuits]), "{actions:?}");
    let actions = desk.run(Duration::from_secs(4));
    assert!(actions.iter().any(|action| matches!(action, Action::ReadNetwork(Serving, _))), "{actions:?}");
}

fn published(desk: &Desk) -> Vec<String> {
    desk.publication.report().published.iter().map(ToString::to_string).collect()
}

#[test]
fn a_node_is_published_once_all_hsdirs_have_its_points_and_until_all_have_others() {
    let mut desk = Desk::ready();
    desk.posts(order(&[("me", &[]), ("other", &[5])]));
    assert_eq!(published(&desk), [] as [&str; 0], "nobody has answered");
    desk.accept_everything(Standby);
    assert_eq!(published(&desk), ["me", "other"]);
    desk.run(Duration::from_secs(1));
    desk.posts(order(&[("me", &[]), ("third", &[6])]));
    desk.run(Duration::from_secs(1));
    assert_eq!(published(&desk), ["me", "other"], "HSDirs may still give the old one out");
    desk.accept_everything(Standby);
    assert_eq!(published(&desk), ["me", "third"]);
    desk.posts(Event::Order(None));
    assert_eq!(published(&desk), [] as [&str; 0], "another node publishes");
}

#[test]
fn the_report_tells_where_the_descriptor_and_its_hsdirs_lie_and_whose_points_are_in_it() {
    let mut desk = Desk::ready();
    let clients = |desk: &Desk| {
        let slots = desk.publication.report().slots;
        slots.into_iter().find(|slot| slot.client_fetches).unwrap()
    };
    assert!(clients(&desk).points_by_node.is_empty(), "nothing is published");
    desk.posts(order(&[("me", &[]), ("none", &[]), ("other", &[5, 6])]));
    let slot = clients(&desk);
    let whose: Vec<_> =
        slot.points_by_node.iter().map(|(node, points)| (node.to_string(), *points)).collect();
    let own = desk.publication.report().points.len();
    assert_eq!(whose, [("me".to_owned(), own), ("other".to_owned(), 2)], "none has none");
    assert_eq!(whose.iter().map(|(_, points)| points).sum::<usize>(), slot.points);
    assert_eq!(slot.replicas, [RingPlace(300), RingPlace(400)]);
    let seats: Vec<_> = slot.hsdirs.iter().map(|hsdir| hsdir.seat.unwrap()).collect();
    let seat = |replica, place| Seat { replica, place: RingPlace(place) };
    assert_eq!(seats, [seat(1, 307), seat(2, 407)]);
}

#[test]
fn an_hsdir_that_never_answers_is_not_waited_for_for_ever() {
    let mut desk = Desk::ready();
    desk.posts(order(&[("me", &[]), ("other", &[5])]));
    for _ in 0..3 {
        // HSDir 3 stores what clients fetch.
        for id in [1, 2, 4] {
            desk.handle(Event::Answer(Standby, [id; 20], None, HsDirAnswer::Uploaded));
        }
    }
    desk.run(Duration::from_secs(4));
    assert_eq!(published(&desk), [] as [&str; 0]);
    desk.run(Duration::from_mins(1));
    assert_eq!(published(&desk), ["me", "other"]);
}

#[test]
fn a_muted_node_withdraws_its_points_and_closes_the_way_to_them() {
    let circuit = |id: &str, last: u8| IntroCircuit { id: id.to_owned(), path: vec![[9; 20], [last; 20]] };
    let closed = |actions: Vec<Action>| -> Vec<String> {
        let id = |action| if let Action::CloseCircuit(id) = action { Some(id) } else { None };
        actions.into_iter().filter_map(id).collect()
    };
    let mut desk = Desk::ready();
    desk.posts(order(&[("me", &[]), ("other", &[5])]));
    desk.accept_everything(Standby);
    desk.run(Duration::from_secs(1));
    let actions = desk.handle(Event::Mute(true));
    assert!(actions.iter().any(|action| matches!(action, Action::ListIntroCircuits)), "{actions:?}");
    let posts = actions
        .into_iter()
        .filter_map(|action| if let Action::Post(_, post) = action { Some(post) } else { None });
    assert!(posts.map(|post| keys(&post)).all(|keys| keys == BTreeSet::from([5])));
    let report = desk.publication.report();
    assert!(report.muted && report.points.is_empty());
    let all = IntroCircuits { established: vec![circuit("3", 1)], building: vec![circuit("4", 2)] };
    assert_eq!(closed(desk.handle(Event::IntroCircuits(all))), ["3", "4"]);
    assert_eq!(closed(desk.handle(Event::IntroBuilding(circuit("5", 7)))), ["5"], "tor builds them again");
    assert_eq!(closed(desk.handle(Event::IntroEstablished(circuit("6", 2)))), ["6"], "clients know relay 2");
    desk.run(Duration::from_secs(11));
    assert_eq!(closed(desk.handle(Event::IntroEstablished(circuit("7", 7)))), [] as [&str; 0]);
    let actions = desk.handle(Event::Mute(false));
    assert!(actions.iter().all(|action| matches!(action, Action::Post(..))), "{actions:?}");
    assert_eq!(desk.publication.report().points, [], "tor's answer is from before");
    assert_eq!(closed(desk.handle(Event::IntroEstablished(circuit("8", 2)))), [] as [&str; 0]);
    assert_eq!(desk.publication.report().points, points(&[2]), "that one is there again");
}

#[test]
fn a_point_whose_relay_is_gone_is_left_out_although_tor_still_tells_of_it() {
    let circuit = |id: &str, last: u8| IntroCircuit { id: id.to_owned(), path: vec![[9; 20], [last; 20]] };
    let own = |desk: &Desk| desk.publication.report().points;
    let mut desk = Desk::ready();
    desk.posts(order(&[("me", &[]), ("other", &[5])]));
    desk.accept_everything(Standby);
    let established = vec![circuit("3", 1), circuit("4", 2)];
    desk.handle(Event::IntroCircuits(IntroCircuits { established, building: Vec::new() }));
    desk.handle(Event::IntroClosed(circuit("4", 2)));
    desk.run(Duration::from_secs(9));
    assert_eq!(own(&desk), points(&[1, 2]), "tor may build it again");
    let posts: Vec<_> = desk.run(Duration::from_secs(2)).into_iter().filter_map(post).collect();
    assert!(!posts.is_empty() && posts.iter().all(|(_, post)| keys(post) == BTreeSet::from([1, 5])));
    assert_eq!(own(&desk), points(&[1]));
    desk.handle(Event::EventsMissed(Serving));
    assert_eq!(own(&desk), points(&[1]), "nothing tells that it is back");
    desk.accept_everything(Standby);
    let posts = desk.posts(Event::IntroEstablished(circuit("6", 2)));
    assert!(!posts.is_empty() && posts.iter().all(|(_, post)| keys(post) == BTreeSet::from([1, 2, 5])));
    desk.handle(Event::IntroClosed(circuit("6", 2)));
    desk.run(Duration::from_secs(11));
    assert_eq!(own(&desk), points(&[1]));
    desk.handle(Event::EventsMissed(Serving));
    let established = vec![circuit("7", 2)];
    desk.handle(Event::IntroCircuits(IntroCircuits { established, building: Vec::new() }));
    assert_eq!(own(&desk), points(&[1, 2]), "its circuit was established unseen");
    // Circuit 7 closes unseen, and then the one that followed it.
    desk.handle(Event::EventsMissed(Serving));
    desk.handle(Event::IntroClosed(circuit("8", 2)));
    desk.run(Duration::from_secs(11));
    assert_eq!(own(&desk), points(&[1]), "circuit 7 is not known to be there");
}
