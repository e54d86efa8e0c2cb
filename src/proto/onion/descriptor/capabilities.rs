//! What a service says of itself besides its introduction points, and what several nodes can say together.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Highest protocol version a `FlowCtrl` list may name; C tor's protover has the same bound.
const MAX_VERSION: u32 = 63;

/// What the inner document says besides introduction points (`rend-spec-v3` 2.5.2.2).
///
/// Proof of work is left out on purpose: its seeds belong to one tor process and cannot be shared, so a merged
/// descriptor never offers it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// Congestion control, if offered.
    pub flow_control: Option<FlowControl>,
    /// Whether the service says that it is not anonymous (`single-onion-service`).
    pub single_onion: bool,
}

/// A `flow-control` line: the versions of `FlowCtrl` spoken, and the SENDME increment (proposal 324).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Wire")]
pub struct FlowControl {
    /// Bit *n* stands for version *n* (0 to 63); never 0.
    pub versions: u64,
    /// Cells acknowledged by one SENDME, from the consensus; never 0.
    pub sendme_inc: u8,
}

/// Why a `flow-control` line cannot be understood. The descriptor is refused, as C tor does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("flow-control needs a list of protocol versions (0 to 63) and an increment (1 to 255)")]
pub struct FlowControlError;

/// The same as it arrives from a peer: a line made of zeros would spoil the whole descriptor.
#[derive(Deserialize)]
struct Wire {
    versions: u64,
    sendme_inc: u8,
}

impl TryFrom<Wire> for FlowControl {
    type Error = FlowControlError;

    fn try_from(Wire { versions, sendme_inc }: Wire) -> Result<Self, FlowControlError> {
        if versions == 0 || sendme_inc == 0 {
            return Err(FlowControlError);
        }
        Ok(Self { versions, sendme_inc })
    }
}

impl Capabilities {
    /// What a descriptor with introduction points of all these nodes may say: congestion control only as far as
    /// every node has it (a client would use it with any of them), "not anonymous" as soon as one node is not.
    pub fn common<'a>(nodes: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut nodes = nodes.into_iter().copied();
        let Some(first) = nodes.next() else { return Self::default() };
        nodes.fold(first, |all, one| Self {
            flow_control: all.flow_control.zip(one.flow_control).and_then(|(all, one)| all.intersection(one)),
            single_onion: all.single_onion || one.single_onion,
        })
    }
}

impl FlowControl {
    /// What both speak; the smaller increment where two consensuses disagree for a moment (a client accepts
    /// anything within a factor of two of its own).
    fn intersection(self, other: Self) -> Option<Self> {
        let versions = self.versions & other.versions;
        (versions != 0).then(|| Self { versions, sendme_inc: self.sendme_inc.min(other.sendme_inc) })
    }
}

/// Writes the line's arguments as tor does: `1-2 31`.
impl fmt::Display for FlowControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let speaks = |version: u32| version <= MAX_VERSION && self.versions >> version & 1 == 1;
        let mut separator = "";
        let mut version = 0;
        while version <= MAX_VERSION {
            if !speaks(version) {
                version += 1;
                continue;
            }
            let first = version;
            while speaks(version + 1) {
                version += 1;
            }
            write!(f, "{separator}{first}")?;
            if version > first {
                write!(f, "-{version}")?;
            }
            separator = ",";
            version += 1;
        }
        write!(f, " {}", self.sendme_inc)
    }
}

impl FromStr for FlowControl {
    type Err = FlowControlError;

    /// Reads the line's arguments; further arguments are ignored, as the specification asks.
    fn from_str(arguments: &str) -> Result<Self, FlowControlError> {
        let mut words = arguments.split_ascii_whitespace();
        let (list, increment) = words.next().zip(words.next()).ok_or(FlowControlError)?;
        let mut versions = 0u64;
        for range in list.split(',') {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let (first, last) = (version(first)?, version(last)?);
            if first > last {
                return Err(FlowControlError);
            }
            versions |= (u64::MAX >> (MAX_VERSION - (last - first))) << first;
        }
        match increment.parse() {
            Ok(sendme_inc) if sendme_inc != 0 => Ok(Self { versions, sendme_inc }),
            _ => Err(FlowControlError),
        }
    }
}

fn version(text: &str) -> Result<u32, FlowControlError> {
    text.parse().ok().filter(|version| *version <= MAX_VERSION).ok_or(FlowControlError)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flow_control_reads_and_writes_tors_form() {
        for text in ["1-2 31", "1 31", "0-63 255", "1,3-5,63 1", "1-2,4-5 31"] {
            assert_eq!(text.parse::<FlowControl>().unwrap().to_string(), text);
        }
        assert_eq!("1-2 31 later words".parse::<FlowControl>().unwrap().versions, 0b110);
        for text in ["", "1-2", "2-1 31", "64 31", "1-2 0", "1-2 256", "a 31", "1- 31", "1,, 31", "-1 31"] {
            assert_eq!(text.parse::<FlowControl>(), Err(FlowControlError), "{text:?}");
        }
    }

    #[test]
    fn what_cannot_be_written_does_not_arrive() {
        let arrives = |versions, sendme_inc| {
            let sent = postcard::to_stdvec(&FlowControl { versions, sendme_inc }).unwrap();
            postcard::from_bytes::<FlowControl>(&sent).is_ok()
        };
        assert!(arrives(0b110, 31) && arrives(1, 1));
        assert!(!arrives(0, 31) && !arrives(0b110, 0));
    }

    #[test]
    fn nodes_together_offer_only_what_each_has() {
        let with = |text: &str| Capabilities { flow_control: text.parse().ok(), single_onion: false };
        let common = |nodes: &[Capabilities]| Capabilities::common(nodes).flow_control.map(|f| f.to_string());
        assert_eq!(common(&[with("1-2 31"), with("1-2 31")]).as_deref(), Some("1-2 31"));
        assert_eq!(common(&[with("1-2 31"), with("1 30")]).as_deref(), Some("1 30"));
        assert_eq!(common(&[with("1 31"), with("2 31")]), None);
        assert_eq!(common(&[with("1 31"), Capabilities::default()]), None);
        assert_eq!(common(&[]), None);
        let single = Capabilities { flow_control: None, single_onion: true };
        assert!(Capabilities::common(&[Capabilities::default(), single]).single_onion);
    }
}
