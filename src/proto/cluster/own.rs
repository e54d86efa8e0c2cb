//! What this node says about itself, and how it goes.

use std::time::{Duration, Instant};

use super::core::{Cluster, Phase};
use super::events::{Action, StateChange};
use super::fitness::Ailment;
use super::note::{Departure, Drain, Note};
use super::record::MAX_POINTS;
use crate::proto::node::NodeId;
use crate::proto::onion::descriptor::intro_point::IntroPoint;

/// How long a node that leaves for good stays to tell everyone: the note is repeated meanwhile, and another one takes the
/// lease.
const LEAVE_PATIENCE: Duration = Duration::from_secs(1);

impl Cluster {
    pub(super) fn own_points(&mut self, mut points: Vec<IntroPoint>) {
        points.truncate(MAX_POINTS);
        self.reported_points = points;
        self.show_points();
        self.publisher.reported();
    }

    /// Our record has the points that the publisher reported, unless there should be none.
    pub(super) fn show_points(&mut self) {
        let hidden = self.is_muted() || self.gone_at.is_some();
        let points = if hidden { Vec::new() } else { self.reported_points.clone() };
        self.alter_own(|own| own.points = points);
    }

    pub(super) fn publisher_found(&mut self, now: Instant, actions: &mut Vec<Action>) {
        self.publisher.found(now);
        // It may have restarted and forgotten.
        actions.push(Action::Order(self.order.clone()));
        if self.is_muted() {
            actions.push(Action::Mute(true));
        }
    }

    /// The publisher has said how it is: what keeps it from publishing, if anything does.
    pub(super) fn publisher_spoke(&mut self, now: Instant, ailment: Option<Ailment>) {
        self.publisher.spoke();
        self.fitness.note(now, ailment);
        self.unsettled = true;
    }

    /// What the publisher said last is not believed for ever, and without one nobody can publish.
    pub(super) fn miss_publisher(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if !self.publisher.is_overdue(now) {
            return;
        }
        if !self.publisher.has_spoken() {
            self.fitness.note(now, Some(Ailment::PublisherAway));
            self.unsettled = true;
        }
        if !self.reported_points.is_empty() {
            self.reported_points.clear();
            self.show_points();
            actions.push(Action::StateChanged(StateChange::PointsWithdrawn));
        }
    }

    /// Stands back from the lease, or does not any more.
    pub(super) fn advance_fitness(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if !self.fitness.advance(now) {
            return;
        }
        let stands_back = self.fitness.stands_back();
        self.alter_own(|own| own.stands_back = stands_back);
        if self.fitness.total() > 0 {
            actions.push(Action::StateChanged(StateChange::StandsBack(stands_back)));
        }
    }

    pub(super) fn target_well(&mut self, well: bool, actions: &mut Vec<Action>) {
        if self.known.own.target_well != well {
            actions.push(Action::StateChanged(StateChange::TargetWell(well)));
        }
        self.alter_own(|own| own.target_well = well);
    }

    /// What the publisher has achieved counts only while it publishes for us.
    pub(super) fn published(&mut self, mut nodes: Vec<NodeId>) {
        nodes.truncate(MAX_POINTS);
        self.alter_own(|own| own.published = if own.lease.is_some() { nodes } else { Vec::new() });
    }

    pub(super) fn connections(&mut self, now: Instant, count: u64) {
        self.drain.connections(now, count);
        self.unsettled = true;
    }

    /// The operator wishes something about a node: it overrules what was wished before, also by a clock that was ahead.
    pub(super) fn drain_wished(&mut self, now: Instant, mut drain: Drain, actions: &mut Vec<Action>) {
        let before = self.known.ledger.drain_of(&drain.node).map_or(0, |known| known.at_ms.saturating_add(1));
        drain.at_ms = drain.at_ms.max(before);
        self.note(now, Note::Drain(drain), actions);
    }

    /// This node leaves for good.
    pub(super) fn leave(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if self.gone_at.is_some() {
            return;
        }
        let alone = self.known.membership.live().is_empty();
        self.gone_at = Some(if alone { now } else { now + LEAVE_PATIENCE });
        let (node, wireguard_key) = (self.known.own.node.clone(), self.known.own.wireguard_key);
        let at_ms = self.known.ledger.after_all_about(&node, &wireguard_key, self.unix_ms);
        self.alter_own(|own| own.leaving = true);
        self.show_points();
        self.note(now, Note::Departure(Departure { node, wireguard_key, at_ms }), actions);
        if alone {
            self.go(now, actions);
        }
    }

    /// The time to tell everyone is over.
    pub(super) fn go(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let node = self.known.own.node.clone();
        actions.push(Action::StateChanged(StateChange::Departed(node)));
        self.shut_down(now, actions);
        actions.push(Action::Left);
    }

    pub(super) fn shut_down(&mut self, now: Instant, actions: &mut Vec<Action>) {
        self.known.own.lease = None;
        self.known.own.leaving = true;
        self.known.own.points.clear();
        self.known.own.published.clear();
        self.known.own.version.change += 1;
        let sends = self.gossip.push(now, &self.known);
        self.send(sends, actions);
        let output = self.known.membership.leave(now);
        self.follow(now, output, actions);
        self.order(actions);
        self.phase = Phase::Left;
    }
}
