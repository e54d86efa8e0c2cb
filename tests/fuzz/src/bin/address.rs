//! Onion addresses as people type them.
// max_len=128
#![no_main]

use rustbalance::proto::onion::address::HsId;

rustbalance_fuzz::target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(id) = HsId::from_address(text)
    {
        assert_eq!(HsId::from_address(&id.to_string()), Ok(id));
    }
});
