//! Sealing: what a datagram looks like, and making one.
//!
//! ```text
//! offset 0   version            1 byte, 1
//!        1   key id             4, says which token was used; reveals nothing of it
//!        5   session           16, random at process start
//!       21   counter            8, of the session, from 0
//!       29   timestamp          8, sender's clock in milliseconds since 1970
//!       37   length of sender   1, 1 to 32
//!       38   sender             the node's name
//!            ciphertext         as long as the payload
//!            tag               16
//! ```
//!
//! Numbers are big-endian. The payload is encrypted with AES-256-GCM, all bytes before it are its associated
//! data. The key is derived from the token, the sender and the session, the nonce is the counter: a nonce could
//! only repeat under one key if a sealer went on after 2^64 datagrams, which it refuses, or if one node drew the
//! same 128-bit session twice. Nodes and restarts cannot collide, not even two machines with the same name.

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Key, Nonce};
use rand::CryptoRng;
use thiserror::Error;

use crate::mesh::token::ClusterToken;
use crate::mesh::tunnel::TUNNEL_MTU;
use crate::proto::node::{NODE_ID_MAX_LEN, NodeId};

/// Version of the datagram format, its first byte.
pub const VERSION: u8 = 1;
/// Most bytes of a datagram: the tunnel's MTU without IPv6 and UDP headers (40 and 8), so that none is ever
/// fragmented inside the tunnel, over IPv4 neither.
pub const MAX_DATAGRAM: usize = TUNNEL_MTU as usize - 48;
/// Most bytes of a payload that fits into a datagram whatever the sender's name is.
pub const MAX_PAYLOAD: usize = MAX_DATAGRAM - HEADER_FIXED_LEN - NODE_ID_MAX_LEN - TAG_LEN;

/// Bytes of the header before the sender's name.
pub(super) const HEADER_FIXED_LEN: usize = 38;
/// Bytes of the AES-GCM tag.
pub(super) const TAG_LEN: usize = 16;

/// Which token sealed a datagram.
pub type KeyId = [u8; 4];
/// Which process sealed a datagram.
pub(super) type SessionId = [u8; 16];

/// Randomness that makes one sealer's keys its own. Neither cloned nor copied: two sealers that shared it
/// would repeat each other's nonces.
#[derive(Debug)]
pub struct SessionSalt(SessionId);

impl SessionSalt {
    /// Draws a salt. The generator must be seeded by the operating system outside of tests.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut bytes = [0; 16];
        rng.fill_bytes(&mut bytes);
        Self(bytes)
    }
}

/// Why a payload was not sealed. Nothing was sent, no counter was used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SealError {
    /// The payload is longer than [`MAX_PAYLOAD`].
    #[error("a payload of {0} bytes does not fit into one datagram; at most {MAX_PAYLOAD} do")]
    TooLong(usize),
    /// The session's counters are used up, which takes 2^64 datagrams.
    #[error("the sealing session is exhausted; begin another one with a new salt")]
    Exhausted,
    /// AES-GCM refused, which it only does for lengths far beyond [`MAX_PAYLOAD`].
    #[error("AES-GCM refused to seal the payload; this is a bug")]
    Cipher,
}

/// Seals one node's datagrams under one token, for as long as the process lives.
pub struct Sealer {
    cipher: Aes256Gcm,
    key_id: KeyId,
    salt: SessionSalt,
    sender: NodeId,
    /// The next datagram's counter; `None` once all are used up.
    counter: Option<u64>,
}

impl Sealer {
    /// Begins a session. After a change of the token begin another one, with a new salt.
    pub fn new(token: &ClusterToken, sender: NodeId, salt: SessionSalt) -> Self {
        Self {
            cipher: cipher(token, &sender, &salt.0),
            key_id: key_id(token),
            salt,
            sender,
            counter: Some(0),
        }
    }

