//! `rustbalance inspect descriptor` and `hsdirs`, the real program, on documents made here.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use curve25519_dalek::montgomery::MontgomeryPoint;
use data_encoding::{BASE32_NOPAD, BASE64, BASE64_NOPAD, HEXLOWER, HEXUPPER};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rustbalance::proto::onion::counter::RevisionCounter;
use rustbalance::proto::onion::descriptor::build::DescriptorBuilder;
use rustbalance::proto::onion::descriptor::capabilities::Capabilities;
use rustbalance::proto::onion::descriptor::client_auth::{ClientKey, ClientSecretKey};
use rustbalance::proto::onion::descriptor::intro_point::IntroPoint;
use rustbalance::proto::onion::identity::HsIdKeypair;
use rustbalance::proto::onion::period::TimePeriod;
use serde_json::{Value, json};
use sha2::Sha256;
use sha3::{Digest, Sha3_256};
use tempfile::TempDir;

/// 2026-11-23 16:57:31 UTC: in the half of the day in which clients fetch the second descriptor.
const NOW: u64 = 1_795_453_051;
const PERIOD: TimePeriod = TimePeriod { num: 20_780, length_minutes: 1440 };

fn rustbalance(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rustbalance")).args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn answer(arguments: &[&str]) -> String {
    let output = rustbalance(arguments);
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && error.is_empty(), "{arguments:?}: {} {error}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

fn json(arguments: &[&str]) -> Value {
    serde_json::from_str(&answer(&[arguments, &["--json"]].concat())).unwrap()
}

/// What the tool says of bad input; it must not answer as well.
fn complaint(arguments: &[&str]) -> String {
    let output = rustbalance(arguments);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(65), "{arguments:?}: {error}");
    assert!(output.stdout.is_empty());
    error
}

/// A service and a directory for its documents.
struct Service {
    keys: HsIdKeypair,
    directory: TempDir,
}

impl Service {
    fn new() -> Self {
        Self { keys: HsIdKeypair::from_seed([5; 32]).unwrap(), directory: TempDir::new().unwrap() }
    }

