//! Descriptors: arti reads what we build, we read what arti builds.

use std::time::{Duration, SystemTime};

use rand::RngExt;
use rand::rngs::StdRng;
use rustbalance::proto::onion::counter::RevisionCounter;
use rustbalance::proto::onion::descriptor::build::DescriptorBuilder;
use rustbalance::proto::onion::descriptor::capabilities::Capabilities;
use rustbalance::proto::onion::descriptor::client_auth::{ClientKey, ClientSecretKey};
use rustbalance::proto::onion::descriptor::hsdesc::OpenError;
use rustbalance::proto::onion::descriptor::intro_point::IntroPoint;
use rustbalance::proto::onion::descriptor::outer::Outer;
use rustbalance::proto::onion::identity::HsIdKeypair;
use rustbalance::proto::onion::period::TimePeriod;
use rustbalance_oracle::{bytes, random};
use tor_cell::chancell::msg::HandshakeType;
use tor_checkable::TimeBound;
use tor_hscrypto::Subcredential;
use tor_hscrypto::pk::{HsBlindId, HsBlindIdKey, HsClientDescEncKeypair, HsIdKeypair as ArtiIdKeypair};
use tor_hscrypto::time::TimePeriod as ArtiPeriod;
use tor_linkspec::EncodedLinkSpec;
use tor_llcrypto::pk::{curve25519, ed25519};
use tor_netdoc::NetdocBuilder;
use tor_netdoc::doc::hsdesc::{
    HsDesc, HsDescBuilder, HsDescError, IntroPointDesc, create_desc_sign_key_cert,
};

const PERIOD: TimePeriod = TimePeriod { num: 20_780, length_minutes: 1440 };
/// 2026-11-23 16:57:31 UTC.
const NOW: u64 = 1_795_453_051;

fn time(unix_secs: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(unix_secs)
}

fn x25519(rng: &mut StdRng) -> [u8; 32] {
    curve25519::PublicKey::from(&curve25519::StaticSecret::from(bytes(rng))).to_bytes()
}

fn ed25519_key(rng: &mut StdRng) -> [u8; 32] {
    ed25519::Keypair::from_bytes(&bytes(rng)).verifying_key().to_bytes()
}

/// The link specifiers of a relay, with and without IPv6.
fn specifiers(rng: &mut StdRng) -> Vec<(u8, Vec<u8>)> {
    let mut specifiers =
        vec![(0, bytes::<6>(rng).to_vec()), (2, bytes::<20>(rng).to_vec()), (3, bytes::<32>(rng).to_vec())];
    if rng.random() {
        specifiers.push((1, bytes::<18>(rng).to_vec()));
    }
    specifiers
}

/// One introduction point, ours and theirs.
fn point(rng: &mut StdRng) -> (IntroPoint, IntroPointDesc) {
    let specifiers = specifiers(rng);
    let mut block = vec![u8::try_from(specifiers.len()).unwrap()];
    for (kind, body) in &specifiers {
        block.extend([*kind, u8::try_from(body.len()).unwrap()]);
        block.extend(body);
    }
    let (onion_key, auth_key, enc_key) = (x25519(rng), ed25519_key(rng), x25519(rng));
    let theirs = IntroPointDesc::builder()
        .link_specifiers(
            specifiers.into_iter().map(|(kind, body)| EncodedLinkSpec::new(kind.into(), body)).collect(),
        )
        .ipt_kp_ntor(curve25519::PublicKey::from(onion_key))
        .kp_hs_ipt_sid(ed25519::PublicKey::from_bytes(&auth_key).unwrap().into())
        .kp_hss_ntor(curve25519::PublicKey::from(enc_key).into())
        .build()
        .unwrap();
    (IntroPoint { link_specifiers: block, onion_key, auth_key, enc_key }, theirs)
}

/// One service, ours and theirs, with points and clients.
struct Service {
    ours: HsIdKeypair,
    theirs: ArtiIdKeypair,
    points: Vec<(IntroPoint, IntroPointDesc)>,
    clients: Vec<[u8; 32]>,
    capabilities: Capabilities,
    counter: u64,
    rng: StdRng,
}

