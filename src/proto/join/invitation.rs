//! An invitation: all that a new node needs, in one secret document.
//!
//! Whoever holds it can serve the onion address, so it never travels in the clear: the operator's tool seals it under
//! a passphrase. Here it is only bytes and typed values.

use std::fmt;
use std::net::Ipv6Addr;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use zeroize::Zeroizing;

use super::secret::JoinSecret;
use super::ticket::Ticket;
use crate::proto::onion::address::HsId;
use crate::proto::onion::identity::HsIdKeypair;

/// Version of the format, its first byte.
pub const VERSION: u8 = 1;
/// Most bytes of an invitation: the longest token (1 KiB) and many targets leave room, and a wrong file is noticed.
pub const MAX_INVITATION_BYTES: usize = 12 * 1024;
/// Bytes of tor's secret key file.
const MASTER_KEY_BYTES: usize = 96;

/// What the operator of a running cluster gives to a new node.
pub struct Invitation {
    /// The onion service that the cluster serves.
    pub address: HsId,
    /// The virtual port of the service at which joining is asked for.
    pub port: u16,
    /// The path at which it is asked for.
    pub join_secret: JoinSecret,
    /// The cluster token, as its file has it.
    pub cluster_token: Zeroizing<String>,
    /// Which token of the cluster it is: how many times it had been replaced.
    pub token_seq: u32,
    /// The network of the nodes' tunnel addresses, 48 bits, the others zero.
    pub prefix: Ipv6Addr,
    /// The service's secret identity key.
    pub master_key: HsIdKeypair,
    /// Permission to join.
    pub ticket: Ticket,
    /// What of the proxy's configuration all nodes share, as TOML: targets and mode above all.
    pub proxy: String,
    /// The cluster's periods, which all nodes must share.
    pub timing: InvitedTiming,
    /// UDP port of WireGuard.
    pub listen_port: u16,
    /// UDP port of the sealed datagrams, inside the tunnel.
    pub datagram_port: u16,
}

/// Periods that all nodes of a cluster share, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvitedTiming {
    /// `heartbeat_interval_secs`.
    pub heartbeat_interval_ms: u64,
    /// `heartbeat_timeout_secs`.
    pub heartbeat_timeout_ms: u64,
    /// `takeover_grace_secs`.
    pub takeover_grace_ms: u64,
    /// `token_overlap_secs`.
    pub token_overlap_ms: u64,
}

/// Why bytes are no invitation. Nothing was kept of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvitationError {
    /// Of a version that this release does not know.
    #[error(
        "the invitation is of version {0}, this release understands {VERSION}; use the same release on all nodes"
    )]
    Version(u8),
    /// Too long, too short, or not what an invitation looks like inside.
    #[error("this is no invitation, or it is damaged; have it made again with: rustbalance token create")]
    Malformed,
    /// The key in it is of another service than it says.
    #[error("the invitation's key is not that of its onion address; have it made again")]
    OtherKey,
}

/// The invitation as it is written; secrets are borrowed, so that no copy of them is left behind.
#[derive(Serialize, Deserialize)]
struct Wire<'a> {
    address: [u8; 32],
    port: u16,
    join_secret: &'a str,
    cluster_token: &'a str,
    token_seq: u32,
    prefix: [u8; 16],
    master_key: &'a [u8],
    ticket: &'a str,
    proxy: &'a str,
    timing: InvitedTiming,
    listen_port: u16,
    datagram_port: u16,
}

impl Invitation {
    /// The invitation as bytes, to be sealed.
    ///
    /// `Malformed`: the token and the proxy's part together are longer than any may be.
    pub fn to_bytes(&self) -> Result<Zeroizing<Vec<u8>>, InvitationError> {
        let (join_secret, master_key) =
            (self.join_secret.to_text(), self.master_key.to_tor_secret_key_file());
        let wire = Wire {
            address: self.address.0,
            port: self.port,
            join_secret: &join_secret,
            cluster_token: &self.cluster_token,
            token_seq: self.token_seq,
            prefix: self.prefix.octets(),
            master_key: &*master_key,
            ticket: &self.ticket.to_string(),
            proxy: &self.proxy,
            timing: self.timing,
            listen_port: self.listen_port,
            datagram_port: self.datagram_port,
        };
        // All room at once: a vector that grows leaves copies of secrets behind.
        let mut bytes = Zeroizing::new(vec![0; MAX_INVITATION_BYTES]);
        bytes[0] = VERSION;
        let written =
            postcard::to_slice(&wire, &mut bytes[1..]).map_err(|_| InvitationError::Malformed)?.len();
        bytes.truncate(1 + written);
        Ok(bytes)
    }

