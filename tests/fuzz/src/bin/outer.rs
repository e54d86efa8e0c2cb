//! The outer document of a descriptor: any text, signed by nobody.
// max_len=50100
#![no_main]

use rustbalance::proto::onion::descriptor::outer::{DESCRIPTOR_TOO_LONG, Outer};

rustbalance_fuzz::target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(outer) = Outer::parse(text)
    {
        assert!(data.len() < DESCRIPTOR_TOO_LONG);
        assert!(outer.lifetime_minutes() <= 720);
        let expires_at = outer.certificate().expires_at();
        assert!(outer.clone().verify(expires_at + 1).is_err());
        let _ = outer.verify(expires_at);
    }
});
