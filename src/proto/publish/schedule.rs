//! When which descriptor is posted to which HSDir, and when it is read back.
//!
//! While there is material, the wish is simple: both live descriptors with the present content on all their
//! responsible HSDirs. Whatever makes that untrue (a change, a new ring, a failure, a silence, an HSDir that forgot)
//! leads to a post to just the HSDirs concerned, at once the first time, then after growing pauses.
//!
//! - The descriptor that clients fetch goes first.
//! - `UPLOADED` does not say which descriptor was uploaded, so an HSDir that stores both gets one after the other. An
//!   answer that comes after its time may still be taken for the next one's; then that one is posted once more.
//! - A rejection means that the HSDir has a higher counter: it is read back where that is possible (the clients'
//!   descriptor), and jumped over where it is not.
//! - No selection ever leads to an empty descriptor: the last content stays, and an alarm is raised.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::proto::onion::blinding::HsBlindId;
use crate::proto::publish::exchange::{
    HsDirAnswer, Launch, Material, Post, PostId, ScheduleAction, ScheduleEvent,
};
use crate::proto::publish::ledger::Ledger;
use crate::proto::publish::place::{Edition, Finding, Place};
use crate::proto::publish::plan::Plan;
use crate::proto::publish::report::{Alarm, SlotReport};
use crate::proto::publish::select::select;
use crate::proto::publish::slot::{Content, SlotState};
use crate::proto::publish::waiting::{InFlight, RsaId, Waiting};

/// When to post again after an answer that may have been another post's.
const REPEAT_AFTER: Duration = Duration::from_secs(10);
/// How long there may be nothing to publish before an operator should know (R1.5).
const NOTHING_TO_PUBLISH: Duration = Duration::from_mins(2);
/// Fewer failures in a row than this are the HSDirs' own, even if there are hardly any HSDirs.
const CUT_OFF_AT_LEAST: usize = 4;
/// The least and the greatest jump over an unknown counter: tor's own rises by 1 to 65536 each second.
const LIFT: (u64, u64) = (1 << 10, 1 << 16);

/// The schedule. Nothing is known at first; it posts nothing until it has both a plan and material.
#[derive(Debug, Default)]
pub struct Schedule {
    /// How often the descriptors are renewed in quiet times.
    refresh: Duration,
    uploader: bool,
    /// Both live descriptors, the one that clients fetch first; none before the first plan.
    slots: Vec<SlotState>,
    relays: BTreeSet<[u8; 20]>,
    material: Option<Material>,
    material_since: Option<Instant>,
    /// The last content that had points, for a descriptor that begins while there are none.
    last_content: Option<Content>,
    ledger: Ledger,
    generations: u64,
    waiting: Waiting,
    /// Failures on the way since an HSDir last answered properly.
    failures_in_a_row: u32,
    points_gone: bool,
    unreadable: bool,
    not_built: bool,
    alarms: BTreeSet<Alarm>,
    timeout: Option<Instant>,
}

impl Schedule {
    /// Renews the descriptors so often although nothing changed; HSDirs keep them for 180 minutes.
    pub fn renew_every(&mut self, refresh: Duration) {
        self.refresh = refresh;
        self.slots.iter_mut().for_each(|slot| slot.refresh = refresh);
    }

