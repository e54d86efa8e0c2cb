//! What a node says about itself: versioned, owned by its node, newest wins.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::drain::DrainPhase;
use super::fitness::Ailment;
use super::token::TokenName;
use crate::proto::node::{NodeId, Priority};
use crate::proto::onion::descriptor::capabilities::Capabilities;
use crate::proto::onion::descriptor::intro_point::IntroPoint;

/// Most introduction points one node may bring: no descriptor holds more than 20 (`rend-spec-v3` 2.5.2.2).
pub const MAX_POINTS: usize = 20;
/// Most time periods a node remembers counters of: two are live, and two more survive a bad clock.
pub const MAX_COUNTERS: usize = 4;
/// Most nodes a cluster can have. Twenty introduction points feed at most twenty nodes at a time; beyond a
/// hundred, a cluster is a mistake or an attack, and memory must stay bounded either way.
pub const MAX_NODES: usize = 128;

/// The right to publish, as its holder states it. It lives as long as its holder is seen alive: every answered
/// probe renews it, and when its holder is dead it expires after the grace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Lease {
    /// Higher than that of every lease its holder had heard of when it took this one.
    pub epoch: u64,
}

/// The age of a record: a later life of its node wins over an earlier one, then the later change wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct Version {
    /// Which life of the node: its start in Unix milliseconds, or one above the last one others remember.
    pub incarnation: u64,
    /// Which change within that life.
    pub change: u64,
}

/// Everything the cluster knows about one node. Only that node changes it; anybody may pass it on.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// Whose record it is.
    pub node: NodeId,
    /// How old it is.
    pub version: Version,
    /// How much the node wants the lease.
    pub priority: Priority,
    /// Its WireGuard public key.
    pub wireguard_key: [u8; 32],
    /// Where its WireGuard listens, if that is known and does not change.
    pub endpoint: Option<SocketAddr>,
    /// Its address inside the mesh.
    pub tunnel_address: IpAddr,
    /// Its introduction points, at most [`MAX_POINTS`].
    #[serde(deserialize_with = "bounded::<_, _, MAX_POINTS>")]
    pub points: Vec<IntroPoint>,
    /// What its tor's own descriptor says besides points; `None` until its publisher has read it.
    pub capabilities: Option<Capabilities>,
    /// The last revision counter it saw accepted, per time period number, at most [`MAX_COUNTERS`].
    #[serde(deserialize_with = "bounded::<_, _, MAX_COUNTERS>")]
    pub counters: Vec<(u64, u64)>,
    /// Its lease, if it believes to hold one.
    pub lease: Option<Lease>,
    /// Whether it is about to go: its points must not be in a descriptor, nor should it hold the lease.
    pub leaving: bool,
    /// Whether its proxy reaches the target.
    pub target_well: bool,
    /// How far it is, if the operator drains it.
    pub drain_phase: Option<DrainPhase>,
    /// Why it stands back from the lease; `None`: it could publish.
    pub stands_back: Option<Ailment>,
    /// If it holds the lease: the nodes with a point in the descriptor that every HSDir asked by clients has accepted.
    #[serde(deserialize_with = "bounded::<_, _, MAX_POINTS>")]
    pub published: Vec<NodeId>,
    /// The newest token it holds.
    pub token: TokenName,
}

impl NodeRecord {
    /// Whether clients can be sent to it: it has introduction points and is not leaving.
    pub fn serves(&self) -> bool {
        !self.leaving && !self.points.is_empty()
    }
}

impl fmt::Debug for NodeRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeRecord")
            .field("node", &self.node)
            .field("version", &format_args!("{}.{}", self.version.incarnation, self.version.change))
            .field("priority", &self.priority.0)
            .field("points", &self.points.len())
            .field("lease", &self.lease.map(|lease| lease.epoch))
            .field("leaving", &self.leaving)
            .field("target_well", &self.target_well)
            .field("drain_phase", &self.drain_phase)
            .field("stands_back", &self.stands_back)
            .field("published", &self.published)
            .field("token", &self.token)
            .finish_non_exhaustive()
    }
}

/// The records of the other nodes, at most [`MAX_NODES`].
#[derive(Debug, Clone, Default)]
pub struct Records(BTreeMap<NodeId, NodeRecord>);

/// What became of a record that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// It was newer than ours, or the first, and has been kept.
    Newer,
    /// We have the same or a newer one.
    Known,
    /// There is no room for another node.
    Full,
}

impl Records {
    /// Keeps `record` if it is the newest of its node.
    pub fn apply(&mut self, record: NodeRecord) -> Applied {
        match self.0.get(&record.node) {
            Some(known) if known.version >= record.version => return Applied::Known,
            None if self.0.len() >= MAX_NODES => return Applied::Full,
            _ => {}
        }
        self.0.insert(record.node.clone(), record);
        Applied::Newer
    }

    /// Forgets a node.
    pub fn forget(&mut self, node: &NodeId) {
        self.0.remove(node);
    }

