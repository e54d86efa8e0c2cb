//! What a new node asks: JSON with the seed's fields, of which one is a proof.
//!
//! `cluster_token` does not hold the token but a tag, made with it, of everything else: the proxy, which carries
//! requests, never learns a secret of the cluster, and nobody can change a request on its way.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::keys::{JoinKeys, Purpose, Tag};
use super::member::{Member, base64};
use super::ticket::Ticket;
use crate::proto::node::{NodeId, Priority};

/// Most bytes of a request's body. One has about 500.
pub const MAX_BODY_BYTES: usize = 8 * 1024;

/// A request to be let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinRequest {
    /// The new node.
    pub member: Member,
    /// Its wish for the lease.
    pub priority: Priority,
    /// When it asked, by its own clock, in Unix seconds.
    pub request_time: u64,
    /// Its permission.
    pub ticket: Ticket,
}

/// A request that has been read, and whose proof has yet to be checked: nothing in it is to be believed before.
#[derive(Debug, Clone)]
pub struct UnprovenRequest {
    request: JoinRequest,
    tag: Tag,
    canonical: Vec<u8>,
}

/// Why a body is no request. It does not matter to its sender: it is answered as if nobody had looked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RequestError {
    /// Longer than [`MAX_BODY_BYTES`].
    #[error("a join request of {0} bytes (at most {MAX_BODY_BYTES})")]
    TooLong(usize),
    /// Not the JSON of a request, with exactly its fields.
    #[error("not a join request")]
    Malformed,
}

/// The request as JSON.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    node_id: NodeId,
    #[serde(with = "base64")]
    cluster_token: Tag,
    #[serde(with = "base64")]
    wg_pubkey: [u8; 32],
    wg_endpoint: Option<SocketAddr>,
    tunnel_ip: IpAddr,
    request_time: u64,
    priority: Priority,
    ticket: String,
}

impl JoinRequest {
    /// The request as a body, proven with the keys of the sender's token; and its tag, for the answer.
    ///
    /// `Malformed` cannot happen.
    pub fn prove(&self, keys: &JoinKeys) -> Result<(Vec<u8>, Tag), RequestError> {
        let Member { node, wireguard_key, endpoint, tunnel_address } = self.member.clone();
        let mut wire = Wire {
            node_id: node,
            cluster_token: [0; 32],
            wg_pubkey: wireguard_key,
            wg_endpoint: endpoint,
            tunnel_ip: tunnel_address,
            request_time: self.request_time,
            priority: self.priority,
            ticket: self.ticket.to_string(),
        };
        let tag = keys.tag(Purpose::Request, &[&encode(&wire)?]);
        wire.cluster_token = tag;
        Ok((encode(&wire)?, tag))
    }
}

impl UnprovenRequest {
    /// Reads a body strictly: every field once, none besides, nothing behind.
    pub fn parse(body: &[u8]) -> Result<Self, RequestError> {
        if body.len() > MAX_BODY_BYTES {
            return Err(RequestError::TooLong(body.len()));
        }
        let mut wire: Wire = serde_json::from_slice(body).map_err(|_| RequestError::Malformed)?;
        let tag = std::mem::take(&mut wire.cluster_token);
        let canonical = encode(&wire)?;
        let ticket = wire.ticket.parse().map_err(|_| RequestError::Malformed)?;
        let member = Member {
            node: wire.node_id,
            wireguard_key: wire.wg_pubkey,
            endpoint: wire.wg_endpoint,
            tunnel_address: wire.tunnel_ip,
        };
        let (priority, request_time) = (wire.priority, wire.request_time);
        Ok(Self { request: JoinRequest { member, priority, request_time, ticket }, tag, canonical })
    }

    /// The request, if its sender holds the token of these keys; takes the same time whatever its proof is.
    pub fn believe(&self, keys: &JoinKeys) -> Option<&JoinRequest> {
        keys.is_tag(Purpose::Request, &[&self.canonical], &self.tag).then_some(&self.request)
    }

    /// Its tag, for the answer.
    pub fn tag(&self) -> Tag {
        self.tag
    }
}

fn encode(wire: &Wire) -> Result<Vec<u8>, RequestError> {
    serde_json::to_vec(wire).map_err(|_| RequestError::Malformed)
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::keys::tests::keys;
    use super::*;

    /// A request for tests, of a node of this name.
    pub(in super::super) fn request(node: &str) -> JoinRequest {
        let number = node.as_bytes()[0];
        JoinRequest {
            member: Member {
                node: node.parse().unwrap(),
                wireguard_key: [number; 32],
                endpoint: Some("192.0.2.1:51820".parse().unwrap()),
                tunnel_address: [0xfd, 0, 0, 0, 0, 0, 0, u16::from(number)].into(),
            },
            priority: Priority(10),
            request_time: 1_790_000_000,
            ticket: Ticket::issue(&keys(1), [7; 16], 1_790_000_600_000, 1),
        }
    }

    fn body(request: &JoinRequest) -> String {
        String::from_utf8(request.prove(&keys(1)).unwrap().0).unwrap()
    }

    #[test]
    fn a_request_is_believed_by_holders_of_its_token_only() {
        let request = request("n1");
        let (body, tag) = request.prove(&keys(1)).unwrap();
        let unproven = UnprovenRequest::parse(&body).unwrap();
        assert_eq!(unproven.believe(&keys(1)), Some(&request));
        assert_eq!(unproven.tag(), tag);
        assert_eq!(unproven.believe(&keys(2)), None);
        let homeless = JoinRequest { member: Member { endpoint: None, ..request.member.clone() }, ..request };
        let unproven = UnprovenRequest::parse(&homeless.prove(&keys(1)).unwrap().0).unwrap();
        assert_eq!(unproven.believe(&keys(1)), Some(&homeless));
    }

    #[test]
    fn whatever_is_changed_is_not_believed() {
        let body = body(&request("n1"));
        for (from, to) in [
            ("\"n1\"", "\"n2\""),
            ("192.0.2.1", "192.0.2.2"),
            ("\"192.0.2.1:51820\"", "null"),
            ("1790000000", "1790000001"),
            ("\"priority\":10", "\"priority\":1"),
            ("fd::", "fd:1::"),
        ] {
            let changed = body.replace(from, to);
            assert_ne!(changed, body, "{from}");
            assert_eq!(UnprovenRequest::parse(changed.as_bytes()).unwrap().believe(&keys(1)), None, "{from}");
        }
    }

    #[test]
    fn other_json_is_refused() {
        let good = body(&request("n1"));
        let bad = [
            String::new(),
            "{}".to_owned(),
            "null".to_owned(),
            "[".repeat(4000),
            format!("{good}x"),
            good.replacen('{', "{\"extra\":1,", 1),
            good.replacen('{', "{\"priority\":10,", 1),
            good.replace("\"priority\":10,", ""),
            good.replace("\"n1\"", "\"N1\""),
            good.replace("10", "-1"),
            good.replace("10", "1e400"),
            good.replace("1790000000", "1.5"),
        ];
        for body in bad {
            assert_eq!(
                UnprovenRequest::parse(body.as_bytes()).unwrap_err(),
                RequestError::Malformed,
                "{body}"
            );
        }
        let long = format!("{good}{}", " ".repeat(MAX_BODY_BYTES));
        assert_eq!(UnprovenRequest::parse(long.as_bytes()).unwrap_err(), RequestError::TooLong(long.len()));
        let padded = format!("{good}{}", " ".repeat(MAX_BODY_BYTES - good.len()));
        assert!(UnprovenRequest::parse(padded.as_bytes()).is_ok());
    }
}
