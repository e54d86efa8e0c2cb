//! That the programs make no system call that their units' filters do not allow: each runs for real under strace.
//!
//! This is a short life of each. The lists were found in long ones: see `nixos/units/README.md`.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use command_fds::{CommandFdExt, FdMapping};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::files::{settings, shipped, units};

/// How long a daemon may take to get ready: strace stops it at every call.
const PATIENCE: Duration = Duration::from_mins(1);

/// More than a socket's buffer holds.
const MUCH: usize = 1_000_000;

/// What a unit's filter allows, groups as what they stand for. The coordinator runs with what is optional for it where this
/// machine's kernel has no WireGuard.
fn allowed(unit: &str) -> BTreeSet<String> {
    let mut allowed = group("@default");
    let drop_in = shipped("optional").join(format!("{unit}.d/userspace-wireguard.conf"));
    let optional = if Path::new("/sys/module/wireguard").exists() || !drop_in.exists() {
        Vec::new()
    } else {
        settings(&drop_in)
    };
    let optional = optional.iter().filter(|(name, _)| name == "SystemCallFilter");
    let units = units();
    let words = units[unit].words("SystemCallFilter").into_iter();
    for word in words.chain(optional.flat_map(|(_, value)| value.split_whitespace())) {
        assert!(!word.starts_with('~'), "{unit}: {word}: only what is allowed is listed");
        allowed.extend(if word.starts_with('@') { group(word) } else { BTreeSet::from([word.to_owned()]) });
    }
    allowed
}

