//! Blinded keys, the sub-credential, and the one type that signs with a blinded key (rend-spec-v3, appendix A).
//!
//! An Ed25519 signature `(R, S)` with `S = r + H(R, A, M)·a` gives the secret `a` away as soon as two signatures
//! share `r` but not `H`, or `r` is known. That happened to GoBalance: a constant took the place of the nonce prefix,
//! and one public descriptor was enough to recover the identity key. So [`HsBlindKeypair`] can only be made by
//! blinding an identity key; its public key is computed from its own secret, its nonce prefix from the identity
//! key's, and neither can be put in from outside.

use std::fmt;

use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::{Scalar, clamp_integer};
use curve25519_dalek::traits::IsIdentity;
use data_encoding::HEXLOWER;
use ed25519_dalek::VerifyingKey;
use ed25519_dalek::hazmat::{ExpandedSecretKey, raw_sign};
use serde::{Deserialize, Serialize};
use sha2::Sha512;
use sha3::{Digest, Sha3_256};
use zeroize::Zeroizing;

use crate::proto::onion::address::HsId;
use crate::proto::onion::period::TimePeriod;

/// The hash input that names the base point of Ed25519, `str_ed25519_basepoint` in tor.
const BASE_POINT: &[u8] = b"(15112221349535400772501151409588531511454012693041857206046113283949847762202, \
46316835694926478169428394003475163141307993866256225615783033603165251855960)";

/// A blinded public key, `KP_hs_blind_id`: names the service for one period, to those who do not know its address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct HsBlindId(pub [u8; 32]);

impl fmt::Debug for HsBlindId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HsBlindId({})", HEXLOWER.encode(&self.0))
    }
}

/// `N_hs_subcred`: proves knowledge of the address to those who know the blinded key.
///
/// Whoever knows the address can compute it, but it opens descriptors, so it is not shown by `Debug`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Subcredential(pub [u8; 32]);

impl fmt::Debug for Subcredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Subcredential(…)")
    }
}

/// Why a key could not be blinded. Nothing was signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BlindError {
    /// The identity key is not a point of the curve, or one of small order. No service can have such a key.
    #[error("the identity key is not a usable Ed25519 key; check the address or the key file it came from")]
    Key,
}

impl HsId {
    /// The blinded public key of this service in `period`; what clients and HSDirs compute.
    pub fn blind(&self, period: TimePeriod) -> Result<HsBlindId, BlindError> {
        self.blind_with(blinding_factor(self, period))
    }

    /// Blinds with a given factor (`h` before clamping).
    fn blind_with(&self, factor: [u8; 32]) -> Result<HsBlindId, BlindError> {
        let point = CompressedEdwardsY(self.0).decompress().ok_or(BlindError::Key)?;
        let blinded = point.mul_clamped(factor);
        // Clamping makes the factor a multiple of eight, so a point of small order ends here.
        if blinded.is_identity() {
            return Err(BlindError::Key);
        }
        Ok(HsBlindId(blinded.compress().0))
    }

    /// `H("subcredential" | H("credential" | KP_hs_id) | KP_hs_blind_id)`.
    pub fn subcredential(&self, blinded: &HsBlindId) -> Subcredential {
        let credential = Sha3_256::new().chain_update(b"credential").chain_update(self.0).finalize();
        let hash = Sha3_256::new()
            .chain_update(b"subcredential")
            .chain_update(credential)
            .chain_update(blinded.0)
            .finalize();
        Subcredential(hash.into())
    }
}

/// `h = H("Derive temporary signing key\0" | A | B | "key-blind" | INT_8(num) | INT_8(length))`, before clamping.
/// The zero byte is in tor, not in the specification's text.
fn blinding_factor(id: &HsId, period: TimePeriod) -> [u8; 32] {
    Sha3_256::new()
        .chain_update(b"Derive temporary signing key\0")
        .chain_update(id.0)
        .chain_update(BASE_POINT)
        .chain_update(b"key-blind")
        .chain_update(period.num.to_be_bytes())
        .chain_update(period.length_minutes.to_be_bytes())
        .finalize()
        .into()
}

