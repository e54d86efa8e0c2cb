//! Who is let in: the side of joining that answers.
//!
//! ```text
//! body ──► strict? ──► proven under a token? ──► ticket issued under one, in time? ──► clock? ──┐
//!            no          no                        no                                  no       │ yes: may ask
//!            └───────────┴───────── Forward ───────┴───────────────────────────────────┘        ▼
//!                                                 own tunnel address? ──► said before? ──► too many? ──► Ask
//!                                                   no: Answer 409                     yes: Answer 429
//! ```
//!
//! What is forwarded goes to the target, so that it is answered as everything else is; only who may ask gets an answer
//! of ours. Whether a ticket is spent, and whether a name is free, the cluster says ([`GateEvent::Verdict`]).

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::answer::{JoinAnswer, Refusal, Welcome};
use super::http::HttpAnswer;
use super::keys::{JoinKeys, Tag};
use super::member::Member;
use super::request::{JoinRequest, UnprovenRequest};
use crate::proto::node::NodeId;

/// How old a request may be, by its sender's clock: a slow circuit, and a clock that is behind (seed section 2).
pub const MAX_AGE_SECS: u64 = 300;
/// How far in the future a request may have been made: a clock that is ahead.
pub const MAX_AHEAD_SECS: u64 = 60;
/// How many new nodes may ask within [`JOIN_WINDOW`]: more at once is a mistake, or a stolen invitation being tried.
pub const MAX_JOINS: usize = 5;
/// See [`MAX_JOINS`].
pub const JOIN_WINDOW: Duration = Duration::from_mins(1);
/// Most requests that wait for the cluster's verdict, which takes half a second.
pub const MAX_WAITING: usize = 16;
/// How long a verdict may take. Whoever asked has been told by then that there is no answer.
const VERDICT_LIMIT: Duration = Duration::from_secs(10);

/// The tunnel address that belongs to a WireGuard key.
pub type AddressOf = Box<dyn Fn(&[u8; 32]) -> IpAddr + Send>;

/// A token under which requests and tickets are believed.
#[derive(Debug, Clone)]
pub struct Trusted {
    /// What it is worth.
    pub keys: Arc<JoinKeys>,
    /// When it retires, Unix milliseconds; `None` for the newest.
    pub until_ms: Option<u64>,
}

/// What happens at the gate.
#[derive(Debug)]
pub enum GateEvent<'a> {
    /// Somebody who knows the join secret sent this body. The number tells this request from others under way.
    Request {
        /// The number.
        number: u64,
        /// The body.
        body: &'a [u8],
    },
    /// The cluster has decided about the candidate of this number.
    Verdict {
        /// The number.
        number: u64,
        /// What it decided.
        verdict: Result<Welcome, Refusal>,
    },
    /// The tokens in use are these now.
    Trust(Vec<Trusted>),
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GateAction {
    /// It is none of ours: the target shall get it.
    Forward(u64),
    /// Ask the cluster about this candidate; [`GateEvent::Verdict`] answers.
    Ask(u64, Candidate),
    /// Answer this.
    Answer(u64, HttpAnswer),
}

/// A node that may be let in, with the ticket that it wants to spend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The ticket's number.
    pub ticket: [u8; 16],
    /// How many nodes the ticket may let in.
    pub uses: u16,
    /// When it expires, Unix milliseconds.
    pub expires_ms: u64,
    /// The node's name.
    pub node: NodeId,
    /// Its WireGuard public key.
    pub wireguard_key: [u8; 32],
    /// Where its WireGuard listens, if it says so.
    pub endpoint: Option<SocketAddr>,
    /// Its address inside the mesh.
    pub tunnel_address: IpAddr,
}

/// A request about which the cluster has been asked.
struct Waiting {
    keys: Arc<JoinKeys>,
    tag: Tag,
    until: Instant,
}

/// One join, told from others: the same again spends nothing and counts nothing.
type Join = ([u8; 16], NodeId, [u8; 32]);

/// The gate.
pub struct Gate {
    address_of: AddressOf,
    trusted: Vec<Trusted>,
    waiting: BTreeMap<u64, Waiting>,
    /// New joins within the last [`JOIN_WINDOW`], at most [`MAX_JOINS`].
    joins: VecDeque<(Instant, Join)>,
}

impl Gate {
    /// A gate that trusts nobody yet.
    pub fn new(address_of: AddressOf) -> Self {
        Self { address_of, trusted: Vec::new(), waiting: BTreeMap::new(), joins: VecDeque::new() }
    }

