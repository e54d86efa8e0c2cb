//! Tor's Ed25519 certificates, as far as descriptors use them (cert-spec, section 2.1).

use std::fmt;

use curve25519_dalek::montgomery::MontgomeryPoint;
use data_encoding::HEXLOWER;

use crate::proto::onion::blinding::HsBlindKeypair;
use crate::proto::onion::signing::{DescSigningKeypair, is_signed_by};

/// The only version there is.
const VERSION: u8 = 1;
/// The certified key is Ed25519. Tor writes this for the converted encryption key, too.
const KEY_TYPE_ED25519: u8 = 1;
/// The extension that names the signing key.
const EXTENSION_SIGNED_WITH: u8 = 4;
/// An extension with this flag must be understood, or the certificate is invalid.
const FLAG_AFFECTS_VALIDATION: u8 = 1;
/// How long tor makes descriptors' certificates last, `HS_DESC_CERT_LIFETIME`: 54 hours, in seconds.
pub const LIFETIME_SECS: u64 = 54 * 3600;

/// What a certificate is for: its type byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CertKind {
    /// 08: the blinded key certifies the descriptor signing key.
    DescSigning,
    /// 09: the descriptor signing key certifies an introduction point's authentication key.
    IntroAuth,
    /// 0B: the descriptor signing key certifies an introduction point's encryption key, converted to Ed25519.
    IntroEnc,
}

impl CertKind {
    /// The type byte.
    pub fn byte(self) -> u8 {
        match self {
            Self::DescSigning => 0x08,
            Self::IntroAuth => 0x09,
            Self::IntroEnc => 0x0b,
        }
    }

    /// The kind of a type byte.
    fn from_byte(byte: u8) -> Option<Self> {
        [Self::DescSigning, Self::IntroAuth, Self::IntroEnc].into_iter().find(|kind| kind.byte() == byte)
    }
}

impl fmt::Display for CertKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DescSigning => "08 (descriptor signing key)",
            Self::IntroAuth => "09 (introduction authentication key)",
            Self::IntroEnc => "0B (introduction encryption key)",
        })
    }
}

/// Why a certificate is refused. The document it stands in must be refused as well.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertError {
    /// It ends in the middle of a field.
    #[error("the certificate is cut off")]
    Truncated,
    /// Something stands between the last extension and the signature.
    #[error("the certificate has {extra} bytes too many")]
    TrailingBytes {
        /// How many.
        extra: usize,
    },
    /// A version other than 1.
    #[error("the certificate has the unknown version {version}")]
    Version {
        /// The version it states.
        version: u8,
    },
    /// A type that has no place in a descriptor.
    #[error("the certificate has the type {byte:02X}, which has no place in a descriptor")]
    UnknownKind {
        /// The type byte.
        byte: u8,
    },
    /// A type that belongs elsewhere in a descriptor.
    #[error("the certificate has the type {found}, expected {wanted}")]
    WrongKind {
        /// What it is.
        found: CertKind,
        /// What must stand here.
        wanted: CertKind,
    },
    /// The certified key is of another kind than Ed25519.
    #[error("the certificate certifies a key of the unknown type {key_type:02X}")]
    KeyType {
        /// The type byte of the key.
        key_type: u8,
    },
    /// An extension that must be understood, and is not.
    #[error("the certificate has an unknown extension {extension:02X} that affects its validity")]
    Extension {
        /// The extension's type byte.
        extension: u8,
    },
    /// The extension with the signing key is of a wrong length, or there are two.
    #[error("the certificate's signing-key extension is malformed or stands there twice")]
    SigningKeyExtension,
    /// It does not say who signed it, as it must in a descriptor.
    #[error("the certificate does not name its signing key")]
    NoSigningKey,
    /// It names another signer than the one it must be signed by.
    #[error("the certificate was signed by another key than it must be")]
    WrongSigner,
    /// The signature does not fit.
    #[error("the certificate's signature is wrong")]
    Signature,
    /// It has run out.
    #[error("the certificate expired at Unix time {expired_at}")]
    Expired {
        /// When, in Unix seconds.
        expired_at: u64,
    },
    /// The key to be certified is no key. Nothing was signed.
    #[error("the encryption key is no Curve25519 public key, so it cannot be certified")]
    EncKey,
}

