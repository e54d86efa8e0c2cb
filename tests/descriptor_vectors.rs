//! Real descriptors that C tor wrote, taken apart step by step against known values.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use data_encoding::{BASE64, HEXLOWER};
use rand::{SeedableRng, rngs::StdRng};
use rustbalance::proto::onion::blinding::{HsBlindId, Subcredential};
use rustbalance::proto::onion::certificate::{CertError, CertKind, Certificate};
use rustbalance::proto::onion::counter::RevisionCounter;
use rustbalance::proto::onion::descriptor::build::DescriptorBuilder;
use rustbalance::proto::onion::descriptor::document::GrammarError;
use rustbalance::proto::onion::descriptor::encryption::{self, Layer, LayerSecrets};
use rustbalance::proto::onion::descriptor::inner::{Inner, InnerError, PointError};
use rustbalance::proto::onion::descriptor::intro_point::IntroPoint;
use rustbalance::proto::onion::descriptor::middle::Middle;
use rustbalance::proto::onion::descriptor::outer::{Outer, OuterError, VerifiedOuter};
use rustbalance::proto::onion::identity::HsIdKeypair;
use rustbalance::proto::onion::period::TimePeriod;
use sha2::{Digest, Sha256};

const HSDESC1: &str = include_str!("data/hsdesc1.txt");
const INNER: &str = include_str!("data/hsdesc-inner.txt");
const INNER_POW: &str = include_str!("data/hsdesc-inner-pow-v1.txt");
const INNER_POW_EMPTY: &str = include_str!("data/hsdesc-inner-pow-empty.txt");

/// 2023-01-23T15:00:00Z, when hsdesc1.txt was valid.
const HSDESC1_TIME: u64 = 1_674_486_000;
/// The hour at which its signing key's certificate expires.
const HSDESC1_EXPIRES: u64 = 465_195 * 3600;

fn hex<const N: usize>(text: &str) -> [u8; N] {
    HEXLOWER.decode(text.as_bytes()).unwrap().try_into().unwrap()
}

fn sha256(bytes: &[u8]) -> String {
    HEXLOWER.encode(&Sha256::digest(bytes))
}

fn subcredential() -> Subcredential {
    Subcredential(hex("78210a0d2c72bb7a0caf606bcd938b9a3696894fdddbc3b87d424753a7e3df37"))
}

fn hsdesc1() -> VerifiedOuter {
    Outer::parse(HSDESC1).unwrap().verify(HSDESC1_TIME).unwrap()
}

// vectors.md 10a.
#[test]
fn outer_document_of_tor() {
    assert_eq!(HSDESC1.len(), 14_109);
    assert_eq!(
        sha256(HSDESC1.as_bytes()),
        "84c785b352f88b82c8f4cbcb163d39474c59f7961db951026d757aec8a81409b"
    );
    let outer = hsdesc1();
    assert_eq!(
        outer.blind_id,
        HsBlindId(hex("43cc0d62fc6252f578705ca645a46109e265290343b1137e90189744b20b3f2d"))
    );
    assert_eq!(outer.counter, RevisionCounter(19_655_750));
    assert_eq!(outer.lifetime_minutes, 180);
    assert_eq!(outer.signing_key, hex("0ad8ae6ea2c13f5302be247d4b1016f5bae330a4a0b90144fef1e4bb7904e17a"));
    assert_eq!(outer.signing_cert_expires_at, HSDESC1_EXPIRES);
    assert!(Outer::parse(HSDESC1).unwrap().verify(HSDESC1_EXPIRES).is_ok());
    assert_eq!(
        Outer::parse(HSDESC1).unwrap().verify(HSDESC1_EXPIRES + 1).unwrap_err(),
        OuterError::Certificate(CertError::Expired { expired_at: HSDESC1_EXPIRES })
    );
}

