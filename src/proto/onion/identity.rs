//! The secret identity key of an onion service, in every form an operator may hold it.
//!
//! This key never signs by itself: all it does is to be blinded.

use std::fmt;

use curve25519_dalek::edwards::EdwardsPoint;
use curve25519_dalek::scalar::{Scalar, clamp_integer};
use curve25519_dalek::traits::IsIdentity;
use data_encoding::{BASE64, BASE64_NOPAD, HEXLOWER_PERMISSIVE};
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::DecodePrivateKey;
use sha2::{Digest, Sha512};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::proto::onion::address::HsId;
use crate::proto::onion::blinding::{BlindError, HsBlindKeypair};
use crate::proto::onion::period::TimePeriod;

/// What tor's secret key file begins with; the 64-byte expanded key follows.
const TOR_SECRET_HEADER: &[u8; 32] = b"== ed25519v1-secret: type0 ==\0\0\0";
/// What tor's public key file begins with, without its zero bytes.
const TOR_PUBLIC_MARK: &[u8] = b"== ed25519v1-public:";
/// The length of tor's secret key file.
const TOR_SECRET_FILE_BYTES: usize = 96;
/// How `ADD_ONION` marks an expanded key in base 64; `onionshare` and others keep keys so.
const ADD_ONION_MARK: &str = "ED25519-V3:";
/// No form is longer than this; a PEM key with its public half has about 170 bytes. Protects against being
/// pointed at a large file by mistake.
pub const MAX_KEY_BYTES: usize = 4096;

/// The secret identity key, `KS_hs_id`: a scalar and the prefix from which signature nonces are made.
///
/// Erased when dropped; it has no `Clone`, and `Debug` shows the address only.
pub struct HsIdKeypair {
    /// The expanded key as given: `a` (32 bytes), then the nonce prefix (32 bytes).
    expanded: Zeroizing<[u8; 64]>,
    /// `a` modulo the group order.
    scalar: Zeroizing<Scalar>,
    /// The public half, always computed from `a`.
    id: HsId,
}

/// Why the given bytes are not the secret identity key of an onion service. Nothing was stored, and no variant
/// repeats any of the bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// None of the known forms.
    #[error(
        "this is no onion service key of a known form ({len} bytes); give tor's hs_ed25519_secret_key (96 bytes), \
         a PKCS#8 PEM, a 32-byte seed or a 64-byte expanded key (raw, hex or base64)"
    )]
    UnknownForm {
        /// How many bytes were given.
        len: usize,
    },
    /// Longer than any form of a key.
    #[error("this is {len} bytes long, no key is longer than {MAX_KEY_BYTES}; is it the right file?")]
    TooLong {
        /// How many bytes were given.
        len: usize,
    },
    /// Tor's secret key file, but cut off or with something added.
    #[error(
        "tor's hs_ed25519_secret_key has 96 bytes, this one has {len}; copy the file again, in binary mode"
    )]
    TorFileLength {
        /// How many bytes were given.
        len: usize,
    },
    /// A file of 96 bytes that does not begin as tor's secret key file does.
    #[error("this does not begin as tor's hs_ed25519_secret_key does; is it another file, or damaged?")]
    TorFileHeader,
    /// Tor's public key file.
    #[error("this is the public key; the secret one is hs_ed25519_secret_key in the same directory")]
    PublicKey,
    /// 64 bytes whose first half is no Ed25519 scalar as key generation makes them.
    #[error("these 64 bytes are neither an expanded Ed25519 key nor a seed followed by its public key")]
    NotExpanded,
    /// A key of zeros, or of another value that has no public key.
    #[error("the key is empty (zeros); the file was never written or was wiped")]
    Zero,
    /// A PEM that is no unencrypted PKCS#8.
    #[error(
        "this PEM is of the kind \"{label}\", not \"PRIVATE KEY\"; convert it to unencrypted PKCS#8 \
         (for example with openssl pkcs8 -topk8 -nocrypt)"
    )]
    PemKind {
        /// The kind in the first line; not secret.
        label: String,
    },
    /// A PKCS#8 PEM that is damaged, or holds a key other than Ed25519.
    #[error("this PEM holds no Ed25519 key, or it is damaged, or its public half belongs to another key")]
    Pem,
}

impl HsIdKeypair {
    /// Tor's `hs_ed25519_secret_key`: 32 bytes of header, then the expanded key. As in tor the public key comes from
    /// the scalar alone, so the public key file is not needed.
    pub fn from_tor_secret_key_file(file: &[u8]) -> Result<Self, KeyError> {
        if file.starts_with(TOR_PUBLIC_MARK) {
            return Err(KeyError::PublicKey);
        }
        let Some((header, key)) = file.split_first_chunk::<32>() else {
            return Err(KeyError::TorFileLength { len: file.len() });
        };
        if header != TOR_SECRET_HEADER {
            return Err(KeyError::TorFileHeader);
        }
        let key: &[u8; 64] = key.try_into().map_err(|_| KeyError::TorFileLength { len: file.len() })?;
        Self::from_parts(Zeroizing::new(*key))
    }

    /// A 32-byte seed, RFC 8032's private key; Onionbalance's and OpenSSL's form.
    pub fn from_seed(seed: [u8; 32]) -> Result<Self, KeyError> {
        let seed = Zeroizing::new(seed);
        if bool::from(seed.ct_eq(&[0; 32])) {
            return Err(KeyError::Zero);
        }
        let mut expanded = Zeroizing::new(<[u8; 64]>::from(Sha512::digest(*seed)));
        let scalar = clamp_integer(first_half(&expanded));
        expanded[..32].copy_from_slice(&scalar);
        Self::from_parts(expanded)
    }

