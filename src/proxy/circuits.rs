//! Which circuit a client comes over, and whether that asks for too much.
//!
//! The proxy has no say over tor: circuits that are to be closed stand in its status, and the watchdog, which speaks with
//! tor anyway, closes them.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{sleep, timeout};

use crate::ipc::proxy::FailureReason;
use crate::proto::circuit::limiter::{CircuitLimits, Limiter, Verdict};
use crate::proto::circuit::line::{self, CircuitId, Line, MAX_LINE_BYTES};
use crate::tor::stream::Stream;

/// How long tor may take to say which circuit it is. It says so before anything else, in one piece.
const LINE_LIMIT: Duration = Duration::from_secs(5);
/// Before half a line is looked at again.
const PIECE: Duration = Duration::from_millis(10);
/// Circuits that are to be closed and are told at once: more wait for the next ones to be told.
const MOST_TOLD: usize = 16;
/// How long each of them is told: the watchdog asks every two seconds.
const TOLD_FOR: Duration = Duration::from_secs(10);

/// Clients who are told at the same time that their circuit asks for too much, which takes seconds with one who does not
/// listen; more of them just lose their connection. Or one that floods would have all places of the proxy.
const MOST_ANSWERED: usize = 32;

/// The circuits that clients come over.
#[derive(Debug)]
pub struct Circuits {
    limiter: Mutex<Limiter>,
    /// Those that are to be closed, and since when they are told.
    abusive: Mutex<VecDeque<(CircuitId, Instant)>>,
    /// Requests and connections that were refused.
    refused: AtomicU64,
    /// Places for those who are told so.
    answered: Semaphore,
}

/// A connection's place among those of its circuit.
#[derive(Debug)]
pub struct Seat {
    circuits: Arc<Circuits>,
    id: CircuitId,
    /// The first request came with the connection, and was counted with it.
    asked: AtomicBool,
}

impl Circuits {
    /// Nobody has come yet.
    pub fn new(limits: CircuitLimits) -> Self {
        Self {
            limiter: Mutex::new(Limiter::new(limits)),
            abusive: Mutex::default(),
            refused: AtomicU64::new(0),
            answered: Semaphore::new(MOST_ANSWERED),
        }
    }

    /// Other limits, from now on.
    pub fn limit(&self, limits: CircuitLimits) {
        self.limiter().limit(limits);
    }

    /// Hears from tor which circuit a new connection comes over, and gives it a place.
    pub async fn seat(self: &Arc<Self>, client: &mut Stream) -> Result<Arc<Seat>, FailureReason> {
        let id = timeout(LINE_LIMIT, hear(client)).await.ok().flatten().ok_or(FailureReason::NoCircuit)?;
        let verdict = self.limiter().begin(Instant::now(), id);
        self.judged(id, verdict)?;
        Ok(Arc::new(Seat { circuits: Arc::clone(self), id, asked: AtomicBool::new(false) }))
    }

    /// A place for a client who is told that it was too much, as long as the result lives.
    pub fn may_answer(&self) -> Option<SemaphorePermit<'_>> {
        self.answered.try_acquire().ok()
    }

    /// How many requests and connections were refused.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Circuits that are to be closed.
    pub fn abusive(&self) -> Vec<u32> {
        let mut abusive = self.abusive.lock().unwrap_or_else(PoisonError::into_inner);
        while abusive.front().is_some_and(|(_, since)| since.elapsed() > TOLD_FOR) {
            abusive.pop_front();
        }
        abusive.iter().map(|(CircuitId(number), _)| *number).collect()
    }

    fn judged(&self, id: CircuitId, verdict: Verdict) -> Result<(), FailureReason> {
        match verdict {
            Verdict::Pass => return Ok(()),
            Verdict::Refuse => {}
            Verdict::Close => {
                let mut abusive = self.abusive.lock().unwrap_or_else(PoisonError::into_inner);
                abusive.retain(|(told, _)| *told != id);
                if abusive.len() == MOST_TOLD {
                    abusive.pop_front();
                }
                abusive.push_back((id, Instant::now()));
            }
        }
        self.refused.fetch_add(1, Ordering::Relaxed);
        Err(FailureReason::OverLimit)
    }

    fn limiter(&self) -> MutexGuard<'_, Limiter> {
        self.limiter.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// Whether one more request may be carried over this connection.
    pub fn may_ask(&self) -> bool {
        if !self.asked.swap(true, Ordering::Relaxed) {
            return true;
        }
        let verdict = self.circuits.limiter().request(Instant::now(), self.id);
        self.circuits.judged(self.id, verdict).is_ok()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.circuits.limiter().end(self.id);
    }
}

/// Takes tor's line from the beginning of a connection, and not a byte more; `None` if something else is there.
async fn hear(client: &mut Stream) -> Option<CircuitId> {
    let mut seen = [0; MAX_LINE_BYTES];
    loop {
        let length = client.peek(&mut seen).await.ok().filter(|length| *length > 0)?;
        match line::read(&seen[..length]) {
            Line::Whole(id, length) => {
                client.read_exact(&mut seen[..length]).await.ok()?;
                return Some(id);
            }
            Line::More => sleep(PIECE).await,
            Line::Other => return None,
        }
    }
}
