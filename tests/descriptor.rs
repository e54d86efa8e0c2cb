//! Descriptors built, taken apart again, and refused: the laws of `proto::onion::descriptor` as a whole.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use curve25519_dalek::montgomery::MontgomeryPoint;
use rand::{CryptoRng, SeedableRng, rngs::StdRng};
use rustbalance::proto::onion::certificate::CertError;
use rustbalance::proto::onion::counter::RevisionCounter;
use rustbalance::proto::onion::descriptor::build::{BuildError, DescriptorBuilder};
use rustbalance::proto::onion::descriptor::capabilities::Capabilities;
use rustbalance::proto::onion::descriptor::client_auth::{ClientKey, ClientSecretKey};
use rustbalance::proto::onion::descriptor::hsdesc::OpenError;
use rustbalance::proto::onion::descriptor::intro_point::{IntroPoint, IntroPointError};
use rustbalance::proto::onion::descriptor::outer::{Outer, OuterError};
use rustbalance::proto::onion::identity::HsIdKeypair;
use rustbalance::proto::onion::period::TimePeriod;

/// 2026-11-23 16:57:31 UTC: not on the hour, so that rounding shows.
const NOW: u64 = 1_795_453_051;
const PERIOD: TimePeriod = TimePeriod { num: 20_780, length_minutes: 1440 };

fn random<const N: usize>(rng: &mut impl CryptoRng) -> [u8; N] {
    let mut bytes = [0; N];
    rng.fill_bytes(&mut bytes);
    bytes
}

/// A point as tor makes it: IPv4, RSA and ed25519 identities of its relay, keys on the curve.
fn point(rng: &mut impl CryptoRng) -> IntroPoint {
    let mut link_specifiers = vec![3, 0, 6];
    link_specifiers.extend(random::<6>(rng));
    link_specifiers.extend([2, 20]);
    link_specifiers.extend(random::<20>(rng));
    link_specifiers.extend([3, 32]);
    link_specifiers.extend(random::<32>(rng));
    let x25519 = |secret| MontgomeryPoint::mul_base_clamped(secret).0;
    let (onion_key, enc_key) = (x25519(random(rng)), x25519(random(rng)));
    IntroPoint { link_specifiers, onion_key, auth_key: random(rng), enc_key }
}

/// Everything a builder borrows.
struct Service {
    keys: HsIdKeypair,
    points: Vec<IntroPoint>,
    clients: Vec<ClientKey>,
    capabilities: Capabilities,
    rng: StdRng,
}

impl Service {
    fn new(points: usize) -> Self {
        let mut rng = StdRng::seed_from_u64(points as u64);
        Self {
            keys: HsIdKeypair::from_seed(random(&mut rng)).unwrap(),
            points: (0..points).map(|_| point(&mut rng)).collect(),
            clients: vec![],
            capabilities: Capabilities { flow_control: Some("1-2 31".parse().unwrap()), single_onion: false },
            rng,
        }
    }

    fn build(&mut self) -> Result<String, BuildError> {
        let blind = self.keys.blind(PERIOD).unwrap();
        DescriptorBuilder {
            blind: &blind,
            subcredential: self.keys.hs_id().subcredential(&blind.id()),
            counter: RevisionCounter(1_234_567),
            points: &self.points,
            clients: &self.clients,
            capabilities: self.capabilities,
            now_unix_secs: NOW,
        }
        .build(&mut self.rng)
    }
}

#[test]
fn opens_what_it_builds_with_1_to_20_points() {
    for count in 1..=20 {
        let mut service = Service::new(count);
        let text = service.build().unwrap();
        let outer = Outer::parse(&text).unwrap().verify(NOW).unwrap();
        assert_eq!(outer.counter, RevisionCounter(1_234_567));
        assert_eq!(outer.lifetime_minutes, 180);
        assert_eq!(outer.blind_id, service.keys.blind(PERIOD).unwrap().id());
        let wanted = [PERIOD.previous(), PERIOD];
        let (period, opened) = outer.open(&service.keys.hs_id(), &wanted, None).unwrap();
        assert_eq!(period, PERIOD);
        assert_eq!(opened.points, service.points);
        assert_eq!(opened.capabilities, service.capabilities);
        assert_eq!((opened.client_lines, opened.used_client_key), (16, false));
        assert!(opened.pow_params.is_empty());
    }
}