    /// Takes in one event. `unix_ms` is the wall clock.
    pub fn handle(&mut self, now: Instant, unix_ms: u64, event: GateEvent<'_>) -> Option<GateAction> {
        match event {
            GateEvent::Trust(trusted) => {
                self.trusted = trusted;
                None
            }
            GateEvent::Request { number, body } => Some(self.request(now, unix_ms, number, body)),
            GateEvent::Verdict { number, verdict } => {
                let Waiting { keys, tag, .. } = self.waiting.remove(&number)?;
                let answer = verdict.map_or_else(JoinAnswer::Refused, JoinAnswer::Welcome);
                Some(answered(number, &answer, &keys, &tag, None))
            }
        }
    }

    /// What the tokens that are in use now are worth.
    pub fn in_use(&self, unix_ms: u64) -> impl Iterator<Item = &JoinKeys> {
        let in_use = move |trusted: &&Trusted| trusted.until_ms.is_none_or(|until| unix_ms < until);
        self.trusted.iter().filter(in_use).map(|trusted| &*trusted.keys)
    }

    fn request(&mut self, now: Instant, unix_ms: u64, number: u64, body: &[u8]) -> GateAction {
        let forward = GateAction::Forward(number);
        let Ok(unproven) = UnprovenRequest::parse(body) else { return forward };
        let Some((keys, request)) = self.believe(&unproven, unix_ms) else { return forward };
        let tag = unproven.tag();
        let refuse = |refusal, retry| answered(number, &JoinAnswer::Refused(refusal), &keys, &tag, retry);
        let Member { node, wireguard_key, endpoint, tunnel_address } = request.member.clone();
        if (self.address_of)(&wireguard_key) != tunnel_address {
            return refuse(Refusal::WrongAddress, None);
        }
        self.waiting.retain(|_, waiting| now < waiting.until);
        let join = (request.ticket.id(), node.clone(), wireguard_key);
        if let Some(wait) = self.count(now, join) {
            return refuse(Refusal::TooMany, Some(wait));
        }
        if self.waiting.len() >= MAX_WAITING {
            return refuse(Refusal::TooMany, Some(Duration::from_secs(1)));
        }
        let waiting = Waiting { keys: Arc::clone(&keys), tag, until: now + VERDICT_LIMIT };
        self.waiting.insert(number, waiting);
        let ticket = request.ticket;
        let candidate = Candidate {
            ticket: ticket.id(),
            uses: ticket.uses(),
            expires_ms: ticket.expires_ms(),
            node,
            wireguard_key,
            endpoint,
            tunnel_address,
        };
        GateAction::Ask(number, candidate)
    }

    /// The request, if its sender may ask: it holds a token that is in use, has a ticket, and both are of this time.
    fn believe<'a>(
        &self,
        unproven: &'a UnprovenRequest,
        unix_ms: u64,
    ) -> Option<(Arc<JoinKeys>, &'a JoinRequest)> {
        let in_use = |trusted: &&Trusted| trusted.until_ms.is_none_or(|until| unix_ms < until);
        // Every token is tried, whichever fits: how long it takes tells nothing.
        let mut proven = None;
        for trusted in self.trusted.iter().filter(in_use) {
            if let Some(request) = unproven.believe(&trusted.keys) {
                proven = Some((Arc::clone(&trusted.keys), request));
            }
        }
        let (keys, request) = proven?;
        let issued =
            self.trusted.iter().filter(in_use).map(|trusted| request.ticket.is_issued_under(&trusted.keys));
        let issued = issued.fold(false, |any, this| any | this);
        let now_secs = unix_ms / 1000;
        let oldest = now_secs.saturating_sub(MAX_AGE_SECS);
        let timely = (oldest..=now_secs.saturating_add(MAX_AHEAD_SECS)).contains(&request.request_time);
        let alive = unix_ms < request.ticket.expires_ms() && request.ticket.uses() > 0;
        (issued && timely && alive).then_some((keys, request))
    }

    /// Counts a join, unless it was counted before; if there are too many, how long to wait.
    fn count(&mut self, now: Instant, join: Join) -> Option<Duration> {
        while self.joins.front().is_some_and(|(at, _)| now >= *at + JOIN_WINDOW) {
            self.joins.pop_front();
        }
        if self.joins.iter().any(|(_, known)| *known == join) {
            return None;
        }
        if self.joins.len() >= MAX_JOINS {
            let free = self.joins.front().map_or(now, |(at, _)| *at + JOIN_WINDOW);
            return Some(free.saturating_duration_since(now));
        }
        self.joins.push_back((now, join));
        None
    }
}

