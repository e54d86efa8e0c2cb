//! The tokens a node holds, and the orders that replace one by the next.
//!
//! ```text
//! sealed = nonce (12) | AES-256-GCM(text of the new token) | tag (16)
//! ```
//!
//! The key is derived from the token before, and the order's own words (names and time) are associated data: whoever
//! cannot open the old token's datagrams cannot make an order, and nobody can give one another name or date. The text
//! travels, and not a key that was derived from it, because an invitation has to write it into a new node's file.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Key, Nonce};
use data_encoding::BASE64;
use rand::CryptoRng;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::mesh::seal::key_id;
use crate::mesh::token::{ClusterToken, TokenError};
use crate::proto::cluster::ledger::MAX_ROTATIONS;
use crate::proto::cluster::note::Rotation;
use crate::proto::cluster::token::TokenName;
use crate::proto::join::gate::Trusted;

/// Most tokens held: the first one, and all that the cluster's ledger may have brought.
pub const MAX_TOKENS: usize = MAX_ROTATIONS + 1;

/// Bytes of a nonce.
const NONCE_BYTES: usize = 12;
/// Random bytes of a new token.
const NEW_TOKEN_BYTES: usize = 32;

/// The tokens a node holds. Their texts are erased when dropped, and never shown.
pub struct Keyring {
    held: BTreeMap<TokenName, Held>,
}

struct Held {
    token: Arc<ClusterToken>,
    text: Zeroizing<String>,
    /// Unix milliseconds; 0 for the configured one.
    made_ms: u64,
}

/// Why an order was not taken. The tokens held are as before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum AdoptError {
    /// The token under which it is sealed is not held.
    #[error("it is sealed under a cluster token that this node does not hold")]
    UnknownPrevious,
    /// It was not sealed under that token, or was changed since.
    #[error("it is forged or damaged")]
    Forged,
    /// What is inside is no token, or another one than its name says.
    #[error("what is inside is not the token it is called")]
    OtherToken,
}

/// Why a new token was not made. Nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RotateError {
    /// Four thousand million tokens were.
    #[error("the cluster has used up the numbers of its tokens")]
    UsedUp,
    /// AES-GCM refused, which it only does for lengths far beyond a token's.
    #[error("AES-GCM refused to seal the token; this is a mistake in rustbalance")]
    Cipher,
}

impl Keyring {
    /// Holds the configured token; `seq` says how many the cluster had before it.
    pub fn new(seq: u32, text: &str) -> Result<Self, TokenError> {
        let token = ClusterToken::from_file_bytes(text.as_bytes())?;
        let name = TokenName { seq, tag: key_id(&token) };
        let text = Zeroizing::new(text.trim_ascii_end().to_owned());
        Ok(Self { held: BTreeMap::from([(name, Held { token: Arc::new(token), text, made_ms: 0 })]) })
    }

    /// A token by its name.
    pub fn token(&self, name: TokenName) -> Option<Arc<ClusterToken>> {
        self.held.get(&name).map(|held| Arc::clone(&held.token))
    }

    /// All tokens, the oldest first.
    pub fn tokens(&self) -> impl Iterator<Item = (TokenName, Arc<ClusterToken>)> {
        self.held.iter().map(|(name, held)| (*name, Arc::clone(&held.token)))
    }

    /// The newest token, and its text as a file of its own would have it.
    pub fn newest(&self) -> (TokenName, Zeroizing<String>) {
        // There is always one.
        let newest = self.held.last_key_value();
        newest.map(|(name, held)| (*name, held.text.clone())).unwrap_or_default()
    }