/// A certificate. One that was parsed has a verified form, but its signature and date only after [`Self::verify`].
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate {
    /// What it is for.
    kind: CertKind,
    /// Hours since the epoch.
    expires_hour: u32,
    /// The key it certifies.
    subject: [u8; 32],
    /// Who says to have signed it.
    signing_key: Option<[u8; 32]>,
    /// All of it, signature included.
    encoded: Vec<u8>,
}

impl Certificate {
    /// Reads the binary form. Allocates no more than the input's length.
    pub fn parse(encoded: &[u8]) -> Result<Self, CertError> {
        let mut rest = Bytes(encoded);
        let [version] = rest.take()?;
        if version != VERSION {
            return Err(CertError::Version { version });
        }
        let [byte] = rest.take()?;
        let kind = CertKind::from_byte(byte).ok_or(CertError::UnknownKind { byte })?;
        let expires_hour = u32::from_be_bytes(rest.take()?);
        let [key_type] = rest.take()?;
        if key_type != KEY_TYPE_ED25519 {
            return Err(CertError::KeyType { key_type });
        }
        let subject = rest.take()?;
        let signing_key = parse_extensions(&mut rest)?;
        rest.take::<64>()?;
        if !rest.0.is_empty() {
            return Err(CertError::TrailingBytes { extra: rest.0.len() });
        }
        Ok(Self { kind, expires_hour, subject, signing_key, encoded: encoded.to_vec() })
    }

    /// Checks that it is of the kind `wanted`, names a signing key, was signed by it, and has not run out at
    /// `unix_secs`. With `signer` the signing key must be that one. Gives back the signing key.
    pub fn verify(
        &self,
        wanted: CertKind,
        signer: Option<&[u8; 32]>,
        unix_secs: u64,
    ) -> Result<[u8; 32], CertError> {
        if self.kind != wanted {
            return Err(CertError::WrongKind { found: self.kind, wanted });
        }
        let signing_key = self.signing_key.ok_or(CertError::NoSigningKey)?;
        if signer.is_some_and(|signer| *signer != signing_key) {
            return Err(CertError::WrongSigner);
        }
        let (message, signature) = self.encoded.split_last_chunk().ok_or(CertError::Truncated)?;
        if !is_signed_by(&signing_key, message, signature) {
            return Err(CertError::Signature);
        }
        if unix_secs > self.expires_at() {
            return Err(CertError::Expired { expired_at: self.expires_at() });
        }
        Ok(signing_key)
    }

    /// The certificate of type 08: the blinded key vouches for the descriptor signing key. Tor lets it expire
    /// [`LIFETIME_SECS`] after now.
    pub fn for_desc_signing_key(
        blinded: &HsBlindKeypair,
        desc_signing_key: &[u8; 32],
        expires_hour: u32,
    ) -> Self {
        let signer = blinded.id().0;
        Self::build(CertKind::DescSigning, desc_signing_key, expires_hour, signer, |message| {
            blinded.sign(message)
        })
    }

    /// The certificate of type 09 over an introduction point's authentication key. Tor lets it expire
    /// [`LIFETIME_SECS`] after the hour in which it was made began.
    pub fn for_auth_key(signer: &DescSigningKeypair, auth_key: &[u8; 32], expires_hour: u32) -> Self {
        Self::build(CertKind::IntroAuth, auth_key, expires_hour, signer.public(), |message| {
            signer.sign(message)
        })
    }

