//! The door for new nodes: the proxy knocks with what may be the join secret, then with a request; the gate judges it,
//! the core decides.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::ipc::call::Responder;
use crate::ipc::coordinator::{JoinHttpAnswer, JoinReply};
use crate::mesh::tunnel::TunnelPrefix;
use crate::mesh::wireguard_key::WireGuardPublicKey;
use crate::proto::cluster::events::{Verdict, Welcome};
use crate::proto::cluster::note::{Admission, Rotation};
use crate::proto::cluster::roster::Peer;
use crate::proto::join::answer::{self, Refusal};
use crate::proto::join::gate::{Candidate, Gate, GateAction, GateEvent, Trusted};
use crate::proto::join::greeting;
use crate::proto::join::http::HttpAnswer;
use crate::proto::join::member::Member;
use crate::proto::join::secret::{JoinSecret, SecretDigest};

/// The door.
pub struct Door {
    /// `None`: nobody joins here.
    secret: Option<SecretDigest>,
    gate: Gate,
    /// At which paths canaries are answered.
    greetings: Vec<SecretDigest>,
    own: Member,
    /// Who waits for the core's verdict: no more than the gate lets wait.
    waiting: BTreeMap<u64, Responder<JoinReply>>,
    knocks: u64,
}

impl Door {
    /// A door that opens to nobody until it trusts a token. New nodes' addresses lie in `prefix`; `own` answers.
    pub fn new(secret: Option<&JoinSecret>, prefix: TunnelPrefix, own: Peer) -> Self {
        let address_of = move |key: &[u8; 32]| prefix.address_of(&WireGuardPublicKey(*key)).ip();
        Self {
            secret: secret.map(JoinSecret::digest),
            gate: Gate::new(Box::new(address_of)),
            greetings: Vec::new(),
            own: member(own),
            waiting: BTreeMap::new(),
            knocks: 0,
        }
    }

    /// The tokens in use are these now.
    pub fn trust(&mut self, now: Instant, unix_ms: u64, trusted: Vec<Trusted>) {
        self.greetings = trusted.iter().map(|trusted| greeting::path(&trusted.keys).digest()).collect();
        self.gate.handle(now, unix_ms, GateEvent::Trust(trusted));
    }

    /// Whether that is the join secret, or the path of a canary.
    pub fn knows(&self, digest: SecretDigest) -> bool {
        self.secret == Some(digest) || self.greetings.contains(&digest)
    }

    /// Somebody who knows the secret asks; gives what the core is to be asked, if it comes to that.
    pub fn knock(
        &mut self,
        now: Instant,
        unix_ms: u64,
        body: &str,
        reply: Responder<JoinReply>,
    ) -> Option<(u64, Admission)> {
        if self.secret.is_none() {
            reply.answer(&JoinReply { answer: None });
            return None;
        }
        if let Some(hello) =
            greeting::answer(body.as_bytes(), self.gate.in_use(unix_ms), &self.own.node, unix_ms)
        {
            reply.answer(&said(GateAction::Answer(
                0,
                HttpAnswer { status: 200, retry_after_secs: None, body: hello },
            )));
            return None;
        }
        self.knocks += 1;
        let request = GateEvent::Request { number: self.knocks, body: body.as_bytes() };
        match self.gate.handle(now, unix_ms, request)? {
            GateAction::Ask(number, candidate) => {
                self.waiting.insert(number, reply);
                Some((number, admission(candidate, unix_ms)))
            }
            decided => {
                reply.answer(&said(decided));
                None
            }
        }
    }

    /// The core has decided.
    pub fn decided(&mut self, now: Instant, unix_ms: u64, number: u64, verdict: Verdict) {
        let verdict = match verdict {
            Verdict::Welcome(welcome) => Ok(self.welcome(welcome)),
            Verdict::NameTaken => Err(Refusal::NameTaken),
            Verdict::Spent => Err(Refusal::Spent),
            Verdict::Full => Err(Refusal::Full),
        };
        let action = self.gate.handle(now, unix_ms, GateEvent::Verdict { number, verdict });
        if let Some(reply) = self.waiting.remove(&number) {
            reply.answer(&action.map_or(JoinReply { answer: None }, said));
        }
    }

    fn welcome(&self, welcome: Welcome) -> answer::Welcome {
        // A rotation can always be written: all its parts are bounded.
        let encode = |rotation: &Rotation| postcard::to_stdvec(rotation).ok();
        answer::Welcome {
            member: self.own.clone(),
            known_peers: welcome.peers.into_iter().map(member).collect(),
            rotations: welcome.rotations.iter().filter_map(encode).collect(),
        }
    }
}

fn said(action: GateAction) -> JoinReply {
    let answer = match action {
        GateAction::Answer(_, http) => String::from_utf8(http.body).ok().map(|body| JoinHttpAnswer {
            status: http.status,
            retry_after_secs: http.retry_after_secs,
            body,
        }),
        GateAction::Forward(_) | GateAction::Ask(..) => None,
    };
    JoinReply { answer }
}

fn admission(candidate: Candidate, at_ms: u64) -> Admission {
    let Candidate { ticket, uses, expires_ms, node, wireguard_key, endpoint, tunnel_address } = candidate;
    Admission { ticket, uses, node, wireguard_key, endpoint, tunnel_address, at_ms, expires_ms }
}

/// How a node is reached, as joining tells of it.
pub fn member(peer: Peer) -> Member {
    let Peer { node, wireguard_key, endpoint, tunnel_address } = peer;
    Member { node, wireguard_key, endpoint, tunnel_address }
}

/// And back.
pub fn peer(member: Member) -> Peer {
    let Member { node, wireguard_key, endpoint, tunnel_address } = member;
    Peer { node, wireguard_key, endpoint, tunnel_address }
}
