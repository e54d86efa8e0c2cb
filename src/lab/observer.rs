//! An independent observer: reads the descriptor back from every responsible HSDir, as no daemon of ours can
//! pretend.
//!
//! It has a tor of its own, whose consensus gives the ring, and fetches from each HSDir by name, which passes
//! over every cache.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::control::{self, Held};
use super::error::LabError;
use super::torrc::CONTROL;
use crate::proto::onion::address::HsId;
use crate::proto::onion::hsdir::HsDir;
use crate::proto::onion::network::NetworkView;
use crate::proto::onion::ring::Ring;
use crate::sys::clock::unix_secs;
use crate::tor::controller::Controller;
use crate::tor::directory::{self, DirectoryError};
use crate::tor::event::{EventKind, TorEvent};

/// How long an HSDir may take to answer. It takes a tenth of a second; one that does not answer is asked again.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);
/// Between two attempts at something that is about to be ready.
const POLL: Duration = Duration::from_millis(100);

/// What every responsible HSDir holds: nothing where it has no descriptor, or none that a client could use.
pub(super) type Copies = BTreeMap<HsDir, Option<Held>>;

/// The observer.
#[derive(Debug)]
pub(super) struct Observer {
    controller: Controller,
    events: mpsc::Receiver<TorEvent>,
    service: HsId,
    /// The consensus that was read last, with tor's name for its time.
    view: Option<(String, NetworkView)>,
}

impl Observer {
    /// Connects to the observer's tor and waits until it knows the network.
    pub(super) async fn connect(directory: &Path, service: HsId, limit: Duration) -> Result<Self, LabError> {
        let (controller, events) = control::connect(&directory.join(CONTROL), limit).await?;
        controller.setevents(&[EventKind::HsDesc, EventKind::HsDescContent]).await?;
        let mut this = Self { controller, events, service, view: None };
        let what = "the observer's tor learning about the network".to_owned();
        timeout(limit, this.refresh()).await.map_err(|_| LabError::TimedOut { what, limit })??;
        Ok(this)
    }

    /// The consensus of this moment, once there is one.
    async fn refresh(&mut self) -> Result<&NetworkView, LabError> {
        let view = loop {
            let time = self.controller.getinfo("consensus/valid-after").await.unwrap_or_default();
            if let Some(known) = self.view.take().filter(|(known, _)| *known == time) {
                break known;
            }
            match directory::fetch(&self.controller).await {
                Ok(view) => break (time, view),
                Err(DirectoryError::Control(error)) if self.controller.closed().is_some() => {
                    return Err(error.into());
                }
                // It changes just now, or is not complete yet.
                Err(_) => sleep(POLL).await,
            }
        };
        Ok(&self.view.insert(view).1)
    }

    /// Reads the descriptor that clients fetch now back from every HSDir that must have it.
    pub(super) async fn read(&mut self) -> Result<Copies, LabError> {
        let deadline = Instant::now() + ANSWER_LIMIT;
        self.read_until(deadline, |_| true).await
    }

    /// Reads it back from each of them, again and again from those whose copy is not as `wanted`, until all are
    /// or the time is up. What each held last.
    ///
    /// Each HSDir is asked again as soon as it has answered, whatever the others do: a round over all of them would
    /// see a change only after the slowest.
    pub(super) async fn read_until(
        &mut self,
        deadline: Instant,
        wanted: impl Fn(&Held) -> bool,
    ) -> Result<Copies, LabError> {
        let service = self.service;
        let responsible = responsible(self.refresh().await?, &service)?;
        // Answers that came too late last time.
        while self.events.try_recv().is_ok() {}
        let mut copies: Copies = responsible.iter().map(|hsdir| (*hsdir, None)).collect();
        let mut waiting: BTreeMap<_, _> = responsible.iter().map(|hsdir| (hsdir.rsa_id, *hsdir)).collect();
        let all: Vec<_> = waiting.keys().copied().collect();
        self.controller.hsfetch(&service, &all).await?;
        while !waiting.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            let silence = left.min(ANSWER_LIMIT);
            let event = timeout(silence, self.events.recv()).await;
            if Instant::now() >= deadline {
                break;
            }
            match event {
                Ok(Some(TorEvent::HsDescContent(content))) => {
                    // Tor may go on to other HSDirs by itself after one had nothing: those were not asked for.
                    let asked = content.fingerprint.and_then(|id| Some((id, *waiting.get(&id)?)));
                    let Some((id, hsdir)) = asked else { continue };
                    let held = control::open(&content.text, &service);
                    if held.as_ref().is_some_and(&wanted) {
                        waiting.remove(&id);
                    } else {
                        self.controller.hsfetch(&service, &[id]).await?;
                    }
                    copies.insert(hsdir, held);
                }
                Ok(Some(_)) => {}
                Ok(None) => return Err(LabError::ObserverLost),
                Err(_) => {
                    let silent: Vec<_> = waiting.keys().copied().collect();
                    self.controller.hsfetch(&service, &silent).await?;
                }
            }
        }
        Ok(copies)
    }

    /// How long until time period or shared random value change next: they take turns.
    pub(super) async fn until_boundary(&mut self) -> Result<Duration, LabError> {
        let half = self.half_period().await?.as_secs();
        Ok(Duration::from_secs(half - unix_secs() % half))
    }

    /// How long until the shared random value changes next: at every other of these changes.
    pub(super) async fn until_new_value(&mut self) -> Result<Duration, LabError> {
        let period = 2 * self.half_period().await?.as_secs();
        Ok(Duration::from_secs(period - unix_secs() % period))
    }

    /// How long it is from one of these changes to the next.
    pub(super) async fn half_period(&mut self) -> Result<Duration, LabError> {
        Ok(Duration::from_secs(self.refresh().await?.rotation_offset_secs.max(1)))
    }
}

/// The HSDirs on which clients look for the service.
fn responsible(view: &NetworkView, service: &HsId) -> Result<Vec<HsDir>, LabError> {
    let [first, second] = view.slots();
    let slot = if first.client_fetches { first } else { second };
    let blinded = service.blind(slot.period).map_err(|_| LabError::Address)?;
    Ok(Ring::new(view, &slot).responsible(&blinded).concat())
}
