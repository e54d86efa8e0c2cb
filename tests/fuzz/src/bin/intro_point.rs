//! Introduction points from peers (postcard) and from other daemons (JSON). Only sound ones get in.
// max_len=1024
#![no_main]

use rustbalance::proto::onion::descriptor::intro_point::IntroPoint;

rustbalance_fuzz::target!(|data: &[u8]| {
    let compact = postcard::from_bytes::<IntroPoint>(data).ok();
    let readable = serde_json::from_slice::<IntroPoint>(data).ok();
    for point in compact.into_iter().chain(readable) {
        assert_eq!(point.check(), Ok(()));
        let sent = postcard::to_stdvec(&point).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(postcard::from_bytes(&sent), Ok(point));
    }
});