/// A service's secret key for one period, `KS_hs_blind_id`, with its public half.
///
/// Its only maker is [`HsIdKeypair::blind`](crate::proto::onion::identity::HsIdKeypair::blind).
/// It is erased when dropped and never copied or shown.
pub struct HsBlindKeypair {
    /// The blinded scalar (reduced, never clamped again) and its nonce prefix.
    secret: ExpandedSecretKey,
    /// Computed from `secret`, so that no signature can be made over a foreign public key.
    public: VerifyingKey,
    /// The key of the revision counter's cipher, computed from `secret`.
    counter_key: Zeroizing<[u8; 32]>,
}

impl HsBlindKeypair {
    /// Blinds the identity key whose scalar and nonce prefix are given. Only `identity` calls this.
    pub(super) fn derive(
        scalar: &Scalar,
        prefix: &[u8; 32],
        id: &HsId,
        period: TimePeriod,
    ) -> Result<Self, BlindError> {
        Self::derive_with(scalar, prefix, blinding_factor(id, period))
    }

    /// Blinds with a given factor (`h` before clamping).
    fn derive_with(scalar: &Scalar, prefix: &[u8; 32], factor: [u8; 32]) -> Result<Self, BlindError> {
        let factor = Zeroizing::new(Scalar::from_bytes_mod_order(clamp_integer(factor)));
        let hash = Sha512::new()
            .chain_update(b"Derive temporary signing key hash input")
            .chain_update(prefix)
            .finalize();
        let hash = Zeroizing::new(<[u8; 64]>::from(hash));
        let mut secret = ExpandedSecretKey { scalar: *scalar * *factor, hash_prefix: [0; 32] };
        secret.hash_prefix.copy_from_slice(&hash[..32]);
        let point = EdwardsPoint::mul_base(&secret.scalar);
        if point.is_identity() {
            return Err(BlindError::Key);
        }
        let counter_key = counter_key(&secret);
        Ok(Self { secret, public: VerifyingKey::from(point), counter_key })
    }

    /// The public half.
    pub fn id(&self) -> HsBlindId {
        HsBlindId(self.public.to_bytes())
    }

    /// An Ed25519 signature over `message`. The same message gives the same signature.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        raw_sign::<Sha512>(&self.secret, message, &self.public).to_bytes()
    }

    /// The key from which tor derives this period's revision counters; it is a secret, and is never shown.
    pub fn revision_counter_key(&self) -> &[u8; 32] {
        &self.counter_key
    }
}

impl fmt::Debug for HsBlindKeypair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HsBlindKeypair").field("id", &self.id()).finish_non_exhaustive()
    }
}