    /// Makes a new token and the order that brings it to the others. It is not held before it is adopted.
    pub fn rotate(&self, rng: &mut impl CryptoRng, now_ms: u64) -> Result<Rotation, RotateError> {
        let (previous, held) = self.held.last_key_value().ok_or(RotateError::UsedUp)?;
        let mut bytes = Zeroizing::new([0; NEW_TOKEN_BYTES]);
        rng.fill_bytes(&mut *bytes);
        let text = Zeroizing::new(BASE64.encode(&*bytes));
        // A text of this length is always a token.
        let token = ClusterToken::from_file_bytes(text.as_bytes()).map_err(|_| RotateError::Cipher)?;
        let seq = previous.seq.checked_add(1).ok_or(RotateError::UsedUp)?;
        let token = TokenName { seq, tag: key_id(&token) };
        let mut rotation = Rotation { token, previous: *previous, at_ms: now_ms, sealed: Vec::new() };
        let mut nonce = [0; NONCE_BYTES];
        rng.fill_bytes(&mut nonce);
        let payload = Payload { msg: text.as_bytes(), aad: &words(&rotation) };
        let sealed =
            cipher(&held.token).encrypt(&Nonce::from(nonce), payload).map_err(|_| RotateError::Cipher)?;
        rotation.sealed = [&nonce[..], &sealed].concat();
        Ok(rotation)
    }

    /// Opens an order and holds its token. One that is held already is taken for adopted.
    pub fn adopt(&mut self, rotation: &Rotation) -> Result<(), AdoptError> {
        let previous = self.held.get(&rotation.previous).ok_or(AdoptError::UnknownPrevious)?;
        let (nonce, sealed) = rotation.sealed.split_first_chunk::<NONCE_BYTES>().ok_or(AdoptError::Forged)?;
        let payload = Payload { msg: sealed, aad: &words(rotation) };
        let opened =
            cipher(&previous.token).decrypt(&Nonce::from(*nonce), payload).map_err(|_| AdoptError::Forged)?;
        let opened = Zeroizing::new(opened);
        let text = str::from_utf8(&opened).map_err(|_| AdoptError::OtherToken)?;
        let token = ClusterToken::from_file_bytes(text.as_bytes()).map_err(|_| AdoptError::OtherToken)?;
        if key_id(&token) != rotation.token.tag {
            return Err(AdoptError::OtherToken);
        }
        let text = Zeroizing::new(text.to_owned());
        let held = Held { token: Arc::new(token), text, made_ms: rotation.at_ms };
        self.held.insert(rotation.token, held);
        while self.held.len() > MAX_TOKENS {
            self.held.pop_first();
        }
        Ok(())
    }

    /// Opens all orders that can be, one after the other, as a node that was away does.
    pub fn catch_up<'a>(&mut self, orders: impl Iterator<Item = &'a Rotation>) {
        let in_turn: BTreeMap<TokenName, &Rotation> = orders.map(|order| (order.token, order)).collect();
        for order in in_turn.into_values() {
            // One that cannot be opened is of another branch, or forged: the coordinator has said so.
            let _ = self.adopt(order);
        }
    }

    /// What the tokens are worth to a gate: each counts until `overlap` after the next one was made.
    pub fn trusted(&self, overlap: Duration) -> Vec<Trusted> {
        let overlap_ms = u64::try_from(overlap.as_millis()).unwrap_or(u64::MAX);
        let trusted = |(name, held): (&TokenName, &Held)| {
            let newer = self.held.iter().filter(|(other, _)| *other > name).map(|(_, newer)| newer.made_ms);
            let until_ms = newer.min().map(|made| made.saturating_add(overlap_ms));
            Trusted { keys: Arc::new(held.token.join_keys()), until_ms }
        };
        self.held.iter().map(trusted).collect()
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.held.keys()).finish()
    }
}

fn cipher(previous: &ClusterToken) -> Aes256Gcm {
    let key = previous.derive("token rotation", &[]);
    let key: &Key<Aes256Gcm> = (&*key).into();
    Aes256Gcm::new(key)
}

