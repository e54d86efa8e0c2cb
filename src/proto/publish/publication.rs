//! Everything the publisher decides: collection, uplink and schedule, joined by the coordinator's order.
//!
//! ```text
//! serving tor ──events──► collect ──own points──┐
//! coordinator ──order───────────────────────────┼─► material ─► schedule ──posts, looks──► uploading tor
//! both tors ───views────► uplink ──plan─────────┘                   ▲                           │
//!                                                                   └────────answers────────────┘
//! ```
//!
//! The order is carried out until the next one comes, also while the coordinator is away: this node's points are
//! always the freshest ones. Only when a newer descriptor of another publisher is met meanwhile, that one has been
//! elected, and this one yields.

use std::time::Instant;

use crate::proto::node::NodeId;
use crate::proto::onion::descriptor::capabilities::Capabilities;
use crate::proto::onion::descriptor::intro_point::IntroPoint;
use crate::proto::publish::collect::{Collect, CollectAction, CollectEvent};
use crate::proto::publish::event::{Action, Event, Pace};
use crate::proto::publish::exchange::{Material, ScheduleAction, ScheduleEvent};
use crate::proto::publish::intro_circuit::{IntroCircuit, IntroCircuits};
use crate::proto::publish::lapse::Lapses;
use crate::proto::publish::mute::Mute;
use crate::proto::publish::order::{Candidate, Order};
use crate::proto::publish::refetch::Refetch;
use crate::proto::publish::report::{Alarm, Duty, PublisherReport};
use crate::proto::publish::schedule::Schedule;
use crate::proto::publish::uplink::{TorRole, Uplink};

/// Failed reads of the own descriptor in a row that an operator should know of.
const UNREADABLE_AFTER: u32 = 3;

/// The publisher's mind.
#[derive(Debug)]
pub struct Publication {
    node: NodeId,
    collect: Collect,
    lapses: Lapses,
    mute: Mute,
    uplink: Uplink,
    schedule: Schedule,
    refetch: Refetch,
    /// The tor that the schedule uploads through.
    uploader: Option<TorRole>,
    order: Option<Order>,
    coordinator: bool,
    yielded: bool,
}

impl Publication {
    /// A publisher that knows nothing and does nothing yet. `node` is this node's name among the candidates.
    pub fn new(node: NodeId, pace: Pace) -> Self {
        let mut schedule = Schedule::default();
        schedule.renew_every(pace.refresh);
        Self {
            node,
            collect: Collect::new(pace.poll),
            lapses: Lapses::default(),
            mute: Mute::default(),
            uplink: Uplink::default(),
            schedule,
            refetch: Refetch::default(),
            uploader: None,
            order: None,
            coordinator: false,
            yielded: false,
        }
    }

    /// When [`Event::Timeout`] is due.
    pub fn next_timeout(&self) -> Option<Instant> {
        let timeouts = [
            self.collect.next_timeout(),
            self.lapses.next_timeout(),
            self.uplink.next_timeout(),
            self.schedule.next_timeout(),
            self.refetch.next_timeout(),
        ];
        timeouts.into_iter().flatten().min()
    }

    /// Takes in one event. `unix_secs` is the wall clock.
    pub fn handle(&mut self, now: Instant, unix_secs: u64, event: Event) -> Vec<Action> {
        let mut turn = Turn { now, unix_secs, actions: Vec::new() };
        self.take(&mut turn, event);
        if self.schedule.seems_cut_off() {
            self.uplink.try_the_other();
        }
        self.follow_uplink(&mut turn);
        let reads = self.uplink.due(now);
        turn.actions.extend(reads.into_iter().map(|(role, ticket)| Action::ReadNetwork(role, ticket)));
        // Whoever publishes reads back anyway, and never while it posts to the same HSDir.
        let idle = self.uplink.uploader().filter(|_| self.order.is_none());
        if let Some(hsdir) = self.refetch.due(now, idle.map(|(_, plan)| plan)) {
            turn.actions.extend(self.uploader.map(|role| Action::Look(role, vec![hsdir])));
        }
        turn.actions
    }

