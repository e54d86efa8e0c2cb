//! Secret identity keys in every form an operator may hold. One that is accepted signs, and survives tor's form.
// max_len=1024
#![no_main]

use rustbalance::proto::onion::identity::HsIdKeypair;
use rustbalance::proto::onion::period::TimePeriod;

rustbalance_fuzz::target!(|data: &[u8]| {
    if let Ok(keys) = HsIdKeypair::from_any_form(data) {
        let again = HsIdKeypair::from_tor_secret_key_file(keys.to_tor_secret_key_file().as_slice());
        assert_eq!(again.map(|keys| keys.hs_id()).ok(), Some(keys.hs_id()));
        let period = TimePeriod { num: 1, length_minutes: 1440 };
        if let Ok(blind) = keys.blind(period) {
            assert_eq!(keys.hs_id().blind(period).ok(), Some(blind.id()));
        }
    }
});
