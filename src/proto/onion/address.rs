//! The onion address and the public identity key it spells out (rend-spec-v3, section 6).

use std::fmt;
use std::str::FromStr;

use curve25519_dalek::edwards::CompressedEdwardsY;
use curve25519_dalek::traits::IsIdentity;
use data_encoding::{BASE32_NOPAD, HEXLOWER};
use serde::{Deserialize, Serialize};
use sha3::{Digest, Sha3_256};

/// The version byte of every v3 address.
const VERSION: u8 = 3;
/// Public key (32), checksum (2) and version (1).
const ADDRESS_BYTES: usize = 35;
/// Letters of an address before `.onion`.
pub const ADDRESS_LETTERS: usize = 56;
/// What every address ends with.
const SUFFIX: &str = ".onion";

/// An onion service's public identity key, `KP_hs_id`: the address in binary form (rend-spec-v3 section 1.9).
///
/// Shown, written and read as the address, `….onion`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct HsId(pub [u8; 32]);

/// Why a text is not the address of a v3 onion service. Nothing was looked up or changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// There is something in front of the address, as in `www.….onion`.
    #[error("the address has a subdomain; give only the last 56 letters and .onion")]
    Subdomain,
    /// Not 56 letters: mistyped, cut off, or an old version 2 address.
    #[error("an onion address has 56 letters before .onion, this one has {letters}; copy it again in full")]
    Length {
        /// How many letters were found.
        letters: usize,
    },
    /// A letter that the base 32 alphabet (a-z, 2-7) does not have.
    #[error("the address has a letter other than a-z and 2-7; copy it again")]
    Letter,
    /// Well formed, but of a version other than 3.
    #[error("the address is of version {version}, only version 3 is known")]
    Version {
        /// The version the address states.
        version: u8,
    },
    /// The checksum inside the address does not fit its key: at least one letter is wrong.
    #[error("the address has a wrong checksum: at least one letter is wrong; copy it again")]
    Checksum,
    /// The key inside is no point of the prime-order group. Tor refuses such an address too, because it would
    /// be a second spelling of another service's.
    #[error("the address holds no usable public key, and tor refuses it too")]
    Key,
}

impl HsId {
    /// Reads an address, with or without `.onion`, in upper or lower case, and checks all that tor checks.
    pub fn from_address(address: &str) -> Result<Self, AddressError> {
        let address = strip_suffix(address);
        if address.contains('.') {
            return Err(AddressError::Subdomain);
        }
        if address.len() != ADDRESS_LETTERS {
            return Err(AddressError::Length { letters: address.chars().count() });
        }
        let bytes =
            BASE32_NOPAD.decode(address.to_ascii_uppercase().as_bytes()).map_err(|_| AddressError::Letter)?;
        let [key @ .., sum0, sum1, version] =
            <[u8; ADDRESS_BYTES]>::try_from(bytes).map_err(|_| AddressError::Letter)?;
        if version != VERSION {
            return Err(AddressError::Version { version });
        }
        let id = Self(key);
        if id.checksum() != [sum0, sum1] {
            return Err(AddressError::Checksum);
        }
        if id.is_usable_key() { Ok(id) } else { Err(AddressError::Key) }
    }

    /// The 56 letters without `.onion`, in lower case: what the control port calls a `ServiceID`.
    pub fn service_id(&self) -> String {
        let mut bytes = [0; ADDRESS_BYTES];
        bytes[..32].copy_from_slice(&self.0);
        bytes[32..34].copy_from_slice(&self.checksum());
        bytes[34] = VERSION;
        BASE32_NOPAD.encode(&bytes).to_ascii_lowercase()
    }

    /// `SHA3-256(".onion checksum" | pubkey | version)[:2]`.
    fn checksum(&self) -> [u8; 2] {
        let hash = Sha3_256::new()
            .chain_update(b".onion checksum")
            .chain_update(self.0)
            .chain_update([VERSION])
            .finalize();
        [hash[0], hash[1]]
    }

    /// Whether the key is a point of the prime-order group other than its neutral element.
    fn is_usable_key(&self) -> bool {
        CompressedEdwardsY(self.0)
            .decompress()
            .is_some_and(|point| point.is_torsion_free() && !point.is_identity())
    }
}

/// The address without `.onion`, whatever its case.
fn strip_suffix(address: &str) -> &str {
    match address.len().checked_sub(SUFFIX.len()).and_then(|at| address.split_at_checked(at)) {
        Some((letters, suffix)) if suffix.eq_ignore_ascii_case(SUFFIX) => letters,
        _ => address,
    }
}

impl fmt::Display for HsId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{SUFFIX}", self.service_id())
    }
}

impl fmt::Debug for HsId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HsId({})", HEXLOWER.encode(&self.0))
    }
}

impl FromStr for HsId {
    type Err = AddressError;

    fn from_str(address: &str) -> Result<Self, AddressError> {
        Self::from_address(address)
    }
}

impl From<HsId> for String {
    fn from(id: HsId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for HsId {
    type Error = AddressError;

    fn try_from(address: String) -> Result<Self, AddressError> {
        Self::from_address(&address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_a_second_spelling_of_the_same_service() {
        // The neutral element: a point, but of the small group; and a key plus a point of order two.
        let mut neutral = [0; 32];
        neutral[0] = 1;
        let order_two = CompressedEdwardsY({
            // y = -1
            let mut y = [0xff; 32];
            y[0] = 0xec;
            y[31] = 0x7f;
            y
        });
        let twisted = curve25519_dalek::constants::ED25519_BASEPOINT_POINT + order_two.decompress().unwrap();
        for key in [neutral, order_two.0, twisted.compress().0] {
            let id = HsId(key);
            assert_eq!(HsId::from_address(&id.to_string()), Err(AddressError::Key));
        }
    }

    #[test]
    fn counts_letters_not_bytes_and_never_splits_one() {
        assert_eq!(HsId::from_address("ä.onion"), Err(AddressError::Length { letters: 1 }));
        assert_eq!(HsId::from_address("€nion"), Err(AddressError::Length { letters: 5 }));
        assert_eq!(HsId::from_address(""), Err(AddressError::Length { letters: 0 }));
        assert_eq!(HsId::from_address(&"ä".repeat(28)), Err(AddressError::Letter));
    }
}
