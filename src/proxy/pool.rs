//! The targets: which of them the next connection goes to, and what is known of each.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::dial::Dialer;
use super::tls::TargetStream;
use crate::ipc::proxy::{FailureReason, TargetStatus};
use crate::proto::balance::core::{Balance, Pick};
use crate::proto::balance::member::{Finding, Limits, MemberId};

/// A dial that got less than this part of the time that it may take says nothing about the target when it is up.
const FAIR_PART: u32 = 3;

/// All targets; [`Pool::lead_to`] says what they are. Outlives changes of the configuration.
#[derive(Debug, Default)]
pub struct Pool {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    balance: Balance,
    ways: Vec<Way>,
    ids: u64,
    /// Whether probes ask the targets whether they are well.
    checked: bool,
}

/// The way to one target.
#[derive(Debug)]
struct Way {
    id: MemberId,
    dialer: Arc<Dialer>,
    /// Why the last dial or probe failed, if it did.
    trouble: watch::Sender<Option<FailureReason>>,
}

/// One try to reach a target. Whoever makes it says what came of it; where nobody does, a trial is due again at once.
#[derive(Debug)]
pub struct Attempt {
    pool: Arc<Pool>,
    pick: Pick,
    began: Instant,
    /// The way to the target.
    pub dialer: Arc<Dialer>,
    noted: bool,
}

/// A connection's place with a target, or a request's: given back when this is dropped.
#[derive(Debug)]
pub struct Place {
    pool: Arc<Pool>,
    id: MemberId,
}

impl Pool {
    /// These are the targets from now on, with these limits. What is known of one that stays, stays known, with its connections.
    pub fn lead_to(&self, dialers: &[Arc<Dialer>], limits: Limits) {
        let mut inner = self.lock();
        let mut before = std::mem::take(&mut inner.ways);
        for dialer in dialers {
            let stays = before.iter().position(|way| way.dialer.target().is_same(dialer.target()));
            let way = match stays.map(|index| before.swap_remove(index)) {
                Some(way) => Way { dialer: Arc::clone(dialer), ..way },
                None => {
                    Way { id: inner.next_id(), dialer: Arc::clone(dialer), trouble: watch::Sender::default() }
                }
            };
            inner.ways.push(way);
        }
        let members: Vec<_> = inner.ways.iter().map(|way| (way.id, way.dialer.target().weight)).collect();
        inner.checked = limits.checked;
        inner.balance.arrange(limits, &members);
    }

    /// A place for one more connection, with none of the targets that have failed it, and the attempt to make it. Where
    /// no other one is well: why.
    pub fn seat(self: &Arc<Self>, failed: &[MemberId]) -> Result<(Attempt, Place), FailureReason> {
        let mut inner = self.lock();
        let pick = inner.balance.pick(failed, Instant::now());
        let way = pick.and_then(|pick| Some((pick, inner.way(pick.id)?)));
        let (pick, way) = way.ok_or_else(|| inner.trouble())?;
        let place = Place { pool: Arc::clone(self), id: pick.id };
        Ok((self.attempt(pick, way), place))
    }

    /// A place for one more request, over a connection that is there; `None`: another target should get it.
    pub fn place_again(self: &Arc<Self>, id: MemberId) -> Option<Place> {
        self.lock().balance.take_again(id).then(|| Place { pool: Arc::clone(self), id })
    }

    /// All targets.
    pub fn ids(&self) -> Vec<MemberId> {
        self.lock().ways.iter().map(|way| way.id).collect()
    }

    /// An attempt to reach a target that may be tried although nobody asks for it.
    pub fn trial(self: &Arc<Self>, id: MemberId) -> Option<Attempt> {
        let mut inner = self.lock();
        let pick = inner.balance.pick_one(id, Instant::now())?;
        inner.way(id).map(|way| self.attempt(pick, way))
    }

    fn attempt(self: &Arc<Self>, pick: Pick, way: &Way) -> Attempt {
        let dialer = Arc::clone(&way.dialer);
        Attempt { pool: Arc::clone(self), pick, began: Instant::now(), dialer, noted: false }
    }

    /// How long until a target that gets no connections may be tried; `None` if it gets some.
    pub fn until_trial(&self, id: MemberId) -> Option<Duration> {
        self.lock().balance.until_trial(id, Instant::now())
    }

