//! Asking to be let in, until one is: the side of joining that asks.
//!
//! ```text
//! Start ──► Try ──► no answer of ours ──► wait, Try …   5 times (15 s apart), then every 1 to 5 minutes, for ever
//!            │  └─► refused ────────────► Try every 5 minutes: an operator has to help
//!            │  └─► too many ───────────► wait as long as told
//!            │  └─► no tor yet ─────────► look every 2 s; that is no try
//!            └────► Welcome ────────────► Joined
//! ```
//!
//! A node that is not in does not serve, and never takes itself for a cluster of one.

use std::fmt;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::answer::{JoinAnswer, Refusal, Welcome};
use super::http::{HttpAnswer, write_request};
use super::keys::{JoinKeys, Tag};
use super::member::Member;
use super::request::JoinRequest;
use super::secret::JoinSecret;
use super::ticket::Ticket;
use crate::proto::node::Priority;
use crate::proto::onion::address::HsId;

/// How soon a tor of our own that has no way into the network yet is asked again.
const TOR_PATIENCE: Duration = Duration::from_secs(2);
/// The first wait after the tries are used up; it doubles.
const BACKGROUND_FIRST: Duration = Duration::from_mins(1);
/// The longest wait then, and that after a refusal, which needs an operator.
const BACKGROUND_MOST: Duration = Duration::from_mins(5);

/// What a new node asks with.
pub struct JoinerConfig {
    /// The service of the cluster.
    pub address: HsId,
    /// The path at which joining is asked for.
    pub secret: JoinSecret,
    /// What the cluster token is worth.
    pub keys: JoinKeys,
    /// Permission.
    pub ticket: Ticket,
    /// This node.
    pub member: Member,
    /// Its wish for the lease.
    pub priority: Priority,
    /// How often to try before the tries become rare.
    pub attempts: u32,
    /// How long to wait between them.
    pub retry: Duration,
}

/// What happens while a node asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JoinerEvent {
    /// Begin.
    Start,
    /// An HTTP answer has come to the last [`JoinerAction::Try`].
    Answered(HttpAnswer),
    /// None has come, for this reason.
    Failed(TryFailure),
    /// The time that [`Joiner::next_timeout`] gave has come.
    Timer,
}

/// Why a try led to no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TryFailure {
    /// This node's own tors are not there, or have no way into the network yet.
    NoTor(String),
    /// The service could not be reached, or said nothing whole.
    NoAnswer(String),
}

/// What is to be done.
#[derive(Debug)]
pub enum JoinerAction {
    /// Send this request to the service over a circuit of its own, and tell what came of it.
    Try {
        /// The HTTP request.
        request: Zeroizing<Vec<u8>>,
    },
    /// The node is in. Nothing follows.
    Joined(Box<Welcome>),
    /// Tell the operator.
    Tell(JoinNews),
}

/// What an operator may want to read about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JoinNews {
    /// The ticket has expired by this node's clock.
    Expired,
    /// The own tors have no way into the network yet.
    WaitsForTor(String),
    /// A try failed; the next one follows after the time.
    Failed(u32, u32, String, Duration),
    /// The tries are used up.
    GoesOn(u32, String),
    /// The cluster says no.
    Refused(Refusal),
    /// The cluster is busy.
    Busy(Duration),
    /// It is in.
    Joined(Member, usize),
}

impl JoinNews {
    /// Whether something is wrong that an operator may have to mend.
    pub fn is_alarming(&self) -> bool {
        !matches!(self, Self::WaitsForTor(_) | Self::Busy(_) | Self::Joined(..))
    }
}

