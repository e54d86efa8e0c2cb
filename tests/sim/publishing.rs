//! Each node's publisher: its real mind, and around it tors and directories that do what it asks.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use rand::RngExt;
use rustbalance::coordinator::heard::ailment;
use rustbalance::proto::cluster::events::{Event, PublishOrder};
use rustbalance::proto::onion::counter::RevisionCounter;
use rustbalance::proto::onion::descriptor::intro_point::IntroPoint;
use rustbalance::proto::publish::collect::Reading;
use rustbalance::proto::publish::event::{Action, Event as Told, Pace};
use rustbalance::proto::publish::exchange::{HsDirAnswer, Launch, Post};
use rustbalance::proto::publish::intro_circuit::{IntroCircuit, IntroCircuits};
use rustbalance::proto::publish::order::{Candidate, Order};
use rustbalance::proto::publish::publication::Publication;
use rustbalance::proto::publish::report::{Duty, PublisherReport};
use rustbalance::proto::publish::select::MAX_POINTS;
use rustbalance::proto::publish::uplink::TorRole;

use crate::hsdirs::{self, Mood, Stored};
use crate::node::{SOCKET_QUEUE, fresh_points};
use crate::timer::{Ring, Timer};
use crate::world::{Happening, World};

/// What passes between two processes of one machine takes so long.
const IPC: Duration = Duration::from_millis(1);
/// A tor answers so soon.
const CONTROL: Duration = Duration::from_millis(3);
/// A tor whose introduction circuits were closed for good has others after so long.
const REBUILDING: Duration = Duration::from_secs(4);
/// What a circuit to an HSDir and back takes, in milliseconds.
const TRAVEL_MS: std::ops::Range<u64> = 20..400;
/// As in the default configuration.
const PACE: Pace = Pace { refresh: Duration::from_mins(10), poll: Duration::from_secs(30) };

/// A node's publisher.
#[derive(Default)]
pub struct Publisher {
    /// `None` while it does not run.
    mind: Option<Publication>,
    /// Counts starts, so that what was meant for a dead one does not reach the next.
    life: u64,
    timer: Timer,
    /// What the coordinator was last told.
    reported: Option<PublisherReport>,
    /// Whether that is not so any more, and will be told.
    news: bool,
    /// The period that clients fetch, as its tors believe.
    period: u64,
    /// What waits for it while it is frozen.
    inbox: VecDeque<Told>,
    /// The highest counter of its posts, per period.
    highest: BTreeMap<u64, u64>,
    pub posts: u64,
}

impl Publisher {
    pub fn runs(&self) -> bool {
        self.mind.is_some()
    }

    /// Whether it publishes, be it that nobody can tell it to stop.
    fn has_order(&self) -> bool {
        self.reported.as_ref().is_some_and(|report| report.duty != Duty::Idle) && self.runs()
    }
}

/// What happens to publishers and directories.
pub enum Errand {
    Timer,
    /// The publisher is told something.
    Tell(Box<Told>),
    /// The publisher tells its coordinator.
    Report,
    /// A descriptor arrives at an HSDir.
    Offer {
        hsdir: u8,
        period: u64,
        descriptor: Stored,
    },
    /// An HSDir is asked for what clients fetch.
    Look {
        hsdir: u8,
    },
    /// The tor has introduction points again.
    Rebuilt,
}

impl World {
    /// The node's publisher starts, and finds the tors.
    pub fn start_publisher(&mut self, node: usize) {
        let id = self.nodes[node].id.clone();
        let publisher = &mut self.nodes[node].publisher;
        let (life, posts) = (publisher.life + 1, publisher.posts);
        let mind = Some(Publication::new(id, PACE));
        *publisher = Publisher { mind, life, posts, period: self.hsdirs.period, ..Publisher::default() };
        self.tell(node, Told::TorUp(TorRole::Standby));
        if !self.nodes[node].descriptor.is_empty() {
            self.tell(node, Told::TorUp(TorRole::Serving));
        }
        if self.nodes[node].core.is_some() {
            self.connect_publisher(node);
        }
    }

