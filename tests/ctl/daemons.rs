//! Daemons of a node that say what a test wants, over the real control sockets.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use rustbalance::ipc::call::{Interface, Taken};
use rustbalance::ipc::coordinator::{
    CoordinatorCall, CoordinatorStatus, DrainWish, MeshStatus, Rotated, TunnelStatus,
};
use rustbalance::ipc::proxy::{FailureReason, ProxyCall, ProxyStatus};
use rustbalance::ipc::publisher::PublisherCall;
use rustbalance::ipc::server::{self, Limits};
use rustbalance::proto::cluster::status::{ClusterStatus, Lifecycle, NodeStatus, Past, Traffic};
use rustbalance::proto::cluster::token::TokenName;
use rustbalance::proto::node::Priority;
use rustbalance::proto::onion::network::SlotKind;
use rustbalance::proto::publish::report::{
    Answers, Duty, HsDirReport, HsDirState, PublisherReport, SlotReport, TorState,
};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

/// What was asked of the coordinator besides its status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    Drain(DrainWish),
    RotateToken,
    Leave,
}

/// What the daemons say, and what they were asked.
pub struct Said {
    pub coordinator: CoordinatorStatus,
    pub publisher: PublisherReport,
    pub proxy: ProxyStatus,
    /// With this the coordinator refuses everything but its status.
    pub refusal: Option<String>,
    pub asked: Vec<Asked>,
}

/// The daemons. They end when dropped.
pub struct Daemons {
    pub place: TempDir,
    pub said: Arc<Mutex<Said>>,
    pub config: PathBuf,
    runtime: Runtime,
}

impl Daemons {
    /// No daemon yet, in a cluster of three nodes that are well.
    pub fn new() -> Self {
        let place = TempDir::new().unwrap();
        let config = place.path().join("config.toml");
        std::fs::write(&config, format!("[ipc]\ndirectory = \"{}\"\n", place.path().display())).unwrap();
        let said = Said {
            coordinator: coordinator(),
            publisher: publisher(),
            proxy: proxy(),
            refusal: None,
            asked: Vec::new(),
        };
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        Self { place, said: Arc::new(Mutex::new(said)), config, runtime }
    }

    /// All three, talking to this user.
    pub fn started() -> Self {
        let daemons = Self::new();
        daemons.start_coordinator(true);
        daemons.start_others();
        daemons
    }

    /// Listens for one daemon.
    pub fn bind(&self, name: &str) -> UnixListener {
        UnixListener::bind(self.place.path().join(name)).unwrap()
    }

    /// Serves one daemon's socket.
    fn serve<I: Interface>(&self, name: &str, allowed: bool, answer: impl Fn(I, &mut Said) + Send + 'static) {
        self.serve_on(self.bind(name), allowed, answer);
    }

    fn serve_on<I: Interface>(
        &self,
        listener: UnixListener,
        allowed: bool,
        answer: impl Fn(I, &mut Said) + Send + 'static,
    ) {
        listener.set_nonblocking(true).unwrap();
        let own = nix::unistd::geteuid().as_raw();
        let allowed = if allowed { BTreeSet::from([own]) } else { BTreeSet::from([own + 1]) };
        let (calls, mut inbox) = mpsc::channel(8);
        let _inside = self.runtime.enter();
        let listener = tokio::net::UnixListener::from_std(listener).unwrap();
        self.runtime.spawn(server::serve::<I>(listener, allowed, calls, Limits::default()));
        let said = Arc::clone(&self.said);
        self.runtime.spawn(async move {
            while let Some(call) = inbox.recv().await {
                answer(call, &mut said.lock().unwrap());
            }
        });
    }

    pub fn start_coordinator(&self, allowed: bool) {
        self.serve("coordinator.sock", allowed, |call, said| {
            let refusal = said.refusal.clone();
            match call {
                CoordinatorCall::Status(reply) => reply.answer(&said.coordinator),
                CoordinatorCall::Drain { reply, .. } if refusal.is_some() => reply.refuse(&refusal.unwrap()),
                CoordinatorCall::Drain { wish, reply } => {
                    for node in &mut said.coordinator.cluster.nodes {
                        if Some(&node.node) == wish.node.as_ref() {
                            node.draining = wish.draining;
                        }
                    }
                    said.asked.push(Asked::Drain(wish));
                    reply.answer(&Taken {});
                }
                CoordinatorCall::RotateToken(reply) if refusal.is_some() => reply.refuse(&refusal.unwrap()),
                CoordinatorCall::RotateToken(reply) => {
                    said.asked.push(Asked::RotateToken);
                    reply.answer(&Rotated { token: token(3) });
                }
                CoordinatorCall::Leave(reply) => {
                    said.asked.push(Asked::Leave);
                    reply.answer(&Taken {});
                }
                CoordinatorCall::CheckSecret { .. } | CoordinatorCall::Join { .. } => unreachable!(),
            }
        });
    }