impl fmt::Display for JoinNews {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expired => f.write_str(
                "the invitation has expired by this node's clock; make another one with: rustbalance token create",
            ),
            Self::WaitsForTor(reason) => write!(f, "waiting for this node's tor: {reason}"),
            Self::Failed(number, of, reason, wait) => {
                write!(f, "try {number} of {of} to join failed: {reason}; the next one follows in {} s", wait.as_secs())
            }
            Self::GoesOn(tries, reason) => write!(
                f,
                "{tries} tries to join failed, the last one because {reason}; this node is not in the cluster and does not \
                 serve; it goes on trying"
            ),
            Self::Refused(refusal) => {
                write!(f, "the cluster does not let this node in: {refusal}; it is asked again every five minutes")
            }
            Self::Busy(wait) => write!(f, "{}; asking again in {} s", Refusal::TooMany, wait.as_secs()),
            Self::Joined(member, peers) => {
                write!(f, "{} let this node in; {peers} more nodes are known", member.node)
            }
        }
    }
}

/// How far asking is, for `status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoiningStatus {
    /// Tries that led to no answer of the cluster.
    pub failed_tries: u32,
    /// How many there are before they become rare.
    pub attempts: u32,
    /// Why this node is not in yet; `None` before the first try has ended.
    pub reason: Option<String>,
    /// Seconds until the next try; `None` while one is under way.
    pub next_secs: Option<u64>,
}

impl fmt::Display for JoiningStatus {
    /// One line for operators.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { failed_tries, attempts, reason, next_secs } = self;
        if failed_tries < attempts {
            write!(f, "joining, try {} of {attempts}", failed_tries + 1)?;
        } else {
            write!(f, "not in the cluster after {failed_tries} tries, still trying")?;
        }
        match (reason, next_secs) {
            (Some(reason), Some(secs)) => write!(f, "; next in {secs} s: {reason}"),
            (Some(reason), None) => write!(f, ": {reason}"),
            (None, _) => Ok(()),
        }
    }
}

/// A node that asks.
pub struct Joiner {
    config: JoinerConfig,
    /// The tag of the request under way.
    asked: Option<Tag>,
    failed: u32,
    reason: Option<String>,
    try_at: Option<Instant>,
    background: Duration,
    done: bool,
}

impl Joiner {
    /// A node that has not asked yet.
    pub fn new(config: JoinerConfig) -> Self {
        Self {
            config,
            asked: None,
            failed: 0,
            reason: None,
            try_at: None,
            background: BACKGROUND_FIRST,
            done: false,
        }
    }

