//! The canary: every minute, a request through Tor to the service's own address, as clients make it, to hear which node
//! answers. That no page comes through, though all parts say that they are well, nothing else would notice.
//!
//! The onion leads to any of its nodes, by chance: to each as often as it has introduction points. A node that is in the
//! descriptor and is not met for so long that it can hardly be chance is met by no client either, though it may say itself
//! that all is well.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::greeting;
use super::http::{HttpAnswer, write_request};
use super::joiner::TryFailure;
use super::keys::{JoinKeys, Tag};
use crate::proto::node::NodeId;
use crate::proto::onion::address::HsId;

/// How often (R4.3): a few kilobytes a minute.
const EVERY: Duration = Duration::from_mins(1);
/// So much sooner or later, lest a cluster that started at once, and whoever counts cells, see a rhythm.
const JITTER_MS: u64 = 15_000;
/// The first time: by then a tor that starts with the node has circuits, and the node is in the descriptor.
const FIRST: Duration = Duration::from_secs(20);
/// How long reaching the service may take: a circuit, a descriptor, an introduction and a rendezvous.
pub const REACH_LIMIT: Duration = Duration::from_secs(30);
/// How long its answer may take then. With the way there it is less than the least time between two tries, so that no more
/// than one is ever under way.
pub const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// So many failures in a row, over [`LOST_FOR`]: each takes another circuit and any of the introduction points, and a few
/// that lead to a node that is just dying are bad luck.
const LOST_AFTER: u32 = 5;
/// See [`LOST_AFTER`]. Longer than any repair of a single part takes.
const LOST_FOR: Duration = Duration::from_mins(5);
/// How long it is remembered that a node answered.
const REMEMBERED: Duration = Duration::from_hours(1);
/// How long a node must have been in the descriptor before it should be met. Tor is made to fetch it anew every ten minutes
/// (`proto::publish::refetch`), and a fetch may fail.
const SETTLED: Duration = Duration::from_mins(25);
/// So long a node may be missing among those that are in the descriptor: until a new holder of the lease has published, nobody
/// can say who is in it.
const UNTOLD: Duration = Duration::from_mins(2);
/// A node is unmet when the odds against chance are at least e to so much: one in five hundred millions.
const UNLIKELY: f64 = 20.0;

/// What happens.
#[derive(Debug)]
pub enum CanaryEvent {
    /// [`Canary::next_timeout`] has come.
    Timer,
    /// The newest token is worth this.
    Trust(Arc<JoinKeys>),
    /// The nodes that are in the descriptor, and how many introduction points each has.
    Expect(BTreeMap<NodeId, usize>),
    /// The try under way was answered.
    Answered(HttpAnswer),
    /// It failed.
    Failed(TryFailure),
}

/// What is to be done.
#[derive(Debug)]
pub enum CanaryAction {
    /// Send this to the service, through the standby tor, over a new circuit, within [`REACH_LIMIT`] and
    /// [`ANSWER_LIMIT`]. One of [`CanaryEvent::Answered`] and [`CanaryEvent::Failed`] follows.
    Try(Zeroizing<Vec<u8>>),
    /// Tell the operator.
    Tell(CanaryNews),
}

/// What an operator should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CanaryNews {
    /// Nobody of ours has been reached for long.
    Lost(String),
    /// Somebody is again.
    Found(NodeId),
    /// A node is in the descriptor, and is not met.
    Unmet(NodeId),
    /// It was met again.
    Met(NodeId),
}

impl CanaryNews {
    /// Whether something is wrong.
    pub fn is_alarming(&self) -> bool {
        matches!(self, Self::Lost(_) | Self::Unmet(_))
    }
}

impl fmt::Display for CanaryNews {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost(reason) => write!(
                f,
                "through Tor no node of this cluster could be reached at the service's address for {} minutes: {reason}",
                LOST_FOR.as_secs() / 60
            ),
            Self::Found(node) => write!(f, "the service's address leads to {node}: it can be reached again"),
            Self::Unmet(node) => write!(
                f,
                "{node} is in the descriptor, but the service's address leads to other nodes only: clients hardly meet it"
            ),
            Self::Met(node) => write!(f, "the service's address leads to {node} again"),
        }
    }
}