    /// A 64-byte expanded key: scalar, then nonce prefix. A seed followed by its own public key (libsodium's form)
    /// has the same length and is recognised, because reading it as an expanded key would silently give another
    /// address. An unclamped scalar is refused for the same reason.
    pub fn from_expanded(expanded: [u8; 64]) -> Result<Self, KeyError> {
        let expanded = Zeroizing::new(expanded);
        let scalar = Zeroizing::new(first_half(&expanded));
        if bool::from(expanded.ct_eq(&[0; 64])) {
            return Err(KeyError::Zero);
        }
        let as_seed = Self::from_seed(*scalar);
        if let Ok(pair) = as_seed
            && pair.id.0[..] == expanded[32..]
        {
            return Ok(pair);
        }
        if !bool::from(scalar.ct_eq(&clamp_integer(*scalar))) {
            return Err(KeyError::NotExpanded);
        }
        Self::from_parts(expanded)
    }

    /// An unencrypted PKCS#8 PEM (RFC 8410), with or without the public half.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        let pem = pem.trim();
        let label = pem
            .strip_prefix("-----BEGIN ")
            .and_then(|rest| rest.lines().next()?.trim_end().strip_suffix("-----"))
            .ok_or(KeyError::Pem)?;
        if label != "PRIVATE KEY" {
            // The longest label in use, "ENCRYPTED PRIVATE KEY", has 21 letters.
            return Err(KeyError::PemKind { label: label.chars().take(32).collect() });
        }
        let key = SigningKey::from_pkcs8_pem(pem).map_err(|_| KeyError::Pem)?;
        Self::from_seed(key.to_bytes())
    }

    /// Any of the forms above, raw or, where it makes sense, in hexadecimal or base 64, with white space around it.
    pub fn from_any_form(bytes: &[u8]) -> Result<Self, KeyError> {
        if bytes.len() > MAX_KEY_BYTES {
            return Err(KeyError::TooLong { len: bytes.len() });
        }
        if bytes.starts_with(b"== ed25519v1-") || bytes.len() == TOR_SECRET_FILE_BYTES {
            return Self::from_tor_secret_key_file(bytes);
        }
        if let Ok(text) = str::from_utf8(bytes)
            && let Some(pair) = Self::from_text(text.trim())
        {
            return pair;
        }
        Self::from_raw(bytes)
    }

    /// The textual forms; `None` when it is none of them.
    fn from_text(text: &str) -> Option<Result<Self, KeyError>> {
        if text.starts_with("-----") {
            return Some(Self::from_pem(text));
        }
        let (marked, text) =
            text.strip_prefix(ADD_ONION_MARK).map_or((false, text), |rest| (true, rest.trim_start()));
        let hex = HEXLOWER_PERMISSIVE.decode(text.as_bytes());
        let base64 = || BASE64.decode(text.as_bytes()).or_else(|_| BASE64_NOPAD.decode(text.as_bytes()));
        let raw = Zeroizing::new(hex.or_else(|_| base64()).ok()?);
        match raw.len() {
            32 if marked => Some(Err(KeyError::NotExpanded)),
            32 | 64 | TOR_SECRET_FILE_BYTES => Some(Self::from_raw(&raw)),
            _ => None,
        }
    }

    /// The binary forms, told apart by their length.
    fn from_raw(raw: &[u8]) -> Result<Self, KeyError> {
        if let Ok(seed) = <[u8; 32]>::try_from(raw) {
            return Self::from_seed(seed);
        }
        if let Ok(expanded) = <[u8; 64]>::try_from(raw) {
            return Self::from_expanded(expanded);
        }
        if raw.len() == TOR_SECRET_FILE_BYTES {
            return Self::from_tor_secret_key_file(raw);
        }
        Err(KeyError::UnknownForm { len: raw.len() })
    }

    /// From an expanded key, exactly as tor reads it: the scalar is reduced, not clamped.
    fn from_parts(expanded: Zeroizing<[u8; 64]>) -> Result<Self, KeyError> {
        let scalar = Zeroizing::new(Scalar::from_bytes_mod_order(first_half(&expanded)));
        let point = EdwardsPoint::mul_base(&scalar);
        if point.is_identity() {
            return Err(KeyError::Zero);
        }
        Ok(Self { expanded, scalar, id: HsId(point.compress().0) })
    }

    /// The public half, which is the address.
    pub fn hs_id(&self) -> HsId {
        self.id
    }

    /// This key for one period: the only thing that can sign.
    pub fn blind(&self, period: TimePeriod) -> Result<HsBlindKeypair, BlindError> {
        let mut prefix = Zeroizing::new([0; 32]);
        prefix.copy_from_slice(&self.expanded[32..]);
        HsBlindKeypair::derive(&self.scalar, &prefix, &self.id, period)
    }

    /// The key as tor's `hs_ed25519_secret_key` file, to be written with mode 0600.
    pub fn to_tor_secret_key_file(&self) -> Zeroizing<[u8; TOR_SECRET_FILE_BYTES]> {
        let mut file = Zeroizing::new([0; TOR_SECRET_FILE_BYTES]);
        file[..32].copy_from_slice(TOR_SECRET_HEADER);
        file[32..].copy_from_slice(&*self.expanded);
        file
    }
}

/// The first 32 bytes, which are the scalar.
fn first_half(expanded: &[u8; 64]) -> [u8; 32] {
    let mut half = [0; 32];
    half.copy_from_slice(&expanded[..32]);
    half
}

impl fmt::Debug for HsIdKeypair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HsIdKeypair").field("hs_id", &self.id).finish_non_exhaustive()
    }
}