    /// The node's publisher is gone.
    pub fn stop_publisher(&mut self, node: usize) {
        let publisher = &mut self.nodes[node].publisher;
        publisher.mind = None;
        publisher.life += 1;
    }

    /// Publisher and coordinator of a node find each other.
    pub fn connect_publisher(&mut self, node: usize) {
        self.nodes[node].publisher.reported = None;
        self.happen(node, Event::PublisherFound);
        self.tell(node, Told::CoordinatorBack);
        self.tell(node, Told::Order(self.nodes[node].order.clone().map(to_publisher)));
        self.tell(node, Told::Mute(self.nodes[node].muted));
        self.plan_report(node);
    }

    /// The node's tor has told its publisher, or its coordinator has.
    pub fn tell(&mut self, node: usize, told: Told) {
        self.errand(node, IPC, Errand::Tell(Box::new(told)));
    }

    /// The coordinator gives another order.
    pub fn order_published(&mut self, node: usize, order: Option<PublishOrder>) {
        self.tell(node, Told::Order(order.map(to_publisher)));
    }

    /// What the serving tor has is not what it had: circuits to these points, and a descriptor or none.
    pub fn tor_changed(&mut self, node: usize, had_descriptor: bool, before: &[IntroPoint]) {
        let has_descriptor = !self.nodes[node].descriptor.is_empty();
        match (had_descriptor, has_descriptor) {
            (false, true) => self.tell(node, Told::TorUp(TorRole::Serving)),
            (true, false) => self.tell(node, Told::TorDown(TorRole::Serving)),
            _ => {
                for point in self.nodes[node].points.clone() {
                    self.tell(node, Told::IntroEstablished(circuit(&point)));
                }
                for point in before {
                    self.tell(node, Told::IntroClosed(circuit(point)));
                }
                self.tell(node, Told::Created);
            }
        }
    }

    /// All tors have a new consensus within two seconds; clients fetch the next period.
    pub fn next_period(&mut self) {
        self.hsdirs.next_period(self.now);
        self.note(&format!("clients fetch period {}", self.hsdirs.period));
        for node in 0..self.nodes.len() {
            for role in [TorRole::Standby, TorRole::Serving] {
                let after = self.millis(0..2_000);
                self.errand(node, after, Errand::Tell(Box::new(Told::NewConsensus(role))));
            }
        }
    }

    fn errand(&mut self, node: usize, after: Duration, errand: Errand) {
        let life = self.nodes[node].publisher.life;
        self.plan(after, Happening::Errand { node, life, errand: Box::new(errand) });
    }

    fn millis(&mut self, range: std::ops::Range<u64>) -> Duration {
        Duration::from_millis(self.rng.random_range(range))
    }

    /// What was planned for a publisher, its tor or an HSDir is due.
    pub fn run_errand(&mut self, node: usize, life: u64, errand: Errand) {
        let alive = self.nodes[node].publisher.life == life && self.nodes[node].publisher.runs();
        match errand {
            Errand::Offer { hsdir, period, descriptor } => {
                self.offer(node, life, hsdir, period, descriptor);
            }
            Errand::Rebuilt => self.rebuilt(node),
            _ if !alive => {}
            Errand::Timer => self.publisher_timer(node),
            Errand::Tell(told) => self.hear(node, *told),
            Errand::Report => self.report(node),
            Errand::Look { hsdir } => self.look(node, hsdir),
        }
    }

    fn publisher_timer(&mut self, node: usize) {
        match self.nodes[node].publisher.timer.ring(self.now) {
            Ring::Idle => {}
            Ring::Again(at) => self.errand(node, at.saturating_sub(self.now), Errand::Timer),
            Ring::Due if self.nodes[node].frozen_since.is_some() => {}
            Ring::Due => self.hear(node, Told::Timeout),
        }
    }

    /// A frozen publisher runs again.
    pub fn thaw_publisher(&mut self, node: usize) {
        for told in std::mem::take(&mut self.nodes[node].publisher.inbox) {
            self.hear(node, told);
        }
        self.hear(node, Told::Timeout);
    }

