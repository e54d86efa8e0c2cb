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
