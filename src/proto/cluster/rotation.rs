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
