//! Tor's Ed25519 certificates.
// max_len=512
#![no_main]

use rustbalance::proto::onion::certificate::{CertKind, Certificate};

rustbalance_fuzz::target!(|data: &[u8]| {
    if let Ok(certificate) = Certificate::parse(data) {
        assert_eq!(certificate.as_bytes(), data);
        for kind in [CertKind::DescSigning, CertKind::IntroAuth, CertKind::IntroEnc] {
            let verified = certificate.verify(kind, None, certificate.expires_at());
            assert!(verified.is_err() || kind == certificate.kind());
        }
    }
});
