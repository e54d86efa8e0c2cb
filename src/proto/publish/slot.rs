//! One of the two live descriptors: what it should say, and how far that is on its HSDirs.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::proto::node::NodeId;
use crate::proto::onion::certificate::LIFETIME_SECS;
use crate::proto::onion::counter::RevisionCounter;
use crate::proto::onion::descriptor::capabilities::Capabilities;
use crate::proto::onion::descriptor::intro_point::IntroPoint;
use crate::proto::onion::hsdir::HsDir;
use crate::proto::publish::exchange::Material;
use crate::proto::publish::order::Candidate;
use crate::proto::publish::place::Place;
use crate::proto::publish::plan::SlotPlan;
use crate::proto::publish::report::{Alarm, HsDirReport, HsDirState, SlotReport};

/// Least time between two contents of one descriptor. The first change is posted at once; those that follow it in a
/// burst (nodes die together, rotate together) wait and go out as one.
const MIN_SPACING: Duration = Duration::from_millis(500);
/// When HSDirs that have not accepted the present content are worth an alarm: after several attempts.
const BEHIND: Duration = Duration::from_mins(1);
/// When it is that the present content is nowhere, and nothing is accepted: tor tries an upload for a minute, and it has been
/// tried through both tors by then.
const NOWHERE: Duration = Duration::from_mins(3);
/// When a descriptor that no HSDir accepts is worth an alarm: one and a half times the usual refresh (R2.3).
const STALE: Duration = Duration::from_mins(15);

/// How long before a descriptor was accepted its certificates' life began at most: with the hour that had begun when they
/// were made, which was less than a minute before.
const BEFORE_ACCEPTED_SECS: u64 = 3600 + 60;

/// An HSDir that has failed so often in a row is not waited for when it is asked whose points are published: it would
/// keep a drained node for as long as it is ill. Clients that ask it in vain ask another one.
const NOT_WAITED_FOR: u32 = 3;

/// What a descriptor says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Content {
    /// The lease under which it is published.
    epoch: u64,
    /// The merged introduction points; never empty.
    pub(super) points: Vec<IntroPoint>,
    /// The nodes that serve at them, each at how many.
    pub(super) nodes: BTreeMap<NodeId, usize>,
    /// What all nodes can do.
    pub(super) capabilities: Capabilities,
}

impl Content {
    /// What there is to say with these points, which were chosen from the material.
    pub(super) fn new(material: &Material, points: Vec<IntroPoint>) -> Self {
        let chosen: BTreeSet<[u8; 32]> = points.iter().map(|point| point.auth_key).collect();
        let count = |candidate: &Candidate| {
            let own: BTreeSet<_> = candidate.points.iter().map(|point| point.auth_key).collect();
            (candidate.node.clone(), own.intersection(&chosen).count())
        };
        let nodes = material.candidates.iter().map(count).filter(|(_, points)| *points > 0).collect();
        Self { epoch: material.epoch, nodes, points, capabilities: material.capabilities }
    }
}

/// A content that is to be on all HSDirs.
#[derive(Debug)]
pub(super) struct Current {
    /// The content.
    pub(super) content: Content,
    /// Its number; renewing the same content counts.
    pub(super) generation: u64,
    since: Instant,
    since_unix: u64,
    /// When an HSDir last accepted anything; at first the beginning of publishing.
    accepted: Instant,
    /// Since when some HSDir has not had what it should have.
    behind_since: Option<Instant>,
    /// Since when none has had it, nor accepted anything else.
    nowhere_since: Option<Instant>,
}

/// One live descriptor.
#[derive(Debug)]
pub(super) struct SlotState {
    /// How often it is renewed in quiet times.
    pub(super) refresh: Duration,
    /// Period, keys, HSDirs.
    pub(super) plan: SlotPlan,
    /// What is published; `None` until there is something to publish.
    pub(super) current: Option<Current>,
    /// What should be published, if that is not what is.
    next: Option<Content>,
    /// Whose points all HSDirs had when they last agreed.
    published: BTreeSet<NodeId>,
    /// The responsible HSDirs by RSA identity, which is how the control port names them.
    pub(super) places: BTreeMap<[u8; 20], (HsDir, Place)>,
}

impl SlotState {
    /// A descriptor of which nothing is known yet.
    pub(super) fn new(plan: SlotPlan, refresh: Duration) -> Self {
        let place = |hsdir: &HsDir| (hsdir.rsa_id, (*hsdir, Place::default()));
        Self {
            refresh,
            places: plan.hsdirs.iter().map(place).collect(),
            plan,
            current: None,
            next: None,
            published: BTreeSet::new(),
        }
    }

