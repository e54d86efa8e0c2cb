//! The builder with any introduction points and clients: whatever it builds, it can read again, whole.
// max_len=8192
#![no_main]

use std::sync::LazyLock;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rustbalance::proto::onion::counter::RevisionCounter;
use rustbalance::proto::onion::descriptor::build::DescriptorBuilder;
use rustbalance::proto::onion::descriptor::capabilities::Capabilities;
use rustbalance::proto::onion::descriptor::client_auth::{ClientKey, ClientSecretKey};
use rustbalance::proto::onion::descriptor::intro_point::IntroPoint;
use rustbalance::proto::onion::descriptor::outer::{DESCRIPTOR_TOO_LONG, Outer};
use rustbalance::proto::onion::identity::HsIdKeypair;
use rustbalance::proto::onion::period::TimePeriod;

const PERIOD: TimePeriod = TimePeriod { num: 20_780, length_minutes: 1440 };

static SERVICE: LazyLock<HsIdKeypair> =
    LazyLock::new(|| HsIdKeypair::from_seed([7; 32]).unwrap_or_else(|_| std::process::abort()));

rustbalance_fuzz::target!(|data: &[u8]| {
    if let Ok((points, clients, flow_control, now)) =
        postcard::from_bytes::<(Vec<IntroPoint>, Vec<[u8; 32]>, Option<String>, u32)>(data)
    {
        build_and_open(&points, &clients, flow_control.as_deref(), u64::from(now));
    }
});

fn build_and_open(points: &[IntroPoint], clients: &[[u8; 32]], flow_control: Option<&str>, now: u64) {
    let (Ok(blind), id) = (SERVICE.blind(PERIOD), SERVICE.hs_id()) else { return };
    let own_key = ClientSecretKey::new([4; 32]);
    let mut clients: Vec<ClientKey> = clients.iter().map(|key| ClientKey(*key)).collect();
    if !clients.is_empty() {
        clients.push(own_key.public());
    }
    let flow_control = flow_control.and_then(|text| text.parse().ok());
    let capabilities = Capabilities { flow_control, single_onion: now % 2 == 1 };
    let builder = DescriptorBuilder {
        blind: &blind,
        subcredential: id.subcredential(&blind.id()),
        counter: RevisionCounter(now),
        points,
        clients: &clients,
        capabilities,
        now_unix_secs: now,
    };
    if let Ok(text) = builder.build(&mut StdRng::seed_from_u64(now)) {
        assert!(text.len() < DESCRIPTOR_TOO_LONG);
        let outer = Outer::parse(&text).and_then(|outer| outer.verify(now));
        let outer = outer.unwrap_or_else(|error| panic!("{error}"));
        let (_, opened) =
            outer.open(&id, &[PERIOD], Some(&own_key)).unwrap_or_else(|error| panic!("{error}: {error:?}"));
        assert_eq!(opened.points, points);
        assert_eq!(opened.capabilities, capabilities);
        assert_eq!(opened.used_client_key, !clients.is_empty());
    }
}