    fn take(&mut self, turn: &mut Turn, event: Event) {
        match event {
            Event::TorUp(role) => {
                self.uplink.connected(role, turn.now);
                self.look_anew(turn, role, CollectEvent::Connected);
            }
            Event::TorDown(role) => {
                self.uplink.lost(role);
                if role == TorRole::Serving {
                    self.collect(turn, CollectEvent::Lost);
                }
            }
            Event::NewConsensus(role) => self.uplink.new_consensus(role, turn.now),
            Event::EventsMissed(role) => {
                self.uplink.new_consensus(role, turn.now);
                self.look_anew(turn, role, CollectEvent::IntroClosed);
            }
            Event::Network(role, ticket, plan) => {
                let news = self.uplink.read(role, ticket, plan, turn.now);
                if news && self.uploader == Some(role) {
                    self.pass_plan_on(turn);
                }
            }
            Event::Created => self.collect(turn, CollectEvent::Created),
            Event::IntroEstablished(circuit) => {
                self.collect(turn, CollectEvent::IntroEstablished);
                self.intro_established(turn, circuit);
            }
            Event::IntroBuilding(circuit) => {
                if self.mute.closes(turn.now, &circuit) {
                    turn.actions.push(Action::CloseCircuit(circuit.id));
                }
            }
            Event::IntroCircuits(circuits) => self.intro_circuits(turn, circuits),
            Event::IntroClosed(circuit) => {
                self.lapses.closed(turn.now, &circuit);
                self.collect(turn, CollectEvent::IntroClosed);
            }
            Event::OwnRead(ticket, reading) => self.collect(turn, CollectEvent::Read(ticket, reading)),
            Event::PostLaunched(role, id, launch) => {
                self.uploaders(turn, role, ScheduleEvent::PostLaunched(id, launch));
            }
            Event::Answer(role, hsdir, blinded, answer) => {
                self.uploaders(turn, role, ScheduleEvent::Answer(hsdir, blinded, answer));
            }
            Event::ReadBack(role, hsdir, blinded, counter) => {
                self.uploaders(turn, role, ScheduleEvent::ReadBack(hsdir, blinded, counter));
            }
            Event::Order(order) => {
                self.coordinator = true;
                self.yielded = false;
                self.order = order;
                self.supply(turn);
            }
            Event::Mute(muted) => {
                if self.mute.set(turn.now, muted, self.collect.points()) {
                    turn.actions.push(Action::ListIntroCircuits);
                }
                self.supply(turn);
            }
            Event::CoordinatorAway => self.coordinator = false,
            Event::CoordinatorBack => self.coordinator = true,
            Event::Pace(pace) => self.pace(turn, pace),
            Event::Timeout => {
                let now = turn.now;
                self.change_points(turn, |mind| mind.lapses.pass(now));
                self.collect(turn, CollectEvent::Timeout);
                self.schedule(turn, ScheduleEvent::Timeout);
            }
        }
    }

    /// The whole state, for those who watch.
    pub fn report(&self) -> PublisherReport {
        let mut alarms = self.schedule.alarms().clone();
        if self.uploader.is_none() {
            alarms.insert(Alarm::NoNetwork);
        }
        if self.collect.failures() >= UNREADABLE_AFTER {
            alarms.insert(Alarm::OwnDescriptorUnreadable);
        }
        let duty = match &self.order {
            Some(order) => Duty::Publishing { epoch: order.epoch },
            None if self.yielded => Duty::Yielded,
            None => Duty::Idle,
        };
        let slots = self.schedule.slots();
        let clients = slots.iter().find(|slot| slot.client_fetches);
        let points = self.own_points();
        let lost = |point: &&IntroPoint| point.relay_id().is_some_and(|relay| self.uplink.has_lost(&relay));
        PublisherReport {
            published: clients.map(|slot| slot.published.clone()).unwrap_or_default(),
            points_lost: points.iter().filter(lost).count(),
            points,
            points_certified_until: self.collect.certified_until(),
            capabilities: self.collect.capabilities(),
            counters: self.schedule.counters(),
            duty,
            serving_tor: self.uplink.state(TorRole::Serving),
            standby_tor: self.uplink.state(TorRole::Standby),
            slots,
            muted: self.mute.is_muted(),
            alarms: alarms.into_iter().collect(),
        }
    }

    fn pace(&mut self, turn: &mut Turn, pace: Pace) {
        self.collect.poll_every(turn.now, pace.poll);
        self.schedule.renew_every(pace.refresh);
        // When the next renewal is due has to be worked out again.
        self.schedule(turn, ScheduleEvent::Timeout);
    }

    fn intro_circuits(&mut self, turn: &mut Turn, circuits: IntroCircuits) {
        self.change_points(turn, |mind| mind.lapses.listed(&circuits.established));
        let all = [circuits.established, circuits.building].concat();
        let closed = self.mute.listed(turn.now, all);
        turn.actions.extend(closed.into_iter().map(Action::CloseCircuit));
    }

