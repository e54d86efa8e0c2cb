//! Targets that speak TLS, and which certificates are accepted from them.
//!
//! Sessions are not resumed: what resumes could be known again, and then the target knew which connections came over one
//! node, and in which order.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::client::{Resumption, WebPkiServerVerifier};
use tokio_rustls::rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::server::ParsedCertificate;
use tokio_rustls::rustls::{
    self, CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore,
    SignatureScheme,
};

use crate::config::target::{Pin as KeyPin, ProxyTarget, Verify};
use crate::ipc::proxy::{FailureReason, Validity};
use crate::tor::stream::Stream;

/// The roots that the system trusts, where most distributions have them.
const SYSTEM_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";
/// A file above this size is no list of roots; the system's has 200 KiB.
const MAX_ROOTS_BYTES: u64 = 4 * 1024 * 1024;
/// Most that waits, sealed, for a target that does not take it: one record. A thousand such targets must not fill the
/// memory that the unit has.
const HELD_BYTES: usize = 16 * 1024;
/// What is spoken inside.
const PROTOCOL: &[u8] = b"http/1.1";

/// Before this no certificate was made.
const BEFORE_ALL_SECS: u64 = 0;
/// The first second of the year 10000, which no certificate can name (RFC 5280, section 4.1.2.5).
const AFTER_ALL_SECS: u64 = 253_402_300_800;

/// How TLS with one target begins.
#[derive(Clone)]
pub struct Tls {
    connector: TlsConnector,
    name: ServerName<'static>,
    /// Who judges certificates by their age, too.
    dated: Option<Arc<WebPkiServerVerifier>>,
    shown: Arc<Mutex<Option<Validity>>>,
}

/// Why certificates could not be judged. Nothing was connected.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file of roots cannot be used.
    #[error("{path}: {reason}; without roots no certificate would be accepted")]
    Roots {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The library refuses.
    #[error("{0}")]
    Library(#[from] rustls::Error),
    /// A certificate cannot be for such a name.
    #[error("{0:?} is no name that a certificate could be for")]
    Name(String),
}

impl TlsError {
    /// The key of the configuration that it is about.
    pub fn key(&self) -> &'static str {
        match self {
            Self::Roots { .. } => "roots",
            Self::Library(_) => "verify",
            Self::Name(_) => "host",
        }
    }
}

impl Tls {
    /// As this target wants it; `None` for one that does not speak TLS.
    pub fn of(target: &ProxyTarget) -> Result<Option<Self>, TlsError> {
        let Some(verify) = target.verify.filter(|_| target.address.is_tls()) else { return Ok(None) };
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_safe_default_protocol_versions()?;
        let mut dated = None;
        let mut config = match verify {
            Verify::Webpki => {
                let roots = roots(target.roots.as_deref().unwrap_or(Path::new(SYSTEM_ROOTS)))?;
                let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
                let verifier = verifier.map_err(|error| rustls::Error::General(error.to_string()))?;
                dated = Some(Arc::clone(&verifier));
                builder.with_webpki_verifier(verifier).with_no_client_auth()
            }
            Verify::SpkiPin | Verify::Onion => {
                let pins = (verify == Verify::SpkiPin).then(|| target.pins.clone());
                let verifier = KeyVerifier { pins, algorithms: algorithms(&provider) };
                let dangerous = builder.dangerous();
                dangerous.with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth()
            }
        };
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        config.resumption = Resumption::disabled();
        Ok(Some(Self {
            connector: TlsConnector::from(Arc::new(config)),
            name: name(target)?,
            dated,
            shown: Arc::default(),
        }))
    }

    /// Shakes hands over a connection that was just made.
    pub async fn begin(&self, stream: Stream) -> Result<TargetStream, FailureReason> {
        let bound = |session: &mut ClientConnection| session.set_buffer_limit(Some(HELD_BYTES));
        let begun = self.connector.connect_with(self.name.clone(), stream, bound).await;
        let stream = begun.map_err(|error| reason(&error))?;
        let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        if let (Some(verifier), Some(certificate)) = (&self.dated, certificate) {
            let validity = validity(verifier, certificate, &self.name);
            *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = validity;
        }
        Ok(TargetStream::Tls(Box::new(stream)))
    }