// vectors.md 10a, 13: the layers, their padding, salts and MACs.
#[test]
fn both_layers_of_tor() {
    let outer = hsdesc1();
    let blob = &outer.superencrypted;
    assert_eq!(blob.len(), 10_048);
    assert_eq!(blob[..16], hex::<16>("b2bbeb2fce234ed2e528c15c0e2dd902"));
    let mac: [u8; 32] = hex("0b37ac47195f435981c471381113e06f706ec28d76c6857974dec29c681c63ab");
    assert_eq!(blob[10_016..], mac);
    let secrets = LayerSecrets {
        blind_id: &outer.blind_id,
        subcredential: &subcredential(),
        counter: outer.counter,
        cookie: None,
    };
    let text = encryption::open(Layer::Middle, secrets, blob).unwrap();
    assert_eq!(text.len(), 4370);
    let mut padded = text.clone().into_bytes();
    padded.resize(10_000, 0);
    assert_eq!(sha256(&padded), "afda03f059f4068ac7011c77f6960a95f21f3c260ce9a755d8428a677783a24b");

    let middle = Middle::parse(&text).unwrap();
    assert_eq!(middle.clients.len(), 16);
    assert_eq!(middle.ephemeral_key, hex("161090571e6db517c0c8591ce524a56df17bae3ff8dcd50735f9aeb89634073e"));
    assert_eq!(middle.encrypted[..16], hex::<16>("e484c6e600bfed26d185f364613e2e1f"));
    let text = encryption::open(Layer::Inner, secrets, &middle.encrypted).unwrap();
    assert_eq!(text.len(), 2244);
    assert_eq!(sha256(text.as_bytes()), "b1fc61e81aff7389e739203210798630af9eb59f490e2d7d62947cb43b235cca");
}

// What we write from what we read is what tor wrote, byte for byte: order of fields, base64, line breaks, padding.
#[test]
fn writes_the_layers_as_tor_did() {
    let outer = hsdesc1();
    let subcredential = subcredential();
    let secrets = LayerSecrets {
        blind_id: &outer.blind_id,
        subcredential: &subcredential,
        counter: outer.counter,
        cookie: None,
    };
    let text = encryption::open(Layer::Middle, secrets, &outer.superencrypted).unwrap();
    let middle = Middle::parse(&text).unwrap();
    assert_eq!(middle.write(), text);
    let salt = *outer.superencrypted.first_chunk().unwrap();
    assert_eq!(encryption::seal(Layer::Middle, secrets, &salt, &text), outer.superencrypted);
    let inner = encryption::open(Layer::Inner, secrets, &middle.encrypted).unwrap();
    let salt = *middle.encrypted.first_chunk().unwrap();
    assert_eq!(encryption::seal(Layer::Inner, secrets, &salt, &inner), middle.encrypted);
}

/// All three layers as text.
fn layers(text: &str, outer: &VerifiedOuter, subcredential: &Subcredential) -> [String; 3] {
    let secrets =
        LayerSecrets { blind_id: &outer.blind_id, subcredential, counter: outer.counter, cookie: None };
    let middle = encryption::open(Layer::Middle, secrets, &outer.superencrypted).unwrap();
    let encrypted = Middle::parse(&middle).unwrap().encrypted;
    let inner = encryption::open(Layer::Inner, secrets, &encrypted).unwrap();
    [text.to_owned(), middle, inner]
}

/// The lines of a document with everything that differs from service to service replaced: long base64 by its length,
/// certificates by the part of them that names no key and no signature.
fn shape(text: &str) -> Vec<String> {
    let word = |word: &str| match (word.len() >= 11, word.starts_with('-') || word.contains('-')) {
        (true, false) => format!("[{}]", word.len()),
        _ => word.to_owned(),
    };
    let mut shape: Vec<String> =
        text.lines().map(|line| line.split(' ').map(word).collect::<Vec<_>>().join(" ")).collect();
    for part in text.split("-----BEGIN ED25519 CERT-----\n").skip(1) {
        let body = part.split("-----END").next().unwrap().replace('\n', "");
        let bytes = BASE64.decode(body.as_bytes()).unwrap();
        // Version, type and key type; number, length, type and flags of extensions; nothing but the signature after.
        assert_eq!(bytes.len(), 140);
        shape.push(HEXLOWER.encode(&[&bytes[..2], &bytes[6..7], &bytes[39..44]].concat()));
    }
    shape
}