    /// Why a target's last dial failed, and each change of that; `None` where there is no such target any more.
    pub fn trouble(&self, id: MemberId) -> Option<watch::Receiver<Option<FailureReason>>> {
        self.lock().way(id).map(|way| way.trouble.subscribe())
    }

    /// Something was found out about a target by what began then.
    pub fn note(&self, id: MemberId, finding: Finding, began: Instant) {
        self.lock().balance.note(id, finding, began, Instant::now());
    }

    /// How the targets stand, in the configuration's order.
    pub fn status(&self) -> Vec<TargetStatus> {
        self.lock().status()
    }

    /// The same, and whether any of them is well, and if none is, why: all of one instant.
    pub fn standing(&self) -> (Vec<TargetStatus>, Result<(), FailureReason>) {
        let inner = self.lock();
        (inner.status(), inner.verdict())
    }

    /// Nothing that holds this lock can panic half-way.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn status(&self) -> Vec<TargetStatus> {
        let with_ways = self.balance.standings().zip(&self.ways);
        with_ways
            .map(|(standing, way)| TargetStatus {
                target: way.dialer.target().address.to_string(),
                weight: standing.weight,
                well: standing.well,
                trouble: *way.trouble.borrow(),
                connections: standing.outstanding,
                certificate: way.dialer.certificate(),
            })
            .collect()
    }

    fn verdict(&self) -> Result<(), FailureReason> {
        let well = self.balance.standings().any(|standing| standing.well && standing.has_way);
        if well { Ok(()) } else { Err(self.trouble()) }
    }

    fn next_id(&mut self) -> MemberId {
        self.ids += 1;
        MemberId(self.ids)
    }

    fn way(&self, id: MemberId) -> Option<&Way> {
        self.ways.iter().find(|way| way.id == id)
    }

    /// Why the first target that could not be reached could not.
    fn trouble(&self) -> FailureReason {
        let trouble = self.ways.iter().find_map(|way| *way.trouble.borrow());
        trouble.unwrap_or(FailureReason::TargetUnreachable)
    }

    /// Remembers how a dial or a probe ended.
    fn tell_trouble(&self, id: MemberId, finding: Finding, outcome: Result<(), FailureReason>) {
        let Some(way) = self.way(id) else { return };
        way.trouble.send_if_modified(|trouble| {
            // That it can be reached does not make its answers better.
            let stays =
                finding == Finding::Reached && self.checked && *trouble == Some(FailureReason::WrongAnswer);
            !stays && std::mem::replace(trouble, outcome.err()) != *trouble
        });
    }
}

impl Attempt {
    /// Whose it is.
    pub fn id(&self) -> MemberId {
        self.pick.id
    }

    /// Whether another target could take the connection if this one fails.
    pub fn others(&self) -> bool {
        self.pick.others
    }

    /// Connects within `limit`, and notes what came of that.
    pub async fn dial(&mut self, limit: Duration) -> Result<TargetStream, FailureReason> {
        let dialled = self.dialer.dial(limit).await;
        let unfair = limit * FAIR_PART < self.dialer.limit();
        let finding = match &dialled {
            Ok(_) => Finding::Reached,
            Err(FailureReason::ConnectTimedOut) if unfair => Finding::Unclear,
            Err(reason) if reason.is_about_this_node() => Finding::NoWay,
            Err(_) => Finding::Missed,
        };
        self.note(finding, dialled.as_ref().map(|_| ()).map_err(|reason| *reason));
        dialled
    }

    /// This was found out.
    pub fn note(&mut self, finding: Finding, outcome: Result<(), FailureReason>) {
        let mut inner = self.pool.lock();
        // Where a probe asks, being connected is not all.
        self.noted = !(inner.checked && finding == Finding::Reached);
        inner.balance.note(self.pick.id, finding, self.began, Instant::now());
        inner.tell_trouble(self.pick.id, finding, outcome);
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if self.pick.trial && !self.noted {
            self.pool.lock().balance.untried(self.pick.id, Instant::now());
        }
    }
}

impl Place {
    /// With whom it is.
    pub fn id(&self) -> MemberId {
        self.id
    }

    /// Among whom that is.
    pub fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.pool.lock().balance.released(self.id);
    }
}
