//! Who holds the lease, decided by each node for itself from what it sees.
//!
//! The best node should hold it: one that can publish before one that stands back, as it cannot; of these one that serves,
//! reaches its target and is not drained before one that only serves, and that before one that does not; then the lower
//! priority number, then the smaller name. Nobody votes, so two nodes are enough; whoever sees a better holder steps down, so
//! two holders become one as soon as they see each other. A holder lets go only when a better one has taken over: in
//! between there are two for a round trip, never none.

use std::time::{Duration, Instant};

use super::record::NodeRecord;
use crate::proto::node::{NodeId, Priority};

/// A node that may hold the lease.
#[derive(Debug, Clone, Copy)]
pub struct Contender<'a> {
    /// What it says about itself.
    pub record: &'a NodeRecord,
    /// Whether the operator drains it.
    pub draining: bool,
}

impl Contender<'_> {
    /// Whether it will not be there for long.
    fn is_on_its_way_out(&self) -> bool {
        self.draining || self.record.leaving
    }

    fn class(&self) -> Class {
        let Self { record, draining } = *self;
        match (record.serves(), record.stands_back.is_none()) {
            (true, true) if record.target_well && !draining => Class::Well,
            (true, true) => Class::Serves,
            (false, true) if !self.is_on_its_way_out() => Class::CanPublish,
            (true, false) => Class::OnlyServes,
            _ if !record.leaving => Class::Useless,
            _ => Class::Leaves,
        }
    }

    /// Smaller is better. Those that can publish come first, and of these the ones that serve and can go on doing so;
    /// whoever is about to go comes last.
    fn rank(&self) -> (Class, Priority, &NodeId) {
        (self.class(), self.record.priority, &self.record.node)
    }

    fn is_better_than(&self, other: &Self) -> bool {
        self.rank() < other.rank()
    }
}

/// What a contender is good for, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    /// All.
    Well,
    /// It serves and can publish, but will not for long, or without a target.
    Serves,
    /// It could publish what others serve.
    CanPublish,
    /// It serves, and stands back.
    OnlyServes,
    /// Nothing, for now.
    Useless,
    /// It is about to go.
    Leaves,
}

/// What the election looks at.
pub struct Electorate<'a> {
    /// Ourselves.
    pub me: Contender<'a>,
    /// The others that are there and have told about themselves.
    pub others: Vec<Contender<'a>>,
    /// Whether nobody else is there.
    pub alone: bool,
    /// Until when the lease of a holder that has died stays its own.
    pub reserved_until: Option<Instant>,
}

/// What a node should do about the lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advice {
    /// Nothing.
    Stay,
    /// Nothing yet; ask again then.
    Wait(Instant),
    /// Take it.
    Take,
    /// Let go: a better node has it.
    Release,
    /// Keep it, as a new one: another holder has gone, which may have published something else meanwhile.
    Renew,
}

/// The election's only memory.
#[derive(Debug, Default)]
pub struct Election {
    /// Since when we have been better than a holder that is there.
    better_since: Option<Instant>,
    rival: Option<Rival>,
    /// Whether a node has come back that may have held the lease while we did not see each other, and may have given way
    /// before we could hear of it.
    returned: bool,
}

/// Another holder that is there while we hold the lease, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rival {
    /// We took it over from this one, and it lets go as soon as it sees that.
    Predecessor,
    /// We have found each other, after a partition.
    Met,
}

/// The best of some nodes.
pub fn best<'a>(nodes: impl Iterator<Item = Contender<'a>>) -> Option<NodeId> {
    nodes.min_by(|a, b| a.rank().cmp(&b.rank())).map(|best| best.record.node.clone())
}

