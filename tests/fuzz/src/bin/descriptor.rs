//! Whole descriptors with sound signatures and MACs around a layer of any text: what a service with a sound key, but
//! ill will, can send. The first byte chooses the layer, and whether the
//! reader has a client's key.
// max_len=36000
#![no_main]

use std::sync::LazyLock;

use rustbalance::proto::onion::address::HsId;
use rustbalance::proto::onion::blinding::HsBlindKeypair;
use rustbalance::proto::onion::certificate::Certificate;
use rustbalance::proto::onion::counter::RevisionCounter;
use rustbalance::proto::onion::descriptor::client_auth::{AuthClient, ClientSecretKey};
use rustbalance::proto::onion::descriptor::encryption::{Layer, LayerSecrets, seal};
use rustbalance::proto::onion::descriptor::middle::Middle;
use rustbalance::proto::onion::descriptor::outer::{DESCRIPTOR_TOO_LONG, Outer, write};
use rustbalance::proto::onion::identity::HsIdKeypair;
use rustbalance::proto::onion::period::TimePeriod;
use rustbalance::proto::onion::signing::DescSigningKeypair;

const PERIOD: TimePeriod = TimePeriod { num: 20_780, length_minutes: 1440 };

static SERVICE: LazyLock<(HsId, HsBlindKeypair)> = LazyLock::new(|| {
    let keys = HsIdKeypair::from_seed([7; 32]).unwrap_or_else(|_| std::process::abort());
    (keys.hs_id(), keys.blind(PERIOD).unwrap_or_else(|_| std::process::abort()))
});

rustbalance_fuzz::target!(|data: &[u8]| {
    if let Some((selector, text)) = data.split_first()
        && let Ok(text) = std::str::from_utf8(text)
    {
        let client = (selector & 2 != 0).then(|| ClientSecretKey::new([4; 32]));
        wrap_and_open(selector & 1 == 0, text, client.as_ref());
    }
});

fn wrap_and_open(is_inner: bool, text: &str, client: Option<&ClientSecretKey>) {
    let (id, blind) = &*SERVICE;
    let blind_id = blind.id();
    let subcredential = id.subcredential(&blind_id);
    let counter = RevisionCounter(1);
    let secrets = LayerSecrets { blind_id: &blind_id, subcredential: &subcredential, counter, cookie: None };
    let middle = if is_inner {
        let encrypted = seal(Layer::Inner, secrets, &[1; 16], text);
        let client = AuthClient { id: [0; 8], iv: [0; 16], encrypted_cookie: [0; 16] };
        Middle { ephemeral_key: [9; 32], clients: vec![client], encrypted }.write()
    } else {
        text.to_owned()
    };
    let superencrypted = seal(Layer::Middle, secrets, &[2; 16], &middle);
    let signer = DescSigningKeypair::from_seed([3; 32]);
    let certificate = Certificate::for_desc_signing_key(blind, &signer.public(), 1000);
    let document = write(180, counter, &certificate, &superencrypted, &signer);
    match Outer::parse(&document) {
        Ok(outer) => {
            let outer = outer.verify(0).unwrap_or_else(|error| panic!("{error}"));
            let _ = outer.open(id, &[PERIOD], client);
        }
        Err(error) => assert!(document.len() >= DESCRIPTOR_TOO_LONG, "{error}"),
    }
}