    pub fn start_others(&self) {
        self.serve("publisher.sock", true, |call, said| match call {
            PublisherCall::Status(reply) => reply.answer(&said.publisher),
            other => panic!("{other:?}"),
        });
        self.start_proxy(self.bind("proxy.sock"));
    }

    pub fn start_proxy(&self, listener: UnixListener) {
        self.serve_on(listener, true, |call, said| match call {
            ProxyCall::Status(reply) => reply.answer(&said.proxy),
            other => panic!("{other:?}"),
        });
    }

    /// What is asked with this node's configuration.
    pub fn with<'a>(&'a self, arguments: &[&'a str]) -> Vec<&'a str> {
        [arguments, &["--config", self.config.to_str().unwrap()]].concat()
    }

    /// What was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.said.lock().unwrap().asked.clone()
    }
}

pub fn token(seq: u32) -> TokenName {
    TokenName { seq, tag: [0xa; 4] }
}

pub fn node(name: &str, priority: u32) -> NodeStatus {
    NodeStatus {
        node: name.parse().unwrap(),
        lifecycle: Lifecycle::Healthy,
        priority: Some(Priority(priority)),
        points: 3,
        lease_epoch: None,
        tunnel_address: Some(format!("fd00::{priority}").parse().unwrap()),
        endpoint: None,
        heard_ms_ago: Some(400),
        draining: false,
        drain_phase: None,
        stands_back: None,
        target_well: Some(true),
        token: Some(token(2)),
        published: Vec::new(),
    }
}

fn coordinator() -> CoordinatorStatus {
    let holder = NodeStatus {
        lease_epoch: Some(7),
        heard_ms_ago: None,
        published: ["alpha", "beta", "gamma"].map(|name| name.parse().unwrap()).to_vec(),
        endpoint: Some("192.0.2.1:51820".parse().unwrap()),
        ..node("alpha", 10)
    };
    let tunnel = |number: u16, secs| TunnelStatus {
        tunnel_address: format!("fd00::{number}").parse().unwrap(),
        endpoint: Some(format!("192.0.2.{number}:51820").parse().unwrap()),
        handshake_secs_ago: Some(secs),
        received_bytes: 1000,
        sent_bytes: 1000,
    };
    CoordinatorStatus {
        joining: None,
        cluster: ClusterStatus {
            node: "alpha".parse().unwrap(),
            holder: Some("alpha".parse().unwrap()),
            epoch: 7,
            discovering: false,
            publisher: true,
            stood_back: 0,
            nodes: vec![holder, node("beta", 20), node("gamma", 100)],
            traffic: Traffic::default(),
            past: vec![
                Past { unix_ms: 1_790_000_000_000, text: "beta holds the lease".into(), alarming: false },
                Past { unix_ms: 1_790_000_060_000, text: "node beta is gone".into(), alarming: true },
            ],
        },
        mesh: MeshStatus {
            interface: "wg-rb".into(),
            kernel: true,
            tunnel_address: "fd00::10".parse().unwrap(),
            accepted: 1234,
            refused: 5,
            refused_for_clock: 0,
            refused_for_address: 0,
            clock_ahead_ms: None,
            unsent: 1,
            tunnels: vec![tunnel(20, 35), tunnel(100, 150)],
        },
        canary: None,
    }
}

fn publisher() -> PublisherReport {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let hsdir = |number: usize, state| HsDirReport {
        fingerprint: format!("{number:040X}"),
        state,
        counter: Some(4711),
        accepted_at: Some(now - 12),
        read_back_at: Some(now - 11),
        failures: 0,
        answers: Answers::default(),
        seat: None,
    };
    let slot = |which, client_fetches, period, states: &[HsDirState]| SlotReport {
        which,
        period,
        client_fetches,
        points: 9,
        certified_until: None,
        renewed_at: Some(now - 60),
        hsdirs: states.iter().enumerate().map(|(number, state)| hsdir(number, *state)).collect(),
        published: Vec::new(),
        points_by_node: Vec::new(),
        replicas: Vec::new(),
    };
    PublisherReport {
        duty: Duty::Publishing { epoch: 7 },
        serving_tor: TorState::Ready,
        standby_tor: TorState::Ready,
        slots: vec![
            slot(
                SlotKind::First,
                true,
                20780,
                &[HsDirState::Verified, HsDirState::Accepted, HsDirState::Behind],
            ),
            slot(SlotKind::Second, false, 20781, &[HsDirState::Verified; 3]),
        ],
        ..PublisherReport::default()
    }
}

fn proxy() -> ProxyStatus {
    ProxyStatus {
        target: "127.0.0.1:80".into(),
        active: 2,
        finished: 100,
        target_well: true,
        failed: BTreeMap::from([(FailureReason::TargetUnreachable, 3)]),
        ..ProxyStatus::default()
    }
}