impl Election {
    /// Decides. `grace` is how long a node must be better than a healthy holder before it takes over, so that
    /// one that comes and goes does not drag the lease along.
    pub fn decide(&mut self, now: Instant, grace: Duration, electorate: &Electorate<'_>) -> Advice {
        let Electorate { me, others, alone, reserved_until } = electorate;
        let better_since = self.better_since.take();
        let holders: Vec<_> = others.iter().filter(|other| other.record.lease.is_some()).collect();
        if me.record.lease.is_some() {
            let better = holders.iter().any(|holder| holder.is_better_than(me));
            return if better { Advice::Release } else { self.hold(!holders.is_empty()) };
        }
        self.rival = (!holders.is_empty()).then_some(Rival::Predecessor);
        self.returned = false;
        // Somebody must hold it for a cluster of one, even before there is anything to publish.
        let electable = match me.class() {
            Class::Well | Class::Serves | Class::OnlyServes => true,
            Class::CanPublish => *alone || others.iter().any(|other| other.record.serves()),
            Class::Useless | Class::Leaves => *alone && !me.is_on_its_way_out(),
        };
        if !electable || others.iter().any(|other| other.is_better_than(me)) {
            return Advice::Stay;
        }
        // Among those that cannot publish it stays where it is: it would go from one to the other for nothing.
        let as_ill = |holder: &&Contender<'_>| {
            me.record.stands_back.is_some() && holder.class() == me.class() && !holder.is_on_its_way_out()
        };
        if holders.iter().any(as_ill) {
            return Advice::Stay;
        }
        if holders.is_empty() {
            return match *reserved_until {
                Some(until) if until > now => Advice::Wait(until),
                _ => Advice::Take,
            };
        }
        if holders.iter().all(|holder| holder.is_on_its_way_out()) {
            return Advice::Take;
        }
        let since = better_since.unwrap_or(now);
        if now >= since + grace {
            return Advice::Take;
        }
        self.better_since = Some(since);
        Advice::Wait(since + grace)
    }

    /// A node that was out of sight is there again.
    pub fn returned(&mut self) {
        self.returned = true;
    }

    /// Goes on holding the lease, while others do or do not.
    fn hold(&mut self, rivals: bool) -> Advice {
        let before = self.rival;
        self.rival = rivals.then(|| before.unwrap_or(Rival::Met));
        let gone = before == Some(Rival::Met) && !rivals;
        if std::mem::take(&mut self.returned) || gone { Advice::Renew } else { Advice::Stay }
    }
}

#[cfg(test)]
mod tests {
    use super::super::drain::DrainPhase;
    use super::super::fitness::Ailment;
    use super::super::record::Lease;
    use super::super::record::tests::record;
    use super::*;

    const GRACE: Duration = Duration::from_millis(500);

    fn node(name: &str, priority: u32, points: usize, lease: Option<u64>) -> NodeRecord {
        NodeRecord {
            priority: Priority(priority),
            lease: lease.map(|epoch| Lease { epoch }),
            ..record(name, 1, 1, points)
        }
    }

