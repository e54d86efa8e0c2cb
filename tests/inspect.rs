//! `rustbalance inspect`, the real program: what it computes, and what it says of bad input.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use data_encoding::HEXLOWER;
use serde_json::{Value, json};
use tempfile::TempDir;

/// The exit codes the tool promises (sysexits).
const USAGE: i32 = 64;
const DATA: i32 = 65;

const ADDRESS: &str = "qm4zbmefygtirqouzcy7nnlk7l22f3fgorcj4hlqj6bxmxglppdbsuyd.onion";
const EXPANDED: &str = "d8c7ff0e31295b66540d789af3e3df992038a9592eea01d8b7cba06d6e66d1594d6167696320576f7264733a20737065697373636f62616c742062697669756d";
const TOR_FILE: &str = "3d3d206564323535313976312d7365637265743a207479706530203d3d000000a0c632db831865c9562c5eca9446c50d1c6a88d9985e372986c9ae800a7f347a93bd4a97b9b18adf2ad9bceee4d167bf3d61362440066c22719d3cb5d1f97011";

fn rustbalance(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rustbalance")).args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// The tool's answer, which must be a success without any complaint.
fn answer(arguments: &[&str]) -> String {
    let output = rustbalance(arguments);
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && error.is_empty(), "{arguments:?}: {} {error}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

fn json(arguments: &[&str]) -> Value {
    serde_json::from_str(&answer(&[arguments, &["--json"]].concat())).unwrap()
}

/// The tool's complaint; it must not answer as well.
fn complaint(code: i32, arguments: &[&str]) -> String {
    let output = rustbalance(arguments);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {error}");
    assert!(output.stdout.is_empty());
    error
}

/// A file with these bytes, in a directory of the test's own.
fn file(directory: &TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = directory.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn address_of_every_form_of_a_key() {
    let directory = TempDir::new().unwrap();
    let raw = HEXLOWER.decode(EXPANDED.as_bytes()).unwrap();
    for (name, bytes) in [("raw", &raw[..]), ("hex", EXPANDED.as_bytes())] {
        let key = file(&directory, name, bytes);
        let expected = json!({
            "address": ADDRESS,
            "public_key": "833990b085c1a688c1d4c8b1f6b56afaf5a2eca674449e1d704f83765ccb7bc6",
        });
        assert_eq!(json(&["inspect", "address", text(&key)]), expected);
    }
    // Tor's file, by its name and by its directory.
    let tor_file = HEXLOWER.decode(TOR_FILE.as_bytes()).unwrap();
    let key = file(&directory, "hs_ed25519_secret_key", &tor_file);
    for path in [text(&key), text(directory.path())] {
        let answer = answer(&["inspect", "address", path]);
        assert!(
            answer.contains("4a2zwxetkje5lwvahfv75arzrctn6bznkwmosvfyobmyv2fc3idbpwyd.onion"),
            "{answer}"
        );
    }
}

#[test]
fn key_from_standard_input() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_rustbalance"))
        .args(["inspect", "address", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(EXPANDED.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(String::from_utf8(output.stdout).unwrap().contains(ADDRESS));
}

#[test]
fn period_with_blinded_key_and_subcredential() {
    // Period 1234, in the half of the day in which it is the first descriptor's.
    let expected = json!({
        "address": ADDRESS,
        "at": "1973-05-20T01:50:33Z",
        "valid_after": "1973-05-20T01:00:00Z",
        "descriptors": [
            {
                "descriptor": "first",
                "period": 1234,
                "length_minutes": 1440,
                "starts": "1973-05-19T12:00:00Z",
                "ends": "1973-05-20T12:00:00Z",
                "clients_fetch_it": true,
                "blinded_key": "3a50bf210e8f9ee955ae0014f7a6917fb65ebf098a86305abb508d1a7291b6d5",
                "blinded_key_base64": "OlC/IQ6PnulVrgAU96aRf7ZevwmKhjBau1CNGnKRttU",
                "subcredential": "635d55907816e8d76398a675a50b1c2f3e36b42a5ca77ba3a0441285161ae07d",
            },
            {
                "descriptor": "second",
                "period": 1235,
                "length_minutes": 1440,
                "starts": "1973-05-20T12:00:00Z",
                "ends": "1973-05-21T12:00:00Z",
                "clients_fetch_it": false,
                "blinded_key": "bddf22382c1696d861ed179d0f9b557a59c1030f3cc7a85818cb763ea8448798",
                "blinded_key_base64": "vd8iOCwWlthh7RedD5tVelnBAw88x6hYGMt2PqhEh5g",
                "subcredential": "d82b15ae9f0016b93b8e1463b4a0f7813497f3a53fa64918a28227daecbf7dfa",
            },
        ],
    });
    for at in ["1973-05-20T01:50:33Z", "106710633"] {
        assert_eq!(json(&["inspect", "period", "--address", ADDRESS, "--at", at]), expected);
    }
    // Three hours before the period began the other half: it was the second descriptor's already.
    let earlier = json(&["inspect", "period", "--address", ADDRESS, "--at", "1973-05-19T09:00:00Z"]);
    assert_eq!(earlier["descriptors"][1]["period"], 1234);
    assert_eq!(earlier["descriptors"][1]["clients_fetch_it"], false);
    let shown = answer(&["inspect", "period", "--address", &ADDRESS.to_uppercase(), "--at", "106710633"]);
    assert!(shown.contains("3a50bf210e8f9ee955ae0014f7a6917fb65ebf098a86305abb508d1a7291b6d5"), "{shown}");
    assert!(shown.contains("first descriptor (tor's current), the one clients fetch"), "{shown}");
}

#[test]
fn periods_of_a_testing_network() {
    // Voting every 10 seconds: tor's test_start_time_of_next_time_period.
    let at = |time| json(&["inspect", "period", "--address", ADDRESS, "--at", time, "--length", "4"]);
    let before = at("2016-04-13T00:00:00Z");
    assert_eq!(before["descriptors"][0]["ends"], "2016-04-13T00:02:00Z");
    assert_eq!(before["descriptors"][0]["clients_fetch_it"], true);
    let after = at("2016-04-13T00:02:00Z");
    assert_eq!(after["descriptors"][1]["starts"], "2016-04-13T00:02:00Z");
    assert_eq!(after["descriptors"][1]["clients_fetch_it"], true);
}

#[test]
fn counters_of_both_descriptors() {
    let directory = TempDir::new().unwrap();
    let key = file(&directory, "key", EXPANDED.as_bytes());
    let at = |time| json(&["inspect", "counter", "--key", text(&key), "--at", time]);
    // The first second of period 1234 as second descriptor: 00:00, and the 1000th.
    let second = &at("1973-05-19T00:00:00Z")["descriptors"][1];
    assert_eq!(
        *second,
        json!({
            "descriptor": "second",
            "period": 1234,
            "epoch": "1973-05-19T00:00:00Z",
            "revision_counter": 10_921,
        })
    );
    assert_eq!(at("1973-05-19T00:16:39Z")["descriptors"][1]["revision_counter"], 32_436_005);
    // A day later it is the first descriptor's, and counts on from the same moment.
    let first = &at("1973-05-20T01:50:33Z")["descriptors"][0];
    assert_eq!(first["epoch"], "1973-05-19T00:00:00Z");
    assert_eq!(first["revision_counter"], 3_050_092_033_u64);
}

#[test]
fn bad_input_is_refused_with_what_to_do() {
    let directory = TempDir::new().unwrap();
    let public =
        file(&directory, "public", b"== ed25519v1-public: type0 ==\0\0\0................................");
    let said = complaint(DATA, &["inspect", "address", text(&public)]);
    assert!(said.contains("hs_ed25519_secret_key") && said.contains("public"), "{said}");

    let large = file(&directory, "large", &[0; 10_000]);
    let said = complaint(DATA, &["inspect", "address", text(&large)]);
    assert!(said.contains("is it the right file?"), "{said}");

    let said = complaint(DATA, &["inspect", "counter", "--key", "/nowhere/key"]);
    assert!(said.contains("/nowhere/key") && said.contains("No such file"), "{said}");
    let empty = TempDir::new().unwrap();
    let said = complaint(DATA, &["inspect", "address", text(empty.path())]);
    assert!(said.contains("hs_ed25519_secret_key"), "{said}");

    for (arguments, what) in [
        (vec!["--address", "www.example.onion"], "subdomain"),
        (vec!["--address", &ADDRESS.replace("qm4", "qm5")], "checksum"),
        (vec!["--address", ADDRESS, "--at", "noon"], "2026-11-24T12:00:00Z"),
        (vec!["--address", ADDRESS, "--length", "0"], "4..=14400"),
        (vec![], "--address"),
    ] {
        let said = complaint(USAGE, &[&["inspect", "period"], &arguments[..]].concat());
        assert!(said.contains(what), "{said}");
    }
    assert!(complaint(USAGE, &["inspekt"]).contains("inspect"));
}

#[test]
fn secrets_are_not_repeated_in_errors() {
    let directory = TempDir::new().unwrap();
    // One letter too few, as when copying by hand.
    let key = file(&directory, "key", &EXPANDED.as_bytes()[..127]);
    let said = complaint(DATA, &["inspect", "address", text(&key)]);
    assert!(!said.contains(&EXPANDED[..8]), "{said}");
}

#[test]
fn help_and_version_are_successes() {
    assert!(answer(&["--version"]).starts_with("rustbalance "));
    for command in [&["--help"][..], &["inspect", "--help"], &["inspect", "counter", "--help"]] {
        assert!(answer(command).contains("Usage"));
    }
}