#[test]
fn has_the_size_and_rounding_of_tors() {
    // C tor's descriptor with 3 points (hsdesc1.txt) has 14 109 bytes, its counter 8 digits.
    let text = Service::new(3).build().unwrap();
    assert_eq!(text.len() - "1234567".len(), 14_109 - "19655750".len());
    assert!(Service::new(20).build().unwrap().len() < 42_000);

    let outer = Outer::parse(&text).unwrap();
    let last_second = NOW.div_ceil(3600) * 3600 + 54 * 3600;
    assert_eq!(outer.certificate().expires_at(), last_second);
    // The points' certificates expire an hour earlier: 54 hours from the hour that has begun.
    let at = |now| {
        let keys = Service::new(3).keys;
        let outer = Outer::parse(&text).unwrap().verify(now).unwrap();
        outer.open(&keys.hs_id(), &[PERIOD], None)
    };
    assert_eq!(at(last_second - 3600).unwrap().1.certified_until, last_second - 3600);
    assert!(matches!(at(last_second - 3599), Err(OpenError::Inner(_))));
    assert!(matches!(
        outer.verify(last_second + 1),
        Err(OuterError::Certificate(CertError::Expired { expired_at })) if expired_at == last_second
    ));
}

#[test]
fn looks_like_one_tor_for_a_whole_period() {
    let signing_key = |text: &str| Outer::parse(text).unwrap().verify(NOW).unwrap().signing_key;
    let mut service = Service::new(3);
    let (first, second) = (service.build().unwrap(), service.build().unwrap());
    assert_ne!(first, second, "salts must be fresh");
    assert_eq!(signing_key(&first), signing_key(&second), "one tor keeps its signing key for the period");
}

#[test]
fn admits_authorised_clients_only() {
    let secrets: Vec<_> = (1..=17).map(|n| ClientSecretKey::new([n; 32])).collect();
    let mut service = Service::new(20);
    service.clients = secrets.iter().map(ClientSecretKey::public).collect();
    let text = service.build().unwrap();
    let outer = Outer::parse(&text).unwrap().verify(NOW).unwrap();
    let id = service.keys.hs_id();
    for secret in &secrets {
        let (_, opened) = outer.open(&id, &[PERIOD], Some(secret)).unwrap();
        assert_eq!(opened.points, service.points);
        assert_eq!((opened.client_lines, opened.used_client_key), (32, true));
    }
    assert_eq!(outer.open(&id, &[PERIOD], None), Err(OpenError::ClientKeyNeeded));
    let stranger = ClientSecretKey::new([99; 32]);
    assert_eq!(outer.open(&id, &[PERIOD], Some(&stranger)), Err(OpenError::ClientKeyUnknown));

    // A client taken off the list cannot open the next descriptor, even with the cookie it knew.
    let cookies = |text: &str| {
        let outer = Outer::parse(text).unwrap().verify(NOW).unwrap();
        outer.open(&id, &[PERIOD], Some(&secrets[0])).is_ok()
    };
    service.clients.remove(0);
    assert!(!cookies(&service.build().unwrap()));
    // Without client authorisation a client's key does no harm.
    service.clients.clear();
    let text = service.build().unwrap();
    let outer = Outer::parse(&text).unwrap().verify(NOW).unwrap();
    assert!(!outer.open(&id, &[PERIOD], Some(&secrets[0])).unwrap().1.used_client_key);
}

#[test]
fn says_which_service_or_period_it_is_not() {
    let mut service = Service::new(1);
    let text = service.build().unwrap();
    let outer = Outer::parse(&text).unwrap().verify(NOW).unwrap();
    let id = service.keys.hs_id();
    assert_eq!(outer.open(&id, &[PERIOD.next()], None), Err(OpenError::WrongPeriod { found: PERIOD }));
    let far = TimePeriod { num: PERIOD.num + 7, ..PERIOD };
    assert_eq!(outer.open(&id, &[far], None), Err(OpenError::WrongBlindedKey));
    let other = Service::new(2).keys.hs_id();
    assert_eq!(outer.open(&other, &[PERIOD], None), Err(OpenError::WrongBlindedKey));
}