    /// Whoever says how far it is drained is drained.
    fn contender(record: &NodeRecord) -> Contender<'_> {
        Contender { record, draining: record.drain_phase.is_some() }
    }

    fn drained(record: &NodeRecord) -> NodeRecord {
        NodeRecord { drain_phase: Some(DrainPhase::Draining), ..record.clone() }
    }

    fn electorate<'a>(me: &'a NodeRecord, others: &[&'a NodeRecord]) -> Electorate<'a> {
        let (alone, me) = (others.is_empty(), contender(me));
        Electorate {
            me,
            others: others.iter().copied().map(contender).collect(),
            alone,
            reserved_until: None,
        }
    }

    fn decide(me: &NodeRecord, others: &[&NodeRecord]) -> Advice {
        Election::default().decide(Instant::now(), GRACE, &electorate(me, others))
    }

    #[test]
    fn priority_then_name_decide_among_those_that_serve() {
        let (a, b, c) = (node("a", 10, 3, None), node("b", 10, 3, None), node("c", 1, 3, None));
        assert_eq!(decide(&c, &[&a, &b]), Advice::Take);
        assert_eq!(decide(&a, &[&b, &c]), Advice::Stay);
        assert_eq!(decide(&a, &[&b]), Advice::Take);
        assert_eq!(decide(&b, &[&a]), Advice::Stay);
        let pointless = node("c", 1, 0, None);
        assert_eq!(decide(&a, &[&b, &pointless]), Advice::Take);
        assert_eq!(decide(&pointless, &[&a, &b]), Advice::Stay);
        let targetless = NodeRecord { target_well: false, ..node("c", 1, 3, None) };
        for worse in [drained(&c), targetless, NodeRecord { leaving: true, ..c }] {
            assert_eq!(decide(&a, &[&b, &worse]), Advice::Take);
            assert_eq!(decide(&worse, &[&a, &b]), Advice::Stay);
        }
    }

    #[test]
    fn where_only_those_serve_that_should_not_one_of_them_takes_it() {
        let pointless = node("a", 1, 0, None);
        let drained = drained(&node("b", 2, 3, None));
        let targetless = NodeRecord { target_well: false, ..node("c", 3, 3, None) };
        assert_eq!(decide(&drained, &[&pointless, &targetless]), Advice::Take);
        assert_eq!(decide(&targetless, &[&pointless]), Advice::Take);
        assert_eq!(decide(&pointless, &[&targetless]), Advice::Stay);
        assert_eq!(decide(&drained, &[]), Advice::Take);
    }

    #[test]
    fn whoever_stands_back_comes_after_all_that_can_publish() {
        let back = |record: NodeRecord| NodeRecord { stands_back: Some(Ailment::NotAccepted), ..record };
        let ill = back(node("a", 1, 3, None));
        let ill_holder = back(node("a", 1, 3, Some(4)));
        let (well, pointless) = (node("b", 9, 3, None), node("c", 9, 0, None));
        let targetless = NodeRecord { target_well: false, ..well.clone() };
        for fit in [&well, &targetless, &pointless] {
            assert_eq!(decide(&ill, &[fit]), Advice::Stay);
            assert!(matches!(decide(fit, &[&ill_holder]), Advice::Wait(_)), "{fit:?}");
            assert_eq!(decide(&ill_holder, &[fit]), Advice::Stay, "until the other one has it");
            let holder = NodeRecord { lease: Some(Lease { epoch: 5 }), ..fit.clone() };
            assert_eq!(decide(&ill_holder, &[&holder]), Advice::Release, "{fit:?}");
        }
        assert_eq!(decide(&ill, &[]), Advice::Take, "a bad holder is better than none");
        assert_eq!(decide(&ill, &[&back(pointless.clone())]), Advice::Take);
        // Where all are ill it stays where it is, but not with the dying.
        let other_holder = back(node("b", 9, 3, Some(4)));
        assert_eq!(decide(&ill, &[&other_holder]), Advice::Stay);
        let leaving = NodeRecord { leaving: true, ..other_holder.clone() };
        assert_eq!(decide(&ill, &[&leaving]), Advice::Take);
        assert!(matches!(decide(&ill, &[&back(node("b", 9, 0, Some(4)))]), Advice::Wait(_)));
        // Of two that hold it, one lets go.
        assert_eq!(decide(&ill_holder, &[&other_holder]), Advice::Stay);
        assert_eq!(decide(&other_holder, &[&ill_holder]), Advice::Release);
        // Who has no points does not begin where nobody has any.
        assert_eq!(decide(&pointless, &[&back(node("a", 1, 0, Some(4)))]), Advice::Stay);
    }

    #[test]
    fn where_nobody_serves_only_a_lone_node_takes_it() {
        let (a, b) = (node("a", 1, 0, None), node("b", 2, 0, None));
        assert_eq!(decide(&a, &[&b]), Advice::Stay);
        assert_eq!(decide(&a, &[]), Advice::Take);
        assert_eq!(decide(&drained(&a), &[]), Advice::Stay);
        assert_eq!(decide(&NodeRecord { leaving: true, ..a }, &[]), Advice::Stay);
    }

    #[test]
    fn of_two_holders_exactly_the_worse_lets_go() {
        let (a, b) = (node("a", 10, 3, Some(4)), node("b", 10, 3, Some(9)));
        assert_eq!(decide(&a, &[&b]), Advice::Stay);
        assert_eq!(decide(&b, &[&a]), Advice::Release);
        let pointless = node("a", 10, 0, Some(4));
        assert_eq!(decide(&pointless, &[&b]), Advice::Release);
        assert_eq!(decide(&b, &[&pointless]), Advice::Stay);
    }

    #[test]
    fn a_holder_that_cannot_serve_keeps_the_lease_until_another_has_it() {
        let pointless = node("a", 10, 0, Some(4));
        assert_eq!(decide(&pointless, &[&node("b", 10, 3, None)]), Advice::Stay);
        let draining = drained(&node("a", 10, 3, Some(4)));
        assert_eq!(decide(&draining, &[&node("b", 10, 3, None)]), Advice::Stay);
        assert_eq!(decide(&node("b", 10, 3, None), &[&draining]), Advice::Take);
    }

    #[test]
    fn a_better_node_takes_over_when_it_has_been_well_for_the_grace() {
        let (a, b) = (node("a", 1, 3, None), node("b", 10, 3, Some(4)));
        let both = electorate(&a, &[&b]);
        let start = Instant::now();
        let mut election = Election::default();
        assert_eq!(election.decide(start, GRACE, &both), Advice::Wait(start + GRACE));
        assert_eq!(election.decide(start + GRACE / 2, GRACE, &both), Advice::Wait(start + GRACE));
        let ill = NodeRecord { points: Vec::new(), ..a.clone() };
        let relapse = electorate(&ill, &[&b]);
        assert_eq!(election.decide(start + GRACE / 2, GRACE, &relapse), Advice::Stay);
        let again = start + GRACE;
        assert_eq!(election.decide(again, GRACE, &both), Advice::Wait(again + GRACE));
        assert_eq!(election.decide(again + GRACE, GRACE, &both), Advice::Take);
    }

    #[test]
    fn a_dead_holders_lease_is_left_alone_for_the_grace() {
        let a = node("a", 1, 3, None);
        let start = Instant::now();
        let until = start + GRACE;
        let view = Electorate { reserved_until: Some(until), ..electorate(&a, &[]) };
        assert_eq!(Election::default().decide(start, GRACE, &view), Advice::Wait(until));
        assert_eq!(Election::default().decide(until, GRACE, &view), Advice::Take);
    }
}
