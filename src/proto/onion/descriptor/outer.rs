//! The outer document (`rend-spec-v3` 2.4): what an HSDir sees. It names the blinded key, the counter and the lifetime,
//! carries the encrypted rest, and is signed by a key that the blinded key certifies.

use data_encoding::BASE64_NOPAD;
use thiserror::Error;

use crate::proto::onion::blinding::HsBlindId;
use crate::proto::onion::certificate::{CertError, CertKind, Certificate};
use crate::proto::onion::counter::RevisionCounter;
use crate::proto::onion::descriptor::document::{GrammarError, Item, Items, Writer, once};
use crate::proto::onion::signing::{DescSigningKeypair, is_signed_by};

/// An HSDir refuses a descriptor of this many bytes or more (consensus parameter `HSV3MaxDescriptorSize`, default).
pub const DESCRIPTOR_TOO_LONG: usize = 50_000;
/// Longest lifetime that tor accepts, in minutes.
pub const MAX_LIFETIME_MINUTES: u16 = 720;
/// The only version of the format.
const VERSION: u64 = 3;
/// What the descriptor signing key signs is prefixed with this.
const SIGNATURE_PREFIX: &[u8] = b"Tor onion service descriptor sig v3";

/// Why a text is not an outer document that may be trusted. Nothing in it was decrypted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OuterError {
    /// The descriptor is so long that no HSDir accepts it. It was not read.
    #[error("descriptor of {0} bytes: HSDirs refuse {DESCRIPTOR_TOO_LONG} bytes or more")]
    TooLong(usize),
    /// The text is not made of the lines a descriptor has.
    #[error(transparent)]
    Grammar(#[from] GrammarError),
    /// A format of another version; this program knows only version 3.
    #[error("descriptor version {0}, only {VERSION} is known")]
    Version(u64),
    /// The lifetime is longer than tor allows.
    #[error("lifetime of {0} minutes, at most {MAX_LIFETIME_MINUTES} are allowed")]
    Lifetime(u64),
    /// The certificate of the descriptor signing key is malformed, expired, or not by the key it names.
    #[error("certificate of the descriptor signing key")]
    Certificate(#[from] CertError),
    /// The signature below the document does not fit: bytes were changed, or another key signed.
    #[error("signature of the descriptor does not fit")]
    Signature,
}

/// An outer document as it was read. Until [`Outer::verify`] nobody has vouched for anything in it.
#[derive(Debug, Clone)]
pub struct Outer<'a> {
    lifetime_minutes: u16,
    counter: RevisionCounter,
    certificate: Certificate,
    superencrypted: Vec<u8>,
    signed: &'a str,
    signature: [u8; 64],
}

/// An outer document whose certificate and signature were checked at a given moment.
#[derive(Debug, Clone)]
pub struct VerifiedOuter {
    /// The key that names the service in its period.
    pub blind_id: HsBlindId,
    /// Orders the descriptors of one period.
    pub counter: RevisionCounter,
    /// How long an HSDir keeps it after receipt, in minutes.
    pub lifetime_minutes: u16,
    /// The descriptor signing key, which also certifies the introduction points' keys.
    pub signing_key: [u8; 32],
    /// When the certificate of the signing key expires, in unix seconds.
    pub signing_cert_expires_at: u64,
    /// When this was checked, in unix seconds; the certificates inside are judged at the same moment.
    pub verified_at: u64,
    /// The encrypted middle document.
    pub superencrypted: Vec<u8>,
}

impl<'a> Outer<'a> {
    /// Reads an outer document without judging its signatures. A missing last newline is forgiven.
    pub fn parse(text: &'a str) -> Result<Self, OuterError> {
        if text.len() >= DESCRIPTOR_TOO_LONG {
            return Err(OuterError::TooLong(text.len()));
        }
        let fields = Fields::read(text)?;
        let lifetime = fields.lifetime.number()?;
        let lifetime_minutes = u16::try_from(lifetime)
            .ok()
            .filter(|minutes| *minutes <= MAX_LIFETIME_MINUTES)
            .ok_or(OuterError::Lifetime(lifetime))?;
        fields.certificate.only_keyword()?;
        fields.superencrypted.only_keyword()?;
        Ok(Self {
            lifetime_minutes,
            counter: RevisionCounter(fields.counter.number()?),
            certificate: Certificate::parse(&fields.certificate.object("ED25519 CERT")?)?,
            superencrypted: fields.superencrypted.object("MESSAGE")?,
            signed: text.get(..fields.signature.offset).unwrap_or_default(),
            signature: fields.signature.bytes(fields.signature.only_argument()?)?,
        })
    }

