//! The short-lived descriptor signing key, and the check of Ed25519 signatures.

use std::fmt;

use data_encoding::HEXLOWER;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use zeroize::Zeroizing;

/// The descriptor signing key, `KS_hs_desc_sign`: made afresh for a descriptor, certified by the blinded key, signs the
/// document and the introduction points' certificates. Erased when dropped.
pub struct DescSigningKeypair(SigningKey);

impl DescSigningKeypair {
    /// From 32 random bytes.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        let seed = Zeroizing::new(seed);
        Self(SigningKey::from_bytes(&seed))
    }

    /// The public half, `KP_hs_desc_sign`.
    pub fn public(&self) -> [u8; 32] {
        self.0.verifying_key().to_bytes()
    }

    /// An Ed25519 signature over `message`.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

impl fmt::Debug for DescSigningKeypair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DescSigningKeypair({})", HEXLOWER.encode(&self.public()))
    }
}

/// Whether `signature` is `public`'s over `message`. Keys and nonces of small order, under which one signature fits
/// many messages, are refused.
pub fn is_signed_by(public: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    VerifyingKey::from_bytes(public)
        .is_ok_and(|key| key.verify_strict(message, &Signature::from_bytes(signature)).is_ok())
}