// A descriptor that we build with tor's introduction points differs from tor's in keys, signatures and times only.
#[test]
fn builds_what_tor_would_build() {
    let theirs = hsdesc1();
    let opened = theirs.open_with(&subcredential(), None).unwrap();
    let keys = HsIdKeypair::from_seed([7; 32]).unwrap();
    let blind = keys.blind(TimePeriod { num: 19_380, length_minutes: 1440 }).unwrap();
    let our_subcredential = keys.hs_id().subcredential(&blind.id());
    let text = DescriptorBuilder {
        blind: &blind,
        subcredential: our_subcredential,
        counter: theirs.counter,
        points: &opened.points,
        clients: &[],
        capabilities: opened.capabilities,
        now_unix_secs: HSDESC1_TIME,
    }
    .build(&mut StdRng::seed_from_u64(1))
    .unwrap();
    assert_eq!(text.len(), HSDESC1.len());
    let ours = Outer::parse(&text).unwrap().verify(HSDESC1_TIME).unwrap();
    let ours = layers(&text, &ours, &our_subcredential);
    let theirs = layers(HSDESC1, &theirs, &subcredential());
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(ours.len(), theirs.len());
        assert_eq!(shape(ours), shape(theirs));
    }
    // Inside, link specifiers and keys of the points are tor's own; only the certificates are made anew.
    let lines = |inner: &str| -> Vec<String> {
        inner.lines().filter(|line| line.contains(' ')).map(str::to_owned).collect()
    };
    assert_eq!(lines(&ours[2]), lines(&theirs[2]));
}

#[test]
fn introduction_points_of_tor() {
    let opened = hsdesc1().open_with(&subcredential(), None).unwrap();
    assert_eq!(opened.client_lines, 16);
    let onion_keys: Vec<_> = opened.points.iter().map(|point| HEXLOWER.encode(&point.onion_key)).collect();
    assert_eq!(
        onion_keys,
        [
            "553bf9f9e1979d6f5d5d7d20bb3fe7272e32e22b6e86e35c76a7ca8a377e402f",
            "718dd742221ecd1067a748839247b557f77649dda9b1193fcc355c904fccc457",
            "9bd4bc884b5542f91dcf8cbf51bca73f07dc2ec18e6f16e4b278e100747aba49",
        ]
    );
}

#[test]
fn refuses_a_bad_signature_line() {
    // C tor's HS_DESC_BAD_SIG is sound but for a blank before the keyword.
    let blank = HSDESC1.replace("\nsignature ", "\n signature ");
    let lines = HSDESC1.lines().count();
    assert_eq!(Outer::parse(&blank).unwrap_err(), GrammarError::NoKeyword(lines).into());
    // And one that is sound in all parts but the last signature.
    let at = HSDESC1.rfind("signature ").unwrap() + "signature ".len();
    let letter = if &HSDESC1[at..=at] == "A" { "B" } else { "A" };
    let bad = [&HSDESC1[..at], letter, &HSDESC1[at + 1..]].concat();
    assert_eq!(Outer::parse(&bad).unwrap().verify(HSDESC1_TIME).unwrap_err(), OuterError::Signature);
}

/// The signing key that the first certificate of an inner document names, and when that certificate expires.
fn signer_of(inner: &str) -> ([u8; 32], u64) {
    let body = inner.split("-----BEGIN ED25519 CERT-----\n").nth(1).unwrap();
    let body = body.split("-----END").next().unwrap().replace('\n', "");
    let certificate = Certificate::parse(&BASE64.decode(body.as_bytes()).unwrap()).unwrap();
    (certificate.verify(CertKind::IntroAuth, None, 0).unwrap(), certificate.expires_at())
}

fn points(inner: &str) -> Vec<IntroPoint> {
    let (signing_key, expires_at) = signer_of(inner);
    Inner::parse(inner).unwrap().verify(&signing_key, expires_at).unwrap()
}

// vectors.md 11: certificates certify the ed25519 form of the encryption key, sign bit 0.
#[test]
fn keys_and_certificates_of_tor() {
    let points = points(INNER);
    assert_eq!(points.len(), 3);
    for (point, enc_key, certified, auth_key) in [
        (
            &points[0],
            "70fcb5ed5b6ec39e1ab0e7608cd75533080d2e7a65c2732998b3ae84ca92f431",
            "9f7db20d4b2ad7cbc0d58c971453aa649d348d6254d931a2ccdd6e903fa88b55",
            "7bfaa01bd1719e182d270cd8985dbd6f428adf883783a6242913277adb2d59a0",
        ),
        (
            &points[1],
            "e2995cc4132f212e99a49f18a9a5eeb75f8068e8e59d9b6a24bcfe95e028d21a",
            "599b6c9560ca8994f6e4cc9811d709b79d16e6b26c76fb24f79ef110f7a33368",
            "1b2be788f615de296118c838dc895d92fb5a204c51ccf4fe22b9c3a0cd2188de",
        ),
    ] {
        assert_eq!(HEXLOWER.encode(&point.enc_key), enc_key);
        assert_eq!(HEXLOWER.encode(&point.enc_key_certified().unwrap()), certified);
        assert_eq!(HEXLOWER.encode(&point.auth_key), auth_key);
    }
    let capabilities = Inner::parse(INNER).unwrap().capabilities;
    assert_eq!(capabilities.flow_control.unwrap().to_string(), "1-2 31");
    assert!(!capabilities.single_onion);
}