impl Service {
    fn new(mut rng: StdRng, points: usize, clients: usize) -> Self {
        let seed = bytes(&mut rng);
        let theirs = ed25519::ExpandedKeypair::from(&ed25519::Keypair::from_bytes(&seed));
        let flow_control = [None, "1-2 31".parse().ok(), "1 30".parse().ok()][rng.random_range(0..3usize)];
        Self {
            ours: HsIdKeypair::from_seed(seed).unwrap(),
            theirs: theirs.into(),
            points: (0..points).map(|_| point(&mut rng)).collect(),
            clients: (0..clients).map(|_| bytes(&mut rng)).collect(),
            capabilities: Capabilities { flow_control, single_onion: rng.random() },
            counter: rng.random(),
            rng,
        }
    }

    fn our_points(&self) -> Vec<IntroPoint> {
        self.points.iter().map(|(ours, _)| ours.clone()).collect()
    }

    fn we_build(&mut self) -> String {
        let blind = self.ours.blind(PERIOD).unwrap();
        let clients: Vec<ClientKey> =
            self.clients.iter().map(|secret| ClientSecretKey::new(*secret).public()).collect();
        let points = self.our_points();
        let builder = DescriptorBuilder {
            blind: &blind,
            subcredential: self.ours.hs_id().subcredential(&blind.id()),
            counter: RevisionCounter(self.counter),
            points: &points,
            clients: &clients,
            capabilities: self.capabilities,
            now_unix_secs: NOW,
        };
        builder.build(&mut self.rng).unwrap()
    }

    fn arti_reads(&self, text: &str, client: Option<&[u8; 32]>) -> Result<HsDesc, HsDescError> {
        let blind = self.ours.blind(PERIOD).unwrap().id();
        let subcredential = Subcredential::from(self.ours.hs_id().subcredential(&blind).0);
        let client = client.map(|secret| {
            let secret = curve25519::StaticSecret::from(*secret);
            HsClientDescEncKeypair::new(curve25519::PublicKey::from(&secret).into(), secret.into())
        });
        HsDesc::parse_decrypt_validate(text, &HsBlindId::from(blind.0), &subcredential, client.as_ref())
            .map(|descriptor| descriptor.if_valid_at(&time(NOW)).expect("valid now"))
    }

    fn arti_builds(&mut self) -> String {
        let period = ArtiPeriod::from_parts(1440, PERIOD.num, 12 * 3600);
        let (_, blind, subcredential) = self.theirs.compute_blinded_key(period).unwrap();
        let blind_key = HsBlindIdKey::from(&blind);
        let signer = ed25519::Keypair::from_bytes(&bytes(&mut self.rng));
        let expiry = time(NOW + 54 * 3600);
        let certificate = create_desc_sign_key_cert(&signer.verifying_key(), &blind, expiry).unwrap();
        let points: Vec<IntroPointDesc> = self.points.iter().map(|(_, theirs)| theirs.clone()).collect();
        let clients: Vec<curve25519::PublicKey> =
            self.clients.iter().map(|secret| ClientSecretKey::new(*secret).public().0.into()).collect();
        let flow_control = self.capabilities.flow_control.map(|flow_control| {
            let text = flow_control.to_string();
            let (versions, increment) = text.split_once(' ').unwrap();
            (format!("FlowCtrl={versions}").parse().unwrap(), increment.parse().unwrap())
        });
        HsDescBuilder::default()
            .blinded_id(&blind_key)
            .hs_desc_sign(&signer)
            .hs_desc_sign_cert(certificate)
            .create2_formats(&[HandshakeType::NTOR])
            .auth_required(None)
            .is_single_onion_service(self.capabilities.single_onion)
            .intro_points(&points)
            .intro_auth_key_cert_expiry(expiry)
            .intro_enc_key_cert_expiry(expiry)
            .flow_control(flow_control)
            .auth_clients((!clients.is_empty()).then_some(&clients[..]))
            .lifetime(180.into())
            .revision_counter(self.counter.into())
            .subcredential(subcredential)
            .build_sign(&mut self.rng)
            .unwrap()
    }

