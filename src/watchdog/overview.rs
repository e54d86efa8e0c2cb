//! What the status page shows besides the health: the cluster, as the coordinator tells it, and the descriptors, as the
//! publisher does. It holds no secret and nothing about clients, as neither of them tells any.

use crate::ipc::coordinator::CoordinatorStatus;
use crate::proto::cluster::drain::DrainPhase;
use crate::proto::cluster::record::MAX_NODES;
use crate::proto::cluster::status::{Lifecycle, NodeStatus, Past};
use crate::proto::node::NodeId;
use crate::proto::onion::descriptor::intro_point::IntroPoint;
use crate::proto::publish::report::{PublisherReport, SlotReport};

/// Most events that are kept: as many as a coordinator keeps.
const MOST_PAST: usize = 64;
/// Most introduction points: no descriptor holds more.
const MOST_POINTS: usize = 20;
/// Most HSDirs of one descriptor: sixteen replicas at eight relays each, the most that a consensus can ask for.
const MOST_HSDIRS: usize = 128;

/// What was told last; `None` of a daemon that does not answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Overview {
    /// The coordinator's word.
    pub(super) cluster: Option<Cluster>,
    /// The publisher's word.
    pub(super) descriptors: Option<Descriptors>,
}

/// The cluster, as this node sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cluster {
    /// This node.
    pub(super) node: NodeId,
    /// It is not in the cluster yet.
    pub(super) joining: bool,
    /// Who holds the lease, as far as is known.
    pub(super) holder: Option<NodeId>,
    /// The highest epoch heard of.
    pub(super) epoch: u64,
    /// It is still being found out who is there.
    pub(super) discovering: bool,
    /// All nodes, by name.
    pub(super) nodes: Vec<Member>,
    /// What has happened lately, the latest last.
    pub(super) past: Vec<Past>,
}

/// One node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member {
    /// Its name.
    pub(super) node: NodeId,
    /// Where it is in its life.
    pub(super) lifecycle: Lifecycle,
    /// How far it is with being drained, if the operator drains it.
    pub(super) drain: Option<DrainPhase>,
    /// Its introduction points.
    pub(super) points: usize,
    /// The epoch of the lease that it believes to hold.
    pub(super) lease_epoch: Option<u64>,
    /// Whether it reaches the target, if it says so.
    pub(super) target_well: Option<bool>,
    /// Its points are in the descriptor that all HSDirs asked by clients hold, says the lease's holder.
    pub(super) published: bool,
}

/// The descriptors, as this node's publisher sees them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Descriptors {
    /// Fingerprints of the relays at which this node serves.
    pub(super) relays: Vec<[u8; 20]>,
    /// Both live descriptors, the one that clients fetch first.
    pub(super) slots: Vec<SlotReport>,
}

impl Cluster {
    /// What the page needs of the coordinator's word.
    pub(super) fn of(status: &CoordinatorStatus) -> Self {
        let cluster = &status.cluster;
        let published: Vec<&NodeId> = cluster
            .nodes
            .iter()
            .filter(|node| Some(&node.node) == cluster.holder.as_ref())
            .flat_map(|holder| &holder.published)
            .collect();
        let member = |node: &NodeStatus| Member {
            node: node.node.clone(),
            lifecycle: node.lifecycle,
            drain: node.draining.then(|| node.drain_phase.unwrap_or(DrainPhase::Draining)),
            points: node.points,
            lease_epoch: node.lease_epoch,
            target_well: node.target_well,
            published: published.contains(&&node.node),
        };
        let skipped = cluster.past.len().saturating_sub(MOST_PAST);
        Self {
            node: cluster.node.clone(),
            joining: status.joining.is_some(),
            holder: cluster.holder.clone(),
            epoch: cluster.epoch,
            discovering: cluster.discovering,
            nodes: cluster.nodes.iter().take(MAX_NODES).map(member).collect(),
            past: cluster.past.iter().skip(skipped).cloned().collect(),
        }
    }
}

impl Descriptors {
    /// What the page needs of the publisher's word.
    pub(super) fn of(report: &PublisherReport) -> Self {
        let mut slots: Vec<SlotReport> = report.slots.iter().take(2).cloned().collect();
        slots.sort_by_key(|slot| !slot.client_fetches);
        for slot in &mut slots {
            slot.hsdirs.truncate(MOST_HSDIRS);
            slot.replicas.truncate(MOST_HSDIRS);
            slot.points_by_node.truncate(MAX_NODES);
            slot.published.truncate(MAX_NODES);
        }
        let relays = report.points.iter().take(MOST_POINTS).filter_map(IntroPoint::relay_id);
        Self { relays: relays.collect(), slots }
    }

    /// How many points of a node are in the descriptor that clients fetch; `None` where this publisher cannot tell, as
    /// another node publishes.
    pub(super) fn points_of(&self, node: &NodeId) -> Option<usize> {
        let slot = self.slots.iter().find(|slot| slot.client_fetches && !slot.points_by_node.is_empty())?;
        let own = slot.points_by_node.iter().find(|(whose, _)| whose == node);
        Some(own.map_or(0, |(_, points)| *points))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watchdog::page::document::tests::overview;

    #[test]
    fn what_is_kept_of_a_report_is_bounded_and_begins_with_what_clients_fetch() {
        let mut slots = overview().descriptors.unwrap().slots;
        slots.reverse();
        let hsdir = slots[0].hsdirs[0].clone();
        slots[0].hsdirs = vec![hsdir; 1000];
        slots.push(slots[0].clone());
        let kept = Descriptors::of(&PublisherReport { slots, ..PublisherReport::default() });
        assert_eq!(kept.slots.len(), 2);
        assert!(kept.slots[0].client_fetches && !kept.slots[1].client_fetches);
        assert_eq!((kept.slots[0].hsdirs.len(), kept.slots[1].hsdirs.len()), (4, MOST_HSDIRS));
    }

    #[test]
    fn points_are_told_by_node_only_by_who_publishes() {
        let mut told = overview().descriptors.unwrap();
        let points = |told: &Descriptors, node: &str| told.points_of(&node.parse().unwrap());
        assert_eq!((points(&told, "alpha"), points(&told, "beta")), (Some(3), Some(0)));
        for slot in &mut told.slots {
            slot.points_by_node.clear();
        }
        assert_eq!(points(&told, "alpha"), None);
    }
}