/// What can be told. It holds no secret, and nothing about clients. Times are Unix seconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CanaryStatus {
    /// Tries that have ended, but for those that got no tor.
    pub tried: u64,
    /// Those of them that a node of ours answered.
    pub answered: u64,
    /// Failures since the last answer.
    pub failures_in_a_row: u32,
    /// Whether these are enough to say that clients cannot reach the service.
    pub lost: bool,
    /// When a node answered last.
    pub answered_at: Option<u64>,
    /// How long that took, with the way there, in milliseconds.
    pub round_trip_ms: Option<u64>,
    /// The nodes that have answered within the last hour, and when each did so last.
    pub met: BTreeMap<NodeId, u64>,
    /// The nodes that are in the descriptor and were not met for so long that it is no chance.
    #[serde(default)]
    pub unmet: BTreeSet<NodeId>,
    /// Why the last try failed; `None` if it did not.
    pub failure: Option<String>,
}

/// A try under way.
struct Try {
    began: Instant,
    keys: Arc<JoinKeys>,
    question: Tag,
}

/// A node that should be met.
struct Expected {
    since: Instant,
    /// When it was last said to be in the descriptor.
    told: Instant,
    points: usize,
    /// How little it is chance that it was not met: the natural logarithm of one in how many.
    doubt: f64,
}

impl Expected {
    fn is_unmet(&self) -> bool {
        self.doubt >= UNLIKELY
    }
}

/// The canary of one node.
pub struct Canary {
    address: HsId,
    keys: Option<Arc<JoinKeys>>,
    rng: StdRng,
    next: Instant,
    under_way: Option<Try>,
    /// Since when all have failed.
    failing_since: Option<Instant>,
    met: BTreeMap<NodeId, (Instant, u64)>,
    expected: BTreeMap<NodeId, Expected>,
    status: CanaryStatus,
}

impl Canary {
    /// A canary that begins soon. `seed` must differ from node to node and from start to start.
    pub fn new(address: HsId, seed: u64, now: Instant) -> Self {
        let mut canary = Self {
            address,
            keys: None,
            rng: StdRng::seed_from_u64(seed),
            next: now,
            under_way: None,
            failing_since: None,
            met: BTreeMap::new(),
            expected: BTreeMap::new(),
            status: CanaryStatus::default(),
        };
        canary.next = canary.later(now, FIRST);
        canary
    }

    /// Takes in an event.
    pub fn handle(&mut self, now: Instant, unix_ms: u64, event: CanaryEvent) -> Vec<CanaryAction> {
        match event {
            CanaryEvent::Trust(keys) => self.keys = Some(keys),
            CanaryEvent::Expect(points) => self.expect(now, points),
            CanaryEvent::Timer => return self.begin(now, unix_ms).into_iter().collect(),
            // It says nothing about the service.
            CanaryEvent::Failed(TryFailure::NoTor(reason)) => {
                self.under_way = None;
                self.status.failure = Some(reason);
            }
            CanaryEvent::Failed(TryFailure::NoAnswer(reason)) => {
                self.under_way = None;
                return self.failed(now, reason).into_iter().collect();
            }
            CanaryEvent::Answered(answer) => {
                let Some(Try { began, keys, question }) = self.under_way.take() else { return Vec::new() };
                if let Some(node) = greeting::read_answer(&answer.body, &keys, &question) {
                    return self.answered(now, unix_ms, began, &node);
                }
                let reason = format!("what answered (status {}) is no node of this cluster", answer.status);
                return self.failed(now, reason).into_iter().collect();
            }
        }
        Vec::new()
    }

    /// When [`CanaryEvent::Timer`] is due.
    pub fn next_timeout(&self) -> Option<Instant> {
        (self.keys.is_some() && self.under_way.is_none()).then_some(self.next)
    }

    /// What can be told.
    pub fn status(&self) -> CanaryStatus {
        let met = self.met.iter().map(|(node, (_, at))| (node.clone(), *at)).collect();
        let unmet = self.expected.iter().filter(|(_, it)| it.is_unmet()).map(|(node, _)| node.clone());
        CanaryStatus { met, unmet: unmet.collect(), ..self.status.clone() }
    }

    fn begin(&mut self, now: Instant, unix_ms: u64) -> Option<CanaryAction> {
        if self.under_way.is_some() || now < self.next {
            return None;
        }
        self.next = self.later(now, EVERY);
        self.met.retain(|_, (at, _)| now.saturating_duration_since(*at) < REMEMBERED);
        let keys = Arc::clone(self.keys.as_ref()?);
        let (body, question) = greeting::ask(&keys, unix_ms, &mut self.rng)?;
        let request = write_request(&self.address, &greeting::path(&keys), &body);
        self.under_way = Some(Try { began: now, keys, question });
        Some(CanaryAction::Try(request))
    }

