//! That a real tor takes the torrcs, and what it makes of them.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::files::shipped;

/// How long tor may take until its control socket is there. It takes a second.
const STARTING: Duration = Duration::from_mins(1);
/// A group that every Debian has, and nobody's tests run with.
const SOME_GROUP: u32 = 1;

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A directory as `tmpfiles.d` makes it, but for the owner.
fn directory(path: &Path, mode: u32) {
    fs::create_dir_all(path).unwrap();
    if nix::unistd::geteuid().is_root() && mode & 0o2000 != 0 {
        std::os::unix::fs::chown(path, None, Some(SOME_GROUP)).unwrap();
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_real_tor_takes_the_torrcs_and_serves_the_key_that_was_installed() {
    // In memory, as install-key demands.
    let place = tempfile::tempdir_in("/dev/shm").unwrap();
    let at = |path: &str| place.path().join(path);
    let etc = at("etc");
    let tool = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_rustbalance")).args(arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    tool(&["init", "--node-id", "alpha", "--target", "unix:/run/web.sock", "--directory", &text(&etc)]);
    let service = at("run/rustbalance/onion/a");
    directory(&service, 0o700);
    let said = tool(&["install-key", "--config", &text(&etc.join("config.toml")), &text(&service)]);

    for instance in ["a", "b"] {
        let run = at(&format!("run/rustbalance-tor/{instance}"));
        directory(&run.join("control"), 0o2750);
        directory(&run.join("socks"), 0o2750);
        directory(&at(&format!("var/lib/rustbalance/tor-{instance}")), 0o700);
        let torrc = fs::read_to_string(shipped("tor").join(format!("{instance}.torrc"))).unwrap();
        let here = |torrc: String, path: &str| torrc.replace(path, &text(&at(path.trim_start_matches('/'))));
        let torrc = ["/run/", "/var/lib/", "/etc/"].into_iter().fold(torrc, here);
        let file = at(&format!("{instance}.torrc"));
        fs::write(&file, torrc + "DisableNetwork 1\n").unwrap();
        let log = fs::File::create(at(&format!("{instance}.log"))).unwrap();
        let child = Command::new("tor")
            .args(["--defaults-torrc", "/dev/null", "-f", &text(&file)])
            .stdout(log)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let _running = Running(child);
        let begin = Instant::now();
        let log = || fs::read_to_string(at(&format!("{instance}.log"))).unwrap();
        let (socket, cookie) = (run.join("control/socket"), run.join("control/cookie"));
        let serves = || instance == "b" || service.join("hostname").exists();
        while !(socket.exists() && cookie.exists() && serves()) {
            assert!(begin.elapsed() < STARTING, "{}", log());
            sleep(Duration::from_millis(50));
        }
        let own = |line: &&str| line.contains("[warn]") && !line.contains("You are running Tor as root");
        assert_eq!(log().lines().find(own), None, "{}", log());
        // Whoever may enter the directory may connect, and may read what opens the port.
        let found = |path: &Path| fs::metadata(path).unwrap();
        assert_eq!(found(&socket).mode() & 0o777, 0o666);
        assert_eq!(found(&cookie).mode() & 0o777, 0o640);
        if nix::unistd::geteuid().is_root() {
            assert_eq!(found(&cookie).gid(), SOME_GROUP);
        }
        if instance == "a" {
            let hostname = fs::read_to_string(service.join("hostname")).unwrap();
            assert!(said.contains(hostname.trim()), "{said} {hostname}");
        }
    }
    // Tor has added to the directory, and what it added fits.
    assert_eq!(tool(&["install-key", "--config", &text(&etc.join("config.toml")), &text(&service)]), said);
}
