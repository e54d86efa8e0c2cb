//! Known answers for addresses, keys, blinding, counters and certificates. They come from the tests of tor,
//! Onionbalance, stem and arti, each recomputed by an independent implementation; the raw blinding vectors are beside
//! the private functions they test, in `proto::onion::blinding`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use data_encoding::{BASE64, BASE64_NOPAD, HEXLOWER, HEXUPPER};
use ed25519_dalek::pkcs8::EncodePrivateKey;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use proptest::prelude::*;
use rustbalance::proto::onion::address::{AddressError, HsId};
use rustbalance::proto::onion::blinding::{BlindError, HsBlindId, HsBlindKeypair};
use rustbalance::proto::onion::certificate::{
    CertError, CertKind, Certificate, LIFETIME_SECS, ed25519_form, expiry_hour,
};
use rustbalance::proto::onion::counter::{CounterError, RevisionCounter, ope};
use rustbalance::proto::onion::identity::{HsIdKeypair, KeyError, MAX_KEY_BYTES};
use rustbalance::proto::onion::period::TimePeriod;
use rustbalance::proto::onion::signing::{DescSigningKeypair, is_signed_by};
use sha2::{Digest, Sha512};

fn hex<const N: usize>(text: &str) -> [u8; N] {
    HEXLOWER.decode(text.as_bytes()).unwrap().try_into().unwrap()
}

/// Tor's identity of section 5: expanded key, public key, address.
const EXPANDED: &str = "d8c7ff0e31295b66540d789af3e3df992038a9592eea01d8b7cba06d6e66d1594d6167696320576f7264733a20737065697373636f62616c742062697669756d";
const PUBLIC: &str = "833990b085c1a688c1d4c8b1f6b56afaf5a2eca674449e1d704f83765ccb7bc6";
const ADDRESS: &str = "qm4zbmefygtirqouzcy7nnlk7l22f3fgorcj4hlqj6bxmxglppdbsuyd.onion";
const PERIOD: TimePeriod = TimePeriod { num: 1234, length_minutes: 1440 };

fn identity() -> HsIdKeypair {
    HsIdKeypair::from_expanded(hex(EXPANDED)).unwrap()
}

fn blinded() -> HsBlindKeypair {
    identity().blind(PERIOD).unwrap()
}

// Section 1: addresses.

