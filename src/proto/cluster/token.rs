//! The cluster's tokens: which a node holds, and under which of them to speak to whom.
//!
//! A token is replaced by a rotation order that is sealed under the token before it, so a node that was away finds
//! its way to the newest one step by step. Until it has, the others speak to it under the token it understands.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::proto::node::NodeId;

/// How many refused tokens are remembered, so that they are not opened again and again: more than anybody makes by
/// mistake.
const MAX_REFUSED: usize = 16;

/// Which token of the cluster. Of two tokens the later one wins, whoever made it; of two made at the same time on
/// both sides of a partition, the one with the larger tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct TokenName {
    /// How many rotations lie before it; 0 is the token the cluster began with.
    pub seq: u32,
    /// The key id that its datagrams bear; it reveals nothing of the token.
    pub tag: [u8; 4],
}

impl fmt::Display for TokenName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:08x}", self.seq, u32::from_be_bytes(self.tag))
    }
}

/// The tokens a node holds, and what it knows of those of the others.
#[derive(Debug)]
pub struct Tokens {
    /// With the Unix time in milliseconds at which each was made; that of the first one is not known, nor needed.
    held: BTreeMap<TokenName, u64>,
    /// Which the shell was asked to open, and has not answered.
    asked: BTreeSet<TokenName>,
    /// Which it could not open: at most [`MAX_REFUSED`].
    refused: BTreeSet<TokenName>,
    peers: BTreeMap<NodeId, Evidence>,
}

/// What is known of a peer's tokens.
#[derive(Debug, Default)]
struct Evidence {
    /// The newest it says it holds.
    claimed: Option<TokenName>,
    /// The newest it has spoken under.
    heard: Option<TokenName>,
    /// How often it was called without knowing any better.
    calls: usize,
}

impl Tokens {
    /// Holds this one.
    pub fn new(first: TokenName) -> Self {
        let held = BTreeMap::from([(first, 0)]);
        Self { held, asked: BTreeSet::new(), refused: BTreeSet::new(), peers: BTreeMap::new() }
    }

    /// Whether it is held.
    pub fn holds(&self, token: TokenName) -> bool {
        self.held.contains_key(&token)
    }

    /// The newest one held.
    pub fn newest(&self) -> TokenName {
        self.held.keys().next_back().copied().unwrap_or_default()
    }

    /// One more is held; it was made at `made_ms`, Unix time in milliseconds.
    pub fn hold(&mut self, token: TokenName, made_ms: u64) {
        self.asked.remove(&token);
        self.held.insert(token, made_ms);
        // Who has spoken to us under an older one may only have answered in kind, and we to it: each would wait for the
        // other to speak under the new one first.
        self.peers.retain(|_, known| known.claimed.is_some());
    }

    /// Whether a token that is sealed under `previous` is to be opened now. Says so once.
    pub fn wants(&mut self, token: TokenName, previous: TokenName) -> bool {
        self.holds(previous) && !self.holds(token) && !self.is_refused(token) && self.asked.insert(token)
    }

    /// A token could not be opened.
    pub fn refuse(&mut self, token: TokenName) {
        self.asked.remove(&token);
        self.refused.insert(token);
        if self.refused.len() > MAX_REFUSED {
            self.refused.pop_first();
        }
    }

    /// Whether a token could not be opened.
    pub fn is_refused(&self, token: TokenName) -> bool {
        self.refused.contains(&token)
    }

    /// Whether `token` has been replaced so long ago that everyone who is there speaks under a newer one: only those
    /// who were away still use it, to catch up.
    pub fn is_retired(&self, token: TokenName, overlap: Duration, unix_ms: u64) -> bool {
        let overlap_ms = u64::try_from(overlap.as_millis()).unwrap_or(u64::MAX);
        let newer = self.held.iter().filter(|(held, _)| **held > token);
        newer
            .map(|(_, made_ms)| *made_ms)
            .min()
            .is_some_and(|made| unix_ms >= made.saturating_add(overlap_ms))
    }

    /// `peer` has spoken under `token`.
    pub fn heard(&mut self, peer: &NodeId, token: TokenName) {
        if self.peers.get(peer).is_some_and(|known| known.heard >= Some(token)) {
            return;
        }
        self.peers.entry(peer.clone()).or_default().heard = Some(token);
    }

    /// `peer` says that this is the newest it holds.
    pub fn claimed(&mut self, peer: &NodeId, token: TokenName) {
        self.peers.entry(peer.clone()).or_default().claimed = Some(token);
    }

    /// `peer` begins another life, and may have lost its tokens with the last one: nothing is known of them.
    pub fn forget(&mut self, peer: &NodeId) {
        self.peers.remove(peer);
    }

    /// We have not heard of anybody for so long that nothing is known of their tokens.
    pub fn forget_all(&mut self) {
        self.peers.clear();
    }

