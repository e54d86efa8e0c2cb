//! Letting nodes in.

use std::time::Instant;

use super::core::Cluster;
use super::events::{Action, Verdict, Welcome};
use super::ledger::Standing;
use super::note::{Admission, Drain, Note};
use crate::proto::node::NodeId;

impl Cluster {
    /// Somebody with a valid ticket asks to be let in.
    pub(super) fn admit(
        &mut self,
        now: Instant,
        number: u64,
        admission: Admission,
        actions: &mut Vec<Action>,
    ) {
        if !self.applicants.has_room() {
            return actions.push(Action::Admitted { number, verdict: Verdict::Full });
        }
        if self.noted(&admission).is_none()
            && let Some(verdict) = self.note_admission(now, admission.clone(), actions)
        {
            return actions.push(Action::Admitted { number, verdict });
        }
        self.applicants.add(now, number, admission);
    }

    /// Answers those whose admission everybody has heard of by now.
    pub(super) fn answer_applicants(&mut self, now: Instant, actions: &mut Vec<Action>) {
        for applicant in self.applicants.due(now) {
            let verdict = match self.noted(&applicant.admission) {
                Some((noted, Standing::Stands)) => Verdict::Welcome(self.welcome(&noted)),
                Some((noted, Standing::Over)) if !self.has_departed(&noted) => Verdict::NameTaken,
                _ => Verdict::Spent,
            };
            actions.push(Action::Admitted { number: applicant.number, verdict });
        }
    }

    /// Notes a new admission, or says why not.
    fn note_admission(
        &mut self,
        now: Instant,
        mut admission: Admission,
        actions: &mut Vec<Action>,
    ) -> Option<Verdict> {
        let peer = admission.peer();
        let alive =
            |node: &NodeId| *node == self.known.own.node || self.known.membership.live().contains(node);
        if self.roster.rivals(&peer).any(|rival| alive(&rival.node)) {
            return Some(Verdict::NameTaken);
        }
        if !self.roster.has_room_for(&peer.node) {
            return Some(Verdict::Full);
        }
        let node = admission.node.clone();
        admission.at_ms = self.known.ledger.after_all_about(
            &node,
            &admission.wireguard_key,
            admission.at_ms.max(self.unix_ms),
        );
        let at_ms = admission.at_ms;
        if !self.note(now, Note::Admission(admission.clone()), actions)
            || self.noted(&admission).is_none_or(|(_, standing)| standing != Standing::Stands)
        {
            return Some(Verdict::Spent);
        }
        // What the operator wished about an earlier bearer of the name does not bind this one.
        if let Some(Drain { draining: true, at_ms: wished_ms, deadline_secs, .. }) =
            self.known.ledger.drain_of(&node)
        {
            let at_ms = at_ms.max(wished_ms.saturating_add(1));
            let (by, deadline_secs) = (self.known.own.node.clone(), *deadline_secs);
            let drain = Drain { node, draining: false, at_ms, by, deadline_secs, after: None };
            self.note(now, Note::Drain(drain), actions);
        }
        None
    }

    /// The same admission as it was noted first, and what became of it.
    fn noted(&self, admission: &Admission) -> Option<(Admission, Standing)> {
        let same = |other: &Admission| {
            (other.ticket, &other.node, other.wireguard_key)
                == (admission.ticket, &admission.node, admission.wireguard_key)
        };
        let mut all = self.known.ledger.admissions().into_iter();
        all.find(|(other, _)| same(other)).map(|(noted, standing)| (noted.clone(), standing))
    }

    /// Whether its node has left since: then it was the one who spent the ticket.
    fn has_departed(&self, admission: &Admission) -> bool {
        let departure = self.known.ledger.departure(&admission.node, &admission.wireguard_key);
        departure.is_some_and(|at_ms| at_ms >= admission.at_ms)
    }