#[test]
fn address_of_tor() {
    let id = HsId(hex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"));
    let address = "25njqamcweflpvkl73j4szahhihoc4xt3ktcgjnpaingr5yhkenl5sid.onion";
    assert_eq!(id.to_string(), address);
    assert_eq!(HsId::from_address(address), Ok(id));
    assert_eq!(HsId::from_address(&address.to_uppercase()), Ok(id));
    assert_eq!(HsId::from_address(address.trim_end_matches(".onion")), Ok(id));
    assert_eq!(format!("{}.onion", id.service_id()), address);
    assert_eq!(serde_json::to_string(&id).unwrap(), format!("\"{address}\""));
    assert_eq!(serde_json::from_str::<HsId>(&format!("\"{address}\"")).unwrap(), id);
}

#[test]
fn address_of_stem() {
    let id = HsId(hex("92e680fa57552e7d484c9d2a3edb46fbc076e54ea90b77bb84e3e6d5657d52a1"));
    assert_eq!(id.to_string(), "sltib6sxkuxh2scmtuvd5w2g7pahnzkovefxpo4e4ptnkzl5kkq5h2ad.onion");
    // Stem finds the checksum wrong first (0xdef7, should be 0x842e); we find the version wrong first.
    assert_eq!(HsId::from_address(&"5".repeat(56)), Err(AddressError::Version { version: 0xbd }));
}

/// The same address with one letter (counted from 0) replaced.
fn with_letter(address: &str, at: usize, letter: &str) -> String {
    let mut address = address.to_owned();
    address.replace_range(at..=at, letter);
    address
}

#[test]
fn bad_addresses_each_have_their_own_error() {
    let good = "25njqamcweflpvkl73j4szahhihoc4xt3ktcgjnpaingr5yhkenl5sid.onion";
    for (bad, error) in [
        (with_letter(good, 55, "e"), AddressError::Version { version: 4 }),
        (with_letter(good, 53, "x"), AddressError::Checksum),
        (with_letter(good, 3, "1"), AddressError::Letter),
        (format!("www.{good}"), AddressError::Subdomain),
        ("blah".to_owned(), AddressError::Length { letters: 4 }),
        // From tor's test_validate_address.
        (
            "p3xnclpu4mu22dwaurjtsybyqk4xfjmcfz6z62yl24uwmhjatiwnlnadb".to_owned(),
            AddressError::Length { letters: 57 },
        ),
        ("l5satjgud6gucryazcyvyvhuxhr74u6ygigiuyixe3a6ysis67ororad".to_owned(), AddressError::Checksum),
        ("btojiu7nu5y5iwut64eufevogqdw4wmqzugnoluw232r4t3ecsfv37ad".to_owned(), AddressError::Checksum),
        ("?".repeat(56), AddressError::Letter),
    ] {
        assert_eq!(HsId::from_address(&bad), Err(error), "{bad}");
    }
}

/// Tor's `test_crypto_ed25519_validation`: three keys with a torsion component, and one that is no point.
#[test]
fn an_address_with_a_key_tor_refuses_is_refused() {
    for key in [
        "300ef2e64e588e1df55b48e4da0416ffb64cc85d5b00af6463d5cc6c2b1c185e",
        "f43e3a046db8749164c6e69b193f1e942c7452e7d888736f40b98093d814d5e7",
        "c9fff3af0471c28e33e98c2043e44f779d0427b1e37c521a6bddc011ed1869af",
        "e19c65de75c68cf3b7643ea732ba9eb1a3d20d6d57ba223c2ece1df66feb5af0",
    ] {
        let address = HsId(hex(key)).to_string();
        assert_eq!(HsId::from_address(&address), Err(AddressError::Key), "{key}");
    }
    let good = HsId(hex("4ba2e44760dff4c559ef3c38768c1c14a8a54740c782c8d70803e9d6e3ad8794"));
    assert_eq!(HsId::from_address(&good.to_string()), Ok(good));
}

// Identity keys in every form.

/// Onionbalance's `test_v3_keys.py`: tor's secret key file.
const TOR_FILE: &str = "3d3d206564323535313976312d7365637265743a207479706530203d3d000000a0c632db831865c9562c5eca9446c50d1c6a88d9985e372986c9ae800a7f347a93bd4a97b9b18adf2ad9bceee4d167bf3d61362440066c22719d3cb5d1f97011";
const TOR_FILE_ADDRESS: &str = "4a2zwxetkje5lwvahfv75arzrctn6bznkwmosvfyobmyv2fc3idbpwyd.onion";

#[test]
fn tors_secret_key_file() {
    let file: [u8; 96] = hex(TOR_FILE);
    let pair = HsIdKeypair::from_tor_secret_key_file(&file).unwrap();
    assert_eq!(pair.hs_id().to_string(), TOR_FILE_ADDRESS);
    assert_eq!(*pair.to_tor_secret_key_file(), file);
    for form in [file.to_vec(), BASE64.encode(&file).into_bytes(), TOR_FILE.into(), file[32..].to_vec()] {
        assert_eq!(HsIdKeypair::from_any_form(&form).unwrap().hs_id(), pair.hs_id());
    }
}

#[test]
fn expanded_key_gives_tors_public_key() {
    assert_eq!(identity().hs_id(), HsId(hex(PUBLIC)));
    assert_eq!(identity().hs_id().to_string(), ADDRESS);
    for form in [
        EXPANDED.to_owned(),
        EXPANDED.to_uppercase() + "\r\n",
        BASE64.encode(&hex::<64>(EXPANDED)),
        BASE64_NOPAD.encode(&hex::<64>(EXPANDED)),
        format!("ED25519-V3:{}\n", BASE64.encode(&hex::<64>(EXPANDED))),
    ] {
        assert_eq!(HsIdKeypair::from_any_form(form.as_bytes()).unwrap().hs_id(), identity().hs_id());
    }
}

/// Section 5b: seeds, the keys they expand to, and their public keys.
#[test]
fn seeds_expand_as_in_tor() {
    for (seed, expanded, public) in [
        (
            "26c76712d89d906e6672dafa614c42e5cb1caac8c6568e4d2493087db51f0d36",
            "c0a4de23cc64392d85aa1da82b3defddbea946d13bb053bf8489fa9296281f495022f1f7ec0dcf52f07d4c7965c4eaed121d5d88d0a8ff546b06116a20e97755",
            "c2247870536a192d142d056abefca68d6193158e7c1a59c1654c954eccaff894",
        ),
        (
            "fba7a5366b5cb98c2667a18783f5cf8f4f8d1a2ce939ad22a6e685edde85128d",
            "18a8a69a06790dac778e882f7e868baacfa12521a5c058f5194f3a729184514a2a656fe7799c3e41f43d756da8d9cd47a061316cfe6147e23ea2f90d1ca45f30",
            "1519a3b15816a1aafab0b213892026ebf5c0dc232c58b21088d88cb90e9b940d",
        ),
        (
            "67e3aa7a14fac8445d15e45e38a523481a69ae35513c9e4143eb1c2196729a0e",
            "58d84f8862d2ecfa30eb491a81c36d05b574310ea69dae18ecb57e992a896656b982187ee96c15bf4caeeab2d0b0ae4cd0b8d17470fc7efa98bb26428f4ef36d",
            "081faa81992e360ea22c06af1aba096e7a73f1c665bc8b3e4e531c46455fd1dd",
        ),
        (
            "d51385942033a76dc17f089a59e6a5a7fe80d9c526ae8ddd8c3a506b99d3d0a6",
            "50702d20b3550c6e16033db5ad4fba16436f1ecc7485be6af62b0732ceb5d173c47ccd9d044b6ea99dd99256adcc9c62191be194e7cb1a5b58ddcec85d876a2b",
            "73cfa1189a723aad7966137cbffa35140bb40d7e16eae4c40b79b5f0360dd65a",
        ),
        (
            "5c8eac469bb3f1b85bc7cd893f52dc42a9ab66f1b02b5ce6a68e9b175d3bb433",
            "7077464c864c2ed5ed21c9916dc3b3ba6256f8b742fec67658d8d233dadc8d5a7a82c371083cc86892c2c8782dda2a09b6baf016aec51b689183ae59ce932ff2",
            "66c1a77104d86461b6f98f73acf3cd229c80624495d2d74d6fda1e940080a96b",
        ),
    ] {
        let pair = HsIdKeypair::from_seed(hex(seed)).unwrap();
        assert_eq!(pair.hs_id(), HsId(hex(public)));
        assert_eq!(HEXLOWER.encode(&pair.to_tor_secret_key_file()[32..]), expanded);
    }
    // Stem's: 32 times `a`, which is also valid base 32 and nearly anything else; 32 raw bytes are a seed.
    let pair = HsIdKeypair::from_any_form(&[0x61; 32]).unwrap();
    assert_eq!(pair.hs_id(), HsId(hex("af06a3e3291714e4f356c19c9b15cd1951ec6e6662aa77be07547f289383341d")));
}

#[test]
fn what_is_no_key_is_refused_with_its_own_error() {
    let refused = |bytes: &[u8]| HsIdKeypair::from_any_form(bytes).unwrap_err();
    let file: [u8; 96] = hex(TOR_FILE);
    assert_eq!(refused(&file[..95]), KeyError::TorFileLength { len: 95 });
    assert_eq!(refused(&file[..32]), KeyError::TorFileLength { len: 32 });
    assert_eq!(refused(&[&file[..], b"\n"].concat()), KeyError::TorFileLength { len: 97 });
    assert_eq!(refused(&[7; 96]), KeyError::TorFileHeader);
    assert_eq!(
        refused(b"== ed25519v1-public: type0 ==\0\0\0and 32 bytes of public key......"),
        KeyError::PublicKey
    );
    assert_eq!(refused(&[0; 32]), KeyError::Zero);
    assert_eq!(refused(&[0; 64]), KeyError::Zero);
    assert_eq!(refused("0".repeat(64).as_bytes()), KeyError::Zero);
    assert_eq!(refused(&[&file[..32], &[0; 64]].concat()), KeyError::Zero);
    assert_eq!(refused(b""), KeyError::UnknownForm { len: 0 });
    assert_eq!(refused(ADDRESS.as_bytes()), KeyError::UnknownForm { len: 62 });
    assert_eq!(refused(&vec![0; MAX_KEY_BYTES + 1]), KeyError::TooLong { len: MAX_KEY_BYTES + 1 });
    // An expanded key that is not clamped: read as one, it would be some key, but nobody's.
    let mut unclamped: [u8; 64] = hex(EXPANDED);
    unclamped[0] |= 1;
    assert_eq!(refused(&unclamped), KeyError::NotExpanded);
    let label = "ENCRYPTED PRIVATE KEY".to_owned();
    assert_eq!(refused(b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAA==\n"), KeyError::PemKind { label });
    let label = "OPENSSH PRIVATE KEY".to_owned();
    assert_eq!(refused(b"-----BEGIN OPENSSH PRIVATE KEY-----\nAA==\n"), KeyError::PemKind { label });
    assert_eq!(refused(b"-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n"), KeyError::Pem);
    assert_eq!(refused(b"-----BEGIN "), KeyError::Pem);
}

/// RFC 8410: the private key of section 10.3 and its public key of section 10.1.
#[test]
fn pem_of_rfc_8410() {
    let pem = "-----BEGIN PRIVATE KEY-----\n\
        MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
        -----END PRIVATE KEY-----\n";
    let public = hex("19bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1");
    assert_eq!(HsIdKeypair::from_pem(pem).unwrap().hs_id(), HsId(public));
    assert_eq!(HsIdKeypair::from_any_form(pem.as_bytes()).unwrap().hs_id(), HsId(public));
}

#[test]
fn no_secret_is_shown() {
    let shown = format!("{:?} {:?}", identity(), blinded());
    for secret in
        [&EXPANDED[..16], &EXPANDED[64..80], "a958dc83ac885f68", "4540fe1f80aa3f7e", "feb367527be50407"]
    {
        assert!(!shown.contains(secret), "{shown}");
    }
}

// Curve arithmetic and AES are slow in a debug build.
proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn all_forms_of_one_key_are_one_identity(seed: [u8; 32]) {
        prop_assume!(seed != [0; 32]);
        let dalek = ed25519_dalek::SigningKey::from_bytes(&seed);
        let public = dalek.verifying_key().to_bytes();
        let mut expanded: [u8; 64] = Sha512::digest(seed).into();
        expanded[0] &= 0xf8;
        expanded[31] = expanded[31] & 0x3f | 0x40;
        let file = *HsIdKeypair::from_seed(seed).unwrap().to_tor_secret_key_file();
        let forms: Vec<Vec<u8>> = vec![
            seed.to_vec(),
            HEXLOWER.encode(&seed).into(),
            HEXUPPER.encode(&seed).into(),
            BASE64.encode(&seed).into(),
            expanded.to_vec(),
            HEXLOWER.encode(&expanded).into(),
            BASE64.encode(&expanded).into(),
            // libsodium's secret key.
            [seed, public].concat(),
            BASE64.encode(&[seed, public].concat()).into(),
            // PKCS#8, version 2 with the public key.
            dalek.to_pkcs8_pem(LineEnding::LF).unwrap().as_bytes().to_vec(),
            dalek.to_pkcs8_pem(LineEnding::CRLF).unwrap().as_bytes().to_vec(),
            file.to_vec(),
        ];
        for form in forms {
            prop_assert_eq!(HsIdKeypair::from_any_form(&form).unwrap().hs_id(), HsId(public));
        }
    }

}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes: Vec<u8>, text: String) {
        let _ = HsIdKeypair::from_any_form(&bytes);
        let _ = HsIdKeypair::from_any_form(text.as_bytes());
        let _ = HsIdKeypair::from_pem(&format!("-----BEGIN {text}"));
        let _ = HsId::from_address(&text);
        let _ = Certificate::parse(&bytes);
    }
}

