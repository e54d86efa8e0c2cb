//! One introduction point of a service, and the link specifiers that say which relay it is.

use std::fmt;

use data_encoding::{BASE64, HEXUPPER};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::proto::onion::certificate::ed25519_form;

/// Largest block of link specifiers accepted, in bytes. Tor writes 85 (IPv4, RSA identity, ed25519
/// identity, IPv6) and a block travels in every node record, so three times that is generous.
pub const MAX_LINK_SPECIFIERS_LEN: usize = 255;

/// Link specifier type of an ed25519 relay identity (`tor-spec`, EXTEND2).
const LINK_ED25519_ID: u8 = 0x03;
/// Link specifier type of an RSA relay identity (`tor-spec`, EXTEND2).
const LINK_RSA_ID: u8 = 0x02;

/// An introduction point: everything a client needs to reach the service through one relay, and everything
/// a publisher needs to write it into a descriptor of its own (`rend-spec-v3` 2.5.2.2).
///
/// All of it is public inside the descriptor. The certificates around the keys are not kept: they are bound to
/// one descriptor's signing key, and are made afresh each time.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Wire")]
pub struct IntroPoint {
    /// The block of link specifiers, decoded from base64 (NSPEC, then type, length, value each).
    #[serde(with = "link_specifier_block")]
    pub link_specifiers: Vec<u8>,
    /// The relay's ntor key, x25519.
    pub onion_key: [u8; 32],
    /// The key that identifies this introduction point at its relay, ed25519.
    pub auth_key: [u8; 32],
    /// The service's own ntor key for introductions through this point, x25519.
    pub enc_key: [u8; 32],
}

/// Why a block of bytes is not an introduction point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum IntroPointError {
    /// The block of link specifiers is longer than any real one; the point must be left out.
    #[error("link specifiers of {0} bytes (at most {MAX_LINK_SPECIFIERS_LEN} are accepted)")]
    LinkSpecifiersTooLong(usize),
    /// The lengths inside the block of link specifiers do not add up; the point must be left out.
    #[error("link specifiers are cut short, empty, or followed by something else")]
    LinkSpecifiersMalformed,
    /// The link specifiers do not name the relay by its RSA identity; C tor's clients could not use the point.
    #[error("link specifiers without the relay's RSA identity")]
    NoRelayId,
}

impl IntroPoint {
    /// The relay's RSA identity (link specifier type 02), which is how clients tell introduction points apart.
    ///
    /// `None` if the block is malformed or names no relay: such a point must not be published.
    pub fn relay_id(&self) -> Option<[u8; 20]> {
        self.specifier(LINK_RSA_ID)
    }

    /// The relay's ed25519 identity (link specifier type 03), if the block holds one.
    pub fn relay_ed25519_id(&self) -> Option<[u8; 32]> {
        self.specifier(LINK_ED25519_ID)
    }

    /// The ed25519 form of [`IntroPoint::enc_key`], sign bit 0: what `enc-key-cert` must certify.
    ///
    /// C tor checks only that certificate's signature, Arti also that it certifies this key. It follows from
    /// the key, so it is computed and never taken from anybody. `None` if the key is not on the curve.
    pub fn enc_key_certified(&self) -> Option<[u8; 32]> {
        ed25519_form(&self.enc_key)
    }

    /// Checks what is true of every introduction point: well-formed, bounded link specifiers that name a relay.
    pub fn check(&self) -> Result<(), IntroPointError> {
        let len = self.link_specifiers.len();
        if len > MAX_LINK_SPECIFIERS_LEN {
            return Err(IntroPointError::LinkSpecifiersTooLong(len));
        }
        let specifiers =
            link_specifiers(&self.link_specifiers).ok_or(IntroPointError::LinkSpecifiersMalformed)?;
        if specifiers.is_empty() {
            return Err(IntroPointError::LinkSpecifiersMalformed);
        }
        self.relay_id().map(|_| ()).ok_or(IntroPointError::NoRelayId)
    }

    fn specifier<const N: usize>(&self, wanted: u8) -> Option<[u8; N]> {
        link_specifiers(&self.link_specifiers)?
            .iter()
            .find(|(kind, _)| *kind == wanted)
            .and_then(|(_, value)| (*value).try_into().ok())
    }
}

impl fmt::Debug for IntroPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let relay = self.relay_id().map_or_else(|| "?".to_owned(), |id| HEXUPPER.encode(&id));
        f.debug_struct("IntroPoint")
            .field("relay", &format_args!("{relay}"))
            .field("auth_key", &format_args!("{}", BASE64.encode(&self.auth_key)))
            .finish_non_exhaustive()
    }
}

/// Splits a block into (type, value) pairs; `None` unless the lengths add up exactly.
fn link_specifiers(block: &[u8]) -> Option<Vec<(u8, &[u8])>> {
    let (&count, mut rest) = block.split_first()?;
    // The count is a claim: room is made only for what the block can hold (2 bytes at least each).
    let mut found = Vec::with_capacity(usize::from(count).min(rest.len() / 2));
    for _ in 0..count {
        let (&[kind, len], after) = rest.split_first_chunk::<2>()?;
        let (value, after) = after.split_at_checked(usize::from(len))?;
        found.push((kind, value));
        rest = after;
    }
    rest.is_empty().then_some(found)
}