    fn welcome(&self, admission: &Admission) -> Welcome {
        let others = self.roster.peers().filter(|peer| peer.node != admission.node);
        Welcome {
            peers: others.filter(|peer| !self.farewells.contains_key(&peer.node)).cloned().collect(),
            rotations: self.known.ledger.rotations().cloned().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::applicants::ADMISSION_SETTLE;
    use super::super::core::tests::{NOW_MS, peer, started};
    use super::super::events::Event;
    use super::super::memory::Memory;
    use super::super::note::Departure;
    use super::super::record::MAX_NODES;
    use super::super::roster::Peer;
    use super::*;

    fn admission(name: &str, ticket: u8) -> Admission {
        let Peer { node, wireguard_key, endpoint, tunnel_address } = peer(name);
        let (at_ms, expires_ms) = (NOW_MS, NOW_MS + 3_600_000);
        Admission {
            ticket: [ticket; 16],
            uses: 1,
            node,
            wireguard_key,
            endpoint,
            tunnel_address,
            at_ms,
            expires_ms,
        }
    }

    /// The answer at once, or after the time it takes to settle.
    fn ask(cluster: &mut Cluster, now: Instant, admission: Admission) -> (bool, Option<Verdict>) {
        let verdict = |actions: Vec<Action>| {
            actions.into_iter().find_map(|action| match action {
                Action::Admitted { number: 7, verdict } => Some(verdict),
                _ => None,
            })
        };
        let at_once = verdict(cluster.handle(now, NOW_MS, Event::Admit { number: 7, admission }));
        if at_once.is_some() {
            return (true, at_once);
        }
        assert!(cluster.next_timeout() <= Some(now + ADMISSION_SETTLE));
        (false, verdict(cluster.handle(now + ADMISSION_SETTLE, NOW_MS + 500, Event::Timer)))
    }

    #[test]
    fn an_answer_waits_until_others_may_have_objected() {
        let now = Instant::now();
        let (mut cluster, _) = started("a", now, Memory::default());
        let (at_once, verdict) = ask(&mut cluster, now, admission("b", 1));
        assert!(!at_once);
        assert_eq!(verdict, Some(Verdict::Welcome(Welcome { peers: Vec::new(), rotations: Vec::new() })));
        let (_, again) = ask(&mut cluster, now + ADMISSION_SETTLE, admission("b", 1));
        assert_eq!(again, verdict, "the same request is welcome again");
        let (at_once, verdict) = ask(&mut cluster, now + ADMISSION_SETTLE * 2, admission("c", 1));
        assert_eq!((at_once, verdict), (true, Some(Verdict::Spent)));
    }

    #[test]
    fn our_own_name_and_key_are_taken() {
        let now = Instant::now();
        let (mut cluster, _) = started("a", now, Memory::default());
        let own_key = Admission { node: "x".parse().unwrap(), ..admission("a", 2) };
        for clash in [admission("a", 1), own_key] {
            assert_eq!(ask(&mut cluster, now, clash), (true, Some(Verdict::NameTaken)));
        }
    }

    #[test]
    fn there_is_room_for_a_bounded_number_of_nodes() {
        let now = Instant::now();
        let number = |n: usize| u8::try_from(n).unwrap();
        let peers = (1..MAX_NODES).map(|n| Peer {
            node: format!("n{n}").parse().unwrap(),
            wireguard_key: [number(n) + 100; 32],
            endpoint: None,
            tunnel_address: [10, 9, 8, number(n)].into(),
        });
        let memory = Memory { peers: peers.collect(), notes: Vec::new() };
        let (mut cluster, _) = started("a", now, memory);
        // One place is left.
        let newcomer = |name: &str, key: u8, ticket: u8| {
            let new = admission(name, ticket);
            Admission { wireguard_key: [key; 32], tunnel_address: [10, 9, 7, key].into(), ..new }
        };
        assert!(matches!(ask(&mut cluster, now, newcomer("x", 1, 1)).1, Some(Verdict::Welcome(_))));
        let later = now + ADMISSION_SETTLE;
        assert_eq!(ask(&mut cluster, later, newcomer("y", 2, 2)), (true, Some(Verdict::Full)));
        let replaces = newcomer("n3", 3, 3);
        assert!(matches!(ask(&mut cluster, later, replaces).1, Some(Verdict::Welcome(_))), "not one more");
    }

    #[test]
    fn a_later_decision_overrules_a_clock_that_was_ahead() {
        let now = Instant::now();
        let ahead_ms = NOW_MS + 60_000;
        let left =
            Departure { node: peer("b").node, wireguard_key: peer("b").wireguard_key, at_ms: ahead_ms };
        let wish = Drain {
            node: peer("b").node,
            draining: true,
            at_ms: ahead_ms,
            by: peer("c").node,
            deadline_secs: 60,
            after: None,
        };
        let notes = vec![Note::Departure(left), Note::Drain(wish)];
        let (mut cluster, _) = started("a", now, Memory { peers: Vec::new(), notes });
        assert!(matches!(ask(&mut cluster, now, admission("b", 1)).1, Some(Verdict::Welcome(_))));
        let status = cluster.status(now);
        let new = status.nodes.iter().find(|node| node.node == peer("b").node).unwrap();
        assert!(!new.draining, "what was wished about the last one does not bind the next");
    }
}
