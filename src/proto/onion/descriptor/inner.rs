//! The inner document (`rend-spec-v3` 2.5.2): what the service can do, and its introduction points, each with its keys
//! certified by the descriptor signing key.

use data_encoding::BASE64;
use thiserror::Error;

use crate::proto::onion::certificate::{CertError, CertKind, Certificate};
use crate::proto::onion::descriptor::capabilities::{Capabilities, FlowControlError};
use crate::proto::onion::descriptor::document::{GrammarError, Item, Items, Writer, once};
use crate::proto::onion::descriptor::intro_point::{IntroPoint, IntroPointError};
use crate::proto::onion::signing::DescSigningKeypair;

/// Most introduction points in one descriptor. A client of C tor refuses a descriptor with more as a whole.
pub const MAX_INTRO_POINTS: usize = 20;

/// Why a decrypted text is not an inner document to be used. The descriptor is refused as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InnerError {
    /// The text is not made of the lines an inner document has.
    #[error(transparent)]
    Grammar(#[from] GrammarError),
    /// `create2-formats` does not offer the ntor handshake (2), which is mandatory.
    #[error("create2-formats without the ntor handshake (2)")]
    NoNtor,
    /// `intro-auth-required` names no way of authentication that is known.
    #[error("intro-auth-required names no known way")]
    IntroAuth,
    /// The `flow-control` line cannot be understood.
    #[error(transparent)]
    FlowControl(#[from] FlowControlError),
    /// More introduction points than clients accept.
    #[error("more than {MAX_INTRO_POINTS} introduction points")]
    TooManyPoints,
    /// One introduction point is not usable.
    #[error("introduction point {number}")]
    Point {
        /// Which one, counted from 1.
        number: usize,
        /// What is wrong with it.
        source: PointError,
    },
}

/// Why one introduction point is not usable.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PointError {
    /// A line of it is missing, repeated or malformed.
    #[error(transparent)]
    Grammar(#[from] GrammarError),
    /// Its link specifiers are not usable.
    #[error(transparent)]
    Specifiers(#[from] IntroPointError),
    /// The certificate of the authentication key is malformed, expired or mis-signed.
    #[error("certificate of the authentication key")]
    AuthKeyCert(#[source] CertError),
    /// The certificate of the encryption key is malformed, expired or mis-signed.
    #[error("certificate of the encryption key")]
    EncKeyCert(#[source] CertError),
    /// `enc-key-cert` certifies another key than `enc-key`; Arti's clients refuse such a point.
    #[error("the certificate of the encryption key certifies another key")]
    OtherEncKey,
}

/// An inner document as it was read. Until [`Inner::verify`] nobody has vouched for its keys.
#[derive(Debug, Clone)]
pub struct Inner {
    /// What the service says it can do.
    pub capabilities: Capabilities,
    /// The arguments of `pow-params` lines as written: to be shown, never to be published again.
    pub pow_params: Vec<String>,
    points: Vec<CertifiedPoint>,
}

/// An introduction point with the certificates that must be checked.
#[derive(Debug, Clone)]
struct CertifiedPoint {
    keys: IntroPoint,
    auth_key_cert: Certificate,
    enc_key_cert: Certificate,
}

impl Inner {
    /// Reads an inner document without judging signatures and dates. No introduction points is valid: tor shows
    /// that before its first circuits are up.
    pub fn parse(text: &str) -> Result<Self, InnerError> {
        let mut items = Items::new(text);
        let first = items.next().ok_or(GrammarError::Missing("create2-formats"))??;
        if first.keyword != "create2-formats" {
            return Err(GrammarError::NotFirst(first.line, "create2-formats").into());
        }
        first.without_object()?;
        if !first.arguments.split_ascii_whitespace().any(|format| format == "2") {
            return Err(InnerError::NoNtor);
        }
        let mut header = Header::default();
        let mut sections: Vec<PointLines<'_>> = Vec::new();
        for item in items {
            let item = item?;
            if item.keyword == "introduction-point" {
                if sections.len() == MAX_INTRO_POINTS {
                    return Err(InnerError::TooManyPoints);
                }
                sections.push(PointLines::new(item));
            } else if let Some(section) = sections.last_mut() {
                section.add(item)?;
            } else {
                header.add(item)?;
            }
        }
        let points = sections
            .iter()
            .zip(1..)
            .map(|(section, number)| section.read().map_err(|source| InnerError::Point { number, source }));
        let points = points.collect::<Result<_, _>>()?;
        let (capabilities, pow_params) = header.read()?;
        Ok(Self { capabilities, pow_params, points })
    }

    /// When the first certificate of an introduction point expires, in Unix seconds; `None` without points.
    pub fn certified_until(&self) -> Option<u64> {
        let certificates = self.points.iter().flat_map(|point| [&point.auth_key_cert, &point.enc_key_cert]);
        certificates.map(Certificate::expires_at).min()
    }

    /// The introduction points, after checking that the descriptor signing key certifies their keys at this moment.
    pub fn verify(self, signing_key: &[u8; 32], unix_secs: u64) -> Result<Vec<IntroPoint>, InnerError> {
        let verified = self.points.into_iter().zip(1..).map(|(point, number)| {
            point.verify(signing_key, unix_secs).map_err(|source| InnerError::Point { number, source })
        });
        verified.collect()
    }
}

impl CertifiedPoint {
    fn verify(self, signing_key: &[u8; 32], unix_secs: u64) -> Result<IntroPoint, PointError> {
        self.auth_key_cert
            .verify(CertKind::IntroAuth, Some(signing_key), unix_secs)
            .map_err(PointError::AuthKeyCert)?;
        self.enc_key_cert
            .verify(CertKind::IntroEnc, Some(signing_key), unix_secs)
            .map_err(PointError::EncKeyCert)?;
        if self.keys.enc_key_certified() == Some(self.enc_key_cert.subject()) {
            Ok(self.keys)
        } else {
            Err(PointError::OtherEncKey)
        }
    }
}

/// Lines before the first introduction point; others are ignored.
#[derive(Default)]
struct Header<'a> {
    intro_auth_required: Option<Item<'a>>,
    single_onion: Option<Item<'a>>,
    flow_control: Option<Item<'a>>,
    pow_params: Vec<String>,
}

impl<'a> Header<'a> {
    fn add(&mut self, item: Item<'a>) -> Result<(), GrammarError> {
        match item.keyword {
            "create2-formats" => Err(GrammarError::Duplicate(item.line)),
            "intro-auth-required" => once(&mut self.intro_auth_required, item),
            "single-onion-service" => once(&mut self.single_onion, item),
            "flow-control" => once(&mut self.flow_control, item),
            "pow-params" => {
                let [_scheme] = item.leading_arguments()?;
                self.pow_params.push(item.arguments.to_owned());
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn read(self) -> Result<(Capabilities, Vec<String>), InnerError> {
        for item in [self.intro_auth_required, self.single_onion, self.flow_control].into_iter().flatten() {
            item.without_object()?;
        }
        if let Some(item) = self.intro_auth_required
            && !item.arguments.split_ascii_whitespace().any(|way| way == "ed25519")
        {
            return Err(InnerError::IntroAuth);
        }
        let flow_control = self.flow_control.map(|item| item.arguments.parse()).transpose()?;
        let capabilities = Capabilities { flow_control, single_onion: self.single_onion.is_some() };
        Ok((capabilities, self.pow_params))
    }
}

/// Lines of one introduction point; others are ignored, such as those of keys for relays long gone (`legacy-key`).
struct PointLines<'a> {
    start: Item<'a>,
    onion_key: Option<Item<'a>>,
    auth_key: Option<Item<'a>>,
    enc_key: Option<Item<'a>>,
    enc_key_cert: Option<Item<'a>>,
}

impl<'a> PointLines<'a> {
    fn new(start: Item<'a>) -> Self {
        Self { start, onion_key: None, auth_key: None, enc_key: None, enc_key_cert: None }
    }

    fn add(&mut self, item: Item<'a>) -> Result<(), GrammarError> {
        let is_ntor = || item.arguments.split_ascii_whitespace().next() == Some("ntor");
        match item.keyword {
            "onion-key" if is_ntor() => once(&mut self.onion_key, item),
            "auth-key" => once(&mut self.auth_key, item),
            "enc-key" if is_ntor() => once(&mut self.enc_key, item),
            "enc-key-cert" => once(&mut self.enc_key_cert, item),
            _ => Ok(()),
        }
    }

    fn read(&self) -> Result<CertifiedPoint, PointError> {
        let certificate = |item: Option<Item<'_>>, keyword| -> Result<Vec<u8>, GrammarError> {
            item.ok_or(GrammarError::Missing(keyword))?.object("ED25519 CERT")
        };
        let key = |item: Option<Item<'_>>, keyword| -> Result<[u8; 32], GrammarError> {
            let item = item.ok_or(GrammarError::Missing(keyword))?;
            let [_ntor, key] = item.leading_arguments()?;
            item.bytes(key)
        };
        let auth_key_cert =
            Certificate::parse(&certificate(self.auth_key, "auth-key")?).map_err(PointError::AuthKeyCert)?;
        let enc_key_cert = Certificate::parse(&certificate(self.enc_key_cert, "enc-key-cert")?)
            .map_err(PointError::EncKeyCert)?;
        let keys = IntroPoint {
            link_specifiers: self.start.base64(self.start.only_argument()?)?,
            onion_key: key(self.onion_key, "onion-key ntor")?,
            auth_key: auth_key_cert.subject(),
            enc_key: key(self.enc_key, "enc-key ntor")?,
        };
        keys.check()?;
        Ok(CertifiedPoint { keys, auth_key_cert, enc_key_cert })
    }
}

/// Writes an inner document as tor does, the keys certified until `expires_hour`. `Err` names the first point
/// (counted from 0) whose encryption key cannot be certified.
pub(super) fn write(
    capabilities: &Capabilities,
    points: &[IntroPoint],
    signer: &DescSigningKeypair,
    expires_hour: u32,
) -> Result<String, usize> {
    let mut document = Writer::new();
    document.line("create2-formats", &["2"]);
    if capabilities.single_onion {
        document.line("single-onion-service", &[]);
    }
    if let Some(flow_control) = capabilities.flow_control {
        document.line("flow-control", &[&flow_control.to_string()]);
    }
    for (index, point) in points.iter().enumerate() {
        let enc_key_cert =
            Certificate::for_enc_key(signer, &point.enc_key, expires_hour).map_err(|_| index)?;
        let auth_key_cert = Certificate::for_auth_key(signer, &point.auth_key, expires_hour);
        document.line("introduction-point", &[&BASE64.encode(&point.link_specifiers)]);
        document.line("onion-key", &["ntor", &BASE64.encode(&point.onion_key)]);
        document.object("auth-key", "ED25519 CERT", auth_key_cert.as_bytes());
        document.line("enc-key", &["ntor", &BASE64.encode(&point.enc_key)]);
        document.object("enc-key-cert", "ED25519 CERT", enc_key_cert.as_bytes());
    }
    Ok(document.finish())
}
