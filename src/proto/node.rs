//! The names of nodes, and their order when they compete for the lease.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// Longest node name, in bytes: a name travels in every datagram and in file names, and a DNS label
/// half as long as allowed has been enough for everyone.
pub const NODE_ID_MAX_LEN: usize = 32;

/// A node's name, unique in its cluster: `[a-z0-9][a-z0-9-]{0,31}`.
///
/// Always valid once constructed, also when it came out of a datagram or a configuration file. The order is
/// that of the bytes; it breaks ties between equal [`Priority`] values.
///
/// Kept in place and filled up with zeroes, which come before every letter: a name is copied and compared several
/// times for each datagram, and should ask for no memory.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct NodeId([u8; NODE_ID_MAX_LEN]);

impl Ord for NodeId {
    fn cmp(&self, other: &Self) -> Ordering {
        // Eight bytes at a time: names differ early, and a general comparison takes longer to set out.
        let (words, others) = (self.0.as_chunks::<8>().0, other.0.as_chunks::<8>().0);
        let differing = words.iter().zip(others).find(|(word, other)| word != other);
        differing.map_or(Ordering::Equal, |(word, other)| {
            u64::from_be_bytes(*word).cmp(&u64::from_be_bytes(*other))
        })
    }
}

impl PartialOrd for NodeId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Why a text is not a node name. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NodeIdError {
    /// The name has no characters.
    #[error("a node name must not be empty; use 1 to {NODE_ID_MAX_LEN} of a-z, 0-9 and '-'")]
    Empty,
    /// The name is longer than [`NODE_ID_MAX_LEN`] bytes.
    #[error("a node name of {0} bytes is too long; at most {NODE_ID_MAX_LEN} are allowed")]
    TooLong(usize),
    /// A character is none of `a-z`, `0-9`, `-`, or the first one is `-`.
    #[error("the character at byte {0} is not allowed in a node name; use a-z, 0-9 and, not first, '-'")]
    BadCharacter(usize),
}

impl NodeId {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    fn as_bytes(&self) -> &[u8] {
        let len = self.0.iter().position(|byte| *byte == 0).unwrap_or(NODE_ID_MAX_LEN);
        self.0.get(..len).unwrap_or_default()
    }

    fn from_bytes(text: &[u8]) -> Result<Self, NodeIdError> {
        validate(text)?;
        let mut name = [0; NODE_ID_MAX_LEN];
        name.iter_mut().zip(text).for_each(|(to, from)| *to = *from);
        Ok(Self(name))
    }
}

fn validate(text: &[u8]) -> Result<(), NodeIdError> {
    if text.is_empty() {
        return Err(NodeIdError::Empty);
    }
    if text.len() > NODE_ID_MAX_LEN {
        return Err(NodeIdError::TooLong(text.len()));
    }
    let allowed =
        |at: usize, byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || (byte == b'-' && at > 0);
    match text.iter().enumerate().find(|&(at, byte)| !allowed(at, *byte)) {
        Some((at, _)) => Err(NodeIdError::BadCharacter(at)),
        None => Ok(()),
    }
}

impl FromStr for NodeId {
    type Err = NodeIdError;

    fn from_str(text: &str) -> Result<Self, NodeIdError> {
        Self::from_bytes(text.as_bytes())
    }
}

impl Serialize for NodeId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // In postcard, text and bytes are the same; bytes need not be looked at twice.
        if serializer.is_human_readable() {
            serializer.serialize_str(self.as_str())
        } else {
            serializer.serialize_bytes(self.as_bytes())
        }
    }
}

impl<'de> Deserialize<'de> for NodeId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name;
        impl Visitor<'_> for Name {
            type Value = NodeId;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a node name")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<NodeId, E> {
                self.visit_bytes(text.as_bytes())
            }

            fn visit_bytes<E: serde::de::Error>(self, text: &[u8]) -> Result<NodeId, E> {
                NodeId::from_bytes(text).map_err(E::custom)
            }
        }
        if deserializer.is_human_readable() {
            deserializer.deserialize_str(Name)
        } else {
            deserializer.deserialize_bytes(Name)
        }
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// How much a node wants the lease: the lower number wins, [`NodeId`] breaks ties.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Priority(pub u32);

impl Default for Priority {
    /// In the middle of what operators use (1 to 1 000), so that both better and worse can be said.
    fn default() -> Self {
        Self(100)
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_wherever_they_come_from() {
        assert_eq!("a".parse::<NodeId>().unwrap().as_str(), "a");
        assert_eq!("0-node-7".parse::<NodeId>().unwrap().to_string(), "0-node-7");
        assert_eq!("".parse::<NodeId>(), Err(NodeIdError::Empty));
        assert_eq!("-a".parse::<NodeId>(), Err(NodeIdError::BadCharacter(0)));
        assert_eq!("aB".parse::<NodeId>(), Err(NodeIdError::BadCharacter(1)));
        assert_eq!("é".parse::<NodeId>(), Err(NodeIdError::BadCharacter(0)));
        let longest = "x".repeat(NODE_ID_MAX_LEN);
        assert_eq!(longest.parse::<NodeId>().unwrap().as_str(), longest);
        assert_eq!("x".repeat(33).parse::<NodeId>(), Err(NodeIdError::TooLong(33)));

        let forged = postcard::to_stdvec("../etc").unwrap();
        assert!(postcard::from_bytes::<NodeId>(&forged).is_err());
        assert!(serde_json::from_str::<NodeId>("\"A\"").is_err());
        let node: NodeId = serde_json::from_str("\"n1\"").unwrap();
        assert_eq!(serde_json::to_string(&node).unwrap(), "\"n1\"");
    }

    #[test]
    fn names_are_in_the_order_of_their_bytes() {
        let long = ["node-in-helsinki-1", "node-in-helsinki-12", "node-in-helsinki-2"];
        let ordered = ["0", "a", "a-", "a-0", "a0", "aa", "b", "b-1", "n1", "n10", "n2"];
        let ordered = [&ordered[..], &long].concat();
        for (at, low) in ordered.iter().enumerate() {
            for high in &ordered[at + 1..] {
                assert!(low.parse::<NodeId>().unwrap() < high.parse::<NodeId>().unwrap(), "{low} {high}");
                assert!(low.as_bytes() < high.as_bytes());
            }
        }
    }

    #[test]
    fn the_lower_priority_number_comes_first() {
        assert!(Priority(1) < Priority::default());
    }
}
