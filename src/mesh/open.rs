//! Opening: who sent a datagram, and whether to believe it.
//!
//! The checks run in the order of the refusals in [`OpenError`]: shape, then authenticity, and only of
//! authentic datagrams the sender, the clock and the replay window. So a stranger's bytes change nothing but
//! one counter, and [`OpenError::OwnId`], [`OpenError::Clock`] and [`OpenError::Replayed`] really are about a
//! holder of the token.

use std::collections::BTreeMap;
use std::sync::Arc;

use aes_gcm::Aes256Gcm;
use aes_gcm::aead::{Aead, Payload};
use serde::Serialize;
use thiserror::Error;

use crate::mesh::keyring::MAX_TOKENS;
use crate::mesh::replay::{CLOCK_TOLERANCE_MS, Seen, Sessions};
use crate::mesh::seal::{HEADER_FIXED_LEN, KeyId, MAX_DATAGRAM, SessionId, TAG_LEN, VERSION, cipher, nonce};
use crate::mesh::token::ClusterToken;
use crate::proto::cluster::token::TokenName;
use crate::proto::node::NodeId;

/// An authentic, timely datagram that was not seen before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// The node that sealed it: some holder of the token who said so under this name's key.
    pub sender: NodeId,
    /// The sender's clock when it sealed, in milliseconds since 1970; within the tolerance of ours.
    pub sent_ms: u64,
    /// The token it was sealed under.
    pub under: TokenName,
    /// What was sealed.
    pub payload: Vec<u8>,
}

/// Why a datagram was refused. It was counted and dropped; nothing else changed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OpenError {
    /// Longer than any sealer makes them.
    #[error("datagram of {0} bytes is longer than {MAX_DATAGRAM}")]
    TooLong(usize),
    /// Too short, or its sender is no node name.
    #[error("datagram is not of the mesh's format")]
    Malformed,
    /// Of another version of the format: the sender runs another release.
    #[error("datagram is of format version {0}, this release understands {VERSION}; upgrade the older node")]
    Version(u8),
    /// Sealed under a token that is not ours.
    #[error("datagram is sealed under another cluster token; compare the nodes' token files")]
    ForeignToken,
    /// Names our token but was not sealed under it, or was changed on its way.
    #[error("datagram is forged or damaged")]
    Forged,
    /// Sealed under our own name: ours came back, or another node was given our name.
    #[error("datagram bears this node's own name; make sure no other node is called the same")]
    OwnId,
    /// The sender's clock is more than the tolerance away from ours.
    #[error(
        "datagram from {sender} is {skew_ms} ms off our clock, {CLOCK_TOLERANCE_MS} are allowed; check NTP on both"
    )]
    Clock {
        /// Who sealed it.
        sender: NodeId,
        /// The sender's clock minus ours, in milliseconds.
        skew_ms: i64,
    },
    /// Was accepted before.
    #[error("datagram from {sender} was received before")]
    Replayed {
        /// Who sealed it.
        sender: NodeId,
    },
    /// So far behind its session's newest that nobody knows whether it was accepted before.
    #[error("datagram from {sender} lies behind the replay window")]
    BehindWindow {
        /// Who sealed it.
        sender: NodeId,
    },
    /// More senders, or sessions of one sender, than are remembered; silence for ten seconds makes room.
    #[error("no room to remember another session of {sender}; is it restarting in a loop?")]
    TooManySessions {
        /// Who sealed it.
        sender: NodeId,
    },
}

/// How many datagrams were accepted, and refused for which reason, since the opener was made. The names are
/// those of [`OpenError`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "each field is the count of the variant of the same name")]
pub struct OpenCounters {
    pub accepted: u64,
    pub too_long: u64,
    pub malformed: u64,
    pub version: u64,
    pub foreign_token: u64,
    pub forged: u64,
    pub own_id: u64,
    pub clock: u64,
    pub replayed: u64,
    pub behind_window: u64,
    pub too_many_sessions: u64,
}

impl OpenCounters {
    /// All refusals together.
    pub fn refused(&self) -> u64 {
        self.too_long
            + self.malformed
            + self.version
            + self.foreign_token
            + self.forged
            + self.own_id
            + self.clock
            + self.replayed
            + self.behind_window
            + self.too_many_sessions
    }

    fn count(&mut self, outcome: &Result<Opened, OpenError>) {
        let counter = match outcome {
            Ok(_) => &mut self.accepted,
            Err(OpenError::TooLong(_)) => &mut self.too_long,
            Err(OpenError::Malformed) => &mut self.malformed,
            Err(OpenError::Version(_)) => &mut self.version,
            Err(OpenError::ForeignToken) => &mut self.foreign_token,
            Err(OpenError::Forged) => &mut self.forged,
            Err(OpenError::OwnId) => &mut self.own_id,
            Err(OpenError::Clock { .. }) => &mut self.clock,
            Err(OpenError::Replayed { .. }) => &mut self.replayed,
            Err(OpenError::BehindWindow { .. }) => &mut self.behind_window,
            Err(OpenError::TooManySessions { .. }) => &mut self.too_many_sessions,
        };
        *counter += 1;
    }
}

/// Opens the datagrams that other nodes send to this one.
pub struct Opener {
    own: NodeId,
    /// At most [`MAX_TOKENS`].
    tokens: BTreeMap<TokenName, Arc<ClusterToken>>,
    sessions: Sessions<(KeyId, SessionId), (TokenName, Aes256Gcm)>,
    counters: OpenCounters,
}

/// A datagram taken apart, nothing of it believed yet.
struct Parts<'a> {
    key_id: KeyId,
    session: SessionId,
    counter: u64,
    sent_ms: u64,
    sender: NodeId,
    header: &'a [u8],
    sealed: &'a [u8],
}

