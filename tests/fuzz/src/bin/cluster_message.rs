//! A datagram of the cluster, after it was opened: decoded exactly, or dropped.
// max_len=1200
#![no_main]

use rustbalance::proto::cluster::message::Message;

rustbalance_fuzz::target!(|data: &[u8]| {
    if let Ok(message) = Message::decode(data) {
        let again = message.encode().expect("what was decoded can be encoded");
        assert_eq!(Message::decode(&again), Ok(message));
    }
});
