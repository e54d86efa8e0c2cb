//! The lease in practice: taking it, letting go, and what its holder orders to be published.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::core::{Cluster, Phase};
use super::election::{Advice, Contender, Electorate, best};
use super::events::{Action, PublishOrder, StateChange};
use super::record::Lease;
use crate::proto::node::NodeId;

/// How long a node that may take the lease waits for the records of nodes that are there. They come within two
/// round trips; a node that never sends its own must not keep everybody from publishing.
const RECORD_PATIENCE: Duration = Duration::from_secs(2);

impl Cluster {
    /// Draws the conclusions from what has changed: election, a new version of our record, an order.
    pub(super) fn settle(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let timeouts = [self.election_at, self.drain.next_timeout(), self.fitness.next_timeout()];
        let due = timeouts.into_iter().flatten().any(|at| now >= at);
        let discovering = matches!(self.phase, Phase::Discovering { .. });
        if !(self.unsettled || due || discovering) {
            return;
        }
        self.unsettled = false;
        self.advance_fitness(now, actions);
        self.elect(now, actions);
        self.advance_drain(now, actions);
        self.publish_own(now, actions);
        self.order(actions);
    }

    /// Takes or releases the lease if that is due, and follows who holds it.
    fn elect(&mut self, now: Instant, actions: &mut Vec<Action>) {
        self.election_at = None;
        if self.may_judge(now) {
            let dead_holders = self.absent.iter().filter(|(node, _)| self.lease_of(node).is_some());
            let reserved_until = dead_holders.map(|(_, since)| since + self.timing.takeover_grace()).max();
            let electorate = Electorate {
                me: self.contender(&self.known.own),
                others: self.known.living().map(|record| self.contender(record)).collect(),
                alone: self.known.membership.live().is_empty(),
                reserved_until,
            };
            match self.election.decide(now, self.timing.takeover_grace(), &electorate) {
                Advice::Stay => {}
                Advice::Wait(until) => self.election_at = Some(until),
                Advice::Take | Advice::Renew => {
                    self.top_epoch = self.top_epoch.saturating_add(1);
                    let epoch = self.top_epoch;
                    self.alter_own(|own| own.lease = Some(Lease { epoch }));
                    actions.push(Action::StateChanged(StateChange::LeaseTaken { epoch }));
                }
                Advice::Release => {
                    self.alter_own(|own| {
                        own.lease = None;
                        own.published.clear();
                    });
                    let to = best(self.holders());
                    actions.push(Action::StateChanged(StateChange::LeaseReleased { to }));
                }
            }
        }
        let holder = best(self.holders());
        if holder != self.holder {
            if holder.as_ref() != Some(&self.known.own.node) {
                actions.push(Action::StateChanged(StateChange::HolderChanged(holder.clone())));
            }
            self.holder = holder;
        }
    }

    /// Whether what we see is enough to decide by: we know who is there, and what they say about themselves.
    fn may_judge(&mut self, now: Instant) -> bool {
        if let Phase::Discovering { until } = self.phase {
            let found = self.roster.nodes().all(|node| self.known.membership.live().contains(node));
            if now < until && !found {
                return false;
            }
            self.phase = Phase::Settled;
        }
        let expected = |node: &&NodeId| !self.farewells.contains_key(*node);
        let mut live = self.known.membership.live().iter().filter(expected);
        let complete = live.all(|node| self.known.records.get(node).is_some());
        if complete || self.known.own.lease.is_some() {
            self.records_missing_since = None;
            return self.phase == Phase::Settled;
        }
        let until = *self.records_missing_since.get_or_insert(now) + RECORD_PATIENCE;
        if now < until {
            self.election_at = Some(until);
        }
        self.phase == Phase::Settled && now >= until
    }

    fn lease_of(&self, node: &NodeId) -> Option<Lease> {
        self.known.records.get(node).and_then(|record| record.lease)
    }

    fn holders(&self) -> impl Iterator<Item = Contender<'_>> {
        let present = std::iter::once(&self.known.own).chain(self.known.living());
        present.filter(|record| record.lease.is_some()).map(|record| self.contender(record))
    }

    /// Gives our record a new version and everyone the record, if something in it has changed.
    fn publish_own(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if std::mem::take(&mut self.own_changed) {
            self.known.own.version.change += 1;
            let sends = self.gossip.push(now, &self.known);
            self.send(sends, actions);
        }
    }

    /// Tells the publisher, if what it should do has changed.
    pub(super) fn order(&mut self, actions: &mut Vec<Action>) {
        self.left_out = if self.known.own.lease.is_some() { self.drained_out() } else { BTreeSet::new() };
        let order = self.known.own.lease.map(|lease| self.order_under(lease));
        let essence = |order: &PublishOrder| (order.epoch, order.candidates.clone(), order.capabilities);
        if order.as_ref().map(essence) != self.order.as_ref().map(essence) {
            self.order.clone_from(&order);
            actions.push(Action::Order(order));
        }
    }
}
