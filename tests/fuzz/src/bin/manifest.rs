//! Signed lists of files: only what was signed gets in, and it is written the same again.
// max_len=2048
#![no_main]

use ed25519_dalek::SigningKey;
use rustbalance::proto::manifest::{Manifest, ManifestError, ManifestKey};

rustbalance_fuzz::target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    // The seed is signed under this key.
    let key = SigningKey::from_bytes(&[1; 32]);
    match Manifest::open(text, ManifestKey::of(&key)) {
        Ok(manifest) => assert_eq!(manifest.sign(&key).as_deref(), Ok(text)),
        Err(ManifestError::Path(path)) => panic!("{path:?} is for those who write"),
        Err(_) => {}
    }
    let _ = text.parse::<ManifestKey>();
});