    /// Reads what [`Invitation::to_bytes`] wrote, and makes sure that the key is the address's.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvitationError> {
        let (version, body) = bytes.split_first().ok_or(InvitationError::Malformed)?;
        if *version != VERSION {
            return Err(InvitationError::Version(*version));
        }
        if bytes.len() > MAX_INVITATION_BYTES {
            return Err(InvitationError::Malformed);
        }
        let (wire, rest) =
            postcard::take_from_bytes::<Wire<'_>>(body).map_err(|_| InvitationError::Malformed)?;
        if !rest.is_empty() || wire.master_key.len() != MASTER_KEY_BYTES {
            return Err(InvitationError::Malformed);
        }
        let master_key =
            HsIdKeypair::from_tor_secret_key_file(wire.master_key).map_err(|_| InvitationError::Malformed)?;
        if master_key.hs_id().0 != wire.address {
            return Err(InvitationError::OtherKey);
        }
        Ok(Self {
            address: master_key.hs_id(),
            port: wire.port,
            join_secret: JoinSecret::from_text(wire.join_secret).map_err(|_| InvitationError::Malformed)?,
            cluster_token: Zeroizing::new(wire.cluster_token.to_owned()),
            token_seq: wire.token_seq,
            prefix: wire.prefix.into(),
            master_key,
            ticket: wire.ticket.parse().map_err(|_| InvitationError::Malformed)?,
            proxy: wire.proxy.to_owned(),
            timing: wire.timing,
            listen_port: wire.listen_port,
            datagram_port: wire.datagram_port,
        })
    }
}

impl fmt::Debug for Invitation {
    /// What it is for, and none of its secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Invitation")
            .field("address", &self.address)
            .field("ticket", &self.ticket)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::super::keys::tests::keys;
    use super::*;

    const TOKEN: &str = "a token of the cluster, long enough";

    fn invitation() -> Invitation {
        let master_key = HsIdKeypair::from_seed([42; 32]).unwrap();
        Invitation {
            address: master_key.hs_id(),
            port: 80,
            join_secret: JoinSecret::from_text(&"A".repeat(43)).unwrap(),
            cluster_token: Zeroizing::new(TOKEN.to_owned()),
            token_seq: 2,
            prefix: "fd12:3456:789a::".parse().unwrap(),
            master_key,
            ticket: Ticket::issue(&keys(1), [7; 16], 5_000, 1),
            proxy: "target = \"tcp://127.0.0.1:80\"\n".to_owned(),
            timing: InvitedTiming {
                heartbeat_interval_ms: 500,
                heartbeat_timeout_ms: 2000,
                takeover_grace_ms: 500,
                token_overlap_ms: 86_400_000,
            },
            listen_port: 51820,
            datagram_port: 51821,
        }
    }

    #[test]
    fn an_invitation_survives_its_bytes_and_shows_no_secret() {
        let (invitation, bytes) = (invitation(), invitation().to_bytes().unwrap());
        let again = Invitation::from_bytes(&bytes).unwrap();
        assert_eq!(*again.to_bytes().unwrap(), *bytes);
        assert_eq!(again.ticket, invitation.ticket);
        assert_eq!((again.token_seq, again.timing), (2, invitation.timing));
        let shown = format!("{again:?}");
        assert!(!shown.contains("a token") && !shown.contains("AAAA"), "{shown}");
    }

    #[test]
    fn what_is_cut_longer_or_of_another_kind_is_refused() {
        let bytes = invitation().to_bytes().unwrap();
        for cut in 0..bytes.len() {
            assert!(Invitation::from_bytes(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        let refusal = |bytes: &[u8]| Invitation::from_bytes(bytes).unwrap_err();
        assert_eq!(refusal(&[&bytes[..], &[0]].concat()), InvitationError::Malformed);
        assert_eq!(refusal(&[&[2], &bytes[1..]].concat()), InvitationError::Version(2));
        let mut other = bytes.to_vec();
        other[1] ^= 1;
        assert_eq!(refusal(&other), InvitationError::OtherKey);
        let mut long = invitation();
        long.proxy = "x".repeat(MAX_INVITATION_BYTES);
        assert_eq!(long.to_bytes().unwrap_err(), InvitationError::Malformed);
    }
}
