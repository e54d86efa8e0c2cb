//! One node: the real coordinator in a place of its own, and a publisher that only listens and tells.

use std::collections::BTreeSet;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rustbalance::ipc::call::Taken;
use rustbalance::ipc::coordinator::{CoordinatorClient, CoordinatorStatus};
use rustbalance::ipc::publisher::PublisherCall;
use rustbalance::ipc::server::{self, Limits};
use rustbalance::mesh::wireguard_key::WireGuardKey;
use rustbalance::proto::onion::descriptor::capabilities::Capabilities;
use rustbalance::proto::onion::descriptor::intro_point::IntroPoint;
use rustbalance::proto::publish::order::Order;
use rustbalance::proto::publish::report::PublisherReport;
use tokio::net::UnixListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::place::Place;

/// The WireGuard key of the node of this number.
fn key(number: u8) -> WireGuardKey {
    WireGuardKey::generate(&mut StdRng::seed_from_u64(u64::from(number)))
}

/// The public half, as configurations write it.
pub fn public_key(number: u8) -> String {
    key(number).public().to_string()
}

/// The node of this number's introduction points.
pub fn points(number: u8) -> Vec<IntroPoint> {
    let mut link_specifiers = vec![1, 2, 20];
    link_specifiers.extend([number; 20]);
    vec![IntroPoint { link_specifiers, onion_key: [1; 32], auth_key: [number; 32], enc_key: [9; 32] }]
}

/// The service of the nodes that joined.
pub const ADDRESS: &str = "25njqamcweflpvkl73j4szahhihoc4xt3ktcgjnpaingr5yhkenl5sid.onion";
/// The cluster token.
pub const TOKEN: &str = "a token that all nodes of this test share";

pub struct Node {
    pub number: u8,
    pub place: Place,
    pub directory: PathBuf,
    process: Option<Child>,
    proxy: Option<Child>,
    publisher: Option<Publisher>,
}