    /// Seals a payload, stamped with the sender's clock.
    pub fn seal(&mut self, payload: &[u8], now_ms: u64) -> Result<Vec<u8>, SealError> {
        if payload.len() > MAX_PAYLOAD {
            return Err(SealError::TooLong(payload.len()));
        }
        let counter = self.counter.ok_or(SealError::Exhausted)?;
        let mut datagram = self.header(counter, now_ms, payload.len() + TAG_LEN);
        let sealed = self
            .cipher
            .encrypt(&nonce(counter), Payload { msg: payload, aad: &datagram })
            .map_err(|_| SealError::Cipher)?;
        self.counter = counter.checked_add(1);
        datagram.extend_from_slice(&sealed);
        Ok(datagram)
    }

    /// The header, with room for `more` bytes behind it.
    fn header(&self, counter: u64, now_ms: u64, more: usize) -> Vec<u8> {
        let sender = self.sender.as_str().as_bytes();
        let mut header = Vec::with_capacity(HEADER_FIXED_LEN + sender.len() + more);
        header.push(VERSION);
        header.extend_from_slice(&self.key_id);
        header.extend_from_slice(&self.salt.0);
        header.extend_from_slice(&counter.to_be_bytes());
        header.extend_from_slice(&now_ms.to_be_bytes());
        // A node's name has at most 32 bytes.
        header.push(u8::try_from(sender.len()).unwrap_or(u8::MAX));
        header.extend_from_slice(sender);
        header
    }
}

/// The public name of a token, for telling two of them apart while one replaces the other: its datagrams bear it, and so
/// does its [`crate::proto::cluster::token::TokenName`].
pub fn key_id(token: &ClusterToken) -> KeyId {
    let [a, b, c, d, ..] = *token.derive("datagram key id", &[]);
    [a, b, c, d]
}

/// The cipher of one sender's session.
pub(super) fn cipher(token: &ClusterToken, sender: &NodeId, session: &SessionId) -> Aes256Gcm {
    let key = token.derive("datagram sealing key", &[sender.as_str().as_bytes(), session]);
    let key: &Key<Aes256Gcm> = (&*key).into();
    Aes256Gcm::new(key)
}

/// The nonce of a session's datagram: four zero bytes and the counter.
pub(super) fn nonce(counter: u64) -> Nonce<aes_gcm::aead::consts::U12> {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(&counter.to_be_bytes());
    bytes.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    fn sealer() -> Sealer {
        let token = ClusterToken::from_file_bytes(&[b'x'; 32]).unwrap();
        Sealer::new(&token, "n1".parse().unwrap(), SessionSalt::generate(&mut StdRng::seed_from_u64(1)))
    }

    #[test]
    fn the_largest_payload_with_the_longest_name_fits_the_mtu() {
        let token = ClusterToken::from_file_bytes(&[b'x'; 32]).unwrap();
        let name = "x".repeat(NODE_ID_MAX_LEN).parse().unwrap();
        let mut sealer = Sealer::new(&token, name, SessionSalt::generate(&mut StdRng::seed_from_u64(1)));
        assert_eq!(sealer.seal(&[0; MAX_PAYLOAD], 0).unwrap().len(), MAX_DATAGRAM);
        assert_eq!(sealer.seal(&[0; MAX_PAYLOAD + 1], 0), Err(SealError::TooLong(MAX_PAYLOAD + 1)));
    }

    #[test]
    fn counters_run_out_before_they_repeat() {
        let mut sealer = sealer();
        sealer.counter = Some(u64::MAX);
        assert!(sealer.seal(b"last", 0).is_ok());
        assert_eq!(sealer.seal(b"beyond", 0), Err(SealError::Exhausted));
    }

    #[test]
    fn a_refused_payload_uses_up_no_counter() {
        let mut sealer = sealer();
        sealer.seal(&[0; MAX_DATAGRAM], 0).unwrap_err();
        assert_eq!(sealer.counter, Some(0));
    }

    #[test]
    fn equal_payloads_never_look_alike() {
        let mut sealer = sealer();
        let (one, two) = (sealer.seal(b"same", 5).unwrap(), sealer.seal(b"same", 5).unwrap());
        assert_ne!(one[HEADER_FIXED_LEN + 2..], two[HEADER_FIXED_LEN + 2..]);
        assert!(!one.windows(4).any(|w| w == b"same"));
    }
}
