//! Sealed files and values, as far as they can be read without a passphrase: what is read is written the same again.
// max_len=2048
#![no_main]

use rustbalance::vault::{armour, field};

rustbalance_fuzz::target!(|data: &[u8]| {
    let Ok(text) = str::from_utf8(data) else { return };
    if let Ok(sealed) = armour::read(text) {
        assert_eq!(armour::read(&armour::write(&sealed)), Ok(sealed));
    }
    if let Ok(sealed) = field::read(text) {
        assert_eq!(field::read(&field::write(&sealed)), Ok(sealed));
    }
});