#[test]
fn refuses_certificates_that_do_not_hold() {
    let (signing_key, expires_at) = signer_of(INNER);
    let verify = |key: &[u8; 32], at| Inner::parse(INNER).unwrap().verify(key, at).map(|_| ());
    assert_eq!(verify(&signing_key, expires_at), Ok(()));
    let refused = |source| Err(InnerError::Point { number: 1, source });
    assert_eq!(
        verify(&signing_key, expires_at + 1),
        refused(PointError::AuthKeyCert(CertError::Expired { expired_at: expires_at }))
    );
    assert_eq!(verify(&[7; 32], expires_at), refused(PointError::AuthKeyCert(CertError::WrongSigner)));

    // The encryption keys of two points exchanged: every signature holds, but not for these keys.
    let lines: Vec<&str> = INNER.lines().filter(|line| line.starts_with("enc-key ntor")).collect();
    let exchanged = INNER.replace(lines[0], "#").replace(lines[1], lines[0]).replace('#', lines[1]);
    assert_eq!(
        Inner::parse(&exchanged).unwrap().verify(&signing_key, expires_at),
        Err(InnerError::Point { number: 1, source: PointError::OtherEncKey })
    );
}

#[test]
fn refuses_inner_documents_that_clients_would_refuse() {
    let parse = |text: &str| Inner::parse(text).map(|_| ()).unwrap_err();
    let point = format!("introduction-point{}", INNER.rsplit_once("introduction-point").unwrap().1);
    assert!(Inner::parse(&format!("{INNER}{}", point.repeat(17))).is_ok());
    assert_eq!(parse(&format!("{INNER}{}", point.repeat(18))), InnerError::TooManyPoints);

    assert_eq!(parse(""), GrammarError::Missing("create2-formats").into());
    assert_eq!(parse(&INNER.replace("create2-formats 2", "create2-formats 1")), InnerError::NoNtor);
    assert_eq!(
        parse(&INNER.replace("create2-formats 2\n", "")),
        GrammarError::NotFirst(1, "create2-formats").into()
    );
    let twice = |line: &str| INNER.replace(line, &format!("{line}{line}"));
    for line in ["create2-formats 2\n", "flow-control 1-2 31\n"] {
        assert!(matches!(parse(&twice(line)), InnerError::Grammar(GrammarError::Duplicate(2 | 3))));
    }
    assert!(matches!(parse(&INNER.replace("1-2 31", "1-2 0")), InnerError::FlowControl(_)));
    let auth = |ways: &str| INNER.replacen('\n', &format!("\nintro-auth-required {ways}\n"), 1);
    assert!(Inner::parse(&auth("future ed25519")).is_ok());
    assert_eq!(parse(&auth("future")), InnerError::IntroAuth);

    let missing = |keyword: &'static str| {
        let text: String = INNER.split_inclusive('\n').filter(|line| !line.starts_with(keyword)).collect();
        parse(&text)
    };
    for keyword in ["onion-key ntor", "enc-key ntor"] {
        let source = GrammarError::Missing(keyword).into();
        assert_eq!(missing(keyword), InnerError::Point { number: 1, source });
    }
    assert!(Inner::parse(&INNER.replace("-point BAAG", "-point BQAG")).is_err());
}

// vectors.md 10d.
#[test]
fn proof_of_work_is_shown() {
    let inner = Inner::parse(INNER_POW).unwrap();
    assert_eq!(inner.pow_params, ["v1 FE6QHfCEGDOm6FkhkISbRBLzB9FWXy8TeypbwhoxCSo= 614 2024-04-11T05:15:37"]);
    assert_eq!(points(INNER_POW).len(), 3);
    assert_eq!(Inner::parse(INNER_POW_EMPTY).unwrap_err(), GrammarError::Arguments(3).into());
}