    fn answered(&mut self, now: Instant, unix_ms: u64, began: Instant, node: &NodeId) -> Vec<CanaryAction> {
        let took = now.saturating_duration_since(began).as_millis();
        let was_lost = self.status.lost;
        self.failing_since = None;
        // Only nodes that hold the token can answer, and a cluster has no more than 128.
        self.met.insert(node.clone(), (now, unix_ms / 1000));
        self.status = CanaryStatus {
            tried: self.status.tried.saturating_add(1),
            answered: self.status.answered.saturating_add(1),
            answered_at: Some(unix_ms / 1000),
            round_trip_ms: Some(u64::try_from(took).unwrap_or(u64::MAX)),
            ..CanaryStatus::default()
        };
        let mut news = self.weigh(now, node);
        news.extend(was_lost.then(|| CanaryNews::Found(node.clone())));
        news.into_iter().map(CanaryAction::Tell).collect()
    }

    fn expect(&mut self, now: Instant, mut points: BTreeMap<NodeId, usize>) {
        points.retain(|_, points| *points > 0);
        for (node, points) in points {
            let new = Expected { since: now, told: now, points, doubt: 0.0 };
            let expected = self.expected.entry(node).or_insert(new);
            (expected.told, expected.points) = (now, points);
        }
        self.expected.retain(|_, expected| now.saturating_duration_since(expected.told) < UNTOLD);
    }

    /// This node was met, so that the others were not: which each of them is the less likely the more points it has. One less
    /// is counted, as the descriptor leaves one of two points out that are at the same relay.
    fn weigh(&mut self, now: Instant, met: &NodeId) -> Vec<CanaryNews> {
        let all: usize = self.expected.values().map(|expected| expected.points).sum();
        let mut news = Vec::new();
        for (node, expected) in &mut self.expected {
            let before = expected.is_unmet();
            if node == met {
                expected.doubt = 0.0;
                news.extend(before.then(|| CanaryNews::Met(node.clone())));
            } else if now.saturating_duration_since(expected.since) >= SETTLED && expected.points < all {
                #[allow(clippy::cast_precision_loss)] // some hundreds
                let share = expected.points.saturating_sub(1).max(1) as f64 / all as f64;
                expected.doubt -= (-share).ln_1p();
                news.extend((!before && expected.is_unmet()).then(|| CanaryNews::Unmet(node.clone())));
            }
        }
        news
    }

    fn failed(&mut self, now: Instant, reason: String) -> Option<CanaryAction> {
        let since = *self.failing_since.get_or_insert(now);
        let status = &mut self.status;
        status.tried = status.tried.saturating_add(1);
        status.failures_in_a_row = status.failures_in_a_row.saturating_add(1);
        status.failure = Some(reason.clone());
        let before = status.lost;
        status.lost =
            status.failures_in_a_row >= LOST_AFTER && now.saturating_duration_since(since) >= LOST_FOR;
        (status.lost && !before).then_some(CanaryAction::Tell(CanaryNews::Lost(reason)))
    }

    fn later(&mut self, now: Instant, after: Duration) -> Instant {
        let jitter = Duration::from_millis(self.rng.random_range(0..=2 * JITTER_MS));
        now + (after + jitter).saturating_sub(Duration::from_millis(JITTER_MS))
    }
}

#[cfg(test)]
mod tests {
    use super::super::http::{Reading, read_request, recognise};
    use super::super::keys::tests::keys;
    use super::super::secret::SecretDigest;
    use super::*;

    const NOW_MS: u64 = 1_790_000_000_000;

    fn address() -> HsId {
        HsId::from_address("25njqamcweflpvkl73j4szahhihoc4xt3ktcgjnpaingr5yhkenl5sid").unwrap()
    }

    /// A canary with the first token, and the moment of its start.
    fn canary() -> (Canary, Instant) {
        let start = Instant::now();
        let mut canary = Canary::new(address(), 7, start);
        assert_eq!(canary.next_timeout(), None, "it knows no token");
        assert!(canary.handle(start, NOW_MS, CanaryEvent::Trust(Arc::new(keys(1)))).is_empty());
        (canary, start)
    }