// Section 5 and 5c: blinding, sub-credential, nonce prefix.

#[test]
fn blinded_key_and_subcredential() {
    let id = identity().hs_id();
    let blinded_id = HsBlindId(hex("3a50bf210e8f9ee955ae0014f7a6917fb65ebf098a86305abb508d1a7291b6d5"));
    assert_eq!(id.blind(PERIOD), Ok(blinded_id));
    assert_eq!(blinded().id(), blinded_id);
    assert_eq!(
        id.subcredential(&blinded_id).0,
        hex("635d55907816e8d76398a675a50b1c2f3e36b42a5ca77ba3a0441285161ae07d")
    );
}

#[test]
fn signature_has_tors_nonce_prefix() {
    let signature = blinded().sign(b"KAT message");
    let expected = hex(
        "b5f55d6c954f2eb23a22e0fdc696a84f196547c8fb85d9c274c3d45a9ec07780f1390edaa6c6c323362ddcf4dbbb793c966f09ea3da5a7f09eb79621e9e4c700",
    );
    assert_eq!(signature, expected);
    assert!(is_signed_by(&blinded().id().0, b"KAT message", &expected));
    assert!(!is_signed_by(&blinded().id().0, b"KAT massage", &expected));
    assert!(!is_signed_by(&identity().hs_id().0, b"KAT message", &expected));
}