    /// Takes over a new consensus: other HSDirs, perhaps other roles, the same period.
    pub(super) fn move_to(&mut self, plan: SlotPlan, now: Instant) {
        let mut old = std::mem::take(&mut self.places);
        for hsdir in &plan.hsdirs {
            let mut place = old.remove(&hsdir.rsa_id).map(|(_, place)| place).unwrap_or_default();
            place.unknown = false;
            if plan.slot.client_fetches {
                place.begin_looking(now);
            }
            self.places.insert(hsdir.rsa_id, (*hsdir, place));
        }
        self.plan = plan;
    }

    /// Number of the time period.
    pub(super) fn period(&self) -> u64 {
        self.plan.slot.period.num
    }

    /// Whether it can be read back: HSFETCH sees only what clients fetch.
    pub(super) fn readable(&self) -> bool {
        self.plan.slot.client_fetches
    }

    /// tor's own revision counter for this moment.
    pub(super) fn tors_counter(&self, unix_secs: u64) -> RevisionCounter {
        RevisionCounter::at(&self.plan.keys, self.plan.slot.counter_epoch, unix_secs)
    }

    /// Says what should be published from now on.
    pub(super) fn want(&mut self, content: Content) {
        let same = self.current.as_ref().is_some_and(|current| current.content == content);
        self.next = (!same).then_some(content);
    }

    /// Says what should be published if nothing is yet.
    pub(super) fn want_at_least(&mut self, content: &Content) {
        self.next = self.current.is_none().then(|| content.clone());
    }

    /// Stops publishing; what is on the HSDirs stays there.
    pub(super) fn stop(&mut self) {
        self.current = None;
        self.next = None;
        self.published.clear();
    }

    /// When [`SlotState::renew`] has something to do.
    pub(super) fn renew_at(&self, now: Instant) -> Option<Instant> {
        match (&self.current, &self.next) {
            (None, None) => None,
            (None, Some(_)) => Some(now),
            (Some(current), None) => Some(current.since + self.refresh),
            (Some(current), Some(_)) => Some(current.since + MIN_SPACING),
        }
    }

    /// Begins a new generation if one is due: a change, or the periodic refresh.
    pub(super) fn renew(&mut self, generations: &mut u64, now: Instant, unix_secs: u64) {
        if self.renew_at(now).is_none_or(|at| at > now) {
            return;
        }
        let old = self.current.take();
        let accepted = old.as_ref().map_or(now, |old| old.accepted);
        let behind_since = old.as_ref().and_then(|old| old.behind_since).or(Some(now));
        let nowhere_since = old.as_ref().and_then(|old| old.nowhere_since).or(Some(now));
        let Some(content) = self.next.take().or(old.map(|old| old.content)) else { return };
        *generations += 1;
        for (_, place) in self.places.values_mut() {
            place.try_at_once();
        }
        let (since, since_unix, generation) = (now, unix_secs, *generations);
        self.current =
            Some(Current { content, generation, since, since_unix, accepted, behind_since, nowhere_since });
    }

    /// An HSDir accepted a post.
    pub(super) fn note_acceptance(&mut self, now: Instant) {
        if let Some(current) = &mut self.current {
            current.accepted = now;
            current.nowhere_since = None;
        }
    }

    /// HSDirs that should be posted to now, those that `busy` names left out.
    pub(super) fn due(&self, now: Instant, busy: impl Fn(&[u8; 20]) -> bool) -> Vec<HsDir> {
        let Some(current) = &self.current else { return Vec::new() };
        self.places
            .iter()
            .filter(|(id, (_, place))| {
                !busy(id) && place.post_at(current.generation, now).is_some_and(|at| at <= now)
            })
            .map(|(_, (hsdir, _))| *hsdir)
            .collect()
    }

    /// HSDirs that should be read back now (`urgent`: because the next post depends on it), those that `busy` names left out.
    pub(super) fn to_look_at(
        &self,
        urgent: bool,
        now: Instant,
        busy: impl Fn(&[u8; 20]) -> bool,
    ) -> Vec<HsDir> {
        if !self.readable() || self.current.is_none() {
            return Vec::new();
        }
        let due = |id: &[u8; 20], place: &Place| {
            !place.unknown
                && !busy(id)
                && place.is_urgent() == urgent
                && place.look_at().is_some_and(|at| at <= now)
        };
        self.places.iter().filter(|(id, (_, place))| due(id, place)).map(|(_, (hsdir, _))| *hsdir).collect()
    }

