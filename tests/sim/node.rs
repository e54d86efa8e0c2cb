//! One node: a core, while it runs, and what surrounds it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::index::sample;
use rustbalance::proto::cluster::core::Cluster;
use rustbalance::proto::cluster::events::{PublishOrder, Verdict};
use rustbalance::proto::cluster::fitness::Ailment;
use rustbalance::proto::cluster::memory::Memory;
use rustbalance::proto::cluster::token::TokenName;
use rustbalance::proto::node::{NodeId, Priority};
use rustbalance::proto::onion::descriptor::capabilities::Capabilities;
use rustbalance::proto::onion::descriptor::intro_point::IntroPoint;

use crate::hsdirs::RELAYS;
use crate::publishing::Publisher;
use crate::timer::Timer;

/// What a frozen process finds in its socket when it wakes: the kernel keeps about so many small datagrams.
pub const SOCKET_QUEUE: usize = 256;
/// Most points that a node's tor has: as many as the configuration of a service with many clients asks for.
const POINTS: usize = 10;
/// The token in everybody's configuration.
pub const FIRST_TOKEN: TokenName = TokenName { seq: 0, tag: [0; 4] };
/// x25519's base point: surely a key. Of arbitrary bytes every second is none, and would not be published.
const BASE_POINT: [u8; 32] =
    [9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// A sealed datagram.
#[derive(Clone)]
pub struct Datagram {
    pub bytes: Vec<u8>,
    pub under: TokenName,
}

/// One node.
pub struct Node {
    pub id: NodeId,
    pub priority: Priority,
    pub core: Option<Cluster>,
    pub frozen_since: Option<Duration>,
    pub draining: bool,
    /// What its tor serves at.
    pub points: Vec<IntroPoint>,
    /// What its tor says it serves at: as it was when it last looked.
    pub descriptor: Vec<IntroPoint>,
    /// What its own descriptor says besides.
    pub capabilities: Capabilities,
    pub publisher: Publisher,
    /// Whether its proxy reaches what it stands in front of.
    pub target_well: bool,
    /// What keeps its publisher from publishing.
    pub ails: Option<Ailment>,
    /// What its publisher was last told.
    pub order: Option<PublishOrder>,
    /// Whether its introduction circuits are closed.
    pub muted: bool,
    /// How often it was told to cut what its proxy still carries.
    pub cuts: u32,
    /// Whether it does not belong to the cluster any more.
    pub left: bool,
    /// Which tokens it can open.
    pub tokens: BTreeSet<TokenName>,
    /// What it keeps over a restart.
    pub memory: Memory,
    /// What it answered to requests to be let in.
    pub answers: BTreeMap<usize, Verdict>,
    /// Whom its WireGuard lets in, and under which key.
    pub wireguard: BTreeMap<NodeId, [u8; 32]>,
    pub wireguard_key: [u8; 32],
    /// Whom it has ever been told of, but for those that left the cluster: it cannot be blamed for not knowing others.
    pub known: BTreeSet<usize>,
    pub sent: u64,
    /// How far its wall clock is ahead, in milliseconds.
    pub clock_ahead_ms: i64,
    /// For how long its machine has been suspended: its monotonic clock stood still meanwhile.
    pub suspended_for: Duration,
    /// Counts starts and wake-ups, so that a dead life's timer does not disturb a later one.
    pub life: u64,
    pub timer: Timer,
    /// What a frozen process has not read yet.
    pub socket: VecDeque<(usize, Datagram)>,
    /// Whom it finds in its configuration.
    pub peers: Vec<usize>,
    /// The ticket it asks with, and the one it was last let in with.
    pub asked_with: Option<u8>,
    pub ticket: Option<u8>,
}

impl Node {
    /// A node that has never run.
    pub fn new(number: usize, nodes: usize, rng: &mut StdRng) -> Self {
        let points = fresh_points(rng, number);
        Self {
            id: format!("n{number}").parse().unwrap(),
            priority: Priority(rng.random_range(1..=3) * 10),
            core: None,
            frozen_since: None,
            draining: false,
            descriptor: points.clone(),
            points,
            capabilities: Capabilities::default(),
            publisher: Publisher::default(),
            target_well: true,
            ails: None,
            order: None,
            muted: false,
            cuts: 0,
            left: false,
            tokens: BTreeSet::from([FIRST_TOKEN]),
            memory: Memory::default(),
            answers: BTreeMap::new(),
            wireguard: BTreeMap::new(),
            wireguard_key: [u8::try_from(number + 1).unwrap(); 32],
            known: (0..nodes).filter(|other| *other != number).collect(),
            sent: 0,
            clock_ahead_ms: 0,
            suspended_for: Duration::ZERO,
            life: 0,
            timer: Timer::default(),
            socket: VecDeque::new(),
            peers: (0..nodes).filter(|other| *other != number).collect(),
            asked_with: None,
            ticket: None,
        }
    }

    /// Whether it runs: neither dead nor frozen.
    pub fn is_up(&self) -> bool {
        self.core.is_some() && self.frozen_since.is_none()
    }

    /// Whether it leaves the lease to others.
    pub fn stands_back(&self) -> bool {
        self.core.as_ref().is_some_and(|core| core.stands_back().is_some())
    }

    /// Whether its publisher could do the holder's work.
    pub fn can_publish(&self) -> bool {
        self.publisher.runs() && self.ails.is_none()
    }

    /// Timers of an earlier life do not count.
    pub fn begin_life(&mut self) {
        self.life += 1;
        self.timer = Timer::default();
    }

    /// What its publisher reports, or others must assume when there is none.
    pub fn shown_points(&self) -> &[IntroPoint] {
        if self.muted || !self.publisher.runs() { &[] } else { &self.points }
    }
}

/// Introduction points at some of the relays, whose Ed25519 identity says whose points they are.
pub fn fresh_points(rng: &mut StdRng, node: usize) -> Vec<IntroPoint> {
    let count = rng.random_range(1..=POINTS);
    let relays = sample(rng, usize::from(RELAYS), count);
    let point = |relay: usize| {
        let mut link_specifiers = vec![2, 2, 20];
        link_specifiers.extend([u8::try_from(relay).unwrap(); 20]);
        link_specifiers.extend([3, 32]);
        link_specifiers.extend([u8::try_from(node).unwrap(); 32]);
        IntroPoint { link_specifiers, onion_key: rng.random(), auth_key: rng.random(), enc_key: BASE_POINT }
    };
    relays.into_iter().map(point).collect()
}