/// Tor's `test_crypto_ed25519_blinding_fail`, and what may be on the curve but names nobody.
#[test]
fn keys_that_cannot_be_blinded() {
    let off_curve = HsId(hex("e19c65de75c68cf3b7643ea732ba9eb1a3d20d6d57ba223c2ece1df66feb5af0"));
    assert_eq!(off_curve.blind(PERIOD), Err(BlindError::Key));
    let neutral = HsId(hex("0100000000000000000000000000000000000000000000000000000000000000"));
    assert_eq!(neutral.blind(PERIOD), Err(BlindError::Key));
    let order_four = HsId([0; 32]);
    assert_eq!(order_four.blind(PERIOD), Err(BlindError::Key));
    let good = HsId(hex("4ba2e44760dff4c559ef3c38768c1c14a8a54740c782c8d70803e9d6e3ad8794"));
    assert!(good.blind(PERIOD).is_ok());
}

// Section 8: revision counters.

#[test]
fn ope_of_tor() {
    let key = hex("19e05891d55232c08c2cad91d612fdb9cbd6691949a0742434a76c80bc6992fe");
    for (plain, cipher) in [
        (1, 52801),
        (2, 75181),
        (121_132, 3_971_694_514),
        (82_283, 2_695_743_564),
        (72_661, 2_381_548_866),
        (72_941, 2_390_408_421),
        (123_122, 4_036_781_069),
        (12_154, 402_067_100),
        (121_574, 3_986_197_593),
        (11_391, 376_696_838),
        (65_845, 2_161_801_517),
        (86_301, 2_828_270_975),
        (61_284, 2_013_616_892),
        (70_505, 2_313_368_870),
        (30_438, 1_001_394_664),
        (60_150, 1_977_329_668),
        (114_800, 3_764_946_628),
        (109_403, 3_585_352_477),
    ] {
        assert_eq!(ope(&key, plain), Ok(RevisionCounter(cipher)), "{plain}");
    }
    // Tor's OPE_INPUT_MAX is 2^18: the first descriptor is published up to 48 hours after its epoch.
    assert!(ope(&key, 1 << 18).is_ok());
    for plaintext in [0, (1 << 18) + 1, u64::MAX] {
        assert_eq!(ope(&key, plaintext), Err(CounterError { plaintext }));
    }
}

