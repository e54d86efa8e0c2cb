//! The revision counter that orders descriptors of one period (rend-spec-v3, appendix F).
//!
//! Tor hides the publisher's clock behind an order-preserving encryption (OPE) keyed by the blinded key. We use tor's
//! own, so that whatever publishes with the same identity, ours or a stray tor, orders by time.

use aes::Aes256;
use ctr::Ctr128BE;
use ctr::cipher::{KeyIvInit, StreamCipher};
use serde::{Deserialize, Serialize};

use crate::proto::onion::blinding::HsBlindKeypair;

/// The largest plaintext tor encrypts, `OPE_INPUT_MAX`: 72.8 hours in seconds. A descriptor lives 48 hours.
pub const MAX_PLAINTEXT: u64 = 1 << 18;
/// Words made at a time: small enough for the stack, large enough for the cipher to work on many blocks at once.
const CHUNK_WORDS: usize = 1024;

/// A descriptor's `revision-counter`: an HSDir takes a descriptor only when this is greater than what it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RevisionCounter(pub u64);

/// The plaintext is 0 or greater than [`MAX_PLAINTEXT`]: no such counter exists, and nothing was computed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{plaintext} cannot be encrypted as a revision counter, only 1 to {MAX_PLAINTEXT} can")]
pub struct CounterError {
    /// What was asked for.
    pub plaintext: u64,
}

impl RevisionCounter {
    /// Tor's own counter for a descriptor published at `unix_secs`, where `epoch` is the slot's counter epoch:
    /// the encryption of `unix_secs - epoch + 1`. A time outside the cipher's range (a clock far off) is taken to the
    /// nearest end of it, as tor does; the caller must then publish with `max` of this and the last counter plus 1.
    pub fn at(blinded: &HsBlindKeypair, epoch: u64, unix_secs: u64) -> Self {
        let plaintext = unix_secs.saturating_sub(epoch).saturating_add(1).min(MAX_PLAINTEXT);
        Self(sum_words(blinded.revision_counter_key(), plaintext))
    }

    /// The next higher counter.
    #[must_use]
    pub fn successor(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// Tor's OPE: the sum of the first `plaintext` little-endian 16-bit words, each plus 1, of AES-256-CTR with IV 0.
/// Not in constant time, as in tor: the plaintext is the time of day.
pub fn ope(key: &[u8; 32], plaintext: u64) -> Result<RevisionCounter, CounterError> {
    if (1..=MAX_PLAINTEXT).contains(&plaintext) {
        Ok(RevisionCounter(sum_words(key, plaintext)))
    } else {
        Err(CounterError { plaintext })
    }
}

/// The sum of [`ope`], for a plaintext known to be in range.
fn sum_words(key: &[u8; 32], plaintext: u64) -> u64 {
    let mut cipher = Ctr128BE::<Aes256>::new(key.into(), &[0; 16].into());
    let mut sum = 0;
    let mut left = usize::try_from(plaintext).unwrap_or(usize::MAX);
    while left > 0 {
        let words = left.min(CHUNK_WORDS);
        let mut buffer = [0; 2 * CHUNK_WORDS];
        cipher.apply_keystream(&mut buffer[..2 * words]);
        for word in buffer[..2 * words].as_chunks::<2>().0 {
            sum += u64::from(u16::from_le_bytes(*word)) + 1;
        }
        left -= words;
    }
    sum
}