    /// When [`JoinerEvent::Timer`] is due.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.try_at
    }

    /// How far it is; `now` serves for the time left.
    pub fn status(&self, now: Instant) -> JoiningStatus {
        JoiningStatus {
            failed_tries: self.failed,
            attempts: self.config.attempts,
            reason: self.reason.clone(),
            next_secs: self.try_at.map(|at| at.saturating_duration_since(now).as_secs()),
        }
    }

    /// Takes in one event. `unix_ms` is the wall clock.
    pub fn handle(&mut self, now: Instant, unix_ms: u64, event: JoinerEvent) -> Vec<JoinerAction> {
        if self.done {
            return Vec::new();
        }
        match event {
            JoinerEvent::Start => self.ask(unix_ms),
            JoinerEvent::Timer if self.try_at.is_some_and(|at| now >= at) => self.ask(unix_ms),
            JoinerEvent::Timer => Vec::new(),
            JoinerEvent::Answered(answer) => match self.asked.take() {
                Some(tag) => self.answered(now, &answer, &tag),
                None => Vec::new(),
            },
            JoinerEvent::Failed(_) if self.asked.is_none() => Vec::new(),
            JoinerEvent::Failed(TryFailure::NoTor(reason)) => {
                let news = self.reason.as_ref() != Some(&reason);
                self.wait(now, TOR_PATIENCE, reason.clone());
                let tell = JoinerAction::Tell(JoinNews::WaitsForTor(reason));
                news.then_some(tell).into_iter().collect()
            }
            JoinerEvent::Failed(TryFailure::NoAnswer(reason)) => self.failed(now, reason),
        }
    }

    fn ask(&mut self, unix_ms: u64) -> Vec<JoinerAction> {
        self.try_at = None;
        let mut actions = Vec::new();
        if unix_ms >= self.config.ticket.expires_ms() {
            let news = JoinNews::Expired;
            if self.reason.as_deref() != Some(&news.to_string()) {
                self.reason = Some(news.to_string());
                actions.push(JoinerAction::Tell(news));
            }
        }
        let request = JoinRequest {
            member: self.config.member.clone(),
            priority: self.config.priority,
            request_time: unix_ms / 1000,
            ticket: self.config.ticket,
        };
        // A request can always be written: all its parts are bounded.
        if let Ok((body, tag)) = request.prove(&self.config.keys) {
            self.asked = Some(tag);
            let request = write_request(&self.config.address, &self.config.secret, &body);
            actions.push(JoinerAction::Try { request });
        }
        actions
    }

    fn answered(&mut self, now: Instant, http: &HttpAnswer, tag: &Tag) -> Vec<JoinerAction> {
        match JoinAnswer::parse(http.status, &http.body, &self.config.keys, tag) {
            Ok(JoinAnswer::Welcome(welcome)) => {
                self.done = true;
                let news = JoinNews::Joined(welcome.member.clone(), welcome.known_peers.len());
                vec![JoinerAction::Tell(news), JoinerAction::Joined(Box::new(welcome))]
            }
            Ok(JoinAnswer::Refused(refusal)) if refusal.may_pass() => {
                let wait = Duration::from_secs(http.retry_after_secs.unwrap_or(0))
                    .clamp(self.config.retry.min(BACKGROUND_MOST), BACKGROUND_MOST);
                self.wait(now, wait, refusal.to_string());
                vec![JoinerAction::Tell(JoinNews::Busy(wait))]
            }
            Ok(JoinAnswer::Refused(refusal)) => {
                let news = self.reason.as_deref() != Some(&refusal.to_string());
                self.wait(now, BACKGROUND_MOST, refusal.to_string());
                news.then_some(JoinerAction::Tell(JoinNews::Refused(refusal))).into_iter().collect()
            }
            Err(_) => {
                let reason = format!(
                    "the service answered ({}) as it does to any unknown path: the invitation has expired or was made \
                     under an old cluster token, or this node's clock is wrong",
                    http.status
                );
                self.failed(now, reason)
            }
        }
    }

    fn failed(&mut self, now: Instant, reason: String) -> Vec<JoinerAction> {
        self.asked = None;
        self.failed = self.failed.saturating_add(1);
        let attempts = self.config.attempts;
        if self.failed < attempts {
            let wait = self.config.retry;
            self.wait(now, wait, reason.clone());
            return vec![JoinerAction::Tell(JoinNews::Failed(self.failed, attempts, reason, wait))];
        }
        let wait = self.background;
        self.background = (wait * 2).min(BACKGROUND_MOST);
        let news = self.failed == attempts || self.reason.as_ref() != Some(&reason);
        self.wait(now, wait, reason.clone());
        news.then_some(JoinerAction::Tell(JoinNews::GoesOn(self.failed, reason))).into_iter().collect()
    }

    fn wait(&mut self, now: Instant, wait: Duration, reason: String) {
        self.asked = None;
        self.reason = Some(reason);
        self.try_at = Some(now + wait);
    }
}

#[cfg(test)]
mod tests {
    use super::super::answer::tests::welcome;
    use super::super::http::{Reading, read_request, recognise};
    use super::super::keys::tests::keys;
    use super::super::request::UnprovenRequest;
    use super::super::request::tests::request;
    use super::*;

    const NOW_MS: u64 = 1_790_000_000_000;

    fn joiner() -> Joiner {
        let JoinRequest { member, priority, ticket, .. } = request("n1");
        Joiner::new(JoinerConfig {
            address: HsId::from_address("25njqamcweflpvkl73j4szahhihoc4xt3ktcgjnpaingr5yhkenl5sid").unwrap(),
            secret: JoinSecret::from_text(&"A".repeat(43)).unwrap(),
            keys: keys(1),
            ticket,
            member,
            priority,
            attempts: 5,
            retry: Duration::from_secs(15),
        })
    }

