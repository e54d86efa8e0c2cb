//! Clients that fetch pages all the time while something happens.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::client::{Fetch, fetch};
use super::control;
use super::error::LabError;
use super::screen::Screen;
use super::torrc::CONTROL;
use crate::tor::command::Signal;
use crate::tor::controller::Controller;

/// How long a client may wait for its page.
pub(super) const FETCH_LIMIT: Duration = Duration::from_secs(10);
/// A page that takes longer is noted in the lab's log with its circuit, to be looked for in the tors' logs.
const WORTH_A_NOTE: Duration = Duration::from_secs(4);
/// Pause between two fetches of one worker. Without any, two cores are busy with circuits alone.
const PAUSE: Duration = Duration::from_millis(250);
/// Tor heeds NEWNYM this often.
const NEWNYM_INTERVAL: Duration = Duration::from_secs(10);
/// Workers that share the client with cached descriptors.
const CACHED_WORKERS: usize = 3;
/// Workers besides, on the same client, of a crowd.
const STAYING_WORKERS: usize = 4;
/// So many pages a worker that stays fetches over one circuit, and so from one node.
const STAY: usize = 25;

/// How many clients there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Crowd {
    /// A few, each of which takes a new circuit, and so any node, for every page.
    Few,
    /// These, and some who stay on a circuit for a while, as users do who read page after page.
    Many,
}

/// What a client's tor remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Memory {
    /// The descriptor it once got, for as long as it works.
    Cached,
    /// Nothing: it is told to forget whenever tor heeds that.
    Fresh,
}

/// A tor that is a client.
#[derive(Clone, Debug)]
pub(super) struct ClientTor {
    /// Its SOCKS port.
    pub(super) socks: SocketAddr,
    /// Its control connection.
    pub(super) controller: Controller,
    /// What it remembers.
    pub(super) memory: Memory,
}

impl ClientTor {
    /// Connects to the tor in that directory.
    pub(super) async fn connect(
        directory: PathBuf,
        socks: SocketAddr,
        memory: Memory,
        limit: Duration,
    ) -> Result<Self, LabError> {
        let (controller, _) = control::connect(&directory.join(CONTROL), limit).await?;
        Ok(Self { socks, controller, memory })
    }

    /// Forgets descriptors and circuits, if the last time was long enough ago for tor.
    pub(super) async fn forget(&self) -> Result<(), LabError> {
        Ok(self.controller.signal(Signal::NewNym).await?)
    }
}

/// Clients at work.
#[derive(Debug)]
pub(super) struct Pool {
    workers: JoinSet<()>,
    stop: watch::Sender<bool>,
    fetches: Arc<Mutex<Vec<(Memory, Fetch)>>>,
}

impl Pool {
    /// Starts fetching, at most `budget` pages. `name` keeps this pool's circuits apart from others.
    pub(super) fn start(
        name: &str,
        clients: &[ClientTor],
        address: &str,
        budget: usize,
        crowd: Crowd,
        screen: &Screen,
    ) -> Self {
        let (stop, stopped) = watch::channel(false);
        let fetches = Arc::new(Mutex::new(Vec::new()));
        let tickets = Arc::new(AtomicUsize::new(0));
        let mut workers = JoinSet::new();
        for client in clients {
            let (moving, staying) = match client.memory {
                Memory::Fresh => (1, 0),
                Memory::Cached if crowd == Crowd::Few => (CACHED_WORKERS, 0),
                Memory::Cached => (CACHED_WORKERS, STAYING_WORKERS),
            };
            let stays = std::iter::repeat_n(1, moving).chain(std::iter::repeat_n(STAY, staying));
            for (worker, stay) in stays.enumerate() {
                let worker = Worker {
                    client: client.clone(),
                    address: address.to_owned(),
                    screen: screen.clone(),
                    name: format!("{name}-{worker}"),
                    fetches: Arc::clone(&fetches),
                    tickets: Arc::clone(&tickets),
                    budget,
                    stay,
                    stopped: stopped.clone(),
                };
                workers.spawn(worker.work());
            }
        }
        Self { workers, stop, fetches }
    }

    /// Fetches that are done.
    pub(super) fn count(&self) -> usize {
        self.fetches.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Waits for so many fetches.
    pub(super) async fn reach(&self, count: usize, limit: Duration) -> Result<(), LabError> {
        let began = Instant::now();
        while self.count() < count {
            if began.elapsed() > limit {
                return Err(LabError::TimedOut { what: format!("{count} fetches"), limit });
            }
            sleep(PAUSE).await;
        }
        Ok(())
    }

    /// Lets every worker finish the fetch it is at; all fetches, in the order of their ends.
    pub(super) async fn finish(self) -> Vec<(Memory, Fetch)> {
        let _ = self.stop.send(true);
        self.complete().await
    }

    /// Waits until the budget is used up; all fetches.
    pub(super) async fn complete(mut self) -> Vec<(Memory, Fetch)> {
        while self.workers.join_next().await.is_some() {}
        std::mem::take(&mut self.fetches.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Fetches a page after the other.
struct Worker {
    client: ClientTor,
    address: String,
    screen: Screen,
    name: String,
    fetches: Arc<Mutex<Vec<(Memory, Fetch)>>>,
    tickets: Arc<AtomicUsize>,
    budget: usize,
    /// So many pages over one circuit.
    stay: usize,
    stopped: watch::Receiver<bool>,
}

impl Worker {
    async fn work(self) {
        // What it remembers of the scene before is not fresh.
        let mut forgot = None::<Instant>;
        for page in 0.. {
            let ticket = self.tickets.fetch_add(1, Ordering::Relaxed);
            if ticket >= self.budget || *self.stopped.borrow() {
                return;
            }
            let long_ago = forgot.is_none_or(|forgot| forgot.elapsed() > NEWNYM_INTERVAL);
            if self.client.memory == Memory::Fresh && long_ago {
                forgot = Some(Instant::now());
                // Only between fetches: a descriptor that is being fetched would be forgotten half-way.
                let _ = self.client.forget().await;
            }
            let circuit = format!("{}-{}", self.name, page / self.stay);
            let fetch = fetch(self.client.socks, &self.address, &circuit, FETCH_LIMIT).await;
            self.note(&circuit, &fetch);
            let done = (self.client.memory, fetch);
            self.fetches.lock().unwrap_or_else(PoisonError::into_inner).push(done);
            sleep(PAUSE).await;
        }
    }

    /// Writes into the journal what did not go as it usually does.
    fn note(&self, circuit: &str, fetch: &Fetch) {
        let page = format!("page of circuit {circuit} ({:?})", self.client.memory);
        for (after, why) in &fetch.repeats {
            self.screen.note(&format!("{page}: asked for again after {:.2} s: {why}", after.as_secs_f64()));
        }
        if fetch.took > WORTH_A_NOTE || fetch.failure.is_some() {
            let how = fetch.failure.as_ref().map_or_else(|| "came".to_owned(), ToString::to_string);
            self.screen.note(&format!("{page}: {how}, after {:.2} s", fetch.took.as_secs_f64()));
        }
    }
}
