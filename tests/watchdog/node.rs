//! A watchdog process in a node whose other parts are played by this test.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustbalance::ipc::coordinator::{CoordinatorCall, CoordinatorStatus, MeshStatus};
use rustbalance::ipc::proxy::{ProxyCall, ProxyStatus};
use rustbalance::ipc::publisher::PublisherCall;
use rustbalance::ipc::server::{Limits, serve};
use rustbalance::ipc::watchdog::WatchdogClient;
use rustbalance::proto::cluster::status::{ClusterStatus, Lifecycle, NodeStatus, Traffic};
use rustbalance::proto::health::report::HealthReport;
use rustbalance::proto::onion::descriptor::intro_point::IntroPoint;
use rustbalance::proto::publish::report::PublisherReport;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

use crate::fake_tor::FakeTor;
use crate::service_manager::ServiceManager;

/// Longer than anything takes here, also on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// What daemons say.
pub(crate) struct Said {
    pub(crate) coordinator: CoordinatorStatus,
    pub(crate) publisher: PublisherReport,
}

pub(crate) struct Node {
    directory: TempDir,
    pub(crate) a: FakeTor,
    pub(crate) b: FakeTor,
    pub(crate) manager: ServiceManager,
    /// The proxy's main loop does not answer.
    pub(crate) proxy_hangs: Arc<AtomicBool>,
    /// What the other two say.
    pub(crate) said: Arc<Mutex<Said>>,
    process: Child,
}

impl Node {
    /// A node that is well, one of two, watched by this program.
    pub(crate) async fn start(program: &Path) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        std::fs::DirBuilder::new().mode(0o700).create(path("onion")).unwrap();
        let (a, b) = (FakeTor::new(&path("a")), FakeTor::new(&path("b")));
        let manager = ServiceManager::start(&path("bus"));
        let proxy_hangs = Arc::new(AtomicBool::new(false));
        let said = Arc::new(Mutex::new(Said { coordinator: coordinator(), publisher: publisher() }));
        play_daemons(&directory, &proxy_hangs, &said);
        std::fs::write(path("config.toml"), configuration(&directory)).unwrap();
        let mut command = Command::new(program);
        command.arg("--config").arg(path("config.toml")).stdin(Stdio::null()).kill_on_drop(true);
        for variable in ["NOTIFY_SOCKET", "WATCHDOG_USEC", "LISTEN_FDS", "LISTEN_PID", "JOURNAL_STREAM"] {
            command.env_remove(variable);
        }
        command.env("DBUS_SYSTEM_BUS_ADDRESS", format!("unix:path={}", path("bus").display()));
        let log = std::fs::File::create(path("log")).unwrap();
        let process = command.stderr(log).spawn().unwrap();
        let node = Self { directory, a, b, manager, proxy_hangs, said, process };
        node.until("everybody was asked", |report| {
            let vitals = &report.vitals;
            vitals.serving_tor.is_some() && vitals.standby_tor.is_some() && vitals.publishing.is_some()
        })
        .await;
        node
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes this at the end of the configuration's file, and tells nobody.
    pub(crate) fn write_configuration(&self, more: &str) {
        std::fs::write(self.path("config.toml"), configuration(&self.directory) + more).unwrap();
    }

    /// Has the watchdog read the configuration again.
    pub(crate) fn reload(&self) {
        let pid = self.process.id().unwrap().cast_signed();
        kill(Pid::from_raw(pid), Signal::SIGHUP).unwrap();
    }