    /// The tag of the one request that these actions hold, and what they tell.
    fn tried(actions: &[JoinerAction]) -> (Tag, Vec<JoinNews>) {
        let mut tags = Vec::new();
        let mut news = Vec::new();
        for action in actions {
            match action {
                JoinerAction::Try { request } => {
                    assert_eq!(recognise(request), Reading::Done("A".repeat(43).as_str()));
                    let Reading::Done(body) = read_request(request) else { panic!() };
                    let unproven = UnprovenRequest::parse(&request[body]).unwrap();
                    assert!(unproven.believe(&keys(1)).is_some());
                    tags.push(unproven.tag());
                }
                JoinerAction::Tell(this) => news.push(this.clone()),
                JoinerAction::Joined(_) => panic!(),
            }
        }
        assert_eq!(tags.len(), 1, "{actions:?}");
        (tags[0], news)
    }

    fn http(answer: &JoinAnswer, tag: &Tag, retry_after_secs: Option<u64>) -> JoinerEvent {
        let body = answer.prove(&keys(1), tag).unwrap();
        JoinerEvent::Answered(HttpAnswer { status: answer.status(), retry_after_secs, body })
    }

    fn unknown_path() -> JoinerEvent {
        JoinerEvent::Answered(HttpAnswer { status: 404, retry_after_secs: None, body: b"<html>".to_vec() })
    }

    fn told(actions: &[JoinerAction]) -> String {
        let words = actions.iter().map(|action| match action {
            JoinerAction::Tell(news) => news.to_string(),
            other => panic!("{other:?}"),
        });
        words.collect()
    }

    #[test]
    fn a_welcome_ends_it() {
        let (mut joiner, now) = (joiner(), Instant::now());
        let (tag, news) = tried(&joiner.handle(now, NOW_MS, JoinerEvent::Start));
        assert!(news.is_empty());
        let actions = joiner.handle(now, NOW_MS, http(&JoinAnswer::Welcome(welcome("a")), &tag, None));
        let [JoinerAction::Tell(news), JoinerAction::Joined(got)] = &actions[..] else {
            panic!("{actions:?}")
        };
        assert_eq!(**got, welcome("a"));
        assert_eq!(news.to_string(), "a let this node in; 2 more nodes are known");
        assert!(!news.is_alarming());
        assert!(joiner.handle(now, NOW_MS, JoinerEvent::Start).is_empty());
        assert_eq!(joiner.next_timeout(), None);
    }

    #[test]
    fn five_tries_then_it_says_so_and_goes_on_ever_more_rarely() {
        let (mut joiner, mut now) = (joiner(), Instant::now());
        tried(&joiner.handle(now, NOW_MS, JoinerEvent::Start));
        let mut waits = Vec::new();
        for number in 1..=8 {
            let failure = JoinerEvent::Failed(TryFailure::NoAnswer("nobody is there".to_owned()));
            let said = told(&joiner.handle(now, NOW_MS, failure));
            let expected = match number {
                1..=4 => format!("try {number} of 5 to join failed: nobody is there; the next one follows in 15 s"),
                5 => "5 tries to join failed, the last one because nobody is there; this node is not in the cluster and \
                      does not serve; it goes on trying"
                    .to_owned(),
                _ => String::new(),
            };
            assert_eq!(said, expected);
            let at = joiner.next_timeout().unwrap();
            waits.push((at - now).as_secs());
            assert!(joiner.handle(now, NOW_MS, JoinerEvent::Timer).is_empty(), "too early");
            now = at;
            tried(&joiner.handle(now, NOW_MS, JoinerEvent::Timer));
        }
        assert_eq!(waits, [15, 15, 15, 15, 60, 120, 240, 300]);
        let said = told(&joiner.handle(now, NOW_MS, unknown_path()));
        assert!(said.contains("9 tries") && said.contains("unknown path"), "{said}");
        assert!(joiner.status(now).to_string().starts_with("not in the cluster after 9 tries"));
    }