/// `H("rev-counter-generation\0" | blinded expanded secret key)`. The zero byte is in tor (`hs_service.c` hashes the
/// string's `sizeof`), not in the specification's text; with it our counters order with tor's own.
fn counter_key(secret: &ExpandedSecretKey) -> Zeroizing<[u8; 32]> {
    let mut key = Zeroizing::new([0; 32]);
    let scalar = Zeroizing::new(secret.scalar.to_bytes());
    let hash = Sha3_256::new()
        .chain_update(b"rev-counter-generation\0")
        .chain_update(*scalar)
        .chain_update(secret.hash_prefix);
    hash.finalize_into((&mut *key).into());
    key
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;
    use ed25519_dalek::{Signature, Verifier};
    use proptest::prelude::*;

    use super::*;

    fn hex<const N: usize>(text: &str) -> [u8; N] {
        HEXLOWER.decode(text.as_bytes()).unwrap().try_into().unwrap()
    }

    fn split(expanded: &[u8; 64]) -> (Scalar, [u8; 32]) {
        let scalar = Scalar::from_bytes_mod_order(expanded[..32].try_into().unwrap());
        (scalar, expanded[32..].try_into().unwrap())
    }

    fn expanded(pair: &HsBlindKeypair) -> String {
        HEXLOWER.encode(&[pair.secret.scalar.to_bytes(), pair.secret.hash_prefix].concat())
    }

    /// Section 5b of the vectors, from tor's `ed25519_vectors.inc`: expanded key, public key, factor, blinded expanded
    /// key, blinded public key.
    const RAW: [[&str; 5]; 5] = [
        [
            "c0a4de23cc64392d85aa1da82b3defddbea946d13bb053bf8489fa9296281f495022f1f7ec0dcf52f07d4c7965c4eaed121d5d88d0a8ff546b06116a20e97755",
            "c2247870536a192d142d056abefca68d6193158e7c1a59c1654c954eccaff894",
            "54a513898b471d1d448a2f3c55c1de2c0ef718c447b04497eeb999ed32027823",
            "293c3acff4e902f6f63ddc5d5caa2a57e771db4f24de65d4c28df3232f47fa01171d43f24e3f53e70ec7ac280044ac77d4942dee5d6807118a59bdf3ee647e89",
            "1fc1fa4465bd9d4956fdbdc9d3acb3c7019bb8d5606b951c2e1dfe0b42eaeb41",
        ],
        [
            "18a8a69a06790dac778e882f7e868baacfa12521a5c058f5194f3a729184514a2a656fe7799c3e41f43d756da8d9cd47a061316cfe6147e23ea2f90d1ca45f30",
            "1519a3b15816a1aafab0b213892026ebf5c0dc232c58b21088d88cb90e9b940d",
            "831e9b5325b5d31b7ae6197e9c7a7baf2ec361e08248bce055908971047a2347",
            "38b88f9f9440358da544504ee152fb475528f7c51c285bd1c68b14ade8e29a07b8ceff20dfcf53eb52b891fc078c934efbf0353af7242e7dc51bb32a093afa29",
            "1cbbd4a88ce8f165447f159d9f628ada18674158c4f7c5ead44ce8eb0fa6eb7e",
        ],
        [
            "58d84f8862d2ecfa30eb491a81c36d05b574310ea69dae18ecb57e992a896656b982187ee96c15bf4caeeab2d0b0ae4cd0b8d17470fc7efa98bb26428f4ef36d",
            "081faa81992e360ea22c06af1aba096e7a73f1c665bc8b3e4e531c46455fd1dd",
            "ac78a1d46faf3bfbbdc5af5f053dc6dc9023ed78236bec1760dadfd0b2603760",
            "4d03ce16a3f3249846aac9de0a0075061495c3b027248eeee47da4ddbaf9e0049217f52e92797462bd890fc274672e05c98f2c82970d640084781334aae0f940",
            "c5419ad133ffde7e0ac882055d942f582054132b092de377d587435722deb028",
        ],
        [
            "50702d20b3550c6e16033db5ad4fba16436f1ecc7485be6af62b0732ceb5d173c47ccd9d044b6ea99dd99256adcc9c62191be194e7cb1a5b58ddcec85d876a2b",
            "73cfa1189a723aad7966137cbffa35140bb40d7e16eae4c40b79b5f0360dd65a",
            "f9c84dc0ac31571507993df94da1b3d28684a12ad14e67d0a068aba5c53019fc",
            "51d7db01aaa0d937a9fd7c8c7381445a14d8fa61f43347af5460d7cd8fda9904509ecee77082ce088f7c19d5a00e955eeef8df6fa41686abc1030c2d76807733",
            "3e08d0dc291066272e313014bfac4d39ad84aa93c038478a58011f431648105f",
        ],
        [
            "7077464c864c2ed5ed21c9916dc3b3ba6256f8b742fec67658d8d233dadc8d5a7a82c371083cc86892c2c8782dda2a09b6baf016aec51b689183ae59ce932ff2",
            "66c1a77104d86461b6f98f73acf3cd229c80624495d2d74d6fda1e940080a96b",
            "b1fe79d1dec9bc108df69f6612c72812755751f21ecc5af99663b30be8b9081f",
            "1f76cab834e222bd2546efa7e073425680ab88df186ff41327d3e40770129b00b57b95a440570659a440a3e4771465022a8e67af86bdf2d0990c54e7bb87ff9a",
            "59381f06acb6bf1389ba305f70874eed3e0f2ab57cdb7bc69ed59a9b8899ff4d",
        ],
    ];

    #[test]
    fn blinds_as_tors_vectors_do() {
        for [secret, public, factor, blinded_secret, blinded_public] in RAW {
            let (scalar, prefix) = split(&hex(secret));
            let pair = HsBlindKeypair::derive_with(&scalar, &prefix, hex(factor)).unwrap();
            assert_eq!(expanded(&pair), blinded_secret);
            assert_eq!(pair.id(), HsBlindId(hex(blinded_public)));
            assert_eq!(HsId(hex(public)).blind_with(hex(factor)), Ok(pair.id()));
        }
    }

    #[test]
    fn blinds_as_stems_vector_does() {
        let id = HsId(hex("af06a3e3291714e4f356c19c9b15cd1951ec6e6662aa77be07547f289383341d"));
        let blinded = hex("b5ef4541fa491ad82a70cd9701904fa870d310168e2d19ab2b92bcf6e792c26b");
        assert_eq!(id.blind_with([0x61; 32]), Ok(HsBlindId(blinded)));
    }

    #[test]
    fn derives_factor_secret_and_counter_key_as_tor_does() {
        let id = HsId(hex("833990b085c1a688c1d4c8b1f6b56afaf5a2eca674449e1d704f83765ccb7bc6"));
        let period = TimePeriod { num: 1234, length_minutes: 1440 };
        assert_eq!(
            blinding_factor(&id, period),
            hex("379e50db31fee6775abd0af6fb7c371e060308f4f847db09fe4cfe13af602287")
        );
        let (scalar, prefix) = split(&hex(
            "d8c7ff0e31295b66540d789af3e3df992038a9592eea01d8b7cba06d6e66d1594d6167696320576f7264733a20737065697373636f62616c742062697669756d",
        ));
        let pair = HsBlindKeypair::derive(&scalar, &prefix, &id, period).unwrap();
        assert_eq!(
            expanded(&pair),
            "a958dc83ac885f6814c67035de817a2c604d5d2f715282079448f789b656350b4540fe1f80aa3f7e91306b7bf7a8e367293352b14a29fdcc8c19f3558075524b"
        );
        assert_eq!(
            *pair.revision_counter_key(),
            hex("feb367527be504073a8213d3bb13a5726bbb9f8fedaf1a091c23e28561783407")
        );
    }

    // Curve arithmetic is slow in a debug build.
    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn public_and_secret_blinding_agree_and_the_result_signs(
            seed: [u8; 32], prefix: [u8; 32], num: u64, length_minutes: u64, message: Vec<u8>,
        ) {
            let scalar = Scalar::from_bytes_mod_order(clamp_integer(seed));
            let id = HsId(EdwardsPoint::mul_base(&scalar).compress().0);
            let period = TimePeriod { num, length_minutes };
            let pair = HsBlindKeypair::derive(&scalar, &prefix, &id, period).unwrap();
            prop_assert_eq!(id.blind(period), Ok(pair.id()));
            let signature = Signature::from_bytes(&pair.sign(&message));
            prop_assert!(pair.public.verify_strict(&message, &signature).is_ok());
            let mut other = message.clone();
            other.push(0);
            prop_assert!(pair.public.verify(&other, &signature).is_err());
        }

        /// What GoBalance got wrong: the prefix must be a function of the identity's secret prefix.
        #[test]
        fn the_nonce_prefix_is_secret_and_differs_with_the_identity(seed: [u8; 32], a: [u8; 32], b: [u8; 32]) {
            prop_assume!(a != b);
            let scalar = Scalar::from_bytes_mod_order(clamp_integer(seed));
            let constant = hex("0b4f49847218185bcde63c568cc8897ae21ad33809c8e7d0e6401ea7d6a4019f");
            let with = |prefix| HsBlindKeypair::derive_with(&scalar, prefix, [1; 32]).unwrap();
            prop_assert_ne!(with(&a).secret.hash_prefix, constant);
            prop_assert_ne!(with(&a).secret.hash_prefix, with(&b).secret.hash_prefix);
            prop_assert_ne!(with(&a).sign(b"message"), with(&b).sign(b"message"));
        }
    }
}