    /// The next time at which [`SlotState::due`] or [`SlotState::to_look_at`] has more to say. Left out are HSDirs
    /// with a post or a look under way: their own answers and timers come first.
    pub(super) fn next_timeout(
        &self,
        now: Instant,
        posting: impl Fn(&[u8; 20]) -> bool,
        looking: impl Fn(&[u8; 20]) -> bool,
    ) -> Option<Instant> {
        let current = self.current.as_ref()?;
        let places = self.places.iter().filter(|(id, _)| !posting(id)).flat_map(|(id, (_, place))| {
            let look = place.look_at().filter(|_| self.readable() && !place.unknown && !looking(id));
            [place.post_at(current.generation, now), look]
        });
        places.flatten().chain(self.renew_at(now)).min()
    }

    /// Looks whether all HSDirs have what they should.
    pub(super) fn watch_progress(&mut self, now: Instant) {
        if let Some(current) = &mut self.current {
            let behind = |place: &Place| !place.unknown && !place.holds(current.generation);
            let any_behind = self.places.values().any(|(_, place)| behind(place));
            current.behind_since = any_behind.then(|| current.behind_since.unwrap_or(now));
            let awaited = |place: &Place| behind(place) && place.failures < NOT_WAITED_FOR;
            let any_holds = self.places.values().any(|(_, place)| place.holds(current.generation));
            let nowhere = !any_holds && !self.places.is_empty();
            current.nowhere_since = nowhere.then(|| current.nowhere_since.unwrap_or(now));
            if any_holds && !self.places.values().any(|(_, place)| awaited(place)) {
                self.published = current.content.nodes.keys().cloned().collect();
            }
        }
    }

    /// Alarms about this descriptor, each with the time from which it is (or will be) true.
    pub(super) fn alarms(&self) -> impl Iterator<Item = (Instant, Alarm)> {
        let current = self.current.as_ref();
        let behind = current.and_then(|current| current.behind_since).map(|since| since + BEHIND);
        let stale = current
            .filter(|_| !self.places.is_empty())
            .map(|current| current.accepted + STALE.max(self.refresh * 3 / 2));
        let behind = behind.map(|at| (at, Alarm::HsDirsBehind));
        let nowhere = current.and_then(|current| current.nowhere_since).map(|since| since + NOWHERE);
        let nowhere = nowhere.map(|at| (at, Alarm::Nowhere));
        behind.into_iter().chain(nowhere).chain(stale.map(|at| (at, Alarm::Stale)))
    }

    /// For the report; `posting` says to which HSDirs a post of this period is under way.
    pub(super) fn report(&self, posting: impl Fn(&[u8; 20]) -> bool) -> SlotReport {
        let state = |id: &[u8; 20], place: &Place| {
            let accepted = self.current.as_ref().is_some_and(|current| place.holds(current.generation));
            match (accepted, place.read_back_at) {
                _ if posting(id) => HsDirState::Posting,
                _ if self.current.is_none() => HsDirState::Idle,
                _ if place.unknown => HsDirState::Unknown,
                (true, Some(_)) => HsDirState::Verified,
                (true, None) => HsDirState::Accepted,
                (false, _) => HsDirState::Behind,
            }
        };
        let hsdir = |(id, (hsdir, place)): (&[u8; 20], &(HsDir, Place))| HsDirReport {
            fingerprint: hsdir.fingerprint(),
            state: state(id, place),
            counter: place.held.map(|held| held.counter),
            accepted_at: place.accepted_at,
            read_back_at: place.read_back_at,
            failures: place.failures,
            answers: place.answers,
            seat: self.plan.seat(hsdir),
        };
        let newest = self.places.values().filter_map(|(_, place)| place.accepted_at).max();
        let newest = newest.filter(|_| self.current.is_some());
        let nodes = self.current.iter().flat_map(|current| &current.content.nodes);
        SlotReport {
            which: self.plan.slot.which,
            period: self.period(),
            client_fetches: self.readable(),
            points: self.current.as_ref().map_or(0, |current| current.content.points.len()),
            points_by_node: nodes.map(|(node, points)| (node.clone(), *points)).collect(),
            published: self.published.iter().cloned().collect(),
            renewed_at: self.current.as_ref().map(|current| current.since_unix),
            certified_until: newest.map(|at| (at + LIFETIME_SECS).saturating_sub(BEFORE_ACCEPTED_SECS)),
            replicas: self.plan.replicas.iter().map(|replica| replica.place).collect(),
            hsdirs: self.places.iter().map(hsdir).collect(),
        }
    }
}
