//! What a node of the cluster answers to a request: JSON with the seed's fields, proven like the request.
//!
//! The proof also covers the request, so that an answer cannot be passed off as that to another one, and what the
//! target says to an unknown path is never taken for ours.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::keys::{JoinKeys, Purpose, Tag};
use super::member::{Member, base64, base64_list};
use crate::proto::node::NodeId;

/// Most bytes of an answer's body: the largest cluster's nodes and rotations take about 45 000.
pub const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JoinAnswer {
    /// The node is in.
    Welcome(Welcome),
    /// It is not, for this reason.
    Refused(Refusal),
}

/// What a new node needs to find the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    /// The node that answers.
    pub member: Member,
    /// Every other node.
    pub known_peers: Vec<Member>,
    /// The cluster's token rotations so far, the oldest first, as the mesh writes them.
    pub rotations: Vec<Vec<u8>>,
}

/// Why a node that may ask is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// A node that is alive has its name, key or tunnel address.
    NameTaken,
    /// The ticket has been spent by others.
    Spent,
    /// The cluster has as many nodes as it may have.
    Full,
    /// It asks for another tunnel address than its key gives it.
    WrongAddress,
    /// Too many have asked within the last minute; it may ask again after the time that comes along.
    TooMany,
}

impl Refusal {
    /// The HTTP status that goes with it.
    pub fn status(self) -> u16 {
        match self {
            Self::NameTaken | Self::WrongAddress => 409,
            Self::Spent => 410,
            Self::Full => 403,
            Self::TooMany => 429,
        }
    }

    /// Whether the same request may be granted soon.
    pub fn may_pass(self) -> bool {
        self == Self::TooMany
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NameTaken => {
                "a node that is alive has this node's name or WireGuard key; give this one another [node] id, or let the \
                 other leave"
            }
            Self::Spent => {
                "the invitation has been used by as many nodes as it may; make another one with: rustbalance token create"
            }
            Self::Full => "the cluster has as many nodes as it may have; let one leave",
            Self::WrongAddress => {
                "the cluster expects another tunnel address of this node; leave out tunnel_address, and compare [mesh] \
                 prefix with the other nodes'"
            }
            Self::TooMany => "too many nodes have asked within the last minute",
        })
    }
}

/// Why a body is no answer to our request: most likely it is the target's, to a path it does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not an answer of the cluster to this request")]
pub struct AnswerError;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WelcomeWire {
    node_id: NodeId,
    #[serde(with = "base64")]
    wg_pubkey: [u8; 32],
    wg_endpoint: Option<SocketAddr>,
    tunnel_ip: IpAddr,
    known_peers: Vec<Member>,
    #[serde(with = "base64_list")]
    rotations: Vec<Vec<u8>>,
    #[serde(with = "base64")]
    cluster_token: Tag,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RefusalWire {
    error: Refusal,
    #[serde(with = "base64")]
    cluster_token: Tag,
}

impl JoinAnswer {
    /// The HTTP status that goes with it.
    pub fn status(&self) -> u16 {
        match self {
            Self::Welcome(_) => 200,
            Self::Refused(refusal) => refusal.status(),
        }
    }

    /// The answer as a body, proven with the keys under which the request (`to`, its tag) was.
    pub fn prove(&self, keys: &JoinKeys, to: &Tag) -> Result<Vec<u8>, AnswerError> {
        match self {
            Self::Welcome(welcome) => {
                let mut wire = WelcomeWire::from(welcome.clone());
                wire.cluster_token = tag(keys, to, &wire)?;
                encode(&wire)
            }
            Self::Refused(refusal) => {
                let mut wire = RefusalWire { error: *refusal, cluster_token: [0; 32] };
                wire.cluster_token = tag(keys, to, &wire)?;
                encode(&wire)
            }
        }
    }