    /// The record of a node.
    pub fn get(&self, node: &NodeId) -> Option<&NodeRecord> {
        self.0.get(node)
    }

    /// The version of the record of a node; nothing is older than anything.
    pub fn version(&self, node: &NodeId) -> Version {
        self.0.get(node).map(|record| record.version).unwrap_or_default()
    }

    /// All records, by node.
    pub fn iter(&self) -> impl Iterator<Item = &NodeRecord> {
        self.0.values()
    }
}

/// Reads a list of at most `MAX` elements; more is an error. Room is made for what arrives, never for what is
/// claimed to follow.
pub fn bounded<'de, D, T, const MAX: usize>(from: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct Bounded<T, const MAX: usize>(std::marker::PhantomData<T>);
    impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for Bounded<T, MAX> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a list of at most {MAX} elements")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
            let mut all = Vec::new();
            while let Some(element) = list.next_element()? {
                if all.len() == MAX {
                    return Err(serde::de::Error::invalid_length(MAX + 1, &self));
                }
                all.push(element);
            }
            Ok(all)
        }
    }
    from.deserialize_seq(Bounded::<T, MAX>(std::marker::PhantomData))
}

/// The counters of the latest periods, one each, the highest.
pub fn latest(counters: impl IntoIterator<Item = (u64, u64)>) -> Vec<(u64, u64)> {
    let mut highest = BTreeMap::new();
    for (period, counter) in counters {
        let entry = highest.entry(period).or_insert(counter);
        *entry = counter.max(*entry);
    }
    highest.into_iter().rev().take(MAX_COUNTERS).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A record for tests: `points` points whose keys say whose they are.
    pub(crate) fn record(node: &str, incarnation: u64, change: u64, points: usize) -> NodeRecord {
        NodeRecord {
            node: node.parse().unwrap(),
            version: Version { incarnation, change },
            priority: Priority::default(),
            wireguard_key: [node.as_bytes()[0]; 32],
            endpoint: None,
            tunnel_address: IpAddr::from([0xfd, 0, 0, 0, 0, 0, 0, u16::from(node.as_bytes()[0])]),
            points: (0..points).map(|n| point(node, u8::try_from(n).unwrap())).collect(),
            capabilities: None,
            counters: vec![(20_000, 7)],
            lease: None,
            leaving: false,
            target_well: true,
            drain_phase: None,
            stands_back: None,
            published: Vec::new(),
            token: TokenName::default(),
        }
    }

    pub(crate) fn point(node: &str, number: u8) -> IntroPoint {
        let mut block = vec![2, 2, 20];
        block.extend([number; 20]);
        block.extend([3, 32]);
        block.extend([node.as_bytes()[0]; 32]);
        IntroPoint { link_specifiers: block, onion_key: [1; 32], auth_key: [number; 32], enc_key: [9; 32] }
    }

    #[test]
    fn the_newest_wins_whatever_the_order_of_arrival() {
        let versions = [(1, 1), (1, 2), (2, 1)];
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let mut records = Records::default();
            for at in order {
                let (incarnation, change) = versions[at];
                records.apply(record("a", incarnation, change, 1));
            }
            assert_eq!(records.version(&"a".parse().unwrap()), Version { incarnation: 2, change: 1 });
        }
        let mut records = Records::default();
        assert_eq!(records.apply(record("a", 1, 1, 1)), Applied::Newer);
        assert_eq!(records.apply(record("a", 1, 1, 2)), Applied::Known);
    }

    #[test]
    fn there_is_room_for_a_bounded_number_of_nodes() {
        let mut records = Records::default();
        for number in 0..MAX_NODES {
            assert_eq!(records.apply(record(&format!("n{number}"), 1, 1, 0)), Applied::Newer);
        }
        assert_eq!(records.apply(record("late", 1, 1, 0)), Applied::Full);
        assert_eq!(records.apply(record("n1", 1, 2, 0)), Applied::Newer);
        records.forget(&"n1".parse().unwrap());
        assert_eq!(records.apply(record("late", 1, 1, 0)), Applied::Newer);
    }

    #[test]
    fn long_lists_are_refused() {
        let mut long = record("a", 1, 1, MAX_POINTS);
        assert!(postcard::from_bytes::<NodeRecord>(&postcard::to_stdvec(&long).unwrap()).is_ok());
        long.points.push(point("a", 99));
        assert!(postcard::from_bytes::<NodeRecord>(&postcard::to_stdvec(&long).unwrap()).is_err());
        long.points.clear();
        long.counters = vec![(1, 1); MAX_COUNTERS + 1];
        assert!(postcard::from_bytes::<NodeRecord>(&postcard::to_stdvec(&long).unwrap()).is_err());
    }

    #[test]
    fn the_highest_counter_of_each_of_the_latest_periods_is_kept() {
        let heard = [(1, 9), (5, 2), (5, 7), (5, 3), (2, 1), (3, 1), (4, 1)];
        assert_eq!(latest(heard), [(5, 7), (4, 1), (3, 1), (2, 1)]);
    }
}
