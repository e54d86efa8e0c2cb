//! A publisher process with two scripted tors, and this test in the coordinator's place.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use rustbalance::ipc::publisher::PublisherClient;
use rustbalance::proto::onion::descriptor::intro_point::IntroPoint;
use rustbalance::proto::publish::order::{Candidate, Order};
use rustbalance::proto::publish::report::{HsDirState, PublisherReport, TorState};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::fake_tor::{FakeTor, HsDirs, Posted, hsdirs};
use crate::network::{Network, keypair, point, service};

/// Longer than anything takes here, also on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

pub(crate) struct Node {
    pub(crate) directory: TempDir,
    pub(crate) network: Network,
    responsible: BTreeMap<u64, Vec<[u8; 20]>>,
    pub(crate) a: FakeTor,
    pub(crate) b: FakeTor,
    hsdirs: Arc<Mutex<HsDirs>>,
    pub(crate) process: Child,
    client: Option<PublisherClient>,
}

/// What differs from test to test at the start.
pub(crate) struct Setup {
    pub(crate) standby: bool,
}

impl Node {
    /// A node whose serving tor has introduction points 1 and 2 (at relays 1 and 2).
    pub(crate) async fn start(setup: Setup) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let network = Network::new(0);
        let hsdirs = hsdirs();
        let socket = |name: &str| directory.path().join(name);
        let mut a = FakeTor::new("a", socket("a"), &network, &hsdirs);
        let mut b = FakeTor::new("b", socket("b"), &network, &hsdirs);
        a.knows().own = Some(network.own_descriptor(&[point(1, 1), point(2, 2)]));
        a.start();
        if setup.standby {
            b.start();
        }
        let process = spawn(&directory);
        let mut node = Self {
            directory,
            responsible: network.responsible(),
            network,
            a,
            b,
            hsdirs,
            process,
            client: None,
        };
        node.client = Some(node.connect().await);
        node.until("the tors are ready", |report| {
            report.points.len() == 2
                && report.serving_tor == TorState::Ready
                && (report.standby_tor == TorState::Ready) == setup.standby
        })
        .await;
        node
    }

    async fn connect(&self) -> PublisherClient {
        let path = self.directory.path().join("publisher.sock");
        let begin = Instant::now();
        loop {
            match PublisherClient::connect(&path).await {
                Ok(client) => return client,
                Err(error) => assert!(begin.elapsed() < PATIENCE, "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// A second connection that follows the report, as the coordinator does.
    pub(crate) async fn watch(&self) -> rustbalance::ipc::client::Watch<PublisherReport> {
        self.connect().await.watch().await.unwrap()
    }

    /// Orders this node to publish its own points and these of another node.
    pub(crate) async fn order(&mut self, others: &[IntroPoint]) {
        let candidate = |name: &str, points: &[IntroPoint]| Candidate {
            node: name.parse().unwrap(),
            points: points.to_vec(),
        };
        // The coordinator is behind: it knows nothing of this node's points yet.
        let candidates = vec![candidate("one", &[]), candidate("two", others)];
        self.publish(Some(Order { epoch: 7, candidates, capabilities: None, last_counters: Vec::new() }))
            .await;
    }

    pub(crate) async fn publish(&mut self, order: Option<Order>) {
        self.client.as_mut().unwrap().publish(order).await.unwrap();
    }

    pub(crate) async fn mute(&mut self, muted: bool) {
        self.client.as_mut().unwrap().mute(muted).await.unwrap();
    }

    pub(crate) async fn status(&mut self) -> PublisherReport {
        self.client.as_mut().unwrap().status().await.unwrap()
    }

    /// Waits until the report is as wanted; gives it and how long that took.
    pub(crate) async fn until(
        &mut self,
        what: &str,
        wanted: impl Fn(&PublisherReport) -> bool,
    ) -> (PublisherReport, Duration) {
        let begin = Instant::now();
        loop {
            let report = self.status().await;
            if wanted(&report) {
                return (report, begin.elapsed());
            }
            assert!(begin.elapsed() < PATIENCE, "waiting until {what}: {report:#?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until every responsible HSDir holds exactly these points, in both periods.
    pub(crate) async fn until_published(&mut self, keys: &[u8]) -> (PublisherReport, Duration) {
        let begin = Instant::now();
        while !self.is_published(keys) {
            assert!(begin.elapsed() < PATIENCE, "waiting for {keys:?}: {:#?}", self.status().await);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let took = begin.elapsed();
        let done = |state| matches!(state, HsDirState::Accepted | HsDirState::Verified);
        let all = |report: &PublisherReport| {
            report.slots.iter().all(|slot| slot.hsdirs.iter().all(|hsdir| done(hsdir.state)))
        };
        let (report, _) = self.until("it is reported", all).await;
        (report, took)
    }

    fn is_published(&self, keys: &[u8]) -> bool {
        let hsdirs = self.hsdirs();
        self.responsible.iter().all(|(period, ids)| {
            ids.iter().all(|id| {
                let last = hsdirs.posts.iter().rev().find(|p| p.period == *period && p.hsdirs.contains(id));
                last.is_some_and(|post| post.keys().iter().copied().eq(keys.iter().copied()))
            })
        })
    }

    pub(crate) fn hsdirs(&self) -> MutexGuard<'_, HsDirs> {
        self.hsdirs.lock().unwrap()
    }

    pub(crate) fn posts(&self) -> Vec<Posted> {
        self.hsdirs().posts.clone()
    }

    pub(crate) fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(self.process.id().unwrap().try_into().unwrap());
        nix::sys::signal::kill(pid, signal).unwrap();
    }

    /// What the publisher has logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap()
    }

    /// Ends the process as systemd does.
    pub(crate) async fn stop(mut self) -> std::process::ExitStatus {
        self.signal(nix::sys::signal::Signal::SIGTERM);
        tokio::time::timeout(PATIENCE, self.process.wait()).await.unwrap().unwrap()
    }
}

/// Writes the key and the configuration and starts the binary.
fn spawn(directory: &TempDir) -> Child {
    let config = write_files(directory, &keypair().to_tor_secret_key_file()[..]);
    let log = std::fs::File::create(directory.path().join("log")).unwrap();
    command(&config).stderr(log).spawn().unwrap()
}

pub(crate) fn write_files(directory: &TempDir, key: &[u8]) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let path = directory.path();
    std::fs::write(path.join("key"), key).unwrap();
    std::fs::set_permissions(path.join("key"), std::fs::Permissions::from_mode(0o600)).unwrap();
    let config = format!(
        r#"
        [node]
        id = "one"
        [service]
        address = "{service}"
        master_key_file = "{path}/key"
        [tor.a]
        control = "unix:{path}/a"
        socks = "unix:{path}/a.socks"
        [tor.b]
        control = "unix:{path}/b"
        socks = "unix:{path}/b.socks"
        [ipc]
        directory = "{path}"
        [log]
        level = "{level}"
        "#,
        service = service(),
        path = path.display(),
        level = std::env::var("PUBLISHER_TEST_LOG").unwrap_or("error".to_owned()),
    );
    std::fs::write(path.join("config.toml"), config).unwrap();
    path.join("config.toml")
}

pub(crate) fn command(config: &std::path::Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rustbalance-publisher"));
    command.arg("--config").arg(config).stdin(Stdio::null()).kill_on_drop(true);
    for variable in ["NOTIFY_SOCKET", "WATCHDOG_USEC", "LISTEN_FDS", "LISTEN_PID", "JOURNAL_STREAM"] {
        command.env_remove(variable);
    }
    command
}
