//! Keys of authorised clients, and `flow-control` lines: small texts from operators and descriptors.
// max_len=256
#![no_main]

use rustbalance::proto::onion::descriptor::capabilities::FlowControl;
use rustbalance::proto::onion::descriptor::client_auth::{ClientKey, ClientSecretKey};

rustbalance_fuzz::target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        if let Ok(key) = text.parse::<ClientKey>() {
            assert!(!key.is_weak());
        }
        if let Ok(secret) = text.parse::<ClientSecretKey>() {
            assert!(!secret.public().is_weak());
        }
        if let Ok(flow_control) = text.parse::<FlowControl>() {
            assert_eq!(flow_control.to_string().parse(), Ok(flow_control));
        }
    }
});
