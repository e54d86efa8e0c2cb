//! One node with three real daemons and secrets that are known, some of them sealed.

use std::fs::{File, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rustbalance::mesh::wireguard_key::WireGuardKey;
use rustbalance::vault::cost::Cost;
use rustbalance::vault::passphrase::Passphrase;
use rustbalance::vault::sealed::{Content, Sealed};
use rustbalance::vault::{armour, field};
use tempfile::TempDir;

use crate::fake_tor::{FakeTor, hsdirs};
use crate::network::{Network, keypair, point, service};
use crate::place::Place;
use crate::search::{Needle, find};

/// Longer than anything takes here, also on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);
/// Also what the process gets that is not protected.
pub const PASSPHRASE: &str = "seven words that nobody would ever guess";
const TOKEN: &str = "dGhlIHRva2VuIG9mIHRoZSBzZWNyZXRzIHRlc3Q=";
const PASSWORD: &str = "the-password-of-tor's-control-port";
const JOIN_SECRET: &str = "c2VjcmV0cGF0aHNlY3JldHBhdGhzZWNyZXRwYXRoMDA";

pub const DAEMONS: [&str; 3] = ["publisher", "coordinator", "proxy"];

pub struct Node {
    directory: TempDir,
    pub place: Place,
    processes: Vec<(&'static str, Child)>,
    notified: Arc<Mutex<Vec<u8>>>,
    tors: [FakeTor; 2],
    pub secrets: Vec<Needle>,
    /// Everything that callers of the control sockets were answered.
    pub answers: Vec<u8>,
}

impl Node {
    /// Starts everything, and waits until the descriptor is published.
    pub async fn start(place: Place) -> Self {
        let directory = tempfile::tempdir().unwrap();
        for name in ["keys", "outside", "outside/run", "outside/state", "cores"] {
            std::fs::create_dir(directory.path().join(name)).unwrap();
        }
        let (network, hsdirs) = (Network::new(0), hsdirs());
        let socket = |name: &str| directory.path().join("outside/run").join(name);
        let mut a = FakeTor::new("a", socket("a"), &network, &hsdirs);
        let mut b = FakeTor::new("b", socket("b"), &network, &hsdirs);
        a.knows().own = Some(network.own_descriptor(&[point(1, 1), point(2, 2)]));
        for tor in [&mut a, &mut b] {
            tor.knows().methods = "HASHEDPASSWORD";
            tor.start();
        }
        let notify = UnixDatagram::bind(socket("notify")).unwrap();
        let notified = Arc::new(Mutex::new(Vec::new()));
        let all = Arc::clone(&notified);
        // Ends with the test's process.
        std::thread::spawn(move || {
            let mut datagram = [0; 4096];
            while let Ok(length) = notify.recv(&mut datagram) {
                all.lock().unwrap().extend_from_slice(&datagram[..length]);
            }
        });
        let secrets = write_secrets(directory.path());
        let mut node = Self {
            directory,
            place,
            processes: Vec::new(),
            notified,
            tors: [a, b],
            secrets,
            answers: Vec::new(),
        };
        for daemon in DAEMONS {
            let process = node.spawn(daemon);
            node.processes.push((daemon, process));
        }
        let begin = Instant::now();
        while hsdirs.lock().unwrap().posts.is_empty() {
            let logs = DAEMONS.map(|daemon| format!("== {daemon}\n{}", node.log(daemon)));
            assert!(begin.elapsed() < PATIENCE, "{}", logs.join("\n"));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        node
    }

    fn spawn(&self, daemon: &str) -> Child {
        let program = match daemon {
            "publisher" => env!("CARGO_BIN_EXE_rustbalance-publisher"),
            "coordinator" => env!("CARGO_BIN_EXE_rustbalance-coordinator"),
            _ => env!("CARGO_BIN_EXE_rustbalance-proxy"),
        };
        let log = File::create(self.outside().join(format!("{daemon}.log"))).unwrap();
        // As generous as a machine may be with cores: what is shown is what the daemons do about it.
        self.place
            .command("sh")
            .args(["-c", "cd \"$0\" && ulimit -c unlimited && exec \"$@\""])
            .arg(self.cores())
            .arg(program)
            .arg("--config")
            .arg(self.directory.path().join("outside/config.toml"))
            .env("NOTIFY_SOCKET", self.outside().join("run/notify"))
            .env("RB_PASSPHRASE", if daemon == "proxy" { "" } else { PASSPHRASE })
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap()
    }

    /// Calls, right and wrong ones, join requests, another token, another configuration.
    pub async fn live_through_something(&mut self) {
        let digest = "\"digest\":\"AAAA\"";
        for (daemon, calls) in [
            ("publisher", &["Status", "Nonsense"][..]),
            ("proxy", &["Status", "Finish"][..]),
            ("coordinator", &["Status", "RotateToken", "Status"][..]),
        ] {
            let interface = format!("io.rustbalance.{}{}", daemon[..1].to_uppercase(), &daemon[1..]);
            for method in calls {
                self.call(daemon, &format!("{{\"method\":\"{interface}.{method}\"}}"));
            }
        }
        self.call(
            "coordinator",
            &format!("{{\"method\":\"io.rustbalance.Coordinator.CheckSecret\",\"parameters\":{{{digest}}}}}"),
        );
        self.call(
            "coordinator",
            "{\"method\":\"io.rustbalance.Coordinator.Join\",\"parameters\":{\"body\":\"{\\\"node\\\":\\\"x\\\"}\"}}",
        );
        // Whoever knows the join secret says it aloud: the proxy must not repeat it.
        let mut client = UnixStream::connect(self.outside().join("run/onion.sock")).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        write!(client, "POST /.rb/{JOIN_SECRET} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{{}}")
            .unwrap();
        let _ = client.read(&mut [0; 1024]);
        // A configuration with a secret in the wrong place, and then the right one again.
        let config = self.outside().join("config.toml");
        let good = std::fs::read_to_string(&config).unwrap();
        let sealed = good.lines().find(|line| line.starts_with("token = ")).unwrap();
        let bad = good.replace(sealed, &format!("token = \"{TOKEN}\""));
        for (text, answer) in [(bad, "stays in force"), (good, "was read again")] {
            std::fs::write(&config, text).unwrap();
            for daemon in DAEMONS {
                kill(self.pid(daemon), Signal::SIGHUP).unwrap();
                let begin = Instant::now();
                while !self.log(daemon).contains(answer) {
                    assert!(begin.elapsed() < PATIENCE, "{daemon}: {}", self.log(daemon));
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
        for tor in &self.tors {
            let commands = tor.knows().commands.join("\n");
            assert!(
                !find(&self.secrets, commands.as_bytes()).is_empty(),
                "no password was needed: {commands}"
            );
        }
    }

    /// Sends a call, and keeps what comes back.
    fn call(&mut self, daemon: &str, call: &str) {
        let mut stream = UnixStream::connect(self.outside().join(format!("run/{daemon}.sock"))).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.write_all(&[call.as_bytes(), b"\0"].concat()).unwrap();
        let mut byte = [1];
        while byte != [0] && stream.read(&mut byte).unwrap() == 1 {
            self.answers.push(byte[0]);
        }
    }

    /// All that was said to the service manager.
    pub fn notifications(&self) -> Vec<u8> {
        let all = self.notified.lock().unwrap().clone();
        let text = String::from_utf8_lossy(&all);
        assert!(text.contains("READY=1") && text.contains("STATUS="), "{text}");
        all
    }

    /// What `/proc` shows of a daemon, its threads too; its memory left out.
    pub fn proc(&self, daemon: &str) -> Vec<(String, Vec<u8>)> {
        let process = PathBuf::from(format!("/proc/{}", self.pid(daemon)));
        let mut directories = vec![process.clone()];
        directories.extend(std::fs::read_dir(process.join("task")).unwrap().map(|task| task.unwrap().path()));
        let mut found = Vec::new();
        for directory in directories {
            for name in [
                "auxv", "cmdline", "comm", "environ", "limits", "maps", "smaps", "stat", "status", "stack",
                "wchan",
            ] {
                if let Ok(content) = std::fs::read(directory.join(name)) {
                    found.push((format!("{}/{name}", directory.display()), content));
                }
            }
        }
        let environ = &found.iter().find(|(name, _)| name.ends_with("/environ")).unwrap().1;
        assert!(String::from_utf8_lossy(environ).contains("NOTIFY_SOCKET"), "the environment was not seen");
        found
    }

    pub fn pid(&self, daemon: &str) -> Pid {
        let process = &self.processes.iter().find(|(name, _)| *name == daemon).unwrap().1;
        Pid::from_raw(process.id().try_into().unwrap())
    }

    pub fn log(&self, daemon: &str) -> String {
        std::fs::read_to_string(self.outside().join(format!("{daemon}.log"))).unwrap()
    }

    /// Where everything is but the files with the secrets themselves.
    pub fn outside(&self) -> PathBuf {
        self.directory.path().join("outside")
    }

    /// What the coordinator keeps.
    pub fn state(&self) -> PathBuf {
        self.outside().join("state")
    }

    /// Where cores would be.
    pub fn cores(&self) -> PathBuf {
        self.directory.path().join("cores")
    }

    /// Aborts a daemon.
    pub fn abort(&mut self, daemon: &str, limit: Duration) -> ExitStatus {
        kill(self.pid(daemon), Signal::SIGABRT).unwrap();
        let process = &mut self.processes.iter_mut().find(|(name, _)| *name == daemon).unwrap().1;
        let begin = Instant::now();
        loop {
            if let Some(status) = process.try_wait().unwrap() {
                return status;
            }
            assert!(begin.elapsed() < limit, "{daemon} does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        for (_, process) in &mut self.processes {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// Writes keys and configuration: the onion key and the WireGuard key in sealed files, the token as a sealed value, the
/// others in files as they are.
fn write_secrets(directory: &Path) -> Vec<Needle> {
    let mut rng = StdRng::seed_from_u64(1);
    let passphrase = Passphrase::new(PASSPHRASE).unwrap();
    let mut seal = |content, secret: &[u8]| {
        // The cheapest that is opened: what a passphrase costs is measured elsewhere.
        let cost = Cost { memory_kib: 8 * 1024, passes: 1, lanes: 1 };
        Sealed::seal(content, secret, &passphrase, cost, &mut rng).unwrap()
    };
    let write = |name: &str, content: &[u8]| {
        let path = directory.join("keys").join(name);
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    };
    let onion = keypair().to_tor_secret_key_file();
    let wireguard = WireGuardKey::generate(&mut StdRng::seed_from_u64(2)).to_base64();
    write("onion", armour::write(&seal(Content::File, &onion[..])).as_bytes());
    write("wireguard", armour::write(&seal(Content::File, wireguard.as_bytes())).as_bytes());
    write("join", JOIN_SECRET.as_bytes());
    write("password", PASSWORD.as_bytes());
    let token = field::write(&seal(Content::Field, TOKEN.as_bytes()));
    std::fs::write(directory.join("outside/config.toml"), configuration(directory, &token)).unwrap();
    let wireguard_bytes = data_encoding::BASE64.decode(wireguard.as_bytes()).unwrap();
    let token_bytes = data_encoding::BASE64.decode(TOKEN.as_bytes()).unwrap();
    let (scalar, prefix) = onion[onion.len() - 64..].split_at(32);
    vec![
        Needle::new("the scalar of the onion key", scalar),
        Needle::new("the prefix of the onion key", prefix),
        Needle::new("the seed of the onion key", &[42; 32]),
        Needle::new("the WireGuard key", &wireguard_bytes),
        Needle::new("the cluster token", TOKEN.as_bytes()),
        Needle::new("the cluster token's bytes", &token_bytes),
        Needle::new("the join secret", JOIN_SECRET.as_bytes()),
        Needle::new("tor's password", PASSWORD.as_bytes()),
        Needle::new("the passphrase", PASSPHRASE.as_bytes()),
    ]
}

fn configuration(directory: &Path, token: &str) -> String {
    format!(
        r#"
[node]
id = "one"
[service]
address = "{service}"
master_key_file = "{at}/keys/onion"
[tor.a]
control = "unix:{at}/outside/run/a"
socks = "unix:{at}/outside/run/a.socks"
password_file = "{at}/keys/password"
[tor.b]
control = "unix:{at}/outside/run/b"
socks = "unix:{at}/outside/run/b.socks"
password_file = "{at}/keys/password"
[proxy]
listen = "unix:{at}/outside/run/onion.sock"
target = "unix:{at}/outside/run/target.sock"
[mesh]
private_key_file = "{at}/keys/wireguard"
backend = "userspace"
[cluster]
token = "{token}"
state_directory = "{at}/outside/state"
[join]
secret_file = "{at}/keys/join"
[vault]
passphrase_variable = "RB_PASSPHRASE"
[ipc]
directory = "{at}/outside/run"
[log]
level = "trace"
journal = false
"#,
        service = service(),
        at = directory.display(),
    )
}
