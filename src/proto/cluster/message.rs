//! The datagrams nodes exchange inside the mesh: small, bounded, and decoded without trust.
//!
//! They arrive sealed under the cluster's token, so their sender is a member. It may still be broken, or of
//! another version: a datagram that does not decode exactly is dropped whole.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::note::{MAX_SEALED, Note};
use super::record::{Version, bounded};
use crate::proto::node::{NODE_ID_MAX_LEN, NodeId};

/// Largest datagram of the cluster, in bytes. The mesh seals it (some 60 bytes) and WireGuard wraps it (80)
/// within IPv6's minimum MTU of 1280, so that it fits every path.
pub const MAX_DATAGRAM: usize = 1100;
/// Largest piece of a record in one datagram, in bytes; the rest of [`MAX_DATAGRAM`] is the piece's label.
pub const MAX_PART: usize = 1000;
/// Most pieces of one record. The largest legal record is just below 8 000 bytes.
pub const MAX_PARTS: u8 = 8;
/// Largest membership payload, in bytes.
pub const MAX_SWIM: usize = 1024;
/// Most entries in one digest: so many with the longest names and numbers fill a datagram.
pub const MAX_DIGEST: usize = 16;
/// Most notes in one datagram: so many of the longest kind fill it.
pub const MAX_NOTES: usize = 6;
/// Most records asked for at once, so that one small question has a bounded answer.
pub const MAX_PULL: usize = 8;

/// So much room is made for a message at first, in bytes: most need no more.
const USUAL: usize = 128;
/// Longest encoding of a digest's entry: a name with its length, three varints.
const MAX_ENTRY: usize = 1 + NODE_ID_MAX_LEN + 3 * 10;
/// Longest encoding of a note, a rotation's: which kind, two names, a time, and what is sealed with its length.
const MAX_NOTE: usize = 1 + 2 * (5 + 4) + 10 + 2 + MAX_SEALED;
const _: () = assert!(1 + 10 + 1 + MAX_DIGEST * MAX_ENTRY <= MAX_DATAGRAM);
const _: () = assert!(2 + MAX_NOTES * MAX_NOTE <= MAX_DATAGRAM);
const _: () = assert!(2 + MAX_PULL * (1 + NODE_ID_MAX_LEN) <= MAX_DATAGRAM);
const _: () = assert!(1 + (1 + NODE_ID_MAX_LEN) + 20 + 2 + 2 + MAX_PART <= MAX_DATAGRAM);
const _: () = assert!(1 + 2 + MAX_SWIM <= MAX_DATAGRAM);

/// One datagram. Byte strings are borrowed from it, so that decoding makes room for nothing large.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message<'a> {
    /// Membership's own payload.
    Swim(#[serde(borrow)] &'a [u8]),
    /// "This is what I have": whoever lacks a record pulls it, whoever has a newer one says so.
    Digest {
        /// The hash of the sender's ledger: whoever has another one sends its notes.
        ledger: u64,
        /// Records.
        #[serde(deserialize_with = "bounded::<_, _, MAX_DIGEST>")]
        entries: Vec<Entry>,
    },
    /// "Send me these records."
    Pull(#[serde(deserialize_with = "bounded::<_, _, MAX_PULL>")] Vec<NodeId>),
    /// A piece of a record.
    #[serde(borrow)]
    Part(Part<'a>),
    /// Notes, to be merged.
    Notes(#[serde(deserialize_with = "bounded::<_, _, MAX_NOTES>")] Vec<Note>),
}

/// One record in a digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Whose record.
    pub node: NodeId,
    /// Which version of it the sender has; zeroes when it has none.
    pub version: Version,
    /// As which incarnation the sender's membership knows the node.
    pub generation: u64,
}

/// A piece of an encoded record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    /// Which version of the record.
    pub version: Version,
    /// Which piece, from 0.
    pub index: u8,
    /// Of how many, 1 to [`MAX_PARTS`].
    pub count: u8,
}

/// A labelled piece of an encoded record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part<'a> {
    /// Whose record.
    pub node: NodeId,
    /// Where the piece belongs.
    pub label: Label,
    /// The piece.
    pub bytes: &'a [u8],
}

/// Why a datagram was dropped. Nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum MessageError {
    /// Longer than [`MAX_DATAGRAM`].
    #[error("datagram of {0} bytes (at most {MAX_DATAGRAM})")]
    TooLong(usize),
    /// Not one of our messages, or one with something wrong inside.
    #[error("datagram does not decode; is the peer of another version?")]
    Malformed,
    /// A message followed by something else.
    #[error("datagram with {0} bytes behind its message")]
    Trailing(usize),
    /// A piece whose place, number of pieces or length is impossible.
    #[error("impossible piece of a record")]
    BadPart,
}

impl<'a> Message<'a> {
    /// Reads exactly one message.
    pub fn decode(datagram: &'a [u8]) -> Result<Self, MessageError> {
        if datagram.len() > MAX_DATAGRAM {
            return Err(MessageError::TooLong(datagram.len()));
        }
        let (message, rest) =
            postcard::take_from_bytes::<Self>(datagram).map_err(|_| MessageError::Malformed)?;
        if !rest.is_empty() {
            return Err(MessageError::Trailing(rest.len()));
        }
        match &message {
            Self::Part(part) if !part.is_possible() => Err(MessageError::BadPart),
            _ => Ok(message),
        }
    }

    /// The message as a datagram.
    ///
    /// `Malformed` cannot happen to a message made within the limits above.
    pub fn encode(&self) -> Result<Vec<u8>, MessageError> {
        let datagram =
            postcard::to_extend(self, Vec::with_capacity(USUAL)).map_err(|_| MessageError::Malformed)?;
        if datagram.len() > MAX_DATAGRAM {
            return Err(MessageError::TooLong(datagram.len()));
        }
        Ok(datagram)
    }
}

