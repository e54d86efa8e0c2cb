//! Telling what we know.

use std::collections::BTreeSet;
use std::time::Instant;

use super::core::{Cluster, Phase};
use super::fitness::Ailment;
use super::membership::Liveness;
use super::status::{ClusterStatus, Lifecycle, NodeStatus};
use crate::proto::node::NodeId;

impl Cluster {
    /// What this node knows of the cluster; `now` serves for ages.
    pub fn status(&self, now: Instant) -> ClusterStatus {
        ClusterStatus {
            node: self.known.own.node.clone(),
            holder: self.holder.clone(),
            epoch: self.top_epoch,
            discovering: matches!(self.phase, Phase::Idle | Phase::Discovering { .. }),
            publisher: self.publisher.is_found(),
            stood_back: self.fitness.total(),
            nodes: self.node_statuses(now),
            traffic: self.traffic,
            past: self.history.tell(),
        }
    }

    /// Why this node leaves the lease to others; `None`: it does not.
    pub fn stands_back(&self) -> Option<Ailment> {
        self.known.own.stands_back
    }

    /// What this node knows of each node that it knows of, itself included; by name.
    pub fn node_statuses(&self, now: Instant) -> Vec<NodeStatus> {
        let nodes: BTreeSet<&NodeId> = self
            .roster
            .nodes()
            .chain(self.known.records.iter().map(|record| &record.node))
            .chain(self.known.membership.live())
            .chain([&self.known.own.node])
            .collect();
        nodes.into_iter().map(|node| self.node_status(now, node)).collect()
    }

    fn node_status(&self, now: Instant, node: &NodeId) -> NodeStatus {
        let own = &self.known.own;
        let (liveness, record) = if *node == own.node {
            (Some(Liveness::Alive), Some(own))
        } else {
            let known = self.known.membership.known(node).map(|(liveness, _)| liveness);
            (known, self.known.records.get(node))
        };
        let draining = self.register.draining.contains(node);
        let heard = self.heard.get(node).map(|at| now.saturating_duration_since(*at).as_millis());
        NodeStatus {
            node: node.clone(),
            lifecycle: Lifecycle::of(liveness, record, draining),
            priority: record.map(|record| record.priority),
            points: record.map_or(0, |record| record.points.len()),
            lease_epoch: record.and_then(|record| record.lease).map(|lease| lease.epoch),
            tunnel_address: record.map(|record| record.tunnel_address),
            endpoint: record.and_then(|record| record.endpoint),
            heard_ms_ago: heard.map(|age| u64::try_from(age).unwrap_or(u64::MAX)),
            draining,
            drain_phase: record.and_then(|record| record.drain_phase),
            stands_back: record.and_then(|record| record.stands_back),
            target_well: record.map(|record| record.target_well),
            token: record.map(|record| record.token),
            published: record.map(|record| record.published.clone()).unwrap_or_default(),
        }
    }
}