    /// Waits until it tries; the moment, and the body that it sends.
    fn tried(canary: &mut Canary) -> (Instant, Vec<u8>) {
        let now = canary.next_timeout().unwrap();
        let actions = canary.handle(now, NOW_MS, CanaryEvent::Timer);
        let [CanaryAction::Try(request)] = actions.as_slice() else { panic!("{actions:?}") };
        let Reading::Done(secret) = recognise(request) else { panic!("the proxy would not know it") };
        assert!(SecretDigest::of(secret) == greeting::path(&keys(1)).digest());
        let Reading::Done(body) = read_request(request) else { panic!() };
        assert_eq!(canary.next_timeout(), None, "one at a time");
        assert!(canary.handle(now + EVERY * 2, NOW_MS, CanaryEvent::Timer).is_empty());
        (now, request[body].to_vec())
    }

    fn answer_of(node: &str, body: &[u8]) -> CanaryEvent {
        let all = [keys(1)];
        let body = greeting::answer(body, all.iter(), &node.parse().unwrap(), NOW_MS).unwrap();
        CanaryEvent::Answered(HttpAnswer { status: 200, retry_after_secs: None, body })
    }

    fn failure() -> CanaryEvent {
        CanaryEvent::Failed(TryFailure::NoAnswer("the introduction failed".to_owned()))
    }

    #[test]
    fn it_asks_about_once_a_minute_and_knows_who_answered() {
        let (mut canary, start) = canary();
        let mut last = start;
        for (number, node) in ["alpha", "beta", "alpha"].into_iter().enumerate() {
            let (now, body) = tried(&mut canary);
            let middle = if number == 0 { FIRST } else { EVERY };
            let least = middle.saturating_sub(Duration::from_millis(JITTER_MS));
            assert!((least..=least + Duration::from_millis(2 * JITTER_MS)).contains(&(now - last)));
            assert!(least > REACH_LIMIT + ANSWER_LIMIT || number == 0);
            last = now;
            let later = now + Duration::from_millis(850);
            assert!(canary.handle(later, NOW_MS + 850, answer_of(node, &body)).is_empty());
        }
        let status = canary.status();
        assert_eq!((status.tried, status.answered, status.round_trip_ms), (3, 3, Some(850)));
        assert_eq!(status.met.keys().map(NodeId::as_str).collect::<Vec<_>>(), ["alpha", "beta"]);
        assert_eq!(status.answered_at, Some(NOW_MS / 1000));
    }

    #[test]
    fn five_failures_over_five_minutes_are_told_once_and_so_is_their_end() {
        let (mut canary, _) = canary();
        let (mut began, mut told) = (None, Vec::new());
        for _ in 0..12 {
            let (now, _) = tried(&mut canary);
            let began = *began.get_or_insert(now);
            for action in canary.handle(now, NOW_MS, failure()) {
                let CanaryAction::Tell(news) = action else { panic!() };
                assert!(news.is_alarming() && now >= began + LOST_FOR, "{news}");
                told.push(canary.status().failures_in_a_row);
            }
        }
        assert!(told.len() == 1 && told[0] >= LOST_AFTER && canary.status().lost, "{told:?}");
        let (now, body) = tried(&mut canary);
        let actions = canary.handle(now, NOW_MS, answer_of("alpha", &body));
        let [CanaryAction::Tell(CanaryNews::Found(node))] = actions.as_slice() else { panic!("{actions:?}") };
        assert_eq!(node.as_str(), "alpha");
        let status = canary.status();
        assert!(!status.lost && status.failures_in_a_row == 0 && status.failure.is_none());
        assert_eq!((status.tried, status.answered), (13, 1));
    }

    #[test]
    fn without_a_tor_nothing_is_known_of_the_service() {
        let (mut canary, _) = canary();
        for _ in 0..20 {
            let (now, _) = tried(&mut canary);
            let no_tor = CanaryEvent::Failed(TryFailure::NoTor("no tor answers".to_owned()));
            assert!(canary.handle(now, NOW_MS, no_tor).is_empty());
        }
        assert!(!canary.status().lost && canary.status().tried == 0 && canary.status().failure.is_some());
    }

