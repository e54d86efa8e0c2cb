//! Who holds the lease, decided by each node for itself from what it sees.
//!
//! The best node should hold it: one that serves before one that does not, then the lower priority number, then
//! the smaller name. Nobody votes, so two nodes are enough; whoever sees a better holder steps down, so two
//! holders become one as soon as they see each other. A holder lets go only when a better one has taken over: in
//! between there are two for a round trip, never none.

use std::cmp::Ordering;
use std::time::{Duration, Instant};

use super::record::NodeRecord;
use crate::proto::node::NodeId;

/// What the election looks at.
pub struct Electorate<'a> {
    /// Ourselves.
    pub me: &'a NodeRecord,
    /// The others that are there and have told about themselves.
    pub others: Vec<&'a NodeRecord>,
    /// Whether nobody else is there.
    pub alone: bool,
    /// Until when the lease of a holder that has died stays its own.
    pub reserved_until: Option<Instant>,
}

/// What a node should do about the lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing.
    Stay,
    /// Nothing yet; ask again then.
    Wait(Instant),
    /// Take it.
    Take,
    /// Let go: a better node has it.
    Release,
}

/// The election's only memory: since when we have been better than a holder that is there.
#[derive(Debug, Default)]
pub struct Election {
    better_since: Option<Instant>,
}

/// Smaller is better.
fn rank(a: &NodeRecord, b: &NodeRecord) -> Ordering {
    (!a.serves(), a.priority, &a.node).cmp(&(!b.serves(), b.priority, &b.node))
}

/// The best of some nodes.
pub fn best<'a>(nodes: impl Iterator<Item = &'a NodeRecord>) -> Option<NodeId> {
    nodes.min_by(|a, b| rank(a, b)).map(|record| record.node.clone())
}

