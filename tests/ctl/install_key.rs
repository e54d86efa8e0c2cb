//! `rustbalance install-key`.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustbalance::config::file::Config;
use rustbalance::proto::onion::identity::HsIdKeypair;
use tempfile::TempDir;

use crate::tool::{CANNOT_CREATE, CONFIG, DATA, answer, complaint, content, private, text};

/// A node's files, and an empty directory in memory, as systemd-tmpfiles makes it.
fn node() -> (TempDir, PathBuf, PathBuf) {
    let place = tempfile::tempdir_in("/dev/shm").unwrap();
    let (etc, service) = (place.path().join("etc"), place.path().join("service"));
    answer(&["init", "--node-id", "alpha", "--target", "unix:/run/web.sock", "--directory", text(&etc)]);
    std::fs::create_dir(&service).unwrap();
    std::fs::set_permissions(&service, std::fs::Permissions::from_mode(0o700)).unwrap();
    (place, etc.join("config.toml"), service)
}

fn address(config: &Path) -> String {
    Config::load(config).unwrap().service("x").unwrap().address.to_string()
}

#[test]
fn tor_gets_the_key_and_its_own_address_as_a_balancers() {
    let (place, config, service) = node();
    let arguments = ["install-key", "--config", text(&config), text(&service)];
    let said = answer(&arguments);
    assert!(said.contains(&address(&config)), "{said}");
    let files = content(&service);
    let names: Vec<&str> = files.keys().map(String::as_str).collect();
    assert_eq!(names, ["hs_ed25519_secret_key", "ob_config"]);
    assert!(files.values().all(|(mode, _)| *mode == 0o600), "{files:?}");
    let master = std::fs::read(place.path().join("etc/hs_ed25519_secret_key")).unwrap();
    assert_eq!(files["hs_ed25519_secret_key"].1, master);
    assert_eq!(files["ob_config"].1, format!("MasterOnionAddress {}\n", address(&config)).into_bytes());
    // Again, while tor serves: nothing is touched.
    private(&service.join("hostname"), format!("{}\n", address(&config)).as_bytes());
    let before = content(&service);
    assert_eq!(answer(&arguments), said);
    assert_eq!(content(&service), before);
}

#[test]
fn the_key_may_come_from_elsewhere_and_in_any_form_but_must_be_the_services() {
    let (place, config, service) = node();
    let key = place.path().join("credential");
    private(&key, &[42; 32]);
    let arguments = ["install-key", "--config", text(&config), "--key", text(&key), text(&service)];
    let said = complaint(CONFIG, &arguments);
    let other = HsIdKeypair::from_seed([42; 32]).unwrap().hs_id().to_string();
    assert!(said.contains(&other) && said.contains(&address(&config)), "{said}");
    assert!(content(&service).is_empty());
    let changed = std::fs::read_to_string(&config).unwrap().replace(&address(&config), &other);
    std::fs::write(&config, changed).unwrap();
    answer(&arguments);
    assert_eq!(content(&service)["hs_ed25519_secret_key"].1.len(), 96);
}

#[test]
fn nothing_secret_is_written_to_a_disk() {
    let (_place, config, _service) = node();
    // The build directory: a tmpfs is where one would not build.
    let disk = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let said = complaint(CANNOT_CREATE, &["install-key", "--config", text(&config), text(disk.path())]);
    assert!(said.contains("disk") && said.contains("noswap"), "{said}");
    assert!(content(disk.path()).is_empty());
    let missing = disk.path().join("missing");
    assert!(
        complaint(CANNOT_CREATE, &["install-key", "--config", text(&config), text(&missing)])
            .contains("mount")
    );
}

#[test]
fn what_belongs_to_another_address_is_left_alone() {
    let other = HsIdKeypair::from_seed([42; 32]).unwrap().to_tor_secret_key_file();
    for (name, bytes) in [
        ("hostname", b"25njqamcweflpvkl73j4szahhihoc4xt3ktcgjnpaingr5yhkenl5sid.onion\n".as_slice()),
        ("hs_ed25519_secret_key", other.as_slice()),
        ("ob_config", b"MasterOnionAddress 25njqamcweflpvkl73j4szahhihoc4xt3ktcgjnpaingr5yhkenl5sid.onion\n"),
    ] {
        let (_place, config, service) = node();
        private(&service.join(name), bytes);
        let said = complaint(DATA, &["install-key", "--config", text(&config), text(&service)]);
        assert!(said.contains(name) && said.contains(&address(&config)), "{said}");
        assert_eq!(content(&service)[name].1, bytes);
    }
}

#[test]
fn what_is_damaged_is_put_right() {
    let (_place, config, service) = node();
    let arguments = ["install-key", "--config", text(&config), text(&service)];
    answer(&arguments);
    let whole = content(&service);
    for (name, damage) in [
        ("hs_ed25519_secret_key", &whole["hs_ed25519_secret_key"].1[..50]),
        ("hs_ed25519_secret_key", b"".as_slice()),
        ("ob_config", b"MasterOnionAddress "),
        ("hs_ed25519_public_key", b"== ed25519v1-public: type0 ==\0\0\0another key that is not its own"),
    ] {
        private(&service.join(name), damage);
        let said = answer(&arguments);
        assert!(said.contains(&format!("replaced          {name}, which was damaged")), "{said}");
        assert_eq!(content(&service), whole, "{name}");
    }
    std::fs::remove_file(service.join("hs_ed25519_secret_key")).unwrap();
    answer(&arguments);
    assert_eq!(content(&service), whole);
}

#[test]
fn what_others_could_read_is_closed_to_them() {
    let (_place, config, service) = node();
    let arguments = ["install-key", "--config", text(&config), text(&service)];
    answer(&arguments);
    let whole = content(&service);
    let open =
        |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    open(&service, 0o755);
    open(&service.join("hs_ed25519_secret_key"), 0o640);
    let said = answer(&arguments);
    for path in [service.clone(), service.join("hs_ed25519_secret_key")] {
        assert!(
            said.contains(&format!("closed            {}, which others could read", path.display())),
            "{said}"
        );
    }
    assert_eq!(content(&service), whole, "modes, too");
    assert_eq!(std::fs::metadata(&service).unwrap().permissions().mode() & 0o777, 0o700);
    assert!(!answer(&arguments).contains("closed"));
}

#[test]
fn a_sealed_key_is_opened_for_tor() {
    let (place, config, service) = node();
    let (key, passphrase) = (place.path().join("etc/hs_ed25519_secret_key"), place.path().join("passphrase"));
    let clear = std::fs::read(&key).unwrap();
    private(&passphrase, b"seven words that seal this node's files");
    answer(&["seal", text(&key), "--passphrase-file", text(&passphrase)]);
    let text_of = std::fs::read_to_string(&config).unwrap();
    let with = |file: &Path| {
        let vault = format!("[vault]\npassphrase_file = {:?}\n", text(file));
        std::fs::write(&config, text_of.replacen("[vault]\n", &vault, 1)).unwrap();
    };
    let wrong = place.path().join("wrong");
    private(&wrong, b"another passphrase entirely");
    with(&wrong);
    let arguments = ["install-key", "--config", text(&config), text(&service)];
    assert!(complaint(CONFIG, &arguments).contains("the passphrase is wrong"));
    assert!(content(&service).is_empty());
    with(&passphrase);
    answer(&arguments);
    assert_eq!(content(&service)["hs_ed25519_secret_key"].1, clear);
}
