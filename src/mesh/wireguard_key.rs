//! WireGuard keys: generated, read from files, shown in WireGuard's base64.

use std::fmt;
use std::str::FromStr;

use curve25519_dalek::montgomery::MontgomeryPoint;
use data_encoding::BASE64;
use rand::CryptoRng;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use zeroize::Zeroizing;

/// Characters of a key in WireGuard's base64, as `wg genkey` prints it.
const BASE64_LEN: usize = 44;

/// A node's WireGuard private key (X25519). Wiped on drop, never printed, never cloned.
pub struct WireGuardKey(Zeroizing<[u8; 32]>);

/// A WireGuard public key, shown as base64.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WireGuardPublicKey(pub [u8; 32]);

/// Why bytes are not a WireGuard key. Nothing was kept of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum WireGuardKeyError {
    /// Neither 32 raw bytes nor 44 characters of base64.
    #[error(
        "not a WireGuard key: {0} bytes, expected 32 raw bytes or 44 characters of base64 as `wg genkey` prints them"
    )]
    Length(usize),
    /// 44 characters, but not base64 of 32 bytes.
    #[error("not a WireGuard key: the 44 characters are not base64 of 32 bytes; make one with: wg genkey")]
    Base64,
    /// All bytes are zero, which WireGuard takes as "no key".
    #[error("not a WireGuard key: all bytes are zero; make one with: wg genkey")]
    Zero,
}

impl WireGuardKey {
    /// A new key from the given randomness, clamped as RFC 7748 section 5 and `wg genkey` do it.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut bytes = Zeroizing::new([0; 32]);
        rng.fill_bytes(&mut *bytes);
        bytes[0] &= 0b1111_1000;
        bytes[31] = (bytes[31] & 0b0111_1111) | 0b0100_0000;
        Self(bytes)
    }

    /// Reads a key file: 32 raw bytes, or base64 with white space around it.
    pub fn from_file_bytes(bytes: &[u8]) -> Result<Self, WireGuardKeyError> {
        let key = decode(bytes)?;
        if *key == [0; 32] { Err(WireGuardKeyError::Zero) } else { Ok(Self(key)) }
    }

    /// The key as `wg genkey` prints it, for a new key file.
    pub fn to_base64(&self) -> Zeroizing<String> {
        Zeroizing::new(BASE64.encode(&*self.0))
    }

    /// The raw bytes, for handing them to the tunnel.
    pub(super) fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// The public key that belongs to it (X25519 of the base point).
    pub fn public(&self) -> WireGuardPublicKey {
        WireGuardPublicKey(MontgomeryPoint::mul_base_clamped(*self.0).to_bytes())
    }
}

impl fmt::Debug for WireGuardKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("WireGuardKey(..)")
    }
}

/// 32 raw bytes, or base64 of 32 bytes with white space around it.
fn decode(bytes: &[u8]) -> Result<Zeroizing<[u8; 32]>, WireGuardKeyError> {
    if let Ok(raw) = <[u8; 32]>::try_from(bytes) {
        return Ok(Zeroizing::new(raw));
    }
    let text = bytes.trim_ascii();
    if text.len() != BASE64_LEN {
        return Err(WireGuardKeyError::Length(text.len()));
    }
    let decoded = Zeroizing::new(BASE64.decode(text).map_err(|_| WireGuardKeyError::Base64)?);
    let key = <[u8; 32]>::try_from(decoded.as_slice()).map_err(|_| WireGuardKeyError::Base64)?;
    Ok(Zeroizing::new(key))
}

impl FromStr for WireGuardPublicKey {
    type Err = WireGuardKeyError;

    /// Base64 only: a public key is always text.
    fn from_str(text: &str) -> Result<Self, WireGuardKeyError> {
        if text.trim().len() != BASE64_LEN {
            return Err(WireGuardKeyError::Length(text.trim().len()));
        }
        Ok(Self(*decode(text.as_bytes())?))
    }
}

impl TryFrom<String> for WireGuardPublicKey {
    type Error = WireGuardKeyError;

    fn try_from(text: String) -> Result<Self, WireGuardKeyError> {
        text.parse()
    }
}

impl From<WireGuardPublicKey> for String {
    fn from(key: WireGuardPublicKey) -> Self {
        key.to_string()
    }
}

impl fmt::Display for WireGuardPublicKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&BASE64.encode(&self.0))
    }
}

impl fmt::Debug for WireGuardPublicKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    /// Made with `wg genkey | tee /dev/stderr | wg pubkey`.
    const PRIVATE: &str = "SGb+ojrRNDuMePufwtIYhXzA//k6wF3R21tEBgKlzlM=";
    const PUBLIC: &str = "DD5yKRfzExcV5+kDnTroDgCU15latdMjiQ59j1hEuk8=";

    #[test]
    fn the_public_key_is_the_one_wg_computes() {
        let key = WireGuardKey::from_file_bytes(format!("{PRIVATE}\n").as_bytes()).unwrap();
        assert_eq!(key.public().to_string(), PUBLIC);
        assert_eq!(key.to_base64().as_str(), PRIVATE);
        let raw = WireGuardKey::from_file_bytes(&BASE64.decode(PRIVATE.as_bytes()).unwrap()).unwrap();
        assert_eq!(raw.public(), PUBLIC.parse().unwrap());
        assert_eq!(format!("{key:?}"), "WireGuardKey(..)");
    }

    #[test]
    fn generated_keys_are_clamped_and_differ() {
        let mut rng = StdRng::seed_from_u64(1);
        let (one, two) = (WireGuardKey::generate(&mut rng), WireGuardKey::generate(&mut rng));
        assert_ne!(one.public(), two.public());
        assert_eq!((one.0[0] & 0b111, one.0[31] >> 6), (0, 0b01));
    }

    #[test]
    fn what_is_no_key_is_refused_with_its_reason() {
        let refusal = |bytes: &[u8]| WireGuardKey::from_file_bytes(bytes).unwrap_err();
        assert_eq!(refusal(b""), WireGuardKeyError::Length(0));
        assert_eq!(refusal(b"too short\n"), WireGuardKeyError::Length(9));
        assert_eq!(refusal(&[b'!'; 44]), WireGuardKeyError::Base64);
        assert_eq!(refusal(&[b'A'; 44]), WireGuardKeyError::Base64);
        assert_eq!(refusal(&[0; 32]), WireGuardKeyError::Zero);
        assert_eq!("x".parse::<WireGuardPublicKey>(), Err(WireGuardKeyError::Length(1)));
        let raw = "\u{1}".repeat(32);
        assert_eq!(raw.parse::<WireGuardPublicKey>(), Err(WireGuardKeyError::Length(32)));
    }

    #[test]
    fn public_keys_travel_as_text() {
        let key: WireGuardPublicKey = PUBLIC.parse().unwrap();
        let json = serde_json::to_string(&key).unwrap();
        assert_eq!(json, format!("\"{PUBLIC}\""));
        assert_eq!(serde_json::from_str::<WireGuardPublicKey>(&json).unwrap(), key);
        assert!(serde_json::from_str::<WireGuardPublicKey>("\"\"").is_err());
    }
}