    /// Checks the certificate (form, signature, date) and the signature of the document.
    pub fn verify(self, unix_secs: u64) -> Result<VerifiedOuter, OuterError> {
        let signing_key = self.certificate.subject();
        let message = [SIGNATURE_PREFIX, self.signed.as_bytes()].concat();
        // Before the date, so that a stale descriptor is told from a forged one.
        if !is_signed_by(&signing_key, &message, &self.signature) {
            return Err(OuterError::Signature);
        }
        let blind_id = HsBlindId(self.certificate.verify(CertKind::DescSigning, None, unix_secs)?);
        Ok(VerifiedOuter {
            blind_id,
            counter: self.counter,
            lifetime_minutes: self.lifetime_minutes,
            signing_key,
            signing_cert_expires_at: self.certificate.expires_at(),
            verified_at: unix_secs,
            superencrypted: self.superencrypted,
        })
    }

    /// The counter the text claims.
    pub fn counter(&self) -> RevisionCounter {
        self.counter
    }

    /// The lifetime the text claims, in minutes.
    pub fn lifetime_minutes(&self) -> u16 {
        self.lifetime_minutes
    }

    /// The certificate of the descriptor signing key, unchecked.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }
}

/// Writes and signs an outer document, field by field as tor does.
pub fn write(
    lifetime_minutes: u16,
    counter: RevisionCounter,
    certificate: &Certificate,
    superencrypted: &[u8],
    signer: &DescSigningKeypair,
) -> String {
    let mut document = Writer::new();
    document.line("hs-descriptor", &[&VERSION.to_string()]);
    document.line("descriptor-lifetime", &[&lifetime_minutes.to_string()]);
    document.object("descriptor-signing-key-cert", "ED25519 CERT", certificate.as_bytes());
    document.line("revision-counter", &[&counter.0.to_string()]);
    document.object("superencrypted", "MESSAGE", superencrypted);
    let signature = signer.sign(&[SIGNATURE_PREFIX, document.text().as_bytes()].concat());
    document.line("signature", &[&BASE64_NOPAD.encode(&signature)]);
    document.finish()
}

/// The lines of an outer document; each occurs exactly once, others are ignored.
struct Fields<'a> {
    lifetime: Item<'a>,
    certificate: Item<'a>,
    counter: Item<'a>,
    superencrypted: Item<'a>,
    signature: Item<'a>,
}

impl<'a> Fields<'a> {
    fn read(text: &'a str) -> Result<Self, OuterError> {
        let (mut lifetime, mut certificate, mut counter) = (None, None, None);
        let (mut superencrypted, mut signature) = (None, None);
        let mut items = Items::new(text);
        let first = items.next().ok_or(GrammarError::Missing("hs-descriptor"))??;
        if first.keyword != "hs-descriptor" {
            return Err(GrammarError::NotFirst(first.line, "hs-descriptor").into());
        }
        let version = first.number()?;
        if version != VERSION {
            return Err(OuterError::Version(version));
        }
        for item in items {
            let item = item?;
            if signature.is_some() {
                return Err(GrammarError::NotLast(item.line, "signature").into());
            }
            match item.keyword {
                "hs-descriptor" => return Err(GrammarError::Duplicate(item.line).into()),
                "descriptor-lifetime" => once(&mut lifetime, item)?,
                "descriptor-signing-key-cert" => once(&mut certificate, item)?,
                "revision-counter" => once(&mut counter, item)?,
                "superencrypted" => once(&mut superencrypted, item)?,
                "signature" => once(&mut signature, item)?,
                _ => {}
            }
        }
        Ok(Self {
            lifetime: lifetime.ok_or(GrammarError::Missing("descriptor-lifetime"))?,
            certificate: certificate.ok_or(GrammarError::Missing("descriptor-signing-key-cert"))?,
            counter: counter.ok_or(GrammarError::Missing("revision-counter"))?,
            superencrypted: superencrypted.ok_or(GrammarError::Missing("superencrypted"))?,
            signature: signature.ok_or(GrammarError::Missing("signature"))?,
        })
    }
}