    /// How long the certificate is valid that the target showed last; `None` before it has shown one, and where its age does
    /// not matter.
    pub fn certificate(&self) -> Option<Validity> {
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The name that the certificate is for: a host without its port.
fn name(target: &ProxyTarget) -> Result<ServerName<'static>, TlsError> {
    let text = target.host.clone().or_else(|| target.address.authority()).unwrap_or_default();
    let host = match text.rfind(':') {
        Some(colon) if !text[colon..].contains(']') => &text[..colon],
        _ => &text,
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    ServerName::try_from(host.to_owned()).map_err(|_| TlsError::Name(host.to_owned()))
}

fn roots(path: &Path) -> Result<RootCertStore, TlsError> {
    let refuse = |reason: String| TlsError::Roots { path: path.display().to_string(), reason };
    let file = File::open(path).map_err(|error| refuse(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_reader_iter(BufReader::new(file.take(MAX_ROOTS_BYTES))) {
        let certificate = certificate.map_err(|error| refuse(error.to_string()))?;
        // A system's list can hold one that is too old to be understood; the others are as good as before.
        roots.add_parsable_certificates([certificate]);
    }
    if roots.is_empty() { Err(refuse("it holds no certificate".to_owned())) } else { Ok(roots) }
}

fn reason(error: &io::Error) -> FailureReason {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    match inner {
        Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented) => {
            FailureReason::CertificateRefused
        }
        _ => FailureReason::TlsFailed,
    }
}

fn algorithms(provider: &CryptoProvider) -> WebPkiSupportedAlgorithms {
    provider.signature_verification_algorithms
}

/// How long a certificate is valid that was accepted. Nothing here but the library reads certificates, and it tells a day only
/// to whom it says no for it. It looks at that before any signature.
fn validity(
    verifier: &WebPkiServerVerifier,
    certificate: &CertificateDer<'_>,
    name: &ServerName<'_>,
) -> Option<Validity> {
    let at = |secs| {
        let time = UnixTime::since_unix_epoch(Duration::from_secs(secs));
        match verifier.verify_server_cert(certificate, &[], name, &[], time) {
            Err(rustls::Error::InvalidCertificate(error)) => Some(error),
            _ => None,
        }
    };
    let from = match at(BEFORE_ALL_SECS) {
        Some(CertificateError::NotValidYetContext { not_before, .. }) => not_before.as_secs(),
        _ => BEFORE_ALL_SECS,
    };
    match at(AFTER_ALL_SECS) {
        Some(CertificateError::ExpiredContext { not_after, .. }) => {
            Some(Validity { from, until: not_after.as_secs() })
        }
        _ => None,
    }
}

/// Accepts certificates for their key alone.
#[derive(Debug)]
struct KeyVerifier {
    /// `None`: any key.
    pins: Option<Vec<KeyPin>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for KeyVerifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let key = ParsedCertificate::try_from(certificate)?.subject_public_key_info();
        let digest: [u8; 32] = Sha256::digest(key).into();
        let accepted = self.pins.as_ref().is_none_or(|pins| pins.contains(&KeyPin(digest)));
        let refused = rustls::Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure);
        if accepted { Ok(ServerCertVerified::assertion()) } else { Err(refused) }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// A connection to a target, in the clear or not.
#[derive(Debug)]
pub enum TargetStream {
    /// Bytes as they are.
    Plain(Stream),
    /// In TLS.
    Tls(Box<TlsStream<Stream>>),
}

impl TargetStream {
    /// Closes at once; see [`Stream::reset`].
    pub fn reset(self) {
        match self {
            Self::Plain(stream) => stream.reset(),
            Self::Tls(stream) => stream.into_inner().0.reset(),
        }
    }
}

impl AsyncRead for TargetStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for TargetStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, data),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, data),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