    fn hear(&mut self, node: usize, told: Told) {
        let (now, unix_secs) = (self.instant(node), self.unix_ms(node) / 1000);
        let this = &mut self.nodes[node];
        if this.frozen_since.is_some() {
            if this.publisher.inbox.len() < SOCKET_QUEUE {
                this.publisher.inbox.push_back(told);
            }
            return;
        }
        let Some(mind) = this.publisher.mind.as_mut() else { return };
        let timeout = matches!(told, Told::Timeout);
        let actions = mind.handle(now, unix_secs, told);
        let due = mind.next_timeout();
        assert!(!timeout || due.is_none_or(|due| due > now), "the publisher's shell would spin");
        let due = due.map(|due| self.moment(node, due));
        if let Some(at) = self.nodes[node].publisher.timer.want(due) {
            self.errand(node, at.saturating_sub(self.now), Errand::Timer);
        }
        for action in actions {
            self.obey(node, action);
        }
        self.plan_report(node);
    }

    /// Does what a publisher wants of its tors.
    fn obey(&mut self, node: usize, action: Action) {
        let answer = match action {
            Action::ReadOwn(ticket) => {
                let points = self.nodes[node].descriptor.clone();
                Told::OwnRead(ticket, Reading::Points(points, self.nodes[node].capabilities, u64::MAX))
            }
            Action::ReadNetwork(role, ticket) => {
                self.nodes[node].publisher.period = self.hsdirs.period;
                Told::Network(role, ticket, Some(self.hsdirs.plan()))
            }
            Action::Post(role, post) => {
                self.post(node, &post);
                Told::PostLaunched(role, post.id(), Launch::Launched)
            }
            Action::Look(_, hsdirs) => {
                for hsdir in hsdirs {
                    let after = self.millis(TRAVEL_MS);
                    self.errand(node, after, Errand::Look { hsdir: hsdir.rsa_id[0] });
                }
                return;
            }
            Action::ListIntroCircuits => {
                let established = self.nodes[node].points.iter().map(circuit).collect();
                Told::IntroCircuits(IntroCircuits { established, building: Vec::new() })
            }
            Action::CloseCircuit(_) => return self.lose_circuits(node),
        };
        self.errand(node, CONTROL, Errand::Tell(Box::new(answer)));
    }

    /// The introduction circuits are closed: nobody is served at these points, though tor still tells of them.
    fn lose_circuits(&mut self, node: usize) {
        let lost = std::mem::take(&mut self.nodes[node].points);
        for point in &lost {
            self.tell(node, Told::IntroClosed(circuit(point)));
        }
        if !lost.is_empty() {
            self.errand(node, REBUILDING, Errand::Rebuilt);
        }
    }

    fn rebuilt(&mut self, node: usize) {
        if self.nodes[node].points.is_empty() && !self.nodes[node].descriptor.is_empty() {
            let points = fresh_points(&mut self.rng, node);
            for point in &points {
                self.tell(node, Told::IntroEstablished(circuit(point)));
            }
            self.nodes[node].points.clone_from(&points);
            self.nodes[node].descriptor = points;
        }
    }

    fn post(&mut self, node: usize, post: &Post) {
        let (period, counter) = (post.period.num, post.counter.0);
        self.nodes[node].publisher.posts += 1;
        let before = self.nodes[node].publisher.highest.insert(period, counter);
        assert!(
            before < Some(counter),
            "{}",
            self.story("revision counters rise: a publisher used one twice")
        );
        let relays: BTreeSet<_> = post.points.iter().map(IntroPoint::relay_id).collect();
        let sound = (1..=MAX_POINTS).contains(&post.points.len()) && relays.len() == post.points.len();
        assert!(sound, "{}", self.story("a descriptor has 1 to 20 points, and no relay twice"));
        let targets: Vec<u8> = post.hsdirs.iter().map(|hsdir| hsdir.rsa_id[0]).collect();
        self.note(&format!("{node} posts {counter} of {period} with {} to {targets:?}", post.points.len()));
        for hsdir in targets {
            let descriptor = Stored { counter, points: post.points.clone(), by: node };
            let after = self.millis(TRAVEL_MS) + self.hsdirs.slowness;
            self.errand(node, after, Errand::Offer { hsdir, period, descriptor });
        }
    }

