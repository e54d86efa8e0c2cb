//! What tor makes at random once for each period and then keeps: the descriptor signing key, the ephemeral key, the
//! cookie and the fillers.
//!
//! Several nodes publish the same service here, one after the other. Had each its own, HSDirs would see the signing
//! key change whenever the lease moves, which no single tor ever shows. So all of it is derived from the period's
//! blinded secret key, which every publisher has and nobody else. The cookie follows from the list of clients, too:
//! take a client off the list, and the cookie it knew opens nothing more.

use shake::{ExtendableOutput, Shake256, Shake256Reader, Update, XofReader};
use zeroize::Zeroizing;

use crate::proto::onion::blinding::{HsBlindKeypair, Subcredential};
use crate::proto::onion::descriptor::client_auth::{AuthClient, ClientKey, Cookie, public_key};
use crate::proto::onion::descriptor::middle::AUTH_CLIENT_MULTIPLE;
use crate::proto::onion::signing::DescSigningKeypair;

/// The descriptor signing key of the period.
pub(super) fn signing_key(blind: &HsBlindKeypair) -> DescSigningKeypair {
    let mut seed = Zeroizing::new([0; 32]);
    stream(blind, b"rustbalance descriptor signing key", &[]).read(&mut *seed);
    DescSigningKeypair::from_seed(*seed)
}

/// What the middle document says of clients.
pub(super) struct AuthSection {
    pub(super) ephemeral_key: [u8; 32],
    pub(super) lines: Vec<AuthClient>,
    /// The secret of the inner layer, if clients are authorised at all.
    pub(super) cookie: Option<Cookie>,
}

impl AuthSection {
    /// The section for these clients, in whatever order they are given.
    pub(super) fn derive(
        blind: &HsBlindKeypair,
        subcredential: &Subcredential,
        clients: &[ClientKey],
    ) -> Self {
        let mut clients = clients.to_vec();
        clients.sort_unstable();
        clients.dedup();
        let mut stream = stream(blind, b"rustbalance client authorisation", &clients);
        let ephemeral_secret = Zeroizing::new(take::<32>(&mut stream));
        let cookie = Cookie::new(take(&mut stream));
        let mut lines: Vec<AuthClient> = clients
            .iter()
            .map(|client| {
                AuthClient::seal(subcredential, &ephemeral_secret, client, &cookie, take(&mut stream))
            })
            .collect();
        let wanted = lines.len().max(1).next_multiple_of(AUTH_CLIENT_MULTIPLE);
        lines.resize_with(wanted, || AuthClient {
            id: take(&mut stream),
            iv: take(&mut stream),
            encrypted_cookie: take(&mut stream),
        });
        shuffle(&mut lines, &mut stream);
        let cookie = (!clients.is_empty()).then_some(cookie);
        Self { ephemeral_key: public_key(&ephemeral_secret), lines, cookie }
    }
}

/// A stream of secret bytes for one purpose. The revision counter's key serves as the secret: it is a hash of the
/// blinded secret key and enters no other SHAKE.
fn stream(blind: &HsBlindKeypair, purpose: &[u8], clients: &[ClientKey]) -> Shake256Reader {
    let mut hash = Shake256::default();
    hash.update(purpose);
    hash.update(&[0]);
    hash.update(blind.revision_counter_key());
    for client in clients {
        hash.update(&client.0);
    }
    hash.finalize_xof()
}

fn take<const N: usize>(stream: &mut Shake256Reader) -> [u8; N] {
    let mut bytes = [0; N];
    stream.read(&mut bytes);
    bytes
}

/// Fisher-Yates: a client shall not learn its place in the list of clients.
fn shuffle(lines: &mut [AuthClient], stream: &mut Shake256Reader) {
    for last in (1..lines.len()).rev() {
        // 64 random bits for a few hundred places: the bias cannot be measured.
        let other = u64::from_le_bytes(take(stream)) % (last as u64 + 1);
        lines.swap(last, usize::try_from(other).unwrap_or_default());
    }
}
