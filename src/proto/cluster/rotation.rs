//! New tokens: made here or elsewhere, opened, taken into use.

use std::time::Instant;

use super::core::Cluster;
use super::events::{Action, StateChange};
use super::note::{Note, Rotation};
use super::token::TokenName;

impl Cluster {
    /// Has the shell open what can be opened now.
    pub(super) fn adopt(&mut self, actions: &mut Vec<Action>) {
        for rotation in self.known.ledger.rotations() {
            if self.tokens.wants(rotation.token, rotation.previous) {
                actions.push(Action::Adopt(rotation.clone()));
            }
        }
    }

    /// This node has made a token. It must follow the newest one: two that follow the same are made only where nobody
    /// could know of the other.
    pub(super) fn rotate_token(&mut self, now: Instant, rotation: Rotation, actions: &mut Vec<Action>) {
        let token = rotation.token;
        let follows = rotation.previous == self.tokens.newest();
        if !follows || !self.note(now, Note::Rotation(rotation), actions) {
            actions.push(Action::StateChanged(StateChange::TokenRefused(token)));
        }
    }

    /// A token is in our hands. Everyone learns so from our record, and speaks to us under it.
    pub(super) fn token_adopted(&mut self, now: Instant, token: TokenName, actions: &mut Vec<Action>) {
        let Some(made_ms) = self.known.ledger.rotation(token).map(|rotation| rotation.at_ms) else { return };
        let before = self.tokens.newest();
        self.tokens.hold(token, made_ms);
        if self.tokens.is_retired(before, self.overlap, self.unix_ms) {
            self.ask_around(now, actions);
        }
        if self.tokens.newest() == token {
            self.alter_own(|own| own.token = token);
            actions.push(Action::StateChanged(StateChange::TokenChanged(token)));
            // Who does not answer may understand this one only.
            if self.call_at.is_some() {
                self.call_at = Some(now);
            }
        }
        self.adopt(actions);
    }

    /// We were away for so long that nobody has answered us about who is there; whoever we know has only answered what it
    /// had to.
    fn ask_around(&mut self, now: Instant, actions: &mut Vec<Action>) {
        self.gossip.forget_questions();
        for node in self.known.membership.live().clone() {
            let output = self.known.membership.announce(now, &node);
            self.follow(now, output, actions);
        }
    }

    /// A token cannot be opened.
    pub(super) fn token_refused(&mut self, token: TokenName, actions: &mut Vec<Action>) {
        self.tokens.refuse(token);
        self.known.ledger.refuse(token);
        self.memory_changed = true;
        actions.push(Action::StateChanged(StateChange::TokenRefused(token)));
    }
}

#[cfg(test)]
mod tests {
    use super::super::core::tests::{NOW_MS, peer, started};
    use super::super::events::Event;
    use super::super::memory::Memory;
    use super::super::message::Message;
    use super::super::record::tests::record;
    use super::super::status::NodeStatus;
    use super::*;
    use crate::proto::node::NodeId;

    fn rotation(seq: u32, previous: TokenName) -> Rotation {
        Rotation { token: TokenName { seq, tag: [9; 4] }, previous, at_ms: NOW_MS, sealed: vec![1; 60] }
    }

    fn asked(actions: &[Action]) -> Vec<u32> {
        let adopt = |action: &Action| match action {
            Action::Adopt(rotation) => Some(rotation.token.seq),
            _ => None,
        };
        actions.iter().filter_map(adopt).collect()
    }

    /// What `a` knows of a node.
    fn known(cluster: &Cluster, node: &NodeId) -> Option<NodeStatus> {
        cluster.status(Instant::now()).nodes.into_iter().find(|known| known.node == *node)
    }

