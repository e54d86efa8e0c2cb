//! Starts a real tor that never touches the network.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustbalance::tor::address::SocketAddress;

/// Where tor is looked for besides `PATH`: Debian puts it where only root's `PATH` leads.
const USUAL_PLACES: [&str; 3] = ["/usr/sbin/tor", "/usr/bin/tor", "/usr/local/bin/tor"];

/// How long a tor may take from its start to its control port.
const START_LIMIT: Duration = Duration::from_secs(30);

/// The tor program. A test that needs it fails without it; it must not pass by doing nothing.
pub(crate) fn program() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|folder| folder.join("tor"))
        .chain(USUAL_PLACES.iter().map(PathBuf::from))
        .find(|candidate| candidate.is_file())
        .expect("tor is not installed, and this test needs it: install it (Debian: apt install tor)")
}

/// A running tor with a control port and a control socket in a folder of its own. It dies with this value.
pub(crate) struct RealTor {
    process: Child,
    torrc: PathBuf,
    folder: PathBuf,
}

impl RealTor {
    /// Starts it with these lines added to its configuration.
    pub(crate) fn start(folder: &Path, lines: &str) -> Self {
        // Tor makes no control socket where others could see it.
        std::fs::set_permissions(folder, Permissions::from_mode(0o700)).unwrap();
        let torrc = folder.join("torrc");
        let at = folder.display();
        let text = format!(
            "DataDirectory {at}/data\nControlPort auto\nControlPortWriteToFile {at}/port\n\
             ControlSocket {at}/socket\nSocksPort 0\nLog notice file {at}/log\n\
             __OwningControllerProcess {}\nDisableNetwork 1\n{lines}\n",
            std::process::id()
        );
        std::fs::write(&torrc, text).unwrap();
        let mut tor = Self { process: spawn(&torrc, folder), torrc, folder: folder.to_owned() };
        tor.wait_until_ready();
        tor
    }

    /// Starts it again after it has ended.
    pub(crate) fn restart(&mut self) {
        self.kill();
        self.process = spawn(&self.torrc, &self.folder);
        self.wait_until_ready();
    }

    /// Ends it as a crash would.
    pub(crate) fn kill(&mut self) {
        let _ = self.process.kill();
        self.process.wait().unwrap();
    }

    /// Waits until it has ended by itself.
    pub(crate) fn wait_for_end(&mut self) {
        let started = Instant::now();
        while self.process.try_wait().unwrap().is_none() {
            assert!(started.elapsed() < START_LIMIT, "tor goes on");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn wait_until_ready(&mut self) {
        let started = Instant::now();
        while !self.folder.join("port").exists() || !self.folder.join("socket").exists() {
            if self.process.try_wait().unwrap().is_some() || started.elapsed() > START_LIMIT {
                let log = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
                let output = std::fs::read_to_string(self.folder.join("output")).unwrap_or_default();
                panic!("tor does not start:\n{output}\n{log}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Its `ControlPort`.
    pub(crate) fn tcp(&self) -> SocketAddress {
        let written = std::fs::read_to_string(self.folder.join("port")).unwrap();
        written.lines().find_map(|line| line.strip_prefix("PORT=")).unwrap().parse().unwrap()
    }

    /// Its `ControlSocket`.
    pub(crate) fn unix(&self) -> SocketAddress {
        SocketAddress::Unix(self.folder.join("socket"))
    }

    /// Its cookie file.
    pub(crate) fn cookie(&self) -> PathBuf {
        self.folder.join("data/control_auth_cookie")
    }
}

impl Drop for RealTor {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(torrc: &Path, folder: &Path) -> Child {
    // What a tor that was killed has left behind would be taken for the new one's.
    for left in ["port", "socket"] {
        let _ = std::fs::remove_file(folder.join(left));
    }
    let output = std::fs::File::create(folder.join("output")).unwrap();
    Command::new(program())
        .arg("-f")
        .arg(torrc)
        .arg("--defaults-torrc")
        .arg(folder.join("no-defaults"))
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// The line for `HashedControlPassword`, made by tor itself.
pub(crate) fn hash_password(password: &str) -> String {
    let output = Command::new(program()).args(["--hash-password", password]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().rev().find(|line| line.starts_with("16:")).expect("tor prints a hash").to_owned()
}