    /// Under which token to call `peer`, who is not there. Every other call is under the newest one: what it was heard
    /// under may be no more than an answer to us, and then each would wait for the other to go first. The calls between are
    /// under what it is known to hold, or where nothing is known, under the older ones in turn.
    pub fn call(&mut self, peer: &NodeId) -> TokenName {
        let known = self.peers.entry(peer.clone()).or_default();
        let calls = known.calls;
        known.calls = calls.wrapping_add(1);
        let older = self.held.len().saturating_sub(1);
        if calls.is_multiple_of(2) || older == 0 {
            self.newest()
        } else if known.claimed.max(known.heard).is_some() {
            self.under(peer)
        } else {
            self.held.keys().rev().nth(calls / 2 % older + 1).copied().unwrap_or_default()
        }
    }

    /// The token under which to speak to `peer`: the newest held that it is known to hold too.
    pub fn under(&self, peer: &NodeId) -> TokenName {
        let theirs = self.peers.get(peer).and_then(|known| known.claimed.max(known.heard));
        let Some(theirs) = theirs else { return self.newest() };
        let shared = self.held.range(..=theirs).next_back().or_else(|| self.held.first_key_value());
        shared.map(|(token, _)| *token).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(seq: u32, tag: u8) -> TokenName {
        TokenName { seq, tag: [tag; 4] }
    }

    fn holding(made: &[(TokenName, u64)]) -> Tokens {
        let mut tokens = Tokens::new(token(0, 9));
        for (token, made_ms) in made {
            tokens.hold(*token, *made_ms);
        }
        tokens
    }

    #[test]
    fn the_later_token_wins_whoever_made_it() {
        let tokens = holding(&[(token(1, 7), 5), (token(1, 2), 5)]);
        assert_eq!(tokens.newest(), token(1, 7));
        assert!(token(2, 0) > token(1, 255));
        assert_eq!(token(3, 10).to_string(), "3-0a0a0a0a");
    }

    #[test]
    fn everyone_is_spoken_to_under_the_newest_token_both_hold() {
        let peer = "p".parse().unwrap();
        let mut tokens = holding(&[(token(1, 1), 5), (token(2, 1), 6)]);
        tokens.heard(&peer, token(0, 9));
        assert_eq!(tokens.under(&peer), token(0, 9));
        tokens.claimed(&peer, token(1, 1));
        assert_eq!(tokens.under(&peer), token(1, 1));
        tokens.heard(&peer, token(0, 9));
        assert_eq!(tokens.under(&peer), token(1, 1), "a late datagram takes nothing back");
        tokens.heard(&peer, token(5, 1));
        assert_eq!(tokens.under(&peer), token(2, 1), "one that we do not hold is no use");
        tokens.forget(&peer);
        tokens.heard(&peer, token(0, 9));
        assert_eq!(tokens.under(&peer), token(0, 9), "it has lost its tokens with its last life");
    }

    #[test]
    fn strangers_are_called_under_every_token_in_turn() {
        let peer = "p".parse().unwrap();
        let mut tokens = holding(&[(token(1, 1), 5), (token(2, 1), 6)]);
        let called: Vec<u32> = (0..6).map(|_| tokens.call(&peer).seq).collect();
        assert_eq!(called, [2, 1, 2, 0, 2, 1]);
        assert_eq!(tokens.under(&peer), token(2, 1), "a call promises nothing");
        let mut single = holding(&[]);
        assert_eq!([single.call(&peer), single.call(&peer)], [token(0, 9); 2]);
    }

    #[test]
    fn two_that_have_heard_each_other_under_an_old_token_find_the_newest() {
        let peer = "p".parse().unwrap();
        let mut tokens = holding(&[(token(1, 1), 5), (token(2, 1), 6)]);
        tokens.heard(&peer, token(0, 9));
        let called: Vec<u32> = (0..4).map(|_| tokens.call(&peer).seq).collect();
        assert_eq!(called, [2, 0, 2, 0]);
        assert_eq!(tokens.under(&peer), token(0, 9), "it is answered in kind");
        tokens.hold(token(3, 1), 7);
        assert_eq!(tokens.under(&peer), token(3, 1), "what it was heard under may have been all we had");
    }

    #[test]
    fn a_token_retires_some_time_after_a_newer_one_was_made() {
        let tokens = holding(&[(token(1, 1), 5_000), (token(2, 1), 9_000)]);
        let overlap = Duration::from_secs(3);
        assert!(!tokens.is_retired(token(0, 9), overlap, 7_999));
        assert!(tokens.is_retired(token(0, 9), overlap, 8_000));
        assert!(!tokens.is_retired(token(1, 1), overlap, 11_999));
        assert!(tokens.is_retired(token(1, 1), overlap, 12_000));
        assert!(!tokens.is_retired(token(2, 1), overlap, u64::MAX));
        assert!(!tokens.is_retired(token(0, 9), Duration::MAX, u64::MAX - 1), "for ever is for ever");
    }
}