    fn address(&self) -> String {
        self.keys.hs_id().to_string()
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path: PathBuf = self.directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn descriptor(&self, period: TimePeriod, clients: &[ClientKey]) -> String {
        let blind = self.keys.blind(period).unwrap();
        DescriptorBuilder {
            blind: &blind,
            subcredential: self.keys.hs_id().subcredential(&blind.id()),
            counter: RevisionCounter(1_234_567),
            points: &[point(1), point(2)],
            clients,
            capabilities: Capabilities { flow_control: Some("1-2 31".parse().unwrap()), single_onion: false },
            now_unix_secs: NOW,
        }
        .build(&mut StdRng::seed_from_u64(1))
        .unwrap()
    }
}

fn point(number: u8) -> IntroPoint {
    let mut link_specifiers = vec![3, 0, 6, 127, 0, 0, number, 0x23, 0x29, 2, 20];
    link_specifiers.extend([number; 20]);
    link_specifiers.extend([3, 32]);
    link_specifiers.extend([number; 32]);
    let x25519 = |secret| MontgomeryPoint::mul_base_clamped(secret).0;
    IntroPoint {
        link_specifiers,
        onion_key: x25519([number; 32]),
        auth_key: [0x10 + number; 32],
        enc_key: x25519([0x20 + number; 32]),
    }
}

#[test]
fn shows_all_of_a_good_descriptor() {
    let service = Service::new();
    let text = service.descriptor(PERIOD, &[]);
    let file = service.file("desc", &text);
    let address = service.address();
    let arguments = ["inspect", "descriptor", &file, "--address", &address, "--at", "2026-11-23T16:57:31Z"];
    let shown = json(&arguments);
    assert_eq!(shown["address"], address);
    assert_eq!(shown["bytes"], text.len());
    assert_eq!(shown["descriptor"], "second");
    assert_eq!(shown["period"], 20_780);
    assert_eq!(shown["clients_fetch_it"], true);
    let blinded = service.keys.hs_id().blind(PERIOD).unwrap();
    assert_eq!(shown["blinded_key"], HEXLOWER.encode(&blinded.0));
    assert_eq!(shown["revision_counter"], 1_234_567);
    assert_eq!(shown["lifetime_minutes"], 180);
    // 54 hours later, rounded up to the hour.
    assert_eq!(shown["signing_key_expires"], "2026-11-25T23:00:00Z");
    assert_eq!(shown["client_lines"], 16);
    assert_eq!(shown["clients_authorised"], false);
    assert_eq!(shown["flow_control"], "1-2 31");
    assert_eq!(shown["pow_params"], json!([]));
    let points = shown["introduction_points"].as_array().unwrap();
    assert_eq!(points.len(), 2);
    assert_eq!(points[1]["fingerprint"], "02".repeat(20));
    assert_eq!(points[1]["addresses"], json!(["127.0.0.2:9001"]));
    assert_eq!(points[1]["auth_key"], "12".repeat(32));
    let shown = answer(&arguments);
    assert!(shown.contains(&"02".repeat(20)) && shown.contains("2 introduction points"), "{shown}");
}

#[test]
fn says_precisely_what_is_wrong_with_a_descriptor() {
    let service = Service::new();
    let address = service.address();
    let text = service.descriptor(PERIOD, &[]);
    let file = service.file("desc", &text);
    let refused = |file: &str, address: &str, at: &str| {
        complaint(&["inspect", "descriptor", file, "--address", address, "--at", at])
    };
    let now = "2026-11-23T16:57:31Z";

    let said = refused(&file, &address, "2026-11-25T23:00:01Z");
    assert!(said.contains("certificate of the descriptor signing key") && said.contains("expired"), "{said}");
    // The same document two days earlier is that of a period to come.
    let said = refused(&file, &address, "2026-11-21T16:57:31Z");
    assert!(said.contains("another service or of a distant time"), "{said}");
    let said = refused(&file, &address, "2026-11-22T11:00:00Z");
    assert!(said.contains("time period 20780, which is not wanted"), "{said}");
    let other = HsIdKeypair::from_seed([6; 32]).unwrap().hs_id().to_string();
    assert!(refused(&file, &other, now).contains("another service"));

    let mut broken = text.clone();
    let at = broken.find("revision-counter 1").unwrap() + "revision-counter ".len();
    broken.replace_range(at..=at, "2");
    let said = refused(&service.file("broken", &broken), &address, now);
    assert!(said.contains("signature of the descriptor does not fit"), "{said}");
    let long = text.replace("superencrypted\n", &format!("{}\nsuperencrypted\n", "x".repeat(50_000)));
    let said = refused(&service.file("long", &long), &address, now);
    assert!(said.contains("HSDirs refuse 50000 bytes"), "{said}");
    let said = refused(&service.file("cut", &text[..text.len() / 2]), &address, now);
    assert!(said.starts_with("rustbalance: refused, as of 2026-11-23T16:57:31Z: "), "{said}");
    let said = refused(&service.file("other", "hello\n"), &address, now);
    assert!(said.starts_with("rustbalance: refused, as of 2026-11-23T16:57:31Z: "), "{said}");
    std::fs::write(service.directory.path().join("binary"), [0xff; 10]).unwrap();
    let binary = service.directory.path().join("binary");
    assert!(refused(binary.to_str().unwrap(), &address, now).contains("is not text"));
}

#[test]
fn opens_the_descriptor_of_authorised_clients_with_a_key() {
    let service = Service::new();
    let address = service.address();
    let client = ClientSecretKey::new([9; 32]);
    let file = service.file("desc", &service.descriptor(PERIOD, &[client.public()]));
    let now = NOW.to_string();
    let arguments = ["inspect", "descriptor", &file, "--address", &address, "--at", &now];
    let private = |secret: [u8; 32]| {
        let label = address.trim_end_matches(".onion");
        format!("{label}:descriptor:x25519:{}\n", BASE32_NOPAD.encode(&secret))
    };

    let key = service.file("key", &private([9; 32]));
    let shown = json(&[&arguments[..], &["--client-key", &key]].concat());
    assert_eq!(shown["clients_authorised"], true);
    assert_eq!(shown["introduction_points"].as_array().unwrap().len(), 2);

    assert!(complaint(&arguments).contains("authorised clients only, and no key was given"));
    let other = service.file("other", &private([8; 32]));
    assert!(
        complaint(&[&arguments[..], &["--client-key", &other]].concat())
            .contains("not among the authorised ones")
    );
    let broken = service.file("broken", "descriptor:x25519:AAAA");
    let said = complaint(&[&arguments[..], &["--client-key", &broken]].concat());
    assert!(said.contains("broken: the x25519 key must be 52 characters"), "{said}");
}

/// A network of 255 relays, all HSDirs but the last three, and what its consensus says.
struct Network {
    consensus: String,
    microdescs: String,
}

const HSDIRS: u8 = 252;

fn network(params: &str) -> Network {
    let mut consensus = format!(
        "network-status-version 3 microdesc\n\
         vote-status consensus\n\
         valid-after 2026-11-23 16:00:00\n\
         fresh-until 2026-11-23 17:00:00\n\
         valid-until 2026-11-23 19:00:00\n\
         params {params}\n\
         shared-rand-previous-value 9 {}\n\
         shared-rand-current-value 9 {}\n",
        BASE64.encode(&[0x2a; 32]),
        BASE64.encode(&[0x29; 32])
    );
    let mut microdescs = String::new();
    for relay in 1..=255_u8 {
        let body =
            format!("onion-key\nntor-onion-key {relay}\nid ed25519 {}\n", BASE64_NOPAD.encode(&[relay; 32]));
        let flags = if relay <= HSDIRS { "HSDir Running" } else { "Running" };
        write!(
            consensus,
            "r relay{relay} {} 2026-11-23 15:00:00 127.0.0.1 9001 0\nm {}\ns {flags}\npr HSDir=2\n",
            BASE64_NOPAD.encode(&[relay; 20]),
            BASE64_NOPAD.encode(&Sha256::digest(&body)),
        )
        .unwrap();
        microdescs += &body;
    }
    consensus += "directory-footer\n";
    Network { consensus, microdescs }
}

/// The ring by another way: all indices in a map, walked around once for each replica.
fn expected(service: &Service, num: u64, srv: [u8; 32], replicas: u64, spread: usize) -> Vec<Vec<String>> {
    let period = TimePeriod { num, length_minutes: 1440 };
    let blinded = service.keys.hs_id().blind(period).unwrap();
    let hash = |parts: [&[u8]; 5]| -> [u8; 32] { Sha3_256::digest(parts.concat()).into() };
    let (num, length) = (num.to_be_bytes(), 1440_u64.to_be_bytes());
    let mut ring: BTreeMap<[u8; 32], u8> =
        (1..=HSDIRS).map(|relay| (hash([b"node-idx", &[relay; 32], &srv, &num, &length]), relay)).collect();
    (1..=replicas)
        .map(|replica| {
            let index = hash([b"store-at-idx", &blinded.0, &replica.to_be_bytes(), &length, &num]);
            let found: Vec<[u8; 32]> =
                ring.range(index..).chain(ring.range(..index)).map(|(at, _)| *at).take(spread).collect();
            found.iter().map(|at| HEXUPPER.encode(&[ring.remove(at).unwrap(); 20])).collect()
        })
        .collect()
}

fn fingerprints(descriptor: &Value) -> Vec<Vec<String>> {
    let replicas = descriptor["replicas"].as_array().unwrap();
    let of = |dir: &Value| dir["fingerprint"].as_str().unwrap().to_owned();
    replicas.iter().map(|replica| replica.as_array().unwrap().iter().map(of).collect()).collect()
}

#[test]
fn finds_the_responsible_hsdirs_of_both_descriptors() {
    let service = Service::new();
    let address = service.address();
    for (params, replicas, spread) in [("Circ=1", 2, 4), ("hsdir_n_replicas=3 hsdir_spread_store=2", 3, 2)] {
        let Network { consensus, microdescs } = network(params);
        let consensus = service.file("consensus", &consensus);
        let microdescs = service.file("microdescs", &microdescs);
        let arguments = [
            "inspect",
            "hsdirs",
            "--consensus",
            &consensus,
            "--microdescs",
            &microdescs,
            "--address",
            &address,
        ];
        let shown = json(&arguments);
        assert_eq!(shown["valid_after"], "2026-11-23T16:00:00Z");
        assert_eq!(shown["hsdirs"], HSDIRS);
        assert_eq!(shown["params"]["spread_store"], spread);
        let [first, second] = [0, 1].map(|slot| &shown["descriptors"][slot]);
        assert_eq!((&first["period"], &second["period"]), (&json!(20_779), &json!(20_780)));
        assert_eq!(fingerprints(first), expected(&service, 20_779, [0x2a; 32], replicas, spread));
        assert_eq!(fingerprints(second), expected(&service, 20_780, [0x29; 32], replicas, spread));
        // Clients fetch the second descriptor now, from the first three of each replica at the most.
        assert_eq!(first["replicas"][0][0]["clients_ask_it"], false);
        let asked: Vec<_> =
            second["replicas"][0].as_array().unwrap().iter().map(|dir| &dir["clients_ask_it"]).collect();
        assert_eq!(asked[..2], [true, true]);
        assert_eq!(asked.get(3).copied().unwrap_or(&Value::Bool(false)), false);

        // In the morning of that day, with the same shared random values.
        let morning = json(&[&arguments[..], &["--at", "2026-11-23T11:30:00Z"]].concat());
        assert_eq!(morning["valid_after"], "2026-11-23T11:00:00Z");
        let [first, second] = [0, 1].map(|slot| &morning["descriptors"][slot]);
        assert_eq!(fingerprints(first), expected(&service, 20_779, [0x2a; 32], replicas, spread));
        assert_eq!(fingerprints(second), expected(&service, 20_780, [0x29; 32], replicas, spread));
        assert_eq!(first["clients_fetch_it"], true);
        let shown = answer(&arguments);
        assert!(shown.contains("replica 2") && shown.contains("clients ask it"), "{shown}");

        // The next day has other values.
        let said = complaint(&[&arguments[..], &["--at", "2026-11-24T00:00:00Z"]].concat());
        assert!(said.contains("from 2026-11-23T00:00:00Z to before 2026-11-24T00:00:00Z"), "{said}");
    }
}

#[test]
fn refuses_documents_that_are_none_or_do_not_fit() {
    let service = Service::new();
    let address = service.address();
    let Network { consensus, microdescs } = network("Circ=1");
    let said_of = |consensus: &str, microdescs: &str| {
        complaint(&[
            "inspect",
            "hsdirs",
            "--consensus",
            consensus,
            "--microdescs",
            microdescs,
            "--address",
            &address,
        ])
    };
    let good = service.file("consensus", &consensus);
    let empty = service.file("empty", "");
    let said = said_of(&good, &empty);
    assert!(said.contains("no HSDir of the consensus has its microdescriptor in"), "{said}");
    let microdescs = service.file("microdescs", &microdescs);
    assert!(said_of(&microdescs, &microdescs).contains("not a microdescriptor consensus"));
    let cut = service.file("cut", consensus.trim_end_matches("directory-footer\n"));
    assert!(said_of(&cut, &microdescs).contains("cut off"));
    assert!(said_of("/nowhere", &microdescs).contains("/nowhere cannot be read: No such file"));
}
