//! Whose introduction points belong into the descriptor, and how a drained node's leave it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::core::Cluster;
use super::drain::{DrainPhase, View};
use super::election::Contender;
use super::events::{Action, PublishOrder, StateChange};
use super::record::{Lease, NodeRecord, latest};
use crate::proto::node::NodeId;
use crate::proto::onion::descriptor::capabilities::Capabilities;

impl Cluster {
    /// Everyone who is there and has told about itself, ourselves first.
    fn present(&self) -> impl Iterator<Item = &NodeRecord> {
        std::iter::once(&self.known.own).chain(self.known.living())
    }

    pub(super) fn contender<'a>(&self, record: &'a NodeRecord) -> Contender<'a> {
        Contender { record, draining: self.register.draining.contains(&record.node) }
    }

    /// Who could serve in place of a drained node: no worse than it, and not to go itself.
    fn stand_ins(&self, drained: &NodeRecord) -> impl Iterator<Item = &NodeRecord> {
        self.present().filter(|other| {
            other.node != drained.node
                && other.serves()
                && !self.register.draining.contains(&other.node)
                && (other.target_well || !drained.target_well)
        })
    }

    /// Whether enough of them are in the descriptor: any, or the one that the operator named.
    fn is_replaced(&self, drained: &NodeRecord, holder: &NodeRecord) -> bool {
        let after = self.known.ledger.drain_of(&drained.node).and_then(|drain| drain.after.as_ref());
        self.stand_ins(drained)
            .filter(|other| after.is_none_or(|after| *after == other.node))
            .any(|other| holder.published.contains(&other.node))
    }

    /// The drained nodes whose points are left out: others are in the descriptor in their place, or they have closed their
    /// introduction circuits because they were. While that is posted it may not be so for a moment, so who is out stays
    /// out, unless nobody else can serve any more.
    pub(super) fn drained_out(&self) -> BTreeSet<NodeId> {
        let is_out = |record: &&NodeRecord| {
            self.register.draining.contains(&record.node)
                && self.stand_ins(record).next().is_some()
                && (self.left_out.contains(&record.node)
                    || record.drain_phase > Some(DrainPhase::Draining)
                    || self.is_replaced(record, &self.known.own))
        };
        self.present().filter(is_out).map(|record| record.node.clone()).collect()
    }

    /// What the holder of this lease, ourselves, wants published.
    pub(super) fn order_under(&self, lease: Lease) -> PublishOrder {
        let own = &self.known.own;
        let wanted = |record: &&NodeRecord| {
            (record.serves() || (record.node == own.node && !record.leaving))
                && !self.left_out.contains(&record.node)
        };
        let mut records: BTreeMap<_, _> =
            self.present().filter(wanted).map(|record| (record.node.clone(), record)).collect();
        if records.values().any(|record| record.serves() && record.target_well) {
            records.retain(|_, record| record.target_well);
        }
        let capabilities: Vec<_> = records.values().filter_map(|record| record.capabilities).collect();
        let counters = self.known.records.iter().chain([own]).flat_map(|record| record.counters.clone());
        PublishOrder {
            epoch: lease.epoch,
            candidates: records.into_iter().map(|(node, record)| (node, record.points.clone())).collect(),
            capabilities: (!capabilities.is_empty()).then(|| Capabilities::common(&capabilities)),
            last_counters: latest(counters),
        }
    }

    /// Whether this node takes no new clients.
    pub(super) fn is_muted(&self) -> bool {
        self.drain.phase() > Some(DrainPhase::Draining)
    }

    /// Goes on with this node's own way out, if the operator drains it, or comes back.
    pub(super) fn advance_drain(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let before = self.drain.phase();
        let was_muted = self.is_muted();
        let view = self.drain_view();
        self.drain.advance(now, view);
        let phase = self.drain.phase();
        if phase == before {
            return;
        }
        self.alter_own(|own| own.drain_phase = phase);
        actions.extend(phase.map(StateChange::DrainPhase).map(Action::StateChanged));
        if self.is_muted() != was_muted {
            actions.push(Action::Mute(self.is_muted()));
            self.show_points();
        }
        if phase == Some(DrainPhase::Drained) {
            actions.push(Action::Drained);
        }
    }

    fn drain_view(&self) -> Option<View> {
        let own = &self.known.own;
        let drain = self.known.ledger.drain_of(&own.node).filter(|drain| drain.draining)?;
        let holder =
            self.holder.as_ref().and_then(|holder| self.present().find(|record| record.node == *holder));
        Some(View {
            replaceable: self.stand_ins(own).next().is_some(),
            replaced: holder.is_some_and(|holder| self.is_replaced(own, holder)),
            published: holder.is_none_or(|holder| holder.published.contains(&own.node)),
            deadline: Duration::from_secs(drain.deadline_secs.into()),
        })
    }
}
