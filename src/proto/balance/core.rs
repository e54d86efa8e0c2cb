//! The decisions: who is next, who is out, who may be tried.

use std::time::{Duration, Instant};

use super::member::{Finding, Limits, Member, MemberId};

/// The targets and what is known of them; [`Balance::arrange`] says who they are.
#[derive(Debug, Clone, Default)]
pub struct Balance {
    limits: Limits,
    members: Vec<Member>,
}

/// Where a connection is to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pick {
    /// To this one.
    pub id: MemberId,
    /// Whether another one could take it if this one fails.
    pub others: bool,
    /// Whether it is made only to find out whether the member is back.
    pub trial: bool,
}

/// How a member stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Whose it is.
    pub id: MemberId,
    /// Its weight.
    pub weight: u32,
    /// Whether it gets connections.
    pub well: bool,
    /// Whether this node finds the way to it.
    pub has_way: bool,
    /// Connections on their way to it, or with it.
    pub outstanding: u32,
}

impl Balance {
    /// These are the members from now on, with these limits and weights. What is known of those that stay stays known.
    pub fn arrange(&mut self, limits: Limits, members: &[(MemberId, u32)]) {
        self.limits = limits;
        let before = std::mem::take(&mut self.members);
        let member = |&(id, weight): &(MemberId, u32)| match before.iter().find(|member| member.id == id) {
            Some(known) => known.with_weight(weight),
            None => Member::new(id, weight),
        };
        self.members = members.iter().map(member).collect();
    }

    /// Who gets the next connection, those left out that have failed it already; it counts as outstanding from now on.
    /// `None`: nobody else is well.
    pub fn pick(&mut self, failed: &[MemberId], now: Instant) -> Option<Pick> {
        let limits = self.limits;
        // No client has to find out whether one is back.
        let can = |member: &Member| member.is_in() && !failed.contains(&member.id);
        let others = self.members.iter().filter(|member| can(member)).count() > 1;
        let floor = self.members.iter().filter(|member| member.is_in()).map(|member| member.turn).min();
        let next = self.members.iter_mut().filter(|member| can(member));
        let next = next.min_by(|one, other| one.compare(other, &limits, now))?;
        next.outstanding = next.outstanding.saturating_add(1);
        next.take_turn(floor.unwrap_or(0), &limits, now);
        let pick = Pick { id: next.id, others, trial: false };
        self.level();
        Some(pick)
    }

    /// A member that may be tried although nobody asks for it. While it is out, this is its trial.
    pub fn pick_one(&mut self, id: MemberId, now: Instant) -> Option<Pick> {
        let limits = self.limits;
        let member = self.member(id)?;
        if member.next_trial().is_some_and(|due| due > now) {
            return None;
        }
        member.tried(&limits, now);
        Some(Pick { id, others: false, trial: !member.is_in() })
    }

    /// A trial was given up before anything came of it.
    pub fn untried(&mut self, id: MemberId, now: Instant) {
        if let Some(member) = self.member(id) {
            member.untried(now);
        }
    }

    /// How long until a member may be tried; `None` if it is in.
    pub fn until_trial(&self, id: MemberId, now: Instant) -> Option<Duration> {
        let member = self.members.iter().find(|member| member.id == id)?;
        Some(member.next_trial()?.saturating_duration_since(now))
    }

    /// Something was found out about a member, by a dial, connection or probe that began then.
    pub fn note(&mut self, id: MemberId, finding: Finding, began: Instant, now: Instant) {
        let limits = self.limits;
        let others = self.others_in(id);
        if let Some(member) = self.member(id) {
            member.note(finding, began, others, &limits, now);
        }
    }

    /// Another request goes over a connection that was picked before. False: it should go to another member, as this one is
    /// out.
    pub fn take_again(&mut self, id: MemberId) -> bool {
        let others = self.others_in(id);
        let Some(member) = self.member(id) else { return true };
        let may = member.is_in() || !others;
        if may {
            member.outstanding = member.outstanding.saturating_add(1);
        }
        may
    }

    /// A connection that was picked for a member has ended, or was never made, or what went over it is done.
    pub fn released(&mut self, id: MemberId) {
        if let Some(member) = self.member(id) {
            member.outstanding = member.outstanding.saturating_sub(1);
        }
    }

    /// How all members stand, in their order.
    pub fn standings(&self) -> impl Iterator<Item = Standing> {
        self.members.iter().map(|member| Standing {
            id: member.id,
            weight: member.weight,
            well: member.is_in(),
            has_way: member.has_way(&self.limits),
            outstanding: member.outstanding,
        })
    }

    /// Whether anybody else gets connections.
    fn others_in(&self, id: MemberId) -> bool {
        self.members.iter().any(|member| member.id != id && member.is_in())
    }

    fn member(&mut self, id: MemberId) -> Option<&mut Member> {
        self.members.iter_mut().find(|member| member.id == id)
    }

    /// Moves all turns back by what they have in common, so that they never run over.
    fn level(&mut self) {
        let members = || self.members.iter().filter(|member| member.is_in());
        let common = members().map(|member| member.turn).min().unwrap_or(0);
        for member in &mut self.members {
            member.turn = member.turn.saturating_sub(common);
        }
    }
}