/// The answer, or where it cannot be written, none: the target then has the last word.
fn answered(
    number: u64,
    answer: &JoinAnswer,
    keys: &JoinKeys,
    tag: &Tag,
    retry: Option<Duration>,
) -> GateAction {
    let retry_after_secs = retry.map(|retry| retry.as_secs() + 1);
    match answer.prove(keys, tag) {
        Ok(body) => {
            GateAction::Answer(number, HttpAnswer { status: answer.status(), retry_after_secs, body })
        }
        Err(_) => GateAction::Forward(number),
    }
}

#[cfg(test)]
mod tests {
    use super::super::answer::tests::welcome;
    use super::super::keys::tests::keys;
    use super::super::request::tests::request;
    use super::super::ticket::Ticket;
    use super::*;

    /// The moment of the requests that [`request`] makes.
    const NOW_MS: u64 = 1_790_000_000_000;

    fn gate(trusted: &[(u8, Option<u64>)]) -> Gate {
        let mut gate = Gate::new(Box::new(|key| [0xfd, 0, 0, 0, 0, 0, 0, u16::from(key[0])].into()));
        let trust =
            |&(number, until_ms): &(u8, Option<u64>)| Trusted { keys: Arc::new(keys(number)), until_ms };
        let trusted = GateEvent::Trust(trusted.iter().map(trust).collect());
        assert_eq!(gate.handle(Instant::now(), NOW_MS, trusted), None);
        gate
    }

    fn ask(gate: &mut Gate, now: Instant, unix_ms: u64, request: &JoinRequest) -> GateAction {
        let (body, _) = request.prove(&keys(1)).unwrap();
        gate.handle(now, unix_ms, GateEvent::Request { number: 1, body: &body }).unwrap()
    }

    fn is_asked(action: &GateAction) -> bool {
        matches!(action, GateAction::Ask(..))
    }

    /// What somebody who sent `request` makes of an answer.
    fn read(action: GateAction, request: &JoinRequest) -> (JoinAnswer, Option<u64>) {
        let GateAction::Answer(_, HttpAnswer { status, retry_after_secs, body }) = action else {
            panic!("{action:?}")
        };
        let (_, tag) = request.prove(&keys(1)).unwrap();
        (JoinAnswer::parse(status, &body, &keys(1), &tag).unwrap(), retry_after_secs)
    }

    #[test]
    fn who_may_ask_is_asked_about_and_hears_the_verdict() {
        let (mut gate, now, request) = (gate(&[(1, None)]), Instant::now(), request("n1"));
        let GateAction::Ask(1, candidate) = ask(&mut gate, now, NOW_MS, &request) else { panic!() };
        assert_eq!((candidate.node.as_str(), candidate.ticket, candidate.uses), ("n1", [7; 16], 1));
        let verdict = GateEvent::Verdict { number: 1, verdict: Ok(welcome("a")) };
        let action = gate.handle(now, NOW_MS, verdict).unwrap();
        assert_eq!(read(action, &request), (JoinAnswer::Welcome(welcome("a")), None));
        let again = GateEvent::Verdict { number: 1, verdict: Err(Refusal::Spent) };
        assert_eq!(gate.handle(now, NOW_MS, again), None, "a verdict nobody waits for");
        ask(&mut gate, now, NOW_MS, &request);
        let spent = GateEvent::Verdict { number: 1, verdict: Err(Refusal::Spent) };
        let action = gate.handle(now, NOW_MS, spent).unwrap();
        assert_eq!(read(action, &request), (JoinAnswer::Refused(Refusal::Spent), None));
    }

