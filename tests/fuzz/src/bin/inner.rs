//! The inner document of a descriptor, as it comes out of the decryption.
// max_len=32768
#![no_main]

use rustbalance::proto::onion::descriptor::inner::{Inner, MAX_INTRO_POINTS};

/// The key that signed the certificates of the seeds, so that some get past the check.
const SIGNER: [u8; 32] = [
    0x26, 0x02, 0x86, 0xeb, 0xb0, 0x4c, 0x70, 0x5f, 0x53, 0xa5, 0xa4, 0x07, 0x1f, 0x90, 0xaa, 0x04, 0x72,
    0x7b, 0xca, 0x51, 0xb5, 0xb1, 0xfc, 0x57, 0xf2, 0x94, 0x8b, 0xc7, 0xef, 0x23, 0xb1, 0x6d,
];

rustbalance_fuzz::target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(inner) = Inner::parse(text)
        && let Ok(points) = inner.verify(&SIGNER, 0)
    {
        assert!(points.len() <= MAX_INTRO_POINTS);
        for point in points {
            assert!(point.relay_id().is_some());
            assert!(point.enc_key_certified().is_some());
        }
    }
});