    #[test]
    fn tokens_are_opened_one_after_the_other_once_each() {
        let now = Instant::now();
        let first = TokenName::default();
        let (second, third) = (rotation(1, first), rotation(2, rotation(1, first).token));
        let notes = vec![Note::Rotation(third.clone()), Note::Rotation(second.clone())];
        let (mut cluster, actions) = started("a", now, Memory { peers: Vec::new(), notes });
        assert_eq!(asked(&actions), [1]);
        assert_eq!(asked(&cluster.handle(now, NOW_MS, Event::Timer)), [0; 0]);
        assert_eq!(asked(&cluster.handle(now, NOW_MS, Event::TokenAdopted(second.token))), [2]);
        let actions = cluster.handle(now, NOW_MS, Event::TokenAdopted(third.token));
        assert!(actions.contains(&Action::StateChanged(StateChange::TokenChanged(third.token))));
        let unknown = TokenName { seq: 7, tag: [0; 4] };
        assert_eq!(cluster.handle(now, NOW_MS, Event::TokenAdopted(unknown)), []);
        assert_eq!(known(&cluster, &peer("a").node).unwrap().token, Some(third.token));
    }

    #[test]
    fn a_new_token_follows_the_newest() {
        let now = Instant::now();
        let (mut cluster, _) = started("a", now, Memory::default());
        let stray = rotation(3, TokenName { seq: 2, tag: [0; 4] });
        let refused = Action::StateChanged(StateChange::TokenRefused(stray.token));
        assert!(cluster.handle(now, NOW_MS, Event::RotateToken { rotation: stray }).contains(&refused));
        let next = rotation(1, TokenName::default());
        let actions = cluster.handle(now, NOW_MS, Event::RotateToken { rotation: next.clone() });
        assert_eq!(asked(&actions), [1]);
        let kept = Action::Remember(Memory { peers: Vec::new(), notes: vec![Note::Rotation(next.clone())] });
        assert!(actions.contains(&kept));
        let actions = cluster.handle(now, NOW_MS, Event::TokenRefused(next.token));
        assert!(actions.contains(&Action::Remember(Memory::default())), "it is forgotten");
        let heard = Message::Notes(vec![Note::Rotation(next)]).encode().unwrap();
        let (from, under) = (peer("b").node, TokenName::default());
        let actions = cluster.handle(now, NOW_MS, Event::Datagram { from: &from, bytes: &heard, under });
        assert_eq!(actions, [], "and not heard of again");
    }

    #[test]
    fn under_a_retired_token_only_notes_count() {
        let now = Instant::now();
        let (mut cluster, _) = started("a", now, Memory::default());
        cluster.handle(now, NOW_MS, Event::PeerConfigured(peer("b")));
        let next = rotation(1, TokenName::default());
        cluster.handle(now, NOW_MS, Event::RotateToken { rotation: next.clone() });
        cluster.handle(now, NOW_MS, Event::TokenAdopted(next.token));
        let from = peer("b").node;
        let mut says = record("b", 5, 1, 1);
        (says.wireguard_key, says.tunnel_address) = (peer("b").wireguard_key, peer("b").tunnel_address);
        let part = super::super::assembly::split(&says).remove(0);
        let digest = Message::Digest { ledger: 0, entries: Vec::new() }.encode().unwrap();
        let later_ms = NOW_MS + 60_000;
        let later = now + std::time::Duration::from_mins(1);
        let old = TokenName::default();
        cluster.handle(later, later_ms, Event::Datagram { from: &from, bytes: &part, under: old });
        assert_eq!(known(&cluster, &from).unwrap().points, 0);
        // It is told how to catch up, in words it understands.
        let actions =
            cluster.handle(later, later_ms, Event::Datagram { from: &from, bytes: &digest, under: old });
        let told = |action: &Action| match action {
            Action::Send { bytes, under, .. } => {
                *under == old && matches!(Message::decode(bytes), Ok(Message::Notes(_)))
            }
            _ => false,
        };
        assert!(actions.iter().any(told), "{actions:?}");
        cluster.handle(later, later_ms, Event::Datagram { from: &from, bytes: &part, under: next.token });
        assert_eq!(known(&cluster, &from).unwrap().points, 1);
    }
}