#[test]
fn counter_key_has_tors_zero_byte() {
    let pair = blinded();
    assert_eq!(
        *pair.revision_counter_key(),
        hex("feb367527be504073a8213d3bb13a5726bbb9f8fedaf1a091c23e28561783407")
    );
    let epoch = 1_000_000;
    assert_eq!(RevisionCounter::at(&pair, epoch, epoch), RevisionCounter(10_921));
    assert_eq!(RevisionCounter::at(&pair, epoch, epoch + 1), RevisionCounter(34_168));
    assert_eq!(RevisionCounter::at(&pair, epoch, epoch + 999), RevisionCounter(32_436_005));
    // A clock far off gives the nearest counter there is.
    assert_eq!(RevisionCounter::at(&pair, epoch, 0), RevisionCounter(10_921));
    let last = RevisionCounter::at(&pair, epoch, epoch + (1 << 18) - 1);
    assert_eq!(RevisionCounter::at(&pair, epoch, u64::MAX), last);
}

/// The key the specification's text gives, without the zero byte, is another: its counters would not order with tor's.
#[test]
fn the_specifications_counter_key_is_another() {
    let key = hex("9251644b6ad00707434c869b584e54425ba4f18324119feddd5ff1ec7fbaa809");
    assert_ne!(*blinded().revision_counter_key(), key);
    assert_ne!(ope(&key, 1), Ok(RevisionCounter(10_921)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn counters_rise_with_time(key: [u8; 32], a in 1u64..=1 << 18, b in 1u64..=1 << 18) {
        let (x, y) = (ope(&key, a).unwrap(), ope(&key, b).unwrap());
        prop_assert_eq!(a.cmp(&b), x.cmp(&y));
        prop_assert!(x.0 >= a && x.0 <= a * 65_536);
    }
}

// Section 11 and certificates.

#[test]
fn encryption_keys_are_certified_in_their_ed25519_form() {
    for (enc_key, certified) in [
        (
            "70fcb5ed5b6ec39e1ab0e7608cd75533080d2e7a65c2732998b3ae84ca92f431",
            "9f7db20d4b2ad7cbc0d58c971453aa649d348d6254d931a2ccdd6e903fa88b55",
        ),
        (
            "e2995cc4132f212e99a49f18a9a5eeb75f8068e8e59d9b6a24bcfe95e028d21a",
            "599b6c9560ca8994f6e4cc9811d709b79d16e6b26c76fb24f79ef110f7a33368",
        ),
    ] {
        assert_eq!(ed25519_form(&hex(enc_key)), Some(hex(certified)));
        let signer = DescSigningKeypair::from_seed([3; 32]);
        let cert = Certificate::for_enc_key(&signer, &hex(enc_key), 500_000).unwrap();
        assert_eq!(cert.subject(), hex(certified));
        assert_eq!(cert.kind(), CertKind::IntroEnc);
    }
    // The auth keys of the same two points are certified as they are.
    for auth_key in [
        "7bfaa01bd1719e182d270cd8985dbd6f428adf883783a6242913277adb2d59a0",
        "1b2be788f615de296118c838dc895d92fb5a204c51ccf4fe22b9c3a0cd2188de",
    ] {
        let signer = DescSigningKeypair::from_seed([3; 32]);
        assert_eq!(Certificate::for_auth_key(&signer, &hex(auth_key), 500_000).subject(), hex(auth_key));
    }
    // On the twist: u = 2, and u = -1, where the formula divides by zero.
    let mut twist = [0; 32];
    twist[0] = 2;
    assert_eq!(ed25519_form(&twist), None);
    let minus_one = hex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f");
    assert_eq!(ed25519_form(&minus_one), None);
    let signer = DescSigningKeypair::from_seed([3; 32]);
    assert_eq!(Certificate::for_enc_key(&signer, &twist, 1), Err(CertError::EncKey));
}

#[test]
fn certificates_have_tors_bytes() {
    let pair = blinded();
    let cert = Certificate::for_desc_signing_key(&pair, &[0xab; 32], 0x0001_0203);
    let head =
        format!("0108{}01{}010020{}{}", "00010203", "ab".repeat(32), "0400", HEXLOWER.encode(&pair.id().0));
    let (body, signature) = cert.as_bytes().split_last_chunk::<64>().unwrap();
    assert_eq!(HEXLOWER.encode(body), head);
    assert!(is_signed_by(&pair.id().0, body, signature));
    assert_eq!(cert.as_bytes().len(), 140);
}

#[test]
fn expiry_is_rounded_up_to_the_hour_as_in_tor() {
    assert_eq!(expiry_hour(3600 * 100, LIFETIME_SECS), 154);
    assert_eq!(expiry_hour(3600 * 100 + 1, LIFETIME_SECS), 155);
    assert_eq!(expiry_hour(u64::MAX, LIFETIME_SECS), u32::MAX);
}

#[test]
fn certificates_verify_as_in_tor() {
    let pair = blinded();
    let signer = DescSigningKeypair::from_seed([3; 32]);
    let end = 500_000 * 3600;
    let cert = Certificate::for_desc_signing_key(&pair, &signer.public(), 500_000);
    let read = Certificate::parse(cert.as_bytes()).unwrap();
    assert_eq!(read, cert);
    assert_eq!(read.verify(CertKind::DescSigning, None, end), Ok(pair.id().0));
    assert_eq!(
        read.verify(CertKind::DescSigning, None, end + 1),
        Err(CertError::Expired { expired_at: end })
    );
    assert_eq!(
        read.verify(CertKind::IntroAuth, None, end),
        Err(CertError::WrongKind { found: CertKind::DescSigning, wanted: CertKind::IntroAuth })
    );
    let by = |key: [u8; 32]| read.verify(CertKind::DescSigning, Some(&key), end);
    assert_eq!(by(pair.id().0), Ok(pair.id().0));
    assert_eq!(by(signer.public()), Err(CertError::WrongSigner));
}

#[test]
fn broken_certificates_each_have_their_own_error() {
    let cert = Certificate::for_auth_key(&DescSigningKeypair::from_seed([3; 32]), &[1; 32], 500_000);
    let good = cert.as_bytes();
    let changed = |at: usize, to: u8| {
        let mut bytes = good.to_vec();
        bytes[at] = to;
        Certificate::parse(&bytes)
    };
    assert_eq!(changed(0, 2), Err(CertError::Version { version: 2 }));
    assert_eq!(changed(1, 4), Err(CertError::UnknownKind { byte: 4 }));
    assert_eq!(changed(6, 2), Err(CertError::KeyType { key_type: 2 }));
    // No extension: what was one stands in the way.
    assert_eq!(changed(39, 0), Err(CertError::TrailingBytes { extra: 36 }));
    assert_eq!(changed(39, 2), Err(CertError::Truncated));
    assert_eq!(changed(41, 31), Err(CertError::SigningKeyExtension));
    // Of another type the extension is skipped, unless its flag says that it matters.
    assert_eq!(changed(42, 5).unwrap().verify(CertKind::IntroAuth, None, 0), Err(CertError::NoSigningKey));
    let mut bytes = good.to_vec();
    bytes[42..44].copy_from_slice(&[5, 1]);
    assert_eq!(Certificate::parse(&bytes), Err(CertError::Extension { extension: 5 }));
    for length in 0..good.len() {
        assert_eq!(Certificate::parse(&good[..length]), Err(CertError::Truncated));
    }
    assert_eq!(Certificate::parse(&[good, &[0]].concat()), Err(CertError::TrailingBytes { extra: 1 }));
    // Any change of a bit of what it says breaks the signature.
    for at in [2, 20, 43, 60, 139] {
        let read = changed(at, good[at] ^ 0x10).unwrap();
        assert_eq!(read.verify(CertKind::IntroAuth, None, 0), Err(CertError::Signature), "byte {at}");
    }
    let extension = &good[40..76];
    let twice = [&good[..39], &[2], extension, extension, &good[76..]].concat();
    assert_eq!(Certificate::parse(&twice), Err(CertError::SigningKeyExtension));
}