    fn offer(&mut self, node: usize, life: u64, hsdir: u8, period: u64, descriptor: Stored) {
        self.look_for_a_contest(node, hsdir, period);
        let answer = match self.hsdirs.mood(hsdir) {
            Mood::Hanging => return,
            Mood::Refusing => HsDirAnswer::Failed,
            Mood::Well if self.hsdirs.offer(hsdir, period, descriptor) => HsDirAnswer::Uploaded,
            Mood::Well => HsDirAnswer::Rejected,
        };
        if self.nodes[node].publisher.life == life {
            self.reply(node, hsdir, period, answer);
        }
    }

    /// Where two publish at a time, each overwrites what the other has posted, and notices only when it looks.
    fn look_for_a_contest(&mut self, node: usize, hsdir: u8, period: u64) {
        let rival = self.hsdirs.stored.get(&(hsdir, period)).map(|stored| stored.by).filter(|by| *by != node);
        if rival.is_some_and(|rival| self.nodes[rival].publisher.has_order()) {
            self.hsdirs.undisturbed_since[usize::from(hsdir)] = self.now;
        }
    }

    fn look(&mut self, node: usize, hsdir: u8) {
        let period = self.nodes[node].publisher.period;
        match (self.hsdirs.mood(hsdir), self.hsdirs.stored.get(&(hsdir, period))) {
            (Mood::Hanging, _) => {}
            (Mood::Refusing, _) => self.reply(node, hsdir, period, HsDirAnswer::Failed),
            (Mood::Well, None) => self.reply(node, hsdir, period, HsDirAnswer::NotFound),
            (Mood::Well, Some(stored)) => {
                let counter = RevisionCounter(stored.counter);
                let blinded = hsdirs::blinded(period);
                let told = Told::ReadBack(TorRole::Standby, [hsdir; 20], blinded, counter);
                self.errand(node, CONTROL, Errand::Tell(Box::new(told)));
            }
        }
    }

    /// An HSDir's answer finds its way back. An upload's does not name the descriptor, as with tor.
    fn reply(&mut self, node: usize, hsdir: u8, period: u64, answer: HsDirAnswer) {
        let blinded = (answer != HsDirAnswer::Uploaded).then(|| hsdirs::blinded(period));
        let told = Told::Answer(TorRole::Standby, [hsdir; 20], blinded, answer);
        self.errand(node, CONTROL, Errand::Tell(Box::new(told)));
    }

    fn plan_report(&mut self, node: usize) {
        if !std::mem::replace(&mut self.nodes[node].publisher.news, true) {
            self.errand(node, IPC, Errand::Report);
        }
    }

    /// The publisher tells its coordinator what is not as it was.
    fn report(&mut self, node: usize) {
        let this = &mut self.nodes[node].publisher;
        this.news = false;
        let Some(report) = this.mind.as_ref().map(Publication::report) else { return };
        if self.nodes[node].core.is_none() || self.nodes[node].publisher.reported.as_ref() == Some(&report) {
            return;
        }
        self.nodes[node].publisher.reported = Some(report.clone());
        let PublisherReport { points, capabilities, counters, published, alarms, .. } = report;
        let ailment = self.nodes[node].ails.or(ailment(&alarms));
        self.happen(node, Event::PublisherSpoke(ailment));
        self.happen(node, Event::OwnCounters(counters));
        self.happen(node, Event::Published(published));
        // Without capabilities it has not read its own descriptor yet, and no points means nothing.
        if let Some(capabilities) = capabilities {
            self.happen(node, Event::OwnCapabilities(capabilities));
            self.happen(node, Event::OwnPoints(points));
        }
    }
}

/// The circuit that holds this point up.
fn circuit(point: &IntroPoint) -> IntroCircuit {
    IntroCircuit { id: format!("{:?}", point.auth_key), path: point.relay_id().into_iter().collect() }
}

fn to_publisher(order: PublishOrder) -> Order {
    let PublishOrder { epoch, candidates, capabilities, last_counters } = order;
    let candidate = |(node, points)| Candidate { node, points };
    Order { epoch, candidates: candidates.into_iter().map(candidate).collect(), capabilities, last_counters }
}