#[test]
fn refuses_to_build_what_clients_or_hsdirs_would_refuse() {
    assert_eq!(Service::new(0).build(), Err(BuildError::NoPoints));
    assert_eq!(Service::new(21).build(), Err(BuildError::TooManyPoints(21)));

    let mut service = Service::new(3);
    service.points[2].link_specifiers = service.points[0].link_specifiers.clone();
    assert!(matches!(service.build(), Err(BuildError::DuplicateRelay(_))));

    let mut service = Service::new(3);
    service.points[1].link_specifiers.pop();
    let source = IntroPointError::LinkSpecifiersMalformed;
    assert_eq!(service.build(), Err(BuildError::Point { index: 1, source }));

    let mut service = Service::new(3);
    // A point of the twist.
    service.points[1].enc_key = [2; 32];
    assert!(matches!(service.build(), Err(BuildError::EncKey(1))));

    let mut service = Service::new(20);
    service.clients = (0..128).map(|n| ClientSecretKey::new([n; 32]).public()).collect();
    service.build().unwrap();
    service.clients.push(ClientSecretKey::new([255; 32]).public());
    assert!(matches!(service.build(), Err(BuildError::TooLong(len)) if len >= 50_000));
    service.clients = vec![ClientKey([0; 32])];
    assert_eq!(service.build(), Err(BuildError::WeakClientKey(0)));
    service.clients = vec![ClientKey([9; 32]); 385];
    assert_eq!(service.build(), Err(BuildError::TooManyClients(385)));
}

#[test]
fn refuses_every_changed_byte() {
    let mut service = Service::new(1);
    let text = service.build().unwrap();
    let id = service.keys.hs_id();
    let accepted = |text: &str| -> bool {
        Outer::parse(text)
            .and_then(|outer| outer.verify(NOW))
            .is_ok_and(|outer| outer.open(&id, &[PERIOD], None).is_ok())
    };
    assert!(accepted(&text));
    assert!(accepted(text.trim_end()), "only the last newline may be missing");
    // The encrypted part is covered by one signature: every 997th byte of it is enough.
    let encrypted = text.find("-----BEGIN MESSAGE").unwrap()..text.find("signature ").unwrap();
    for at in (0..text.len() - 1).filter(|at| !encrypted.contains(at) || at % 997 == 0) {
        let mut changed = text.clone().into_bytes();
        changed[at] ^= 1;
        assert!(!accepted(&String::from_utf8(changed).unwrap()), "byte {at}: {:?}", &text[at..=at]);
    }
}

#[test]
fn refuses_bad_outer_fields() {
    use rustbalance::proto::onion::descriptor::document::GrammarError as G;
    let text = Service::new(1).build().unwrap();
    let parse = |text: String| Outer::parse(&text).map(|_| ()).unwrap_err();
    let without = |keyword: &'static str| {
        let text: String = text.split_inclusive('\n').filter(|line| !line.starts_with(keyword)).collect();
        parse(text)
    };
    assert_eq!(parse(text.replace("hs-descriptor 3", "hs-descriptor 4")), OuterError::Version(4));
    assert_eq!(parse(text.replace("lifetime 180", "lifetime 721")), OuterError::Lifetime(721));
    assert_eq!(parse(text.replace("lifetime 180", "lifetime 18446744073709551616")), G::Number(2).into());
    assert_eq!(without("hs-descriptor"), G::NotFirst(1, "hs-descriptor").into());
    assert_eq!(without("descriptor-lifetime"), G::Missing("descriptor-lifetime").into());
    assert_eq!(without("revision-counter"), G::Missing("revision-counter").into());
    assert_eq!(without("signature"), G::Missing("signature").into());
    assert_eq!(parse(format!("{text}more\n")), G::NotLast(text.lines().count() + 1, "signature").into());
    assert_eq!(
        parse(text.replace("revision-counter 1234567\n", "revision-counter 1\nrevision-counter 2\n")),
        G::Duplicate(10).into()
    );
    assert_eq!(parse(text.replace("ED25519 CERT", "ED25519 CARD")), G::Object(3).into());
    assert_eq!(parse(" ".repeat(50_000)), OuterError::TooLong(50_000));
    let long = "x".repeat(49_999);
    assert_eq!(parse(long), G::NotFirst(1, "hs-descriptor").into());
}
