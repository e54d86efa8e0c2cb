//! The targets: which of them the next connection goes to, and what is known of each.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::dial::Dialer;
use crate::ipc::proxy::{FailureReason, TargetStatus};
use crate::proto::balance::core::Balance;
use crate::proto::balance::member::{Limits, MemberId};

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
}

/// The way to one target.
#[derive(Debug)]
struct Way {
    id: MemberId,
    dialer: Arc<Dialer>,
    /// Why the last dial failed, if it did.
    trouble: watch::Sender<Option<FailureReason>>,
}

/// A connection's place with a target: taken before the target is dialled, given back when this is dropped.
#[derive(Debug)]
pub struct Seat {
    pool: Arc<Pool>,
    id: MemberId,
    /// The way to the target.
    pub dialer: Arc<Dialer>,
    /// Whether another target could take the connection if this one fails.
    pub others: bool,
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
        inner.balance.arrange(limits, &members);
    }

    /// A place for one more connection, with none of the targets that have failed it. Where nobody can be tried now: why.
    pub fn seat(self: &Arc<Self>, failed: &[MemberId]) -> Result<Seat, FailureReason> {
        let mut inner = self.lock();
        let pick = inner.balance.pick(failed, Instant::now());
        let way = pick.and_then(|pick| Some((pick, inner.way(pick.id)?)));
        let (pick, way) = way.ok_or_else(|| inner.trouble())?;
        Ok(Seat { pool: Arc::clone(self), id: pick.id, dialer: Arc::clone(&way.dialer), others: pick.others })
    }

    /// All targets.
    pub fn ids(&self) -> Vec<MemberId> {
        self.lock().ways.iter().map(|way| way.id).collect()
    }

    /// The way to a target that may be tried although nobody asks for it.
    pub fn trial(&self, id: MemberId) -> Option<Arc<Dialer>> {
        let mut inner = self.lock();
        let may = inner.balance.may_try(id, Instant::now());
        inner.way(id).filter(|_| may).map(|way| Arc::clone(&way.dialer))
    }

    /// How long until a target that gets no connections may be tried; `None` if it gets some.
    pub fn until_trial(&self, id: MemberId) -> Option<Duration> {
        self.lock().balance.until_trial(id, Instant::now())
    }

    /// Why a target's last dial failed, and each change of that; `None` where there is no such target any more.
    pub fn trouble(&self, id: MemberId) -> Option<watch::Receiver<Option<FailureReason>>> {
        self.lock().way(id).map(|way| way.trouble.subscribe())
    }

    /// A dial has ended so.
    pub fn note(&self, id: MemberId, outcome: Result<(), FailureReason>) {
        let mut inner = self.lock();
        match outcome {
            Ok(()) => inner.balance.succeeded(id, Instant::now()),
            Err(_) => inner.balance.failed(id, Instant::now()),
        }
        if let Some(way) = inner.way(id) {
            way.trouble.send_if_modified(|trouble| std::mem::replace(trouble, outcome.err()) != *trouble);
        }
    }

    /// Whether any target is well, and if none is, why.
    pub fn verdict(&self) -> Result<(), FailureReason> {
        let inner = self.lock();
        if inner.balance.standings().any(|standing| standing.well) { Ok(()) } else { Err(inner.trouble()) }
    }

    /// How the targets stand, in the configuration's order.
    pub fn status(&self) -> Vec<TargetStatus> {
        let inner = self.lock();
        let with_ways = inner.balance.standings().zip(&inner.ways);
        with_ways
            .map(|(standing, way)| TargetStatus {
                target: way.dialer.target().address.to_string(),
                weight: standing.weight,
                well: standing.well,
                trouble: *way.trouble.borrow(),
                connections: standing.outstanding,
            })
            .collect()
    }

    /// Nothing that holds this lock can panic half-way.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
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
}

impl Seat {
    /// Whose it is.
    pub fn id(&self) -> MemberId {
        self.id
    }

    /// The dial to this target has ended so.
    pub fn note(&self, outcome: Result<(), FailureReason>) {
        self.pool.note(self.id, outcome);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.pool.lock().balance.released(self.id);
    }
}