/// The calls of a group, as systemd has it.
fn group(name: &str) -> BTreeSet<String> {
    let output =
        Command::new("systemd-analyze").args(["syscall-filter", "--no-pager", name]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let mut calls = BTreeSet::new();
    for word in text.lines().filter(|line| line.starts_with("    ")).map(str::trim) {
        calls.extend(match word {
            comment if comment.starts_with('#') => BTreeSet::new(),
            group if group.starts_with('@') => self::group(group),
            call => BTreeSet::from([call.to_owned()]),
        });
    }
    calls
}

/// The calls in what strace wrote.
fn made(trace: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(trace).unwrap();
    let calls: BTreeSet<String> = text
        .lines()
        .filter_map(|line| {
            let rest = line.split_once(' ')?.1.trim_start();
            let rest = rest.strip_prefix("<... ").unwrap_or(rest);
            let name: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            // Signals and ends are no calls: `--- SIGTERM`, `+++ exited`.
            (!name.is_empty()).then_some(name)
        })
        .collect();
    assert!(calls.len() > 20 && calls.contains("execve"), "strace shows too little: {text}");
    calls
}

/// A place for one program, and what systemd would give it.
struct Life {
    place: tempfile::TempDir,
    notify: UnixDatagram,
    sockets: Vec<(&'static str, UnixListener)>,
}

impl Life {
    fn new(config: &str, sockets: &[&'static str]) -> Self {
        let place = tempfile::tempdir().unwrap();
        let path = |name: &str| place.path().join(name);
        let text = config.replace("PLACE", &place.path().display().to_string());
        fs::write(path("config.toml"), text).unwrap();
        let notify = UnixDatagram::bind(path("notify")).unwrap();
        notify.set_read_timeout(Some(PATIENCE)).unwrap();
        let sockets = sockets
            .iter()
            .map(|name| (*name, UnixListener::bind(path(&format!("{name}.sock"))).unwrap()))
            .collect();
        Self { place, notify, sockets }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    /// `wrapper` comes before strace.
    fn start(&self, wrapper: &[&str], program: &str) -> Child {
        // -D: strace is not in the way, the program has the number that LISTEN_PID says.
        let script = "export LISTEN_PID=$$ WATCHDOG_PID=$$; exec strace -D -f -qq -o \"$0\" \"$@\"";
        let (first, rest) = wrapper.split_first().unwrap_or((&"env", &[]));
        let mut command = Command::new(first);
        command.args(rest).args(["sh", "-c", script]).arg(self.path("trace"));
        command.arg(program).arg("--config").arg(self.path("config.toml"));
        let names: Vec<_> = self.sockets.iter().map(|(name, _)| *name).collect();
        command.env("LISTEN_FDS", names.len().to_string()).env("LISTEN_FDNAMES", names.join(":"));
        command.env("NOTIFY_SOCKET", self.path("notify")).env("WATCHDOG_USEC", "1000000");
        command.env("DBUS_SYSTEM_BUS_ADDRESS", format!("unix:path={}", self.path("bus").display()));
        let mapping = |(child_fd, (_, socket)): (i32, &(_, UnixListener))| FdMapping {
            parent_fd: OwnedFd::from(socket.try_clone().unwrap()),
            child_fd,
        };
        command.fd_mappings((3..).zip(&self.sockets).map(mapping).collect()).unwrap();
        let log = fs::File::create(self.path("log")).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap()
    }

    /// Waits until the daemon says something of this kind.
    fn until(&self, notice: &str) {
        let mut datagram = [0; 4096];
        loop {
            let log = || fs::read_to_string(self.path("log")).unwrap();
            let length = self
                .notify
                .recv(&mut datagram)
                .unwrap_or_else(|error| panic!("{notice}: {error}\n{}", log()));
            if String::from_utf8_lossy(&datagram[..length]).contains(notice) {
                return;
            }
        }
    }

    /// Ends the daemon, and compares what it did with what its unit allows.
    fn end(&self, mut child: Child, unit: &str) {
        kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
        let status = child.wait().unwrap();
        assert!(status.success(), "{status}: {}", fs::read_to_string(self.path("log")).unwrap());
        self.compare(unit);
        assert!(
            made(&self.path("trace")).contains("landlock_create_ruleset"),
            "{unit} confines itself to its files"
        );
    }

    fn compare(&self, unit: &str) {
        let (made, allowed) = (made(&self.path("trace")), allowed(unit));
        let missing: Vec<_> = made.difference(&allowed).collect();
        assert!(missing.is_empty(), "{unit} does not allow {missing:?}; see nixos/units/README.md");
    }

    /// Calls the daemon, as its peers do.
    fn status(&self, interface: &str) {
        let mut stream = UnixStream::connect(self.path("control.sock")).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
            .write_all(format!("{{\"method\":\"io.rustbalance.{interface}.Status\"}}\0").as_bytes())
            .unwrap();
        let mut answer = [0; 16];
        stream.read_exact(&mut answer).unwrap();
        assert!(answer.starts_with(b"{\"parameters\":"), "{}", String::from_utf8_lossy(&answer));
    }
}

/// What makes root nobody in particular, as units do: who has nothing to give away need not call capset(2).
fn unprivileged() -> Vec<&'static str> {
    if nix::unistd::geteuid().is_root() {
        vec!["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
    } else {
        vec![]
    }
}

#[test]
fn the_proxy_makes_no_other_calls() {
    let life = Life::new(
        "[proxy]\ntarget = \"unix:PLACE/web.sock\"\nprobe_interval_secs = 1\n[ipc]\ndirectory = \"PLACE\"\n[log]\njournal = false\n",
        &["onion", "control"],
    );
    let web = UnixListener::bind(life.path("web.sock")).unwrap();
    std::thread::spawn(move || {
        for stream in web.incoming() {
            let mut stream = stream.unwrap();
            let _ = std::io::copy(&mut stream.try_clone().unwrap(), &mut stream);
        }
    });
    let child = life.start(&unprivileged(), env!("CARGO_BIN_EXE_rustbalance-proxy"));
    life.until("READY=1");
    let mut client = UnixStream::connect(life.path("onion.sock")).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut sending = client.try_clone().unwrap();
    let sent = std::thread::spawn(move || sending.write_all(&vec![7; MUCH]).unwrap());
    client.read_exact(&mut vec![0; MUCH]).unwrap();
    sent.join().unwrap();
    life.status("Proxy");
    life.until("WATCHDOG=1");
    drop(client);
    life.end(child, "rustbalance-proxy.service");
}

/// The configuration and the key of a node, with its paths in the life's place.
const NODE: &str = "[node]\nid = \"alpha\"\n[ipc]\ndirectory = \"PLACE\"\n[log]\njournal = false\n\
    [tor.a]\ncontrol = \"unix:PLACE/tor-a\"\nsocks = \"unix:PLACE/socks-a\"\n\
    [tor.b]\ncontrol = \"unix:PLACE/tor-b\"\nsocks = \"unix:PLACE/socks-b\"\n\
    [service]\naddress = \"ADDRESS\"\nmaster_key_file = \"PLACE/key\"\n";

/// A private file.
fn secret(path: &Path, content: &[u8]) {
    fs::write(path, content).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// The address of the key with this seed.
fn address(seed: [u8; 32]) -> String {
    rustbalance::proto::onion::identity::HsIdKeypair::from_seed(seed).unwrap().hs_id().to_string()
}

#[test]
fn the_publisher_makes_no_other_calls() {
    let seed = [42; 32];
    let life = Life::new(&NODE.replace("ADDRESS", &address(seed)), &["control"]);
    secret(&life.path("key"), &seed);
    // A tor that hangs up: enough to see it connect.
    let tor = UnixListener::bind(life.path("tor-a")).unwrap();
    let child = life.start(&unprivileged(), env!("CARGO_BIN_EXE_rustbalance-publisher"));
    life.until("READY=1");
    drop(tor.accept().unwrap());
    life.status("Publisher");
    life.until("WATCHDOG=1");
    life.end(child, "rustbalance-publisher.service");
}

#[test]
fn the_watchdog_makes_no_other_calls() {
    let config = format!("{NODE}[cluster]\ntoken_file = \"PLACE/token\"\nstate_directory = \"PLACE\"\n");
    let life = Life::new(&config.replace("ADDRESS", &address([42; 32])), &["control", "web"]);
    // A tor that says its first words and hangs, and a bus that hangs up: enough to see it ask, and try to repair.
    let tor = UnixListener::bind(life.path("tor-a")).unwrap();
    std::thread::spawn(move || hang_after_the_first_words(&tor));
    let bus = UnixListener::bind(life.path("bus")).unwrap();
    let child = life.start(&unprivileged(), env!("CARGO_BIN_EXE_rustbalance-watchdog"));
    life.until("READY=1");
    life.status("Watchdog");
    let mut page = UnixStream::connect(life.path("web.sock")).unwrap();
    page.set_read_timeout(Some(PATIENCE)).unwrap();
    page.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    page.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("# EOF\n"), "{answer}");
    drop(bus.accept().unwrap());
    life.until("WATCHDOG=1");
    life.end(child, "rustbalance-watchdog.service");
}

/// A tor, as far as its first three answers.
fn hang_after_the_first_words(tor: &UnixListener) {
    let (stream, _) = tor.accept().unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(stream.try_clone().unwrap()));
    let mut stream = &stream;
    let info = "250-PROTOCOLINFO 1\r\n250-AUTH METHODS=NULL\r\n250-VERSION Tor=\"0.4.9.11\"\r\n250 OK\r\n";
    for answer in [info, "250 OK\r\n", "250 OK\r\n"] {
        lines.next();
        stream.write_all(answer.as_bytes()).unwrap();
    }
    // Until the other side gives up.
    lines.for_each(drop);
}

#[test]
fn the_coordinator_makes_no_other_calls() {
    let config = format!(
        "{NODE}[mesh]\nprivate_key_file = \"PLACE/wireguard\"\nlisten_port = 51820\n\
         [cluster]\ntoken_file = \"PLACE/token\"\nstate_directory = \"PLACE/state\"\n"
    );
    let life = Life::new(&config.replace("ADDRESS", &address([42; 32])), &["control"]);
    secret(&life.path("token"), b"kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk=\n");
    secret(&life.path("wireguard"), b"yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=\n");
    // A network of its own, in which it may make its tunnel, and a /run for that one's control socket.
    let mut own = vec!["unshare", "--user", "--map-root-user", "--net", "--mount", "sh", "-c"];
    own.push("mount -t tmpfs tmpfs /run && mkdir /run/wireguard && exec \"$0\" \"$@\"");
    own.extend(["setpriv", "--bounding-set=-all,+net_admin", "--inh-caps=-all"]);
    let child = life.start(&own, env!("CARGO_BIN_EXE_rustbalance-coordinator"));
    life.until("READY=1");
    life.status("Coordinator");
    life.until("WATCHDOG=1");
    life.end(child, "rustbalance-coordinator.service");
}

#[test]
fn the_tool_makes_no_other_calls_when_it_installs_the_key() {
    let life = Life::new(&NODE.replace("ADDRESS", &address([42; 32])), &[]);
    secret(&life.path("key"), &[42; 32]);
    let memory = tempfile::tempdir_in("/dev/shm").unwrap();
    let install = || {
        let status = Command::new("strace")
            .args(["-f", "-qq", "-o"])
            .arg(life.path("trace"))
            .arg(env!("CARGO_BIN_EXE_rustbalance"))
            .args(["install-key", "--config"])
            .arg(life.path("config.toml"))
            .arg(memory.path())
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(status.success());
        life.compare("rustbalance-onion-key.service");
        made(&life.path("trace"))
    };
    install();
    let key = memory.path().join("hs_ed25519_secret_key");
    // Cut off, as after a fault of memory; deleted; readable by others.
    fs::File::options().write(true).open(&key).unwrap().set_len(50).unwrap();
    let makes = |call: &str| install().iter().any(|made| made.starts_with(call));
    assert!(makes("rename"), "it is put right");
    fs::remove_file(&key).unwrap();
    install();
    fs::set_permissions(memory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    assert!(makes("chmod") || makes("fchmodat"), "it is closed");
}