    /// What the watchdog has logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap()
    }

    /// Waits until the report is as wanted; gives it, and how long that took.
    pub(crate) async fn until(
        &self,
        what: &str,
        wanted: impl Fn(&HealthReport) -> bool,
    ) -> (HealthReport, Duration) {
        let begin = Instant::now();
        loop {
            let asked = async { WatchdogClient::connect(&self.path("watchdog.sock")).await?.status().await };
            let report = asked.await;
            match report {
                Ok(report) if wanted(&report) => return (report, begin.elapsed()),
                other => assert!(begin.elapsed() < PATIENCE, "until {what}: {other:#?}\n{}", self.log()),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until the service manager was asked for this; gives how long after `begin` that was.
    pub(crate) async fn until_called(&self, call: &str, begin: Instant) -> Duration {
        loop {
            let calls = self.manager.calls();
            let found = calls.iter().find(|(when, made)| made == call && *when >= begin);
            if let Some((when, _)) = found {
                return when.duration_since(begin);
            }
            assert!(begin.elapsed() < PATIENCE, "{call}: {calls:?}\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// A web page, head and all.
    pub(crate) async fn get(&self, page: &str) -> String {
        let mut answer = String::new();
        self.open(page).await.0.read_to_string(&mut answer).await.unwrap();
        answer
    }

    /// The same, to be read as it comes.
    pub(crate) async fn open(&self, page: &str) -> Coming {
        let mut stream = UnixStream::connect(self.path("web.sock")).await.unwrap();
        let request = format!("GET {page} HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        Coming(BufReader::new(stream))
    }
}

/// An answer that comes bit by bit.
pub(crate) struct Coming(BufReader<UnixStream>);

impl Coming {
    /// Reads until a line has this in it.
    pub(crate) async fn until(&mut self, text: &str) {
        let read = async {
            let mut line = String::new();
            while !line.contains(text) {
                line.clear();
                assert!(self.0.read_line(&mut line).await.unwrap() > 0, "it ended before {text}");
            }
        };
        tokio::time::timeout(PATIENCE, read).await.unwrap_or_else(|_| panic!("no {text}"));
    }
}

fn configuration(directory: &TempDir) -> String {
    format!(
        "[node]\nid = \"alpha\"\n[ipc]\ndirectory = \"{path}\"\n[log]\njournal = false\n\
         [tor.a]\ncontrol = \"unix:{path}/a\"\nsocks = \"unix:{path}/a.socks\"\n\
         [tor.b]\ncontrol = \"unix:{path}/b\"\nsocks = \"unix:{path}/b.socks\"\n\
         [cluster]\ntoken_file = \"{path}/token\"\nstate_directory = \"{path}\"\n",
        path = directory.path().display()
    )
}

/// The three daemons, as far as they are asked.
fn play_daemons(directory: &TempDir, proxy_hangs: &Arc<AtomicBool>, said: &Arc<Mutex<Said>>) {
    let own = nix::unistd::geteuid().as_raw();
    let listen = |name: &str| UnixListener::bind(directory.path().join(name)).unwrap();
    let (calls, mut asked) = mpsc::channel(8);
    tokio::spawn(serve(listen("proxy.sock"), [own].into(), calls, Limits::default()));
    let hangs = Arc::clone(proxy_hangs);
    tokio::spawn(async move {
        let mut unanswered = Vec::new();
        while let Some(call) = asked.recv().await {
            match call {
                // Kept: to drop it would be an answer.
                call if hangs.load(Ordering::SeqCst) => unanswered.push(call),
                ProxyCall::Status(reply) => {
                    reply.answer(&ProxyStatus { target_well: true, ..ProxyStatus::default() });
                }
                _ => {}
            }
        }
    });
    let (calls, mut asked) = mpsc::channel(8);
    tokio::spawn(serve(listen("publisher.sock"), [own].into(), calls, Limits::default()));
    let says = Arc::clone(said);
    tokio::spawn(async move {
        while let Some(call) = asked.recv().await {
            if let PublisherCall::Status(reply) = call {
                reply.answer(&says.lock().unwrap().publisher);
            }
        }
    });
    let (calls, mut asked) = mpsc::channel(8);
    tokio::spawn(serve(listen("coordinator.sock"), [own].into(), calls, Limits::default()));
    let says = Arc::clone(said);
    tokio::spawn(async move {
        while let Some(call) = asked.recv().await {
            if let CoordinatorCall::Status(reply) = call {
                reply.answer(&says.lock().unwrap().coordinator);
            }
        }
    });
}

fn publisher() -> PublisherReport {
    PublisherReport { points: vec![point(7); 3], ..PublisherReport::default() }
}

/// An introduction point at a relay with such an identity.
pub(crate) fn point(relay: u8) -> IntroPoint {
    let keys = [relay; 32];
    // One: a relay by its RSA identity.
    let link_specifiers = [vec![1, 2, 20], vec![relay; 20]].concat();
    IntroPoint { link_specifiers, onion_key: keys, auth_key: keys, enc_key: keys }
}

/// A node that is well.
pub(crate) fn peer(name: &str) -> NodeStatus {
    NodeStatus {
        node: name.parse().unwrap(),
        lifecycle: Lifecycle::Healthy,
        priority: None,
        points: 3,
        lease_epoch: None,
        tunnel_address: None,
        endpoint: None,
        heard_ms_ago: None,
        draining: false,
        drain_phase: None,
        stands_back: None,
        target_well: Some(true),
        token: None,
        published: Vec::new(),
    }
}

fn coordinator() -> CoordinatorStatus {
    let cluster = ClusterStatus {
        node: "alpha".parse().unwrap(),
        holder: Some("beta".parse().unwrap()),
        epoch: 1,
        discovering: false,
        publisher: true,
        stood_back: 0,
        nodes: vec![peer("alpha"), peer("beta")],
        traffic: Traffic::default(),
        past: Vec::new(),
    };
    let mesh = MeshStatus {
        interface: "wg-rb".to_owned(),
        kernel: true,
        tunnel_address: "fd00::1".parse().unwrap(),
        accepted: 0,
        refused: 0,
        refused_for_clock: 0,
        refused_for_address: 0,
        clock_ahead_ms: None,
        unsent: 0,
        tunnels: Vec::new(),
    };
    CoordinatorStatus { joining: None, cluster, mesh, canary: None }
}
