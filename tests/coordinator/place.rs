//! Network namespaces joined by a bridge. Each is held by a `cat` that ends when its standard input closes, so a test
//! that fails, or is killed, leaves nothing behind; `/run` is a file system of each one's own.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};

/// Set in a process that already runs in a user namespace made for it.
const INSIDE: &str = "RB_COORDINATOR_TEST_INSIDE";

/// Runs a test's body as root of some namespace: at once when we are root, otherwise by running this one test again in
/// a new user namespace. Panics with a sentence when neither is possible.
pub fn with_namespaces(test: &str, body: impl FnOnce()) {
    for program in ["unshare", "nsenter", "ip"] {
        let found = Command::new(program).arg("--help").output();
        assert!(found.is_ok(), "{program} is not installed: apt install util-linux iproute2");
    }
    if nix::unistd::geteuid().is_root() {
        return body();
    }
    assert!(std::env::var_os(INSIDE).is_none(), "not root although in a user namespace of our own");
    let again = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount"])
        .arg(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env(INSIDE, "1")
        .status()
        .unwrap();
    assert!(
        again.success(),
        "the test failed in its user namespace, see above; where that could not be made, run it as root or allow \
         unprivileged user namespaces (sysctl kernel.unprivileged_userns_clone=1)"
    );
}

/// A network namespace, alive as long as this value.
pub struct Place {
    holder: Child,
}

impl Place {
    fn new() -> Self {
        let script = "mount -t tmpfs tmpfs /run && ip link set lo up && echo ready && exec cat";
        let mut holder = Command::new("unshare")
            .args(["--net", "--mount", "--propagation", "private", "sh", "-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = String::new();
        BufReader::new(holder.stdout.as_mut().unwrap()).read_line(&mut ready).unwrap();
        assert_eq!(ready, "ready\n", "a network namespace could not be made, see above");
        Self { holder }
    }

    /// `number` places on one bridge, which stands in the last one returned. Their addresses are 192.168.78.1, .2, …
    pub fn joined(number: u8) -> (Vec<Self>, Self) {
        let hub = Self::new();
        hub.ip(&["link", "add", "bridge", "type", "bridge"]);
        hub.ip(&["link", "set", "bridge", "up"]);
        let places = (1..=number)
            .map(|n| {
                let place = Self::new();
                let (port, pid) = (format!("port{n}"), place.holder.id().to_string());
                hub.ip(&["link", "add", &port, "type", "veth", "peer", "name", "cable", "netns", &pid]);
                hub.ip(&["link", "set", &port, "master", "bridge", "up"]);
                place.ip(&["address", "add", &format!("192.168.78.{n}/24"), "dev", "cable"]);
                place.ip(&["link", "set", "cable", "up"]);
                place
            })
            .collect();
        (places, hub)
    }

    /// A command that will run in this place.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.holder.id().to_string(), "--net", "--mount", "--", program]);
        command
    }

    /// Runs `ip`, which must succeed.
    pub fn ip(&self, arguments: &[&str]) {
        let output = self.try_ip(arguments);
        assert!(output.status.success(), "ip {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Runs `ip`.
    pub fn try_ip(&self, arguments: &[&str]) -> Output {
        self.command("ip").args(arguments).output().unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        let _ = self.holder.wait();
    }
}