/// The same fields as they arrive from a peer or another daemon, before [`IntroPoint::check`].
#[derive(Deserialize)]
struct Wire {
    #[serde(with = "link_specifier_block")]
    link_specifiers: Vec<u8>,
    onion_key: [u8; 32],
    auth_key: [u8; 32],
    enc_key: [u8; 32],
}

impl TryFrom<Wire> for IntroPoint {
    type Error = IntroPointError;

    fn try_from(wire: Wire) -> Result<Self, IntroPointError> {
        let Wire { link_specifiers, onion_key, auth_key, enc_key } = wire;
        let point = Self { link_specifiers, onion_key, auth_key, enc_key };
        point.check().map(|()| point)
    }
}

/// The block as base64 where people may read it (JSON), as plain bytes elsewhere (postcard).
mod link_specifier_block {
    use data_encoding::BASE64;
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(block: &[u8], to: S) -> Result<S::Ok, S::Error> {
        if to.is_human_readable() { BASE64.encode(block).serialize(to) } else { to.serialize_bytes(block) }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        if from.is_human_readable() {
            let text = String::deserialize(from)?;
            BASE64.decode(text.as_bytes()).map_err(D::Error::custom)
        } else {
            Vec::deserialize(from)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use data_encoding::HEXLOWER;

    fn point() -> IntroPoint {
        let mut block = vec![3, 0, 6, 127, 0, 0, 1, 0x13, 0x88, 2, 20];
        block.extend([0xab; 20]);
        block.extend([3, 32]);
        block.extend([0xcd; 32]);
        IntroPoint { link_specifiers: block, onion_key: [9; 32], auth_key: [2; 32], enc_key: [9; 32] }
    }

    #[test]
    fn names_its_relay() {
        assert_eq!(point().relay_id(), Some([0xab; 20]));
        assert_eq!(point().relay_ed25519_id(), Some([0xcd; 32]));
        assert_eq!(point().check(), Ok(()));
    }

    #[test]
    fn refuses_blocks_that_do_not_add_up() {
        for cut in 1..point().link_specifiers.len() {
            let mut short = point();
            short.link_specifiers.truncate(cut);
            assert_eq!(short.check(), Err(IntroPointError::LinkSpecifiersMalformed), "cut at {cut}");
        }
        let mut long = point();
        long.link_specifiers.push(0);
        assert_eq!(long.check(), Err(IntroPointError::LinkSpecifiersMalformed));
        long.link_specifiers = vec![0];
        assert_eq!(long.check(), Err(IntroPointError::LinkSpecifiersMalformed));
        long.link_specifiers = vec![1, 0, 6, 127, 0, 0, 1, 0x13, 0x88];
        assert_eq!(long.check(), Err(IntroPointError::NoRelayId));
        long.link_specifiers = vec![0; 256];
        assert_eq!(long.check(), Err(IntroPointError::LinkSpecifiersTooLong(256)));
    }

    // vectors.md 11: from Arti's test descriptor, which C tor wrote.
    #[test]
    fn converts_the_encryption_key() {
        for (enc_key, certified) in [
            (
                "70fcb5ed5b6ec39e1ab0e7608cd75533080d2e7a65c2732998b3ae84ca92f431",
                "9f7db20d4b2ad7cbc0d58c971453aa649d348d6254d931a2ccdd6e903fa88b55",
            ),
            (
                "e2995cc4132f212e99a49f18a9a5eeb75f8068e8e59d9b6a24bcfe95e028d21a",
                "599b6c9560ca8994f6e4cc9811d709b79d16e6b26c76fb24f79ef110f7a33368",
            ),
        ] {
            let key = |hex: &str| HEXLOWER.decode(hex.as_bytes()).unwrap().try_into().unwrap();
            let point = IntroPoint { enc_key: key(enc_key), ..point() };
            assert_eq!(point.enc_key_certified(), Some(key(certified)));
        }
    }

    #[test]
    fn travels_both_ways_and_is_checked_on_arrival() {
        let small = postcard::to_stdvec(&point()).unwrap();
        assert_eq!(small.len(), 1 + point().link_specifiers.len() + 3 * 32);
        assert_eq!(postcard::from_bytes::<IntroPoint>(&small).unwrap(), point());
        let readable = serde_json::to_string(&point()).unwrap();
        assert_eq!(serde_json::from_str::<IntroPoint>(&readable).unwrap(), point());

        let bad = IntroPoint { link_specifiers: vec![0], ..point() };
        assert!(postcard::from_bytes::<IntroPoint>(&postcard::to_stdvec(&bad).unwrap()).is_err());
        assert!(serde_json::from_str::<IntroPoint>(&serde_json::to_string(&bad).unwrap()).is_err());
    }
}