impl Election {
    /// Decides. `grace` is how long a node must be better than a healthy holder before it takes over, so that
    /// one that comes and goes does not drag the lease along.
    pub fn decide(&mut self, now: Instant, grace: Duration, electorate: &Electorate<'_>) -> Verdict {
        let Electorate { me, others, alone, reserved_until } = electorate;
        let better_since = self.better_since.take();
        let holders: Vec<_> = others.iter().filter(|other| other.lease.is_some()).collect();
        if me.lease.is_some() {
            let better = holders.iter().any(|holder| rank(holder, me).is_lt());
            return if better { Verdict::Release } else { Verdict::Stay };
        }
        // Somebody must hold it for a cluster of one, even before there is anything to publish.
        let electable = me.serves() || (*alone && !me.draining);
        if !electable || others.iter().any(|other| rank(other, me).is_lt()) {
            return Verdict::Stay;
        }
        if holders.is_empty() {
            return match *reserved_until {
                Some(until) if until > now => Verdict::Wait(until),
                _ => Verdict::Take,
            };
        }
        if holders.iter().all(|holder| holder.draining) {
            return Verdict::Take;
        }
        let since = better_since.unwrap_or(now);
        if now >= since + grace {
            return Verdict::Take;
        }
        self.better_since = Some(since);
        Verdict::Wait(since + grace)
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::Lease;
    use super::super::record::tests::record;
    use super::*;
    use crate::proto::node::Priority;

    const GRACE: Duration = Duration::from_millis(500);

    fn node(name: &str, priority: u32, points: usize, lease: Option<u64>) -> NodeRecord {
        NodeRecord {
            priority: Priority(priority),
            lease: lease.map(|epoch| Lease { epoch }),
            ..record(name, 1, 1, points)
        }
    }

    fn decide(me: &NodeRecord, others: &[&NodeRecord]) -> Verdict {
        let electorate =
            Electorate { me, others: others.to_vec(), alone: others.is_empty(), reserved_until: None };
        Election::default().decide(Instant::now(), GRACE, &electorate)
    }

    #[test]
    fn priority_then_name_decide_among_those_that_serve() {
        let (a, b, c) = (node("a", 10, 3, None), node("b", 10, 3, None), node("c", 1, 3, None));
        assert_eq!(decide(&c, &[&a, &b]), Verdict::Take);
        assert_eq!(decide(&a, &[&b, &c]), Verdict::Stay);
        assert_eq!(decide(&a, &[&b]), Verdict::Take);
        assert_eq!(decide(&b, &[&a]), Verdict::Stay);
        let pointless = node("c", 1, 0, None);
        assert_eq!(decide(&a, &[&b, &pointless]), Verdict::Take);
        assert_eq!(decide(&pointless, &[&a, &b]), Verdict::Stay);
        let draining = NodeRecord { draining: true, ..node("c", 1, 3, None) };
        assert_eq!(decide(&a, &[&b, &draining]), Verdict::Take);
        assert_eq!(decide(&draining, &[&a, &b]), Verdict::Stay);
    }

    #[test]
    fn where_nobody_serves_only_a_lone_node_takes_it() {
        let (a, b) = (node("a", 1, 0, None), node("b", 2, 0, None));
        assert_eq!(decide(&a, &[&b]), Verdict::Stay);
        assert_eq!(decide(&a, &[]), Verdict::Take);
        assert_eq!(decide(&NodeRecord { draining: true, ..a }, &[]), Verdict::Stay);
    }

    #[test]
    fn of_two_holders_exactly_the_worse_lets_go() {
        let (a, b) = (node("a", 10, 3, Some(4)), node("b", 10, 3, Some(9)));
        assert_eq!(decide(&a, &[&b]), Verdict::Stay);
        assert_eq!(decide(&b, &[&a]), Verdict::Release);
        let pointless = node("a", 10, 0, Some(4));
        assert_eq!(decide(&pointless, &[&b]), Verdict::Release);
        assert_eq!(decide(&b, &[&pointless]), Verdict::Stay);
    }

    #[test]
    fn a_holder_that_cannot_serve_keeps_the_lease_until_another_has_it() {
        let pointless = node("a", 10, 0, Some(4));
        assert_eq!(decide(&pointless, &[&node("b", 10, 3, None)]), Verdict::Stay);
        let draining = NodeRecord { draining: true, ..node("a", 10, 3, Some(4)) };
        assert_eq!(decide(&draining, &[&node("b", 10, 3, None)]), Verdict::Stay);
        assert_eq!(decide(&node("b", 10, 3, None), &[&draining]), Verdict::Take);
    }

    #[test]
    fn a_better_node_takes_over_when_it_has_been_well_for_the_grace() {
        let (a, b) = (node("a", 1, 3, None), node("b", 10, 3, Some(4)));
        let both = Electorate { me: &a, others: vec![&b], alone: false, reserved_until: None };
        let start = Instant::now();
        let mut election = Election::default();
        assert_eq!(election.decide(start, GRACE, &both), Verdict::Wait(start + GRACE));
        assert_eq!(election.decide(start + GRACE / 2, GRACE, &both), Verdict::Wait(start + GRACE));
        let ill = NodeRecord { points: Vec::new(), ..a.clone() };
        let relapse = Electorate { me: &ill, others: vec![&b], alone: false, reserved_until: None };
        assert_eq!(election.decide(start + GRACE / 2, GRACE, &relapse), Verdict::Stay);
        let again = start + GRACE;
        assert_eq!(election.decide(again, GRACE, &both), Verdict::Wait(again + GRACE));
        assert_eq!(election.decide(again + GRACE, GRACE, &both), Verdict::Take);
    }

    #[test]
    fn a_dead_holders_lease_is_left_alone_for_the_grace() {
        let a = node("a", 1, 3, None);
        let start = Instant::now();
        let until = start + GRACE;
        let view = Electorate { me: &a, others: Vec::new(), alone: true, reserved_until: Some(until) };
        assert_eq!(Election::default().decide(start, GRACE, &view), Verdict::Wait(until));
        assert_eq!(Election::default().decide(until, GRACE, &view), Verdict::Take);
    }
}