/// What a datagram holds, once it is known to be authentic.
struct Authentic {
    payload: Vec<u8>,
    under: TokenName,
    /// The cipher of a session that is not remembered yet.
    new_cipher: Option<Aes256Gcm>,
}

impl Opener {
    /// Opens nothing yet, for the node `own`.
    pub fn new(own: NodeId) -> Self {
        Self { own, tokens: BTreeMap::new(), sessions: Sessions::new(), counters: OpenCounters::default() }
    }

    /// From now on opens what is sealed under this token, too. Of more than [`MAX_TOKENS`] the oldest is dropped.
    pub fn trust(&mut self, name: TokenName, token: Arc<ClusterToken>) {
        self.tokens.insert(name, token);
        while self.tokens.len() > MAX_TOKENS {
            self.tokens.pop_first();
        }
    }

    /// Opens one datagram as it came from the network, or says why not. Any bytes are fine.
    pub fn open(&mut self, datagram: &[u8], now_ms: u64) -> Result<Opened, OpenError> {
        let outcome = self.judge(datagram, now_ms);
        self.counters.count(&outcome);
        outcome
    }

    /// What was accepted and refused so far.
    pub fn counters(&self) -> OpenCounters {
        self.counters
    }

    fn judge(&mut self, datagram: &[u8], now_ms: u64) -> Result<Opened, OpenError> {
        let parts = take_apart(datagram)?;
        let session_key = (parts.key_id, parts.session);
        let Authentic { payload, under, new_cipher } = self.authenticate(&parts, &session_key)?;
        let Parts { sender, counter, sent_ms, .. } = parts;
        if sender == self.own {
            return Err(OpenError::OwnId);
        }
        if sent_ms.abs_diff(now_ms) > CLOCK_TOLERANCE_MS {
            return Err(OpenError::Clock { sender, skew_ms: difference(sent_ms, now_ms) });
        }
        let verdict = match new_cipher {
            None => self.sessions.accept(&sender, &session_key, counter, now_ms),
            Some(cipher) => {
                let kept = (under, cipher);
                self.sessions.remember(&sender, session_key, counter, now_ms, kept).then_some(Ok(()))
            }
        };
        match verdict {
            Some(Ok(())) => Ok(Opened { sender, sent_ms, under, payload }),
            Some(Err(Seen::Before)) => Err(OpenError::Replayed { sender }),
            Some(Err(Seen::TooOldToTell)) => Err(OpenError::BehindWindow { sender }),
            None => Err(OpenError::TooManySessions { sender }),
        }
    }

    /// Decrypts, with the remembered cipher of the session or with a new one.
    fn authenticate(
        &self,
        parts: &Parts<'_>,
        session_key: &(KeyId, SessionId),
    ) -> Result<Authentic, OpenError> {
        let decrypt = |cipher: &Aes256Gcm| {
            let sealed = Payload { msg: parts.sealed, aad: parts.header };
            cipher.decrypt(&nonce(parts.counter), sealed).map_err(|_| OpenError::Forged)
        };
        if let Some((under, known)) = self.sessions.get(&parts.sender, session_key) {
            return Ok(Authentic { payload: decrypt(known)?, under: *under, new_cipher: None });
        }
        // Two tokens of one key id are possible, once in 2^32.
        let mut outcome = Err(OpenError::ForeignToken);
        for (name, token) in self.tokens.iter().filter(|(name, _)| name.tag == parts.key_id) {
            let cipher = cipher(token, &parts.sender, &parts.session);
            outcome = decrypt(&cipher);
            if let Ok(payload) = outcome {
                return Ok(Authentic { payload, under: *name, new_cipher: Some(cipher) });
            }
        }
        Err(outcome.err().unwrap_or(OpenError::Forged))
    }
}

fn take_apart(datagram: &[u8]) -> Result<Parts<'_>, OpenError> {
    if datagram.len() > MAX_DATAGRAM {
        return Err(OpenError::TooLong(datagram.len()));
    }
    let version = *datagram.first().ok_or(OpenError::Malformed)?;
    if version != VERSION {
        return Err(OpenError::Version(version));
    }
    let fixed: &[u8; HEADER_FIXED_LEN] = datagram.first_chunk().ok_or(OpenError::Malformed)?;
    let header_len = HEADER_FIXED_LEN + usize::from(fixed[37]);
    let (header, sealed) = datagram.split_at_checked(header_len).ok_or(OpenError::Malformed)?;
    if sealed.len() < TAG_LEN {
        return Err(OpenError::Malformed);
    }
    let sender = std::str::from_utf8(&header[HEADER_FIXED_LEN..]).map_err(|_| OpenError::Malformed)?;
    Ok(Parts {
        key_id: field(fixed, 1),
        session: field(fixed, 5),
        counter: u64::from_be_bytes(field(fixed, 21)),
        sent_ms: u64::from_be_bytes(field(fixed, 29)),
        sender: sender.parse().map_err(|_| OpenError::Malformed)?,
        header,
        sealed,
    })
}

/// The `N` bytes of a header from `at` on, which lie inside of it for every field.
fn field<const N: usize>(header: &[u8; HEADER_FIXED_LEN], at: usize) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.iter_mut().zip(&header[at..]).for_each(|(to, from)| *to = *from);
    bytes
}

/// `one - other`, held within what an `i64` can say.
fn difference(one: u64, other: u64) -> i64 {
    let apart = i64::try_from(one.abs_diff(other)).unwrap_or(i64::MAX);
    if one >= other { apart } else { -apart }
}