    /// Closes a circuit that clients shall not come by; otherwise its point is one that is in use (again).
    fn intro_established(&mut self, turn: &mut Turn, circuit: IntroCircuit) {
        if self.mute.closes(turn.now, &circuit) {
            turn.actions.push(Action::CloseCircuit(circuit.id));
            return;
        }
        self.change_points(turn, |mind| {
            mind.lapses.established(&circuit);
            mind.mute.established(&circuit, mind.collect.points());
        });
    }

    /// The points that clients may be told of.
    fn own_points(&self) -> Vec<IntroPoint> {
        let reachable = self.lapses.reachable(self.collect.points());
        reachable.filter(|point| self.mute.is_open(point)).cloned().collect()
    }

    /// Does something that may change them, and publishes them if it did.
    fn change_points(&mut self, turn: &mut Turn, change: impl FnOnce(&mut Self)) {
        let before = self.own_points();
        change(self);
        if self.own_points() != before {
            self.supply(turn);
        }
    }

    /// Reads everything from the serving tor, as something may have been missed.
    fn look_anew(&mut self, turn: &mut Turn, role: TorRole, event: CollectEvent) {
        if role == TorRole::Serving {
            self.lapses.lost_sight();
            self.collect(turn, event);
            turn.actions.push(Action::ListIntroCircuits);
        }
    }

    fn collect(&mut self, turn: &mut Turn, event: CollectEvent) {
        for action in self.collect.handle(turn.now, event) {
            match action {
                CollectAction::Read(ticket) => turn.actions.push(Action::ReadOwn(ticket)),
                CollectAction::Changed => self.supply(turn),
            }
        }
    }

    /// Passes on what the uploading tor said; another tor's words are about uploads given up before.
    fn uploaders(&mut self, turn: &mut Turn, role: TorRole, event: ScheduleEvent) {
        if self.uploader == Some(role) {
            self.schedule(turn, event);
        }
    }

    fn schedule(&mut self, turn: &mut Turn, event: ScheduleEvent) {
        for action in self.schedule.handle(turn.now, turn.unix_secs, event) {
            match (action, self.uploader) {
                (ScheduleAction::Post(post), Some(role)) => turn.actions.push(Action::Post(role, post)),
                (ScheduleAction::Look(hsdirs), Some(role)) => turn.actions.push(Action::Look(role, hsdirs)),
                (ScheduleAction::MetAnotherPublisher, _) if !self.coordinator && self.order.is_some() => {
                    self.order = None;
                    self.yielded = true;
                    self.supply(turn);
                    // What follows would overwrite the other's descriptor.
                    return;
                }
                (_, _) => {}
            }
        }
    }

    /// Gives the schedule what to publish: the order, with this node's own points as they are now. Until they have been
    /// read once, those of the order count: after a restart the coordinator still knows them, and withdraws them if
    /// they are not confirmed soon.
    fn supply(&mut self, turn: &mut Turn) {
        let read = self.collect.capabilities().is_some();
        let own = |candidate: &Candidate| Candidate {
            node: candidate.node.clone(),
            points: if read && candidate.node == self.node {
                self.own_points()
            } else {
                candidate.points.clone()
            },
        };
        let material = self.order.as_ref().map(|order| Material {
            epoch: order.epoch,
            candidates: order.candidates.iter().map(own).collect(),
            capabilities: Capabilities::common(order.capabilities.iter().chain(&self.collect.capabilities())),
        });
        let counters = self.order.as_ref().map_or_else(Vec::new, |order| order.last_counters.clone());
        self.schedule(turn, ScheduleEvent::Material(material, counters));
    }

    /// Tells the schedule when another tor uploads.
    fn follow_uplink(&mut self, turn: &mut Turn) {
        let role = self.uplink.uploader().map(|(role, _)| role);
        if role == self.uploader {
            return;
        }
        if self.uploader.is_some() {
            self.schedule(turn, ScheduleEvent::UploaderLost);
            // What this very turn was to ask of the old one is given up with the rest, and asked of the new one.
            turn.actions.retain(|action| !matches!(action, Action::Post(..) | Action::Look(..)));
        }
        self.uploader = role;
        self.pass_plan_on(turn);
    }

    fn pass_plan_on(&mut self, turn: &mut Turn) {
        if let Some((_, plan)) = self.uplink.uploader() {
            let plan = plan.clone();
            self.schedule(turn, ScheduleEvent::Plan(plan));
        }
    }
}

/// One event's worth of work.
struct Turn {
    now: Instant,
    unix_secs: u64,
    actions: Vec<Action>,
}