struct Publisher {
    orders: watch::Receiver<Option<Order>>,
    report: watch::Sender<PublisherReport>,
    /// Whether it takes calls and answers none.
    hangs: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Node {
    /// Writes the node's configuration: all `of` nodes know each other.
    pub fn new(number: u8, of: u8, place: Place, directory: &Path) -> Self {
        let peer = |peer: u8| {
            let key = key(peer).public();
            format!(
                "[[mesh.peers]]\nid = \"n{peer}\"\npublic_key = \"{key}\"\nendpoint = \"192.168.78.{peer}:51820\"\n"
            )
        };
        let peers = (1..=of).filter(|other| *other != number).map(peer).collect::<Vec<_>>().concat();
        Self::with(number, place, directory, &peers, "")
    }

    /// Writes the configuration of a node that knows nobody, and lets others join; with a ticket it has to join itself.
    pub fn alone(number: u8, place: Place, directory: &Path, ticket: Option<&str>) -> Self {
        let at = directory.join(format!("n{number}"));
        let at = at.display();
        let more = ticket.map_or_else(String::new, |_| {
            format!("ticket_file = \"{at}/ticket\"\nattempts = 3\nretry_secs = 0.5\n")
        });
        let endpoint = format!("endpoint = \"192.168.78.{number}:51820\"\n");
        let node = Self::with(
            number,
            place,
            directory,
            &endpoint,
            &format!(
                "[join]\nsecret_file = \"{at}/secret\"\n{more}\
                 [service]\naddress = \"{ADDRESS}\"\nmaster_key_file = \"{at}/none\"\n\
                 [tor.a]\ncontrol = \"unix:{at}/a.control\"\nsocks = \"unix:{at}/a.socks\"\n\
                 [tor.b]\ncontrol = \"unix:{at}/b.control\"\nsocks = \"unix:{at}/b.socks\"\n\
                 [proxy]\nlisten = \"unix:{at}/onion.sock\"\ntarget = \"unix:{at}/target.sock\"\n"
            ),
        );
        node.write("secret", &"S".repeat(42).chars().chain(['A']).collect::<String>());
        node.write("ticket", ticket.unwrap_or_default());
        node
    }

    fn with(number: u8, place: Place, directory: &Path, mesh: &str, more: &str) -> Self {
        let directory = directory.join(format!("n{number}"));
        std::fs::create_dir_all(&directory).unwrap();
        let at = directory.display();
        let config = format!(
            "[node]\nid = \"n{number}\"\npriority = {number}\n\
             [cluster]\ntoken_file = \"{at}/token\"\nstate_directory = \"{at}/state\"\ncanary = false\n\
             [ipc]\ndirectory = \"{at}\"\n\
             [log]\nlevel = \"debug\"\njournal = false\n\
             {more}\
             [mesh]\nprivate_key_file = \"{at}/key\"\nbackend = \"userspace\"\n{mesh}"
        );
        let node = Self { number, place, directory, process: None, proxy: None, publisher: None };
        node.write("token", &format!("{TOKEN}\n"));
        node.write("key", &key(number).to_base64());
        node.write("config.toml", &config);
        node
    }

    /// Writes one of the node's files.
    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.directory.join(name), text).unwrap();
        std::fs::set_permissions(self.directory.join(name), Permissions::from_mode(0o600)).unwrap();
    }

    /// Whether the node's serving tor would be let run.
    pub fn is_joined(&self) -> bool {
        self.directory.join("state/joined").exists()
    }

    /// Starts the proxy.
    pub fn serve(&mut self) {
        let log = std::fs::File::create(self.directory.join("proxy.log")).unwrap();
        let mut command = self.place.command(env!("CARGO_BIN_EXE_rustbalance-proxy"));
        command.args(["--config".as_ref(), self.directory.join("config.toml").as_os_str()]);
        self.proxy = Some(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap());
    }

    /// Starts the coordinator.
    pub fn start(&mut self) {
        let log = std::fs::File::create(self.directory.join("log")).unwrap();
        let child = self
            .place
            .command(env!("CARGO_BIN_EXE_rustbalance-coordinator"))
            .args(["--config".as_ref(), self.directory.join("config.toml").as_os_str()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.process = Some(child);
    }

    /// Kills the proxy.
    pub fn stop_serving(&mut self) {
        let mut proxy = self.proxy.take().unwrap();
        proxy.kill().unwrap();
        proxy.wait().unwrap();
    }

    /// The text of the configuration.
    pub fn configuration(&self) -> String {
        std::fs::read_to_string(self.directory.join("config.toml")).unwrap()
    }

    /// Has the coordinator check another configuration; its exit code and what it says.
    pub fn check(&self, text: &str) -> (Option<i32>, String) {
        std::fs::write(self.directory.join("config.toml"), text).unwrap();
        let mut command = self.place.command(env!("CARGO_BIN_EXE_rustbalance-coordinator"));
        let config = self.directory.join("config.toml");
        let output = command
            .args(["--check-config".as_ref(), "--config".as_ref(), config.as_os_str()])
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    }

    /// What the coordinator has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }

    /// The coordinator's process: `nsenter` without `--fork` becomes it.
    pub fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.process.as_ref().unwrap().id()).unwrap())
    }

    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// Waits for the end of the process; its exit code.
    pub fn wait(&mut self) -> Option<i32> {
        self.process.take().unwrap().wait().unwrap().code()
    }

    /// Starts a publisher that has read its points.
    pub fn publish(&mut self) {
        let path = self.directory.join("publisher.sock");
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).unwrap();
        let own = BTreeSet::from([nix::unistd::geteuid().as_raw()]);
        let (calls, mut inbox) = mpsc::channel(8);
        let (ordered, orders) = watch::channel(None);
        let report = PublisherReport {
            points: points(self.number),
            capabilities: Some(Capabilities::default()),
            ..PublisherReport::default()
        };
        let (report, reports) = watch::channel(report);
        let (changing, number) = (report.clone(), self.number);
        let hangs = Arc::new(AtomicBool::new(false));
        let hung = Arc::clone(&hangs);
        let serving = tokio::spawn(server::serve::<PublisherCall>(listener, own, calls, Limits::default()));
        let answering = tokio::spawn(async move {
            let mut kept = Vec::new();
            while let Some(call) = inbox.recv().await {
                match call {
                    call if hung.load(Ordering::Relaxed) => kept.push(call),
                    PublisherCall::Status(reply) => reply.answer(&reports.borrow()),
                    PublisherCall::Watch(watcher) => watcher.follow(reports.clone()),
                    PublisherCall::Publish { order, reply } => {
                        // Every HSDir accepts everything at once.
                        let all = order.iter().flat_map(|order| &order.candidates);
                        let bringing = all.filter(|candidate| !candidate.points.is_empty());
                        let published = bringing.map(|candidate| candidate.node.clone()).collect();
                        changing.send_modify(|report| report.published = published);
                        ordered.send_replace(order);
                        reply.answer(&Taken {});
                    }
                    PublisherCall::Mute { muted, reply } => {
                        changing.send_if_modified(|report| {
                            let changed = report.muted != muted;
                            if changed {
                                report.points = if muted { Vec::new() } else { points(number) };
                            }
                            report.muted = muted;
                            changed
                        });
                        reply.answer(&Taken {});
                    }
                }
            }
        });
        self.publisher = Some(Publisher { orders, report, hangs, tasks: vec![serving, answering] });
    }

    /// Starts a publisher that accepts connections and then does nothing.
    pub fn publish_and_stall(&mut self) {
        let path = self.directory.join("publisher.sock");
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).unwrap();
        let stalling = tokio::spawn(async move {
            let mut kept = Vec::new();
            while let Ok(connection) = listener.accept().await {
                kept.push(connection);
            }
        });
        let (report, _) = watch::channel(PublisherReport::default());
        let (orders, hangs) = (watch::channel(None).1, Arc::default());
        self.publisher = Some(Publisher { orders, report, hangs, tasks: vec![stalling] });
    }

    /// The publisher is gone from one moment to the next.
    pub fn unpublish(&mut self) {
        self.publisher.take().into_iter().flat_map(|publisher| publisher.tasks).for_each(|task| task.abort());
    }

    /// The publisher takes calls from now on and answers none; what it said stays as it is.
    pub fn hang_publisher(&self) {
        self.publisher.as_ref().unwrap().hangs.store(true, Ordering::Relaxed);
    }

    /// The publisher reports these points from now on.
    pub fn report(&self, points: Vec<IntroPoint>) {
        self.publisher.as_ref().unwrap().report.send_modify(|report| report.points = points);
    }

    /// Whether the publisher was told to give the node's points up.
    pub fn is_muted(&self) -> bool {
        self.publisher.as_ref().is_some_and(|publisher| publisher.report.borrow().muted)
    }

    /// Whose points the publisher was last told to publish; `None`: nothing.
    pub fn order(&self) -> Option<Vec<u8>> {
        let order = self.publisher.as_ref()?.orders.borrow().clone()?;
        let bringing = order.candidates.iter().filter(|candidate| !candidate.points.is_empty());
        Some(bringing.map(|candidate| candidate.node.as_str()[1..].parse().unwrap()).collect())
    }

    /// A connection to the coordinator, once it is there.
    pub async fn client(&self) -> CoordinatorClient {
        let begin = Instant::now();
        loop {
            match CoordinatorClient::connect(&self.directory.join("coordinator.sock")).await {
                Ok(client) => return client,
                Err(error) => assert!(begin.elapsed() < Duration::from_secs(10), "{error}\n{}", self.log()),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// What the coordinator tells callers.
    pub async fn status(&self) -> CoordinatorStatus {
        self.client().await.status().await.unwrap()
    }

    /// Waits until the coordinator tells something.
    pub async fn until_status(
        &self,
        limit: Duration,
        what: &str,
        so: impl Fn(&CoordinatorStatus) -> bool,
    ) -> CoordinatorStatus {
        let begin = Instant::now();
        loop {
            let status = self.status().await;
            if so(&status) {
                println!("n{}, {what}: {:.3} s", self.number, begin.elapsed().as_secs_f64());
                return status;
            }
            assert!(begin.elapsed() < limit, "n{}: {what}: {status:#?}\n{}", self.number, self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        for process in [&mut self.process, &mut self.proxy].into_iter().flatten() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// Waits until that is so, and says how long it took; with all logs where it does not come about.
pub async fn until(nodes: &[Node], limit: Duration, what: &str, so: impl Fn(&[Node]) -> bool) -> Duration {
    let begin = Instant::now();
    while !so(nodes) {
        if begin.elapsed() > limit {
            let logs: Vec<_> =
                nodes.iter().map(|node| format!("== n{}\n{}", node.number, node.log())).collect();
            panic!("{}\nstill not so after {limit:?}: {what}", logs.join("\n"));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let took = begin.elapsed();
    println!("{what}: {:.3} s", took.as_secs_f64());
    took
}
