//! `rustbalance manifest`: what is installed, signed and compared.

use std::path::Path;

use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::EncodePrivateKey;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use tempfile::TempDir;

use crate::tool::{
    CANNOT_CREATE, DATA, PERMISSION, USAGE, answer, command, complaint, complaint_of, private, text,
};

fn pem(seed: u8) -> Vec<u8> {
    SigningKey::from_bytes(&[seed; 32]).to_pkcs8_pem(LineEnding::LF).unwrap().as_bytes().to_vec()
}

/// A place with a signing key and two files that are to be installed.
fn place() -> TempDir {
    let place = TempDir::new().unwrap();
    private(&place.path().join("key"), &pem(1));
    std::fs::create_dir_all(place.path().join("root/usr/bin")).unwrap();
    std::fs::write(place.path().join("root/usr/bin/one"), "the first").unwrap();
    std::fs::write(place.path().join("root/usr/bin/two"), "the second").unwrap();
    place
}

/// Signs both files; gives the public key.
fn create(place: &Path) -> String {
    let (key, root, manifest) = (place.join("key"), place.join("root"), place.join("manifest"));
    let said = answer(&[
        "manifest",
        "create",
        "--key",
        text(&key),
        "--root",
        text(&root),
        "--output",
        text(&manifest),
        "/usr/bin/two",
        "/usr/bin/one",
    ]);
    said.lines().find_map(|line| line.strip_prefix("public key")).unwrap().trim().to_owned()
}

#[test]
fn files_are_signed_and_every_difference_is_named() {
    let place = place();
    let path = |name: &str| place.path().join(name);
    let (manifest, root) = (path("manifest"), path("root"));
    let key = create(place.path());
    let written = std::fs::read_to_string(&manifest).unwrap();
    assert!(written.starts_with("rustbalance-manifest 1\nsha256 "), "{written}");
    assert!(written.find("/usr/bin/one").unwrap() < written.find("/usr/bin/two").unwrap(), "{written}");
    let verify = ["manifest", "verify", text(&manifest), "--public-key", &key, "--root", text(&root)];
    assert_eq!(answer(&verify), "2 files are what was signed\n");

    std::fs::write(path("root/usr/bin/one"), "the First").unwrap();
    std::fs::remove_file(path("root/usr/bin/two")).unwrap();
    let output = command(&verify).output().unwrap();
    assert_eq!(output.status.code(), Some(DATA));
    let (said, complaint) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(
        said.contains("/usr/bin/one is not what was signed\n") && said.contains("two cannot be read"),
        "{said}"
    );
    assert_eq!(complaint, "rustbalance: 2 of 2 files are not what was signed\n");
}

#[test]
fn a_manifest_that_is_not_trusted_verifies_nothing() {
    let place = place();
    let manifest = place.path().join("manifest");
    let (key, root) = (create(place.path()), place.path().join("root"));
    let verify = |key: &str| {
        complaint(DATA, &["manifest", "verify", text(&manifest), "--public-key", key, "--root", text(&root)])
    };
    private(&place.path().join("key"), &pem(2));
    let good = std::fs::read_to_string(&manifest).unwrap();
    std::fs::remove_file(&manifest).unwrap();
    let other = create(place.path());
    assert!(verify(&key).contains(&format!("signed under the key {other}")));
    std::fs::write(&manifest, good.replace("/usr/bin/one", "/usr/bin/ond")).unwrap();
    assert!(verify(&key).contains("altered after it was signed"));
    std::fs::write(&manifest, &good[..100]).unwrap();
    assert!(verify(&key).contains("cut off"));
    let said = complaint(USAGE, &["manifest", "verify", text(&manifest), "--public-key", "nonsense"]);
    assert!(said.contains("Ed25519 public key"), "{said}");
}

#[test]
fn the_configuration_says_what_is_trusted() {
    let place = place();
    let (config, manifest, root) =
        (place.path().join("config.toml"), place.path().join("manifest"), place.path().join("root"));
    let key = create(place.path());
    let verify = ["manifest", "verify", "--config", text(&config), "--root", text(&root)];
    std::fs::write(&config, "[log]\n").unwrap();
    assert!(
        complaint(USAGE, &verify)
            .contains("the manifest is not given, and the configuration has no [integrity]")
    );
    std::fs::write(
        &config,
        format!("[integrity]\nmanifest = {:?}\npublic_key = \"{key}\"\n", text(&manifest)),
    )
    .unwrap();
    assert_eq!(answer(&verify), "2 files are what was signed\n");
}

#[test]
fn keys_are_protected_and_may_be_sealed_and_nothing_is_overwritten() {
    let place = place();
    let path = |name: &str| place.path().join(name);
    let (key, passphrase, root, manifest) = (path("key"), path("passphrase"), path("root"), path("manifest"));
    private(&passphrase, b"correct horse battery staple\n");
    answer(&["seal", text(&key), "--passphrase-file", text(&passphrase)]);
    let sign = |more: &[&str]| {
        let arguments = ["manifest", "create", "--key", text(&key), "--root", text(&root), "/usr/bin/one"];
        command(&[&arguments[..], more].concat()).output().unwrap()
    };
    let signed = sign(&["--passphrase-file", text(&passphrase)]);
    assert!(signed.status.success() && signed.stdout.starts_with(b"rustbalance-manifest 1\n"), "{signed:?}");
    private(&passphrase, b"another passphrase entirely\n");
    assert!(
        complaint_of(DATA, sign(&["--passphrase-file", text(&passphrase)]))
            .contains("the passphrase is wrong")
    );

    private(&key, b"not a key");
    assert!(complaint_of(DATA, sign(&[])).contains("openssl genpkey -algorithm ed25519"));
    private(&key, &pem(1));
    std::fs::write(&manifest, "mine").unwrap();
    complaint_of(CANNOT_CREATE, sign(&["--output", text(&manifest)]));
    assert_eq!(std::fs::read(&manifest).unwrap(), b"mine");
    assert!(complaint_of(DATA, sign(&["usr/bin/two"])).contains("no absolute path"));
    assert!(complaint_of(DATA, sign(&["/usr/bin/three"])).contains("cannot be read"));
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    assert!(complaint_of(PERMISSION, sign(&[])).contains("chmod o="));
}