    /// When [`ScheduleEvent::Timeout`] is due.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.timeout
    }

    /// What an operator should know.
    pub fn alarms(&self) -> &BTreeSet<Alarm> {
        &self.alarms
    }

    /// Whether as many posts as there are HSDirs failed on the way or were not answered, and none was meanwhile: the
    /// uploading tor may be cut off.
    pub fn seems_cut_off(&self) -> bool {
        let places: usize = self.slots.iter().map(|slot| slot.places.len()).sum();
        usize::try_from(self.failures_in_a_row).unwrap_or(usize::MAX) >= places.max(CUT_OFF_AT_LEAST)
    }

    /// The highest counters known, as (period, counter).
    pub fn counters(&self) -> Vec<(u64, u64)> {
        self.ledger.all()
    }

    /// The state of both descriptors.
    pub fn slots(&self) -> Vec<SlotReport> {
        let posting = |period, id: &RsaId| self.waiting.posting(id).is_some_and(|post| post.period == period);
        self.slots.iter().map(|slot| slot.report(|id| posting(slot.period(), id))).collect()
    }

    /// Takes in one event. `unix_secs` is the wall clock, for revision counters and the report only.
    pub fn handle(&mut self, now: Instant, unix_secs: u64, event: ScheduleEvent) -> Vec<ScheduleAction> {
        let mut actions = Vec::new();
        match event {
            ScheduleEvent::Plan(plan) => self.adopt(plan, now),
            ScheduleEvent::UploaderLost => self.lose_uploader(now),
            ScheduleEvent::Material(material, counters) => {
                self.ledger.told(&counters);
                self.set_material(material, now);
            }
            ScheduleEvent::PostLaunched(id, launch) => self.launched(id, launch, now),
            ScheduleEvent::Answer(hsdir, blinded, answer) => {
                self.answered(hsdir, blinded, answer, now, unix_secs);
            }
            ScheduleEvent::ReadBack(hsdir, blinded, counter) => {
                actions.extend(self.read_back(hsdir, blinded, counter.0, now, unix_secs));
            }
            ScheduleEvent::Timeout => {}
        }
        self.expire(now);
        for slot in &mut self.slots {
            slot.renew(&mut self.generations, now, unix_secs);
        }
        if self.uploader {
            self.look(true, now, &mut actions);
            self.post(now, unix_secs, &mut actions);
            self.look(false, now, &mut actions);
        }
        self.take_stock(now);
        actions
    }

    fn adopt(&mut self, plan: Plan, now: Instant) {
        self.uploader = true;
        self.relays = plan.relays;
        let mut old = std::mem::take(&mut self.slots);
        for slot_plan in plan.slots {
            let known = old.iter().position(|slot| slot.plan.slot.period == slot_plan.slot.period);
            let slot = match known.map(|at| old.swap_remove(at)) {
                Some(mut slot) => {
                    slot.move_to(slot_plan, now);
                    slot
                }
                None => SlotState::new(slot_plan, self.refresh),
            };
            self.slots.push(slot);
        }
        self.slots.sort_by_key(|slot| !slot.readable());
        let periods = || self.slots.iter().map(SlotState::period);
        if let (Some(first), Some(last)) = (periods().min(), periods().max()) {
            self.ledger.keep_near(first, last);
        }
        self.choose();
    }

    fn lose_uploader(&mut self, now: Instant) {
        self.uploader = false;
        self.failures_in_a_row = 0;
        let (posts, looks) = self.waiting.give_up();
        for (id, post) in posts {
            self.with_place(post.period, &id, Place::try_at_once);
        }
        for (id, period) in looks {
            self.with_place(period, &id, |place| place.look_failed(now));
        }
    }

    fn set_material(&mut self, material: Option<Material>, now: Instant) {
        self.material_since = material.as_ref().map(|_| self.material_since.unwrap_or(now));
        if self.material != material {
            self.material = material;
            self.choose(); // which takes a while, and comes to the same for the same material
        }
    }

    /// Selects each descriptor's points from the material.
    fn choose(&mut self) {
        self.points_gone = false;
        let Some(material) = &self.material else {
            self.last_content = None;
            (self.unreadable, self.not_built) = (false, false);
            self.slots.iter_mut().for_each(SlotState::stop);
            return;
        };
        for slot in &mut self.slots {
            let points = select(&material.candidates, &self.relays, &slot.plan.keys.id().0);
            if !points.is_empty() {
                let content = Content::new(material, points);
                self.last_content = Some(content.clone());
                slot.want(content);
            } else if let Some(content) = self.last_content.as_ref() {
                self.points_gone = true;
                slot.want_at_least(content);
            }
        }
    }

    fn launched(&mut self, id: PostId, launch: Launch, now: Instant) {
        self.not_built = match launch {
            Launch::Launched => return self.not_built = false,
            Launch::Refused => true,
            Launch::UnknownHsDir(_) | Launch::NotSent => self.not_built,
        };
        let concerned = self.waiting.concerned(id.period, id.counter.0);
        let culprit = match launch {
            Launch::UnknownHsDir(culprit) if concerned.contains(&culprit) => Some(culprit),
            _ => None,
        };
        for hsdir in concerned {
            self.waiting.take_post(&hsdir);
            self.with_place(id.period, &hsdir, |place| match culprit {
                Some(culprit) if culprit == hsdir => place.unknown = true,
                Some(_) => place.try_at_once(),
                None => place.failed(now),
            });
        }
    }

    fn answered(
        &mut self,
        hsdir: RsaId,
        blinded: Option<HsBlindId>,
        answer: HsDirAnswer,
        now: Instant,
        unix_secs: u64,
    ) {
        match answer {
            HsDirAnswer::Uploaded => self.accepted(hsdir, now, unix_secs),
            HsDirAnswer::Rejected | HsDirAnswer::Failed if self.is_about_post(&hsdir, blinded) => {
                let Some(post) = self.waiting.take_post(&hsdir) else { return };
                let rejected = answer == HsDirAnswer::Rejected;
                self.refused(hsdir, post, rejected, now);
            }
            HsDirAnswer::Rejected => {
                self.waiting.take_late(&hsdir);
            }
            HsDirAnswer::NotFound | HsDirAnswer::Unreadable | HsDirAnswer::Failed => {
                let Some(period) = self.waiting.take_look(&hsdir) else { return };
                self.unreadable |= answer == HsDirAnswer::Unreadable;
                self.with_place(period, &hsdir, |place| match answer {
                    HsDirAnswer::NotFound => place.missing(now),
                    _ => place.look_failed(now),
                });
            }
        }
    }

    /// Whether a failure concerns the post under way: there is one, and it is not named as another's.
    fn is_about_post(&self, hsdir: &RsaId, blinded: Option<HsBlindId>) -> bool {
        self.waiting.posting(hsdir).is_some_and(|post| {
            let keys = self.slot(post.period).map(|slot| slot.plan.keys.id());
            blinded.is_none() || keys.is_none() || blinded == keys
        })
    }

    fn accepted(&mut self, hsdir: RsaId, now: Instant, unix_secs: u64) {
        let late = self.waiting.take_late(&hsdir);
        let Some(post) = self.waiting.take_post(&hsdir).or(late) else { return };
        self.failures_in_a_row = 0;
        self.not_built = false;
        let doubtful = late.is_some_and(|late| !late.is_like(&post));
        let Some(slot) = self.slots.iter_mut().find(|slot| slot.period() == post.period) else { return };
        let readable = slot.readable();
        let Some((_, place)) = slot.places.get_mut(&hsdir) else { return };
        place.accepted(post.edition, readable, now, unix_secs);
        if doubtful {
            place.repeat(now + REPEAT_AFTER);
        }
        slot.note_acceptance(now);
    }

    fn refused(&mut self, hsdir: RsaId, post: InFlight, rejected: bool, now: Instant) {
        let readable = self.slot(post.period).is_some_and(SlotState::readable);
        let mut failures = 0;
        self.with_place(post.period, &hsdir, |place| {
            failures = place.failures;
            if rejected { place.rejected(readable, now) } else { place.failed(now) }
        });
        // A rejection came all the way from the HSDir: the tor is well.
        self.failures_in_a_row = if rejected { 0 } else { self.failures_in_a_row.saturating_add(1) };
        // What the HSDir has can be read, so the first rejection needs no jump into the dark.
        if rejected && (failures > 0 || !readable) {
            let by = LIFT.0.saturating_mul(2u64.saturating_pow(failures)).min(LIFT.1);
            self.ledger.lift(post.period, by);
        }
    }

    fn read_back(
        &mut self,
        hsdir: RsaId,
        blinded: HsBlindId,
        counter: u64,
        now: Instant,
        unix_secs: u64,
    ) -> Option<ScheduleAction> {
        let period = self.waiting.take_look(&hsdir)?;
        let slot = self.slots.iter_mut().find(|slot| slot.period() == period)?;
        let (_, place) = slot.places.get_mut(&hsdir)?;
        if slot.plan.keys.id() != blinded {
            // The tor has crossed a period boundary that its consensus, as we know it, has not.
            place.look_failed(now);
            return None;
        }
        self.unreadable = false;
        let before = self.ledger.last(period);
        self.ledger.saw(period, counter);
        let foreign = match place.found(counter, now, unix_secs) {
            Finding::Foreign => true,
            Finding::Unknown => before.is_none_or(|before| counter > before),
            Finding::Ours | Finding::Older => false,
        };
        foreign.then_some(ScheduleAction::MetAnotherPublisher)
    }

    /// Gives up waiting where the time is over.
    fn expire(&mut self, now: Instant) {
        let (silent, unseen) = self.waiting.expire(now);
        for (id, post) in silent {
            self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
            self.with_place(post.period, &id, |place| place.silent(now));
        }
        for (id, period) in unseen {
            self.with_place(period, &id, |place| place.look_failed(now));
        }
    }

    fn post(&mut self, now: Instant, unix_secs: u64, actions: &mut Vec<ScheduleAction>) {
        for slot in &mut self.slots {
            let hsdirs = slot.due(now, |id| self.waiting.is_taken(id));
            let Some(current) = slot.current.as_ref().filter(|_| !hsdirs.is_empty()) else { continue };
            let period = slot.plan.slot.period;
            let Some(counter) = self.ledger.next(period.num, slot.tors_counter(unix_secs)) else {
                // Used up until the period ends; pause instead of asking again at once.
                self.not_built = true;
                for hsdir in hsdirs {
                    slot.places.entry(hsdir.rsa_id).and_modify(|(_, place)| place.failed(now));
                }
                continue;
            };
            let edition = Edition { generation: current.generation, counter: counter.0 };
            for hsdir in &hsdirs {
                if let Some((_, place)) = slot.places.get_mut(&hsdir.rsa_id) {
                    let deadline = place.sending(edition, now);
                    self.waiting.post(hsdir.rsa_id, InFlight { period: period.num, edition, deadline });
                }
            }
            let Content { points, capabilities, .. } = current.content.clone();
            let keys = Arc::clone(&slot.plan.keys);
            actions.push(ScheduleAction::Post(Post { period, keys, counter, points, capabilities, hsdirs }));
        }
    }

    /// Reads back where that is due; urgent looks go before posts, which depend on them, the others after.
    fn look(&mut self, urgent: bool, now: Instant, actions: &mut Vec<ScheduleAction>) {
        for slot in &mut self.slots {
            let busy = |id: &RsaId| self.waiting.posting(id).is_some() || self.waiting.is_looking(id);
            let hsdirs = slot.to_look_at(urgent, now, busy);
            if hsdirs.is_empty() {
                continue;
            }
            for hsdir in &hsdirs {
                slot.places.entry(hsdir.rsa_id).and_modify(|(_, place)| place.looking());
                self.waiting.look(hsdir.rsa_id, slot.period(), urgent, now);
            }
            actions.push(ScheduleAction::Look(hsdirs));
        }
    }

    /// Works out the alarms, and when to wake up next.
    fn take_stock(&mut self, now: Instant) {
        self.slots.iter_mut().for_each(|slot| slot.watch_progress(now));
        let mut alarms: Vec<(Instant, Alarm)> = self.slots.iter().flat_map(SlotState::alarms).collect();
        if self.slots.iter().all(|slot| slot.current.is_none()) {
            let since = self.material_since.map(|since| since + NOTHING_TO_PUBLISH);
            alarms.extend(since.map(|at| (at, Alarm::NothingToPublish)));
        }
        let flags = [
            (self.points_gone, Alarm::AllPointsGone),
            (self.unreadable, Alarm::Unreadable),
            (self.not_built, Alarm::NotBuilt),
        ];
        alarms.extend(flags.iter().filter(|(raised, _)| *raised).map(|&(_, alarm)| (now, alarm)));
        self.alarms = alarms.iter().filter(|(at, _)| *at <= now).map(|&(_, alarm)| alarm).collect();

        let posting = |id: &RsaId| !self.uploader || self.waiting.is_taken(id);
        let looking = |id: &RsaId| self.waiting.is_looking(id);
        let slots = self.slots.iter().filter_map(|slot| slot.next_timeout(now, posting, looking));
        let alarming = alarms.iter().map(|&(at, _)| at).filter(|at| *at > now);
        self.timeout = self.waiting.next_timeout().into_iter().chain(slots).chain(alarming).min();
    }

    fn slot(&self, period: u64) -> Option<&SlotState> {
        self.slots.iter().find(|slot| slot.period() == period)
    }

    fn with_place(&mut self, period: u64, id: &RsaId, change: impl FnOnce(&mut Place)) {
        let slot = self.slots.iter_mut().find(|slot| slot.period() == period);
        if let Some((_, place)) = slot.and_then(|slot| slot.places.get_mut(id)) {
            change(place);
        }
    }
}