    /// Reads a body strictly, and believes it only if a holder of the token said this to the request `to`.
    pub fn parse(status: u16, body: &[u8], keys: &JoinKeys, to: &Tag) -> Result<Self, AnswerError> {
        if body.len() > MAX_ANSWER_BYTES {
            return Err(AnswerError);
        }
        let (answer, proven) = if status == 200 {
            let mut wire: WelcomeWire = serde_json::from_slice(body).map_err(|_| AnswerError)?;
            let said = std::mem::take(&mut wire.cluster_token);
            let proven = keys.is_tag(Purpose::Answer, &[to, &encode(&wire)?], &said);
            (Self::Welcome(wire.into()), proven)
        } else {
            let mut wire: RefusalWire = serde_json::from_slice(body).map_err(|_| AnswerError)?;
            let said = std::mem::take(&mut wire.cluster_token);
            let proven = keys.is_tag(Purpose::Answer, &[to, &encode(&wire)?], &said);
            (Self::Refused(wire.error), proven)
        };
        if proven && answer.status() == status { Ok(answer) } else { Err(AnswerError) }
    }
}

impl From<Welcome> for WelcomeWire {
    fn from(welcome: Welcome) -> Self {
        let Member { node, wireguard_key, endpoint, tunnel_address } = welcome.member;
        Self {
            node_id: node,
            wg_pubkey: wireguard_key,
            wg_endpoint: endpoint,
            tunnel_ip: tunnel_address,
            known_peers: welcome.known_peers,
            rotations: welcome.rotations,
            cluster_token: [0; 32],
        }
    }
}

impl From<WelcomeWire> for Welcome {
    fn from(wire: WelcomeWire) -> Self {
        let member = Member {
            node: wire.node_id,
            wireguard_key: wire.wg_pubkey,
            endpoint: wire.wg_endpoint,
            tunnel_address: wire.tunnel_ip,
        };
        Self { member, known_peers: wire.known_peers, rotations: wire.rotations }
    }
}

/// The tag of an answer whose own place for it is still zero.
fn tag<T: Serialize>(keys: &JoinKeys, to: &Tag, wire: &T) -> Result<Tag, AnswerError> {
    Ok(keys.tag(Purpose::Answer, &[to, &encode(wire)?]))
}

fn encode<T: Serialize>(wire: &T) -> Result<Vec<u8>, AnswerError> {
    serde_json::to_vec(wire).map_err(|_| AnswerError)
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::keys::tests::keys;
    use super::super::request::tests::request;
    use super::*;

    /// A welcome for tests, by a node of this name.
    pub(in super::super) fn welcome(node: &str) -> Welcome {
        Welcome {
            member: request(node).member,
            known_peers: vec![request("x1").member, Member { endpoint: None, ..request("y1").member }],
            rotations: vec![vec![1, 2, 3], Vec::new()],
        }
    }

    #[test]
    fn answers_survive_and_are_believed_by_whom_they_are_for() {
        let refusals =
            [Refusal::NameTaken, Refusal::Spent, Refusal::Full, Refusal::WrongAddress, Refusal::TooMany];
        let answers =
            refusals.map(JoinAnswer::Refused).into_iter().chain([JoinAnswer::Welcome(welcome("n1"))]);
        for answer in answers {
            let body = answer.prove(&keys(1), &[5; 32]).unwrap();
            let parse = |keys: &JoinKeys, to: u8| JoinAnswer::parse(answer.status(), &body, keys, &[to; 32]);
            assert_eq!(parse(&keys(1), 5), Ok(answer.clone()));
            assert_eq!(parse(&keys(2), 5), Err(AnswerError), "another token");
            assert_eq!(parse(&keys(1), 6), Err(AnswerError), "another request");
            for status in [200, 404, 410, 429, 500] {
                let moved = JoinAnswer::parse(status, &body, &keys(1), &[5; 32]);
                assert_eq!(moved.is_ok(), status == answer.status(), "{status}");
            }
        }
    }

    #[test]
    fn the_targets_words_are_no_answer() {
        for body in ["", "{}", "<html>", "{\"error\":\"spent\"}", "null"] {
            for status in [200, 404, 410, 429] {
                assert_eq!(JoinAnswer::parse(status, body.as_bytes(), &keys(1), &[5; 32]), Err(AnswerError));
            }
        }
    }

    #[test]
    fn whatever_is_changed_is_not_believed() {
        let answer = JoinAnswer::Welcome(welcome("n1"));
        let body = String::from_utf8(answer.prove(&keys(1), &[5; 32]).unwrap()).unwrap();
        for (from, to) in [("n1", "n2"), ("192.0.2.1", "192.0.2.9"), ("AQID", "AQIE"), ("\"x1\"", "\"x2\"")] {
            let changed = body.replace(from, to);
            assert_ne!(changed, body);
            let outcome = JoinAnswer::parse(200, changed.as_bytes(), &keys(1), &[5; 32]);
            assert_eq!(outcome, Err(AnswerError), "{from}");
        }
    }

    #[test]
    fn the_largest_welcome_fits() {
        let member = Member {
            node: "n".repeat(32).parse().unwrap(),
            wireguard_key: [255; 32],
            endpoint: Some("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535".parse().unwrap()),
            tunnel_address: "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff".parse().unwrap(),
        };
        let largest = Welcome {
            member: member.clone(),
            known_peers: vec![member; 127],
            rotations: vec![vec![255; 170]; 64],
        };
        let body = JoinAnswer::Welcome(largest.clone()).prove(&keys(1), &[5; 32]).unwrap();
        assert!(body.len() < MAX_ANSWER_BYTES, "{}", body.len());
        assert_eq!(JoinAnswer::parse(200, &body, &keys(1), &[5; 32]), Ok(JoinAnswer::Welcome(largest)));
    }
}
