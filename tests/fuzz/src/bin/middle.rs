//! The middle document of a descriptor, as it comes out of the decryption. What is written is read back the same.
// max_len=32768
#![no_main]

use rustbalance::proto::onion::descriptor::middle::Middle;

rustbalance_fuzz::target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(middle) = Middle::parse(text)
    {
        assert!(!middle.clients.is_empty());
        assert_eq!(Middle::parse(&middle.write()), Ok(middle));
    }
});
