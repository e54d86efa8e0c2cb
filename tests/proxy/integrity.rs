//! A daemon that is told to verify itself does not run unless it is what was signed.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use ed25519_dalek::SigningKey;
use rustbalance::proto::manifest::{FileHash, Manifest, ManifestKey};
use rustbalance::sys::integrity::hash;
use tokio::net::TcpStream;

use crate::supervisor::{Scene, UNROUTABLE};
use crate::{echo, ping};

const PROGRAM: &str = env!("CARGO_BIN_EXE_rustbalance-proxy");

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn hash_of(path: &str) -> FileHash {
    hash(File::open(path).unwrap()).unwrap()
}

fn manifest(files: &[(&str, FileHash)], key: &SigningKey) -> String {
    let files: BTreeMap<_, _> = files.iter().map(|(path, hash)| ((*path).to_owned(), *hash)).collect();
    Manifest::new(files).unwrap().sign(key).unwrap()
}

/// How a program ends that is told to verify itself, and what it says.
fn run(program: &str, scene: &Scene) -> (Option<i32>, String) {
    let config = scene.path().join("config.toml");
    let output = Command::new(program).arg("--check-config").arg("--config").arg(config).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_was_tampered_with_does_not_run() {
    let target = echo().await;
    let scene = Scene::new(&target);
    let (at, trusted) = (scene.path().join("manifest"), ManifestKey::of(&key(1)));
    scene.configure(
        "trace",
        UNROUTABLE,
        &format!("{target}\n[integrity]\nmanifest = \"{}\"\npublic_key = \"{trusted}\"", at.display()),
    );
    let write = |text: &str| std::fs::write(&at, text).unwrap();
    let good = manifest(&[("/usr/bin/other", [7; 32]), (PROGRAM, hash_of(PROGRAM))], &key(1));
    write(&good);
    let daemon = scene.start();
    ping(&mut TcpStream::connect(scene.address()).await.unwrap()).await;
    drop(daemon);

    // The program itself, altered behind its end, where no instruction is.
    let copy = scene.path().join("rustbalance-proxy");
    std::fs::copy(PROGRAM, &copy).unwrap();
    let path = copy.to_str().unwrap();
    write(&manifest(&[(path, hash_of(PROGRAM))], &key(1)));
    assert_eq!(run(path, &scene), (Some(0), String::new()));
    append(&copy);
    let (code, said) = run(path, &scene);
    assert_eq!(code, Some(65), "{said}");
    assert!(
        said.contains(path) && said.contains("is not what was signed") && said.contains("install it again"),
        "{said}"
    );

    // The manifest.
    let line = good.replacen("other", "others", 1);
    for (text, complaint) in [
        (manifest(&[(PROGRAM, [9; 32])], &key(1)), "is not what was signed"),
        (manifest(&[("/usr/bin/other", [7; 32])], &key(1)), "is not in the manifest"),
        (manifest(&[(PROGRAM, hash_of(PROGRAM))], &key(2)), "not under the one that is trusted"),
        (line, "altered after it was signed"),
        (good[..good.len() - 30].to_owned(), "it was cut off, or altered"),
        (format!("{good}{good}"), "is not the last line"),
        (String::new(), "does not begin with"),
    ] {
        write(&text);
        let (code, said) = run(PROGRAM, &scene);
        assert_eq!(code, Some(65), "{said}");
        assert!(said.contains(complaint), "{complaint}: {said}");
    }
    std::fs::remove_file(&at).unwrap();
    let (code, said) = run(PROGRAM, &scene);
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("cannot read") && said.contains("manifest"), "{said}");
}

fn append(path: &Path) {
    std::fs::OpenOptions::new().append(true).open(path).unwrap().write_all(b"\0").unwrap();
}