    /// The certificate of type 0B over an introduction point's X25519 encryption key, which it certifies in its
    /// Ed25519 form. Expires as [`Self::for_auth_key`].
    pub fn for_enc_key(
        signer: &DescSigningKeypair,
        enc_key: &[u8; 32],
        expires_hour: u32,
    ) -> Result<Self, CertError> {
        let subject = ed25519_form(enc_key).ok_or(CertError::EncKey)?;
        Ok(Self::build(CertKind::IntroEnc, &subject, expires_hour, signer.public(), |message| {
            signer.sign(message)
        }))
    }

    /// Writes and signs, byte for byte as tor does: one extension, without flags.
    fn build(
        kind: CertKind,
        subject: &[u8; 32],
        expires_hour: u32,
        signing_key: [u8; 32],
        sign: impl FnOnce(&[u8]) -> [u8; 64],
    ) -> Self {
        let mut encoded = Vec::with_capacity(140);
        encoded.extend([VERSION, kind.byte()]);
        encoded.extend(expires_hour.to_be_bytes());
        encoded.push(KEY_TYPE_ED25519);
        encoded.extend(subject);
        // One extension of 32 bytes; its flags are 00, as tor's.
        encoded.extend([1, 0, 32, EXTENSION_SIGNED_WITH, 0]);
        encoded.extend(signing_key);
        let signature = sign(&encoded);
        encoded.extend(signature);
        Self { kind, expires_hour, subject: *subject, signing_key: Some(signing_key), encoded }
    }

    /// What it is for.
    pub fn kind(&self) -> CertKind {
        self.kind
    }

    /// The key it certifies.
    pub fn subject(&self) -> [u8; 32] {
        self.subject
    }

    /// The last moment at which it is valid, in Unix seconds.
    pub fn expires_at(&self) -> u64 {
        u64::from(self.expires_hour) * 3600
    }

    /// The binary form.
    pub fn as_bytes(&self) -> &[u8] {
        &self.encoded
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("kind", &self.kind)
            .field("subject", &HEXLOWER.encode(&self.subject))
            .field("expires_hour", &self.expires_hour)
            .finish_non_exhaustive()
    }
}

/// The hour, counted from the epoch, at which a certificate made at `unix_secs` for `lifetime_secs` expires: rounded
/// up, as in tor.
pub fn expiry_hour(unix_secs: u64, lifetime_secs: u64) -> u32 {
    u32::try_from(unix_secs.saturating_add(lifetime_secs).div_ceil(3600)).unwrap_or(u32::MAX)
}

/// The Ed25519 form, with sign bit 0, of an X25519 public key: `y = (u - 1) / (u + 1)`. `None` for a value that is no
/// public key (a point of the twist).
pub fn ed25519_form(x25519: &[u8; 32]) -> Option<[u8; 32]> {
    MontgomeryPoint(*x25519).to_edwards(0).map(|point| point.compress().0)
}

/// Reads the extensions; gives the signing key one of them may hold.
fn parse_extensions(rest: &mut Bytes<'_>) -> Result<Option<[u8; 32]>, CertError> {
    let [count] = rest.take()?;
    let mut signing_key = None;
    for _ in 0..count {
        let length = u16::from_be_bytes(rest.take()?);
        let [extension, flags] = rest.take()?;
        let body = rest.take_slice(length.into())?;
        if extension == EXTENSION_SIGNED_WITH {
            let key = body.try_into().map_err(|_| CertError::SigningKeyExtension)?;
            if signing_key.replace(key).is_some() {
                return Err(CertError::SigningKeyExtension);
            }
        } else if flags & FLAG_AFFECTS_VALIDATION != 0 {
            return Err(CertError::Extension { extension });
        }
    }
    Ok(signing_key)
}

/// Bytes yet to be read.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    /// The next `N`.
    fn take<const N: usize>(&mut self) -> Result<[u8; N], CertError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(CertError::Truncated)?;
        self.0 = rest;
        Ok(*taken)
    }

    /// The next `length`.
    fn take_slice(&mut self, length: usize) -> Result<&'a [u8], CertError> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(CertError::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }
}