    #[test]
    fn what_the_target_says_is_no_answer_and_an_old_meeting_is_forgotten() {
        let (mut canary, _) = canary();
        let (now, body) = tried(&mut canary);
        canary.handle(now, NOW_MS, answer_of("alpha", &body));
        let (now, old) = tried(&mut canary);
        assert_ne!(body, old);
        // The answer to another question is as good as a page.
        canary.handle(now, NOW_MS, answer_of("beta", &body));
        assert_eq!((canary.status().answered, canary.status().failures_in_a_row), (1, 1));
        assert!(canary.status().failure.unwrap().contains("no node of this cluster"));
        assert_eq!(canary.status().met.len(), 1);
        for _ in 0..2 * REMEMBERED.as_secs() / EVERY.as_secs() {
            let (now, _) = tried(&mut canary);
            canary.handle(now, NOW_MS, failure());
        }
        assert!(canary.status().met.is_empty());
    }

    /// Tells the canary who is in the descriptor.
    fn expect(canary: &mut Canary, now: Instant, points: &[(&str, usize)]) {
        let points = points.iter().map(|(node, points)| (node.parse().unwrap(), *points)).collect();
        assert!(canary.handle(now, NOW_MS, CanaryEvent::Expect(points)).is_empty());
    }

    /// So many tries that these nodes answer, one after the other; what is told of them, and after how many.
    fn meet(canary: &mut Canary, tries: usize, nodes: &[&str]) -> Vec<(usize, CanaryNews)> {
        let mut told = Vec::new();
        for (number, node) in (1..=tries).zip(nodes.iter().cycle()) {
            let (now, body) = tried(canary);
            for action in canary.handle(now, NOW_MS, answer_of(node, &body)) {
                let CanaryAction::Tell(news) = action else { panic!() };
                told.push((number, news));
            }
        }
        told
    }

    #[test]
    fn a_node_that_is_not_met_for_longer_than_chance_has_it_is_told_until_it_is_met() {
        let (mut canary, start) = canary();
        expect(&mut canary, start, &[("alpha", 3), ("beta", 3), ("gamma", 3), ("delta", 0)]);
        let told = meet(&mut canary, 300, &["alpha", "beta"]);
        // Twenty by the logarithm of 9/7 is eighty tries, after those of the first minutes.
        let [(tries, news)] = told.as_slice() else { panic!("{told:?}") };
        assert!(matches!(news, CanaryNews::Unmet(node) if node.as_str() == "gamma") && news.is_alarming());
        assert!((100..=112).contains(tries), "{tries}");
        assert_eq!(canary.status().unmet.iter().map(NodeId::as_str).collect::<Vec<_>>(), ["gamma"]);
        // While a new holder of the lease has not published, nobody says who is in the descriptor: nothing is forgotten.
        let now = canary.next;
        expect(&mut canary, now, &[("alpha", 3), ("beta", 3), ("gamma", 3)]);
        expect(&mut canary, now + UNTOLD / 2, &[]);
        assert_eq!(canary.status().unmet.len(), 1);
        let told = meet(&mut canary, 1, &["gamma"]);
        assert!(
            matches!(told.as_slice(), [(1, CanaryNews::Met(node))] if node.as_str() == "gamma"),
            "{told:?}"
        );
        assert!(canary.status().unmet.is_empty());
        // One that has left the descriptor is not missed, nor is the only one there is.
        let now = canary.next + UNTOLD;
        expect(&mut canary, now, &[("gamma", 3)]);
        assert_eq!(canary.expected.len(), 1);
        assert_eq!(meet(&mut canary, 300, &["alpha", "beta"]), []);
    }

    #[test]
    fn nobody_is_unmet_in_two_years_of_chance() {
        let (mut canary, start) = canary();
        let nodes = ["a", "b", "c", "d", "e", "f", "g"].map(|node| node.parse::<NodeId>().unwrap());
        canary.expect(start, nodes.iter().map(|node| (node.clone(), 3)).collect());
        let (mut chance, mut unluckiest) = (StdRng::seed_from_u64(5), 0.0_f64);
        for minute in 0..2 * 365 * 24 * 60 {
            // Twenty points have room in the descriptor, so one of the nodes has two in it.
            let met = &nodes[chance.random_range(0..20) / 3];
            assert_eq!(canary.weigh(start + EVERY * minute, met), []);
            unluckiest = canary.expected.values().map(|expected| expected.doubt).fold(unluckiest, f64::max);
        }
        assert!(unluckiest > UNLIKELY / 2.0, "chance has been at work: {unluckiest}");
    }
}
