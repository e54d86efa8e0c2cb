//! The join secret: it makes the path at which joining is answered, and nobody else can guess that path.

use std::fmt;

use data_encoding::BASE64URL_NOPAD;
use rand::CryptoRng;
use serde::{Deserialize, Serialize};
use sha3::{Digest, Sha3_256};
use subtle::ConstantTimeEq;
use thiserror::Error;
use zeroize::Zeroizing;

/// Characters of a join secret: 32 bytes in base64 for URLs, without padding.
pub const SECRET_LETTERS: usize = 43;

/// The join secret of a cluster, the same on all its nodes. Erased when dropped, and never shown.
#[derive(Clone)]
pub struct JoinSecret(Zeroizing<[u8; 32]>);

/// Why a text is no join secret. Nothing was kept of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "not a join secret: {SECRET_LETTERS} letters, digits, '-' and '_' are expected (32 random bytes in base64 for URLs)"
)]
pub struct JoinSecretError;

impl JoinSecret {
    /// A new one. The generator must be seeded by the operating system outside of tests.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut bytes = Zeroizing::new([0; 32]);
        rng.fill_bytes(&mut *bytes);
        Self(bytes)
    }

    /// One that follows from another secret.
    pub(super) fn derived(bytes: Zeroizing<[u8; 32]>) -> Self {
        Self(bytes)
    }

    /// Reads its text, as it stands in a file; white space around it is not part of it.
    pub fn from_text(text: &str) -> Result<Self, JoinSecretError> {
        let decoded = BASE64URL_NOPAD.decode(text.trim().as_bytes()).map_err(|_| JoinSecretError)?;
        let decoded = Zeroizing::new(decoded);
        let bytes = <[u8; 32]>::try_from(decoded.as_slice()).map_err(|_| JoinSecretError)?;
        Ok(Self(Zeroizing::new(bytes)))
    }

    /// Its text, for a file of mode 0600 and for the path of a request.
    pub fn to_text(&self) -> Zeroizing<String> {
        Zeroizing::new(BASE64URL_NOPAD.encode(&*self.0))
    }

    /// What may be told of it: see [`SecretDigest`].
    pub fn digest(&self) -> SecretDigest {
        SecretDigest::of(&self.to_text())
    }
}

impl fmt::Debug for JoinSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JoinSecret(..)")
    }
}

/// The SHA3-256 of what may be a join secret: the proxy, which sees the path, has no secret to compare it with and asks
/// the coordinator, which need not see the path. The comparison takes the same time whatever differs.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SecretDigest([u8; 32]);

impl SecretDigest {
    /// The digest of a text, whether it is a secret or not.
    pub fn of(text: &str) -> Self {
        Self(Sha3_256::digest(text.as_bytes()).into())
    }
}

impl PartialEq for SecretDigest {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for SecretDigest {}

impl TryFrom<String> for SecretDigest {
    type Error = JoinSecretError;

    fn try_from(text: String) -> Result<Self, JoinSecretError> {
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| JoinSecretError)?;
        bytes.try_into().map(Self).map_err(|_| JoinSecretError)
    }
}

impl From<SecretDigest> for String {
    fn from(digest: SecretDigest) -> Self {
        BASE64URL_NOPAD.encode(&digest.0)
    }
}

impl fmt::Debug for SecretDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretDigest(..)")
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    #[test]
    fn a_secret_survives_its_text_and_shows_nothing() {
        let secret = JoinSecret::generate(&mut StdRng::seed_from_u64(1));
        let text = secret.to_text();
        assert_eq!(text.len(), SECRET_LETTERS);
        let again = JoinSecret::from_text(&format!("  {}\n", *text)).unwrap();
        assert_eq!(*again.to_text(), *text);
        assert_eq!(again.digest(), SecretDigest::of(&text));
        let shown = format!("{secret:?} {:?}", secret.digest());
        assert!(!shown.contains(&text[..8]), "{shown}");
    }

    #[test]
    fn other_texts_are_refused() {
        for bad in ["", "short", &"A".repeat(42), &"A".repeat(44), &"+".repeat(43), &"/".repeat(43)] {
            assert!(JoinSecret::from_text(bad).is_err(), "{bad}");
        }
        // Bits beyond the 32 bytes would make a second spelling.
        assert!(JoinSecret::from_text(&format!("{}B", "A".repeat(42))).is_err());
    }

    #[test]
    fn a_digest_travels_as_text_and_differs_when_the_text_does() {
        let digest = SecretDigest::of(&"A".repeat(43));
        let json = serde_json::to_string(&digest).unwrap();
        assert!(serde_json::from_str::<SecretDigest>(&json).unwrap() == digest);
        assert!(digest != SecretDigest::of(&format!("{}B", "A".repeat(42))));
        assert!(serde_json::from_str::<SecretDigest>("\"x\"").is_err());
    }
}