    #[test]
    fn a_tor_that_is_not_ready_costs_no_try() {
        let (mut joiner, now) = (joiner(), Instant::now());
        tried(&joiner.handle(now, NOW_MS, JoinerEvent::Start));
        let no_tor = || JoinerEvent::Failed(TryFailure::NoTor("no tor accepts SOCKS connections".to_owned()));
        assert!(told(&joiner.handle(now, NOW_MS, no_tor())).contains("waiting for this node's tor"));
        for round in 1..100 {
            let at = joiner.next_timeout().unwrap();
            assert_eq!(at, now + TOR_PATIENCE * round);
            tried(&joiner.handle(at, NOW_MS, JoinerEvent::Timer));
            assert!(joiner.handle(at, NOW_MS, no_tor()).is_empty(), "told once");
        }
        assert_eq!(joiner.status(now).failed_tries, 0);
        assert!(joiner.status(now).to_string().starts_with("joining, try 1 of 5; next in"));
    }

    #[test]
    fn a_refusal_is_told_as_such_and_asked_again_slowly() {
        for refusal in [Refusal::Spent, Refusal::NameTaken, Refusal::Full, Refusal::WrongAddress] {
            let (mut joiner, now) = (joiner(), Instant::now());
            let (tag, _) = tried(&joiner.handle(now, NOW_MS, JoinerEvent::Start));
            let said = told(&joiner.handle(now, NOW_MS, http(&JoinAnswer::Refused(refusal), &tag, None)));
            assert!(said.contains(&refusal.to_string()), "{said}");
            assert_eq!(joiner.next_timeout(), Some(now + BACKGROUND_MOST));
            assert_eq!(joiner.status(now).failed_tries, 0);
            let later = now + BACKGROUND_MOST;
            let (tag, _) = tried(&joiner.handle(later, NOW_MS, JoinerEvent::Timer));
            let again = joiner.handle(later, NOW_MS, http(&JoinAnswer::Refused(refusal), &tag, None));
            assert!(again.is_empty(), "told once");
        }
    }

    #[test]
    fn a_busy_cluster_is_asked_when_it_says() {
        for (said, waits) in
            [(Some(40), 40), (Some(1), 15), (None, 15), (Some(86_400), 300), (Some(u64::MAX), 300)]
        {
            let (mut joiner, now) = (joiner(), Instant::now());
            let (tag, _) = tried(&joiner.handle(now, NOW_MS, JoinerEvent::Start));
            joiner.handle(now, NOW_MS, http(&JoinAnswer::Refused(Refusal::TooMany), &tag, said));
            assert_eq!(joiner.next_timeout(), Some(now + Duration::from_secs(waits)), "{said:?}");
        }
    }

    #[test]
    fn only_a_proven_answer_to_the_last_request_counts() {
        let (mut joiner, now) = (joiner(), Instant::now());
        let (first, _) = tried(&joiner.handle(now, NOW_MS, JoinerEvent::Start));
        joiner.handle(now, NOW_MS, unknown_path());
        let late = http(&JoinAnswer::Welcome(welcome("a")), &first, None);
        assert!(joiner.handle(now, NOW_MS, late.clone()).is_empty(), "nothing is under way");
        let at = joiner.next_timeout().unwrap();
        tried(&joiner.handle(at, NOW_MS + 15_000, JoinerEvent::Timer));
        assert!(told(&joiner.handle(at, NOW_MS, late)).starts_with("try 2 of 5"));
    }

    #[test]
    fn an_expired_invitation_is_told_and_tried_all_the_same() {
        let (mut joiner, now) = (joiner(), Instant::now());
        // The clock may be what is wrong.
        let (_, news) = tried(&joiner.handle(now, 2 * NOW_MS, JoinerEvent::Start));
        assert_eq!(news, [JoinNews::Expired]);
        assert!(news[0].is_alarming());
    }
}
