//! Our identity keys, read by a real tor (which needs no network for it).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustbalance::proto::onion::identity::HsIdKeypair;
use tempfile::TempDir;

/// Tor writes the host name in less than a second; a busy machine may take longer.
const PATIENCE: Duration = Duration::from_mins(1);

/// A tor that ends with the test, also when it fails.
struct Tor(Child);

impl Drop for Tor {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A tor without network that serves one onion service.
fn start(data: &Path, service: &Path) -> Tor {
    let child = Command::new("tor")
        .args([
            "--ignore-missing-torrc",
            "-f",
            "/nonexistent",
            "--quiet",
            "--DisableNetwork",
            "1",
            "--SocksPort",
            "0",
        ])
        .arg("--DataDirectory")
        .arg(data)
        .arg("--HiddenServiceDir")
        .arg(service)
        .args(["--HiddenServicePort", "80"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    Tor(child.expect("this test needs tor (package \"tor\" on Debian)"))
}

/// The host name that tor writes once it has the key.
fn hostname(tor: &mut Tor, service: &Path) -> String {
    let from = Instant::now();
    loop {
        match fs::read_to_string(service.join("hostname")) {
            Ok(name) if name.ends_with('\n') => return name.trim_end().to_owned(),
            _ => sleep(Duration::from_millis(20)),
        }
        assert!(tor.0.try_wait().unwrap().is_none() && from.elapsed() < PATIENCE, "tor wrote no host name");
    }
}

#[test]
fn tor_reads_our_key_file_as_the_same_address() {
    let directory = TempDir::new().unwrap();
    let service = directory.path().join("service");
    fs::create_dir(&service).unwrap();
    fs::set_permissions(&service, fs::Permissions::from_mode(0o700)).unwrap();
    let keys = HsIdKeypair::from_seed([0x5e; 32]).unwrap();
    fs::write(service.join("hs_ed25519_secret_key"), *keys.to_tor_secret_key_file()).unwrap();

    let mut tor = start(&directory.path().join("data"), &service);
    let hostname = hostname(&mut tor, &service);
    assert_eq!(hostname, keys.hs_id().to_string());
    // And what tor leaves behind is the key that was given.
    let file = fs::read(service.join("hs_ed25519_secret_key")).unwrap();
    assert_eq!(HsIdKeypair::from_any_form(&file).unwrap().hs_id(), keys.hs_id());
}

#[test]
fn we_read_a_key_that_tor_made_as_the_same_address() {
    let directory = TempDir::new().unwrap();
    let service = directory.path().join("service");
    let mut tor = start(&directory.path().join("data"), &service);
    let hostname = hostname(&mut tor, &service);
    let file = fs::read(service.join("hs_ed25519_secret_key")).unwrap();
    let keys = HsIdKeypair::from_tor_secret_key_file(&file).unwrap();
    assert_eq!(keys.hs_id().to_string(), hostname);
    assert_eq!(keys.to_tor_secret_key_file()[..], file);
}
