//! Who is dead or has left: since when, and what we had of it by then.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::record::Version;
use crate::proto::node::NodeId;

/// The nodes that are gone.
#[derive(Debug, Default)]
pub struct Absences(BTreeMap<NodeId, Absence>);

#[derive(Debug)]
struct Absence {
    since: Instant,
    version: Version,
}

impl Absences {
    /// A node is gone; `version` is that of its record.
    pub fn begin(&mut self, now: Instant, node: NodeId, version: Version) {
        self.0.insert(node, Absence { since: now, version });
    }

    /// A node is there again, or forgotten; the version of its record when it went.
    pub fn end(&mut self, node: &NodeId) -> Option<Version> {
        self.0.remove(node).map(|absence| absence.version)
    }

    /// Since when a node is gone.
    pub fn since(&self, node: &NodeId) -> Option<Instant> {
        self.0.get(node).map(|absence| absence.since)
    }

    /// Nothing is known of anybody's absence any more.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Who is gone, and since when.
    pub fn iter(&self) -> impl Iterator<Item = (&NodeId, Instant)> {
        self.0.iter().map(|(node, absence)| (node, absence.since))
    }

    /// Who has been gone for at least so long.
    pub fn longer_than(&self, now: Instant, limit: Duration) -> impl Iterator<Item = &NodeId> {
        self.iter().filter(move |(_, since)| now >= *since + limit).map(|(node, _)| node)
    }
}