impl Part<'_> {
    /// All pieces but the last are full, so that a piece's place in the record is known from its number.
    fn is_possible(&self) -> bool {
        let Label { index, count, .. } = self.label;
        let last = index.checked_add(1) == Some(count);
        (1..=MAX_PARTS).contains(&count)
            && index < count
            && !self.bytes.is_empty()
            && (if last { self.bytes.len() <= MAX_PART } else { self.bytes.len() == MAX_PART })
    }
}

#[cfg(test)]
mod tests {
    use super::super::note::{Admission, Departure, Drain, Rotation};
    use super::super::token::TokenName;
    use super::*;

    fn messages<'a>() -> Vec<Message<'a>> {
        let node: NodeId = "n".repeat(NODE_ID_MAX_LEN).parse().unwrap();
        let version = Version { incarnation: u64::MAX, change: u64::MAX };
        let entry = Entry { node: node.clone(), version, generation: u64::MAX };
        let label = Label { version, index: 0, count: MAX_PARTS };
        vec![
            Message::Swim(&[7; MAX_SWIM]),
            Message::Digest { ledger: u64::MAX, entries: vec![entry; MAX_DIGEST] },
            Message::Pull(vec![node.clone(); MAX_PULL]),
            Message::Part(Part { node, label, bytes: &[1; MAX_PART] }),
            Message::Notes(vec![Note::Rotation(rotation()); MAX_NOTES]),
        ]
    }

    fn rotation() -> Rotation {
        let token = TokenName { seq: u32::MAX, tag: [255; 4] };
        Rotation { token, previous: token, at_ms: u64::MAX, sealed: vec![255; MAX_SEALED] }
    }

    #[test]
    fn no_note_is_longer_than_six_in_a_datagram_may_be() {
        let node: NodeId = "n".repeat(NODE_ID_MAX_LEN).parse().unwrap();
        let wireguard_key = [255; 32];
        let notes = [
            Note::Rotation(rotation()),
            Note::Departure(Departure { node: node.clone(), wireguard_key, at_ms: u64::MAX }),
            Note::Drain(Drain {
                node: node.clone(),
                draining: true,
                at_ms: u64::MAX,
                by: node.clone(),
                deadline_secs: u32::MAX,
                after: Some(node.clone()),
            }),
            Note::Admission(Admission {
                ticket: [255; 16],
                uses: u16::MAX,
                node,
                wireguard_key,
                endpoint: Some("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535".parse().unwrap()),
                tunnel_address: "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff".parse().unwrap(),
                at_ms: u64::MAX,
                expires_ms: u64::MAX,
            }),
        ];
        for note in notes {
            assert!(postcard::to_stdvec(&note).unwrap().len() <= MAX_NOTE, "{note:?}");
        }
    }

    #[test]
    fn sealed_tokens_that_are_too_long_are_dropped() {
        let long = Rotation { sealed: vec![0; MAX_SEALED + 1], ..rotation() };
        let datagram = Message::Notes(vec![Note::Rotation(long)]).encode().unwrap();
        assert_eq!(Message::decode(&datagram), Err(MessageError::Malformed));
        let small =
            Note::Departure(Departure { node: "a".parse().unwrap(), wireguard_key: [0; 32], at_ms: 0 });
        let overfull = Message::Notes(vec![small; MAX_NOTES + 1]).encode().unwrap();
        assert_eq!(Message::decode(&overfull), Err(MessageError::Malformed));
    }

    #[test]
    fn the_largest_of_each_kind_fits_and_returns() {
        for message in messages() {
            let datagram = message.encode().unwrap();
            assert!(datagram.len() <= MAX_DATAGRAM);
            assert_eq!(Message::decode(&datagram), Ok(message));
        }
    }

    #[test]
    fn what_is_cut_longer_or_overfull_is_dropped() {
        for message in messages() {
            let datagram = message.encode().unwrap();
            for cut in 0..datagram.len() {
                assert!(Message::decode(&datagram[..cut]).is_err(), "{message:?} cut at {cut}");
            }
        }
        let mut longer = Message::Pull(Vec::new()).encode().unwrap();
        longer.push(0);
        assert_eq!(Message::decode(&longer), Err(MessageError::Trailing(1)));
        assert_eq!(Message::decode(&[0; MAX_DATAGRAM + 1]), Err(MessageError::TooLong(MAX_DATAGRAM + 1)));
        let overfull = Message::Pull(vec!["a".parse().unwrap(); MAX_PULL + 1]).encode().unwrap();
        assert_eq!(Message::decode(&overfull), Err(MessageError::Malformed));
    }

    #[test]
    fn impossible_pieces_are_dropped() {
        let version = Version::default();
        for (index, count, len) in [
            (0, 0, 10),
            (1, 1, 10),
            (255, 0, 10),
            (255, 255, 10),
            (0, MAX_PARTS + 1, MAX_PART),
            (0, 2, MAX_PART - 1),
            (0, 1, MAX_PART + 1),
            (0, 1, 0),
        ] {
            let bytes = vec![0; len];
            let label = Label { version, index, count };
            let part = Message::Part(Part { node: "a".parse().unwrap(), label, bytes: &bytes });
            let datagram = part.encode().unwrap();
            assert_eq!(Message::decode(&datagram), Err(MessageError::BadPart), "{index}/{count}, {len}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            if let Ok(message) = Message::decode(&bytes) {
                let again = message.encode().unwrap();
                proptest::prop_assert_eq!(Message::decode(&again), Ok(message));
            }
        }
    }
}