    #[test]
    fn whoever_may_not_ask_is_none_of_ours() {
        let now = Instant::now();
        let good = request("n1");
        let ticket = |keys_of, expires_ms, uses| Ticket::issue(&keys(keys_of), [7; 16], expires_ms, uses);
        let cases = [
            ("another token", gate(&[(2, None)]), good.clone()),
            ("no token", gate(&[]), good.clone()),
            ("a retired token", gate(&[(1, Some(NOW_MS)), (2, None)]), good.clone()),
            (
                "too old",
                gate(&[(1, None)]),
                JoinRequest { request_time: NOW_MS / 1000 - 301, ..good.clone() },
            ),
            ("too new", gate(&[(1, None)]), JoinRequest { request_time: NOW_MS / 1000 + 61, ..good.clone() }),
            ("of all time", gate(&[(1, None)]), JoinRequest { request_time: u64::MAX, ..good.clone() }),
            (
                "a forged ticket",
                gate(&[(1, None)]),
                JoinRequest { ticket: ticket(3, NOW_MS * 2, 1), ..good.clone() },
            ),
            ("expired", gate(&[(1, None)]), JoinRequest { ticket: ticket(1, NOW_MS, 1), ..good.clone() }),
            (
                "for nobody",
                gate(&[(1, None)]),
                JoinRequest { ticket: ticket(1, NOW_MS * 2, 0), ..good.clone() },
            ),
        ];
        for (why, mut gate, request) in cases {
            assert_eq!(ask(&mut gate, now, NOW_MS, &request), GateAction::Forward(1), "{why}");
        }
        for body in [&b""[..], b"{}", b"\xff", &[b'['; 8192], &[b' '; 9000]] {
            let action = gate(&[(1, None)]).handle(now, NOW_MS, GateEvent::Request { number: 3, body });
            assert_eq!(action, Some(GateAction::Forward(3)));
        }
    }

    #[test]
    fn the_edges_of_time_and_overlap_are_inside() {
        let now = Instant::now();
        for request_time in [NOW_MS / 1000 - 300, NOW_MS / 1000 + 60] {
            let request = JoinRequest { request_time, ..request("n1") };
            assert!(is_asked(&ask(&mut gate(&[(1, None)]), now, NOW_MS, &request)), "{request_time}");
        }
        // The token is being replaced: what was made under it still counts, and so does a ticket of the other one.
        let mut overlap = gate(&[(1, Some(NOW_MS + 1)), (2, None)]);
        assert!(is_asked(&ask(&mut overlap, now, NOW_MS, &request("n1"))));
        let ticket = Ticket::issue(&keys(2), [8; 16], NOW_MS + 1, 1);
        assert!(is_asked(&ask(&mut overlap, now, NOW_MS, &JoinRequest { ticket, ..request("n2") })));
    }

    #[test]
    fn nobody_chooses_its_tunnel_address() {
        let mut thief = request("n1");
        thief.member.tunnel_address = request("m1").member.tunnel_address;
        let action = ask(&mut gate(&[(1, None)]), Instant::now(), NOW_MS, &thief);
        assert_eq!(read(action, &thief), (JoinAnswer::Refused(Refusal::WrongAddress), None));
    }

    #[test]
    fn five_joins_a_minute_and_repeats_are_free() {
        let (mut gate, start) = (gate(&[(1, None)]), Instant::now());
        let names = ["a", "b", "c", "d", "e"];
        for (at, name) in (0..).zip(names) {
            for _ in 0..3 {
                let action = ask(&mut gate, start + Duration::from_secs(at), NOW_MS, &request(name));
                assert!(is_asked(&action), "{name}");
            }
        }
        let later = start + Duration::from_secs(10);
        let action = ask(&mut gate, later, NOW_MS, &request("f"));
        assert_eq!(read(action, &request("f")), (JoinAnswer::Refused(Refusal::TooMany), Some(51)));
        assert!(is_asked(&ask(&mut gate, later, NOW_MS, &request("a"))));
        // Strangers do not use it up, nor hear of it.
        let stranger = request("g").prove(&keys(9)).unwrap().0;
        let event = GateEvent::Request { number: 4, body: &stranger };
        assert_eq!(gate.handle(later, NOW_MS, event), Some(GateAction::Forward(4)));
        let free = start + JOIN_WINDOW;
        assert!(is_asked(&ask(&mut gate, free, NOW_MS, &request("f"))));
        assert!(!is_asked(&ask(&mut gate, free, NOW_MS, &request("g"))));
    }

    #[test]
    fn what_waits_is_bounded_and_does_not_wait_for_ever() {
        let (mut gate, now, request) = (gate(&[(1, None)]), Instant::now(), request("n1"));
        let (body, _) = request.prove(&keys(1)).unwrap();
        for number in 0..MAX_WAITING as u64 {
            let action = gate.handle(now, NOW_MS, GateEvent::Request { number, body: &body }).unwrap();
            assert!(is_asked(&action));
        }
        let action = gate.handle(now, NOW_MS, GateEvent::Request { number: 99, body: &body }).unwrap();
        assert_eq!(read(action, &request), (JoinAnswer::Refused(Refusal::TooMany), Some(2)));
        let later = now + VERDICT_LIMIT;
        let action = gate.handle(later, NOW_MS, GateEvent::Request { number: 99, body: &body }).unwrap();
        assert!(is_asked(&action));
        assert_eq!(gate.waiting.len(), 1);
    }
}