    fn check_arti(&self, descriptor: &HsDesc) {
        assert_eq!(u64::from(descriptor.revision()), self.counter);
        assert_eq!(descriptor.is_single_onion_service(), self.capabilities.single_onion);
        let flow_control = descriptor.flow_control().map(|(versions, increment)| {
            format!("{} {increment}", versions.to_string().trim_start_matches("FlowCtrl="))
        });
        assert_eq!(flow_control, self.capabilities.flow_control.map(|ours| ours.to_string()));
        assert!(descriptor.pow_params().is_empty());
        assert_eq!(descriptor.intro_points().len(), self.points.len());
        for (found, (ours, theirs)) in descriptor.intro_points().iter().zip(&self.points) {
            assert_eq!(found.link_specifiers(), theirs.link_specifiers());
            assert_eq!(found.ipt_ntor_key().to_bytes(), ours.onion_key);
            assert_eq!(found.ipt_sid_key().as_ref().to_bytes(), ours.auth_key);
            assert_eq!(found.svc_ntor_key().as_ref().to_bytes(), ours.enc_key);
        }
    }
}

/// Arti shuffles introduction points when it builds.
fn sorted(mut points: Vec<IntroPoint>) -> Vec<IntroPoint> {
    points.sort();
    points
}

#[test]
fn arti_reads_what_we_build() {
    for points in 1..=20 {
        let mut service = Service::new(random(), points, 0);
        let text = service.we_build();
        service.check_arti(&service.arti_reads(&text, None).unwrap());
    }
}

#[test]
fn artis_clients_read_what_we_build_for_them() {
    for clients in [1, 2, 15, 16, 17, 40] {
        let mut service = Service::new(random(), 3, clients);
        let text = service.we_build();
        for secret in &service.clients {
            service.check_arti(&service.arti_reads(&text, Some(secret)).unwrap());
        }
        assert!(matches!(service.arti_reads(&text, None), Err(HsDescError::MissingDecryptionKey)));
        let stranger = bytes(&mut service.rng);
        assert!(matches!(service.arti_reads(&text, Some(&stranger)), Err(HsDescError::WrongDecryptionKey)));
    }
}

#[test]
fn we_read_what_arti_builds() {
    for points in 1..=20 {
        let mut service = Service::new(random(), points, 0);
        let text = service.arti_builds();
        let outer = Outer::parse(&text).unwrap().verify(NOW).unwrap();
        assert_eq!(outer.counter.0, service.counter);
        assert_eq!(outer.lifetime_minutes, 180);
        let (period, opened) = outer.open(&service.ours.hs_id(), &[PERIOD], None).unwrap();
        assert_eq!(period, PERIOD);
        assert_eq!(sorted(opened.points), sorted(service.our_points()));
        assert_eq!(opened.capabilities, service.capabilities);
    }
}

#[test]
fn our_clients_read_what_arti_builds_for_them() {
    for clients in [1, 2, 17] {
        let mut service = Service::new(random(), 3, clients);
        let text = service.arti_builds();
        let outer = Outer::parse(&text).unwrap().verify(NOW).unwrap();
        let id = service.ours.hs_id();
        for secret in &service.clients {
            let client = ClientSecretKey::new(*secret);
            let (_, opened) = outer.open(&id, &[PERIOD], Some(&client)).unwrap();
            assert_eq!(sorted(opened.points), sorted(service.our_points()));
            assert!(opened.used_client_key);
        }
        assert_eq!(outer.open(&id, &[PERIOD], None), Err(OpenError::ClientKeyNeeded));
    }
}

#[test]
fn both_refuse_what_was_changed() {
    let mut service = Service::new(random(), 3, 0);
    let text = service.we_build();
    for _ in 0..200 {
        let at = service.rng.random_range(0..text.len() - 1);
        let mut changed = text.clone().into_bytes();
        changed[at] ^= 1 << service.rng.random_range(0..7);
        let changed = String::from_utf8(changed).unwrap();
        assert!(service.arti_reads(&changed, None).is_err(), "arti took a changed byte {at}");
        let ours = Outer::parse(&changed).and_then(|outer| outer.verify(NOW));
        assert!(ours.is_err(), "we took a changed byte {at}");
    }
}