/// All that an order says in the clear.
fn words(rotation: &Rotation) -> Vec<u8> {
    let Rotation { token, previous, at_ms, .. } = rotation;
    [
        &token.seq.to_be_bytes()[..],
        &token.tag,
        &previous.seq.to_be_bytes(),
        &previous.tag,
        &at_ms.to_be_bytes(),
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;
    use crate::proto::cluster::note::MAX_SEALED;

    const TEXT: &str = "the first token of this cluster";

    fn keyring() -> Keyring {
        Keyring::new(0, TEXT).unwrap()
    }

    fn order(keyring: &Keyring, seed: u64, at_ms: u64) -> Rotation {
        keyring.rotate(&mut StdRng::seed_from_u64(seed), at_ms).unwrap()
    }

    #[test]
    fn an_order_brings_its_token_to_whoever_holds_the_one_before() {
        let mut here = keyring();
        let mut there = keyring();
        for step in 1..=3 {
            let order = order(&here, step, step);
            assert!(order.sealed.len() <= MAX_SEALED, "{}", order.sealed.len());
            assert_eq!(u64::from(order.token.seq), step);
            here.adopt(&order).unwrap();
            there.adopt(&order).unwrap();
            there.adopt(&order).unwrap();
            assert_eq!(here.newest(), there.newest());
            assert_eq!(here.newest().0, order.token);
        }
        // A new node's file has the text, and its number.
        let (name, text) = here.newest();
        let invited = Keyring::new(name.seq, &format!("{}\n", *text)).unwrap();
        assert_eq!(invited.newest(), here.newest());
        let next = order(&here, 9, 9);
        let mut invited = invited;
        invited.adopt(&next).unwrap();
        assert_eq!(keyring().adopt(&next), Err(AdoptError::UnknownPrevious));
        assert!(!format!("{here:?}").contains(TEXT), "{here:?}");
    }

    #[test]
    fn whoever_was_away_catches_up_whatever_the_order_of_the_orders() {
        let mut here = keyring();
        let mut orders: Vec<_> = (1..=4)
            .map(|step| {
                let order = order(&here, step, step);
                here.adopt(&order).unwrap();
                order
            })
            .collect();
        orders.reverse();
        orders.push(order(&Keyring::new(7, "the token of another cluster").unwrap(), 9, 9));
        let mut away = keyring();
        away.catch_up(orders.iter());
        assert_eq!(away.newest(), here.newest());
    }

    #[test]
    fn whatever_is_changed_is_refused() {
        let good = order(&keyring(), 1, 5);
        let refused = |change: &dyn Fn(&mut Rotation)| {
            let mut changed = good.clone();
            change(&mut changed);
            keyring().adopt(&changed).unwrap_err()
        };
        assert_eq!(refused(&|order| order.at_ms += 1), AdoptError::Forged);
        assert_eq!(refused(&|order| order.token.seq += 1), AdoptError::Forged);
        assert_eq!(refused(&|order| order.token.tag[0] ^= 1), AdoptError::Forged);
        assert_eq!(refused(&|order| order.previous.tag[0] ^= 1), AdoptError::UnknownPrevious);
        assert_eq!(refused(&|order| order.sealed.truncate(11)), AdoptError::Forged);
        assert_eq!(refused(&|order| order.sealed.clear()), AdoptError::Forged);
        for at in 0..good.sealed.len() {
            assert_eq!(refused(&|order| order.sealed[at] ^= 1), AdoptError::Forged, "{at}");
        }
        // By somebody with another token of the same name.
        let mut stranger = Keyring::new(0, "another token, as long as any").unwrap();
        let (own, _) = keyring().newest();
        let held = stranger.held.pop_first().unwrap().1;
        stranger.held.insert(own, held);
        assert_eq!(keyring().adopt(&order(&stranger, 1, 5)), Err(AdoptError::Forged));
    }

    #[test]
    fn a_token_counts_at_the_gate_until_the_next_has_been_there_for_a_while() {
        let mut keyring = keyring();
        for (step, at_ms) in [(1, 1_000), (2, 5_000)] {
            let order = order(&keyring, step, at_ms);
            keyring.adopt(&order).unwrap();
        }
        let until: Vec<_> = keyring.trusted(Duration::from_secs(3)).iter().map(|one| one.until_ms).collect();
        assert_eq!(until, [Some(4_000), Some(8_000), None]);
    }

    #[test]
    fn only_so_many_are_held() {
        let mut keyring = keyring();
        for step in 0..MAX_TOKENS as u64 + 5 {
            let order = order(&keyring, step, step);
            keyring.adopt(&order).unwrap();
        }
        assert_eq!(keyring.tokens().count(), MAX_TOKENS);
    }
}
