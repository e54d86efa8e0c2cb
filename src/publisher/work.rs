//! Doing what the core asks for: each action is a task that ends with an event.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tracing::{debug, error, warn};

use crate::proto::onion::address::HsId;
use crate::proto::onion::hsdir::HsDir;
use crate::proto::publish::collect::Reading;
use crate::proto::publish::event::{Action, Event};
use crate::proto::publish::exchange::{Launch, Post, PostId};
use crate::proto::publish::plan::Plan;
use crate::proto::publish::uplink::TorRole;
use crate::publisher::identity::Identity;
use crate::publisher::link::introduction_circuits;
use crate::sys::clock::unix_secs;
use crate::sys::exit::whole_reason;
use crate::tor::command::Signal;
use crate::tor::controller::Controller;
use crate::tor::directory;
use crate::tor::error::ControlError;

/// tor's status for a descriptor or service that it does not have.
const STATUS_NOT_THERE: u16 = 551;
/// tor's status for a relay that is not in its consensus.
const STATUS_UNKNOWN_SERVER: u16 = 552;
/// tor's status for a circuit that it does not have (any more).
const STATUS_UNKNOWN_CIRCUIT: u16 = 552;
/// The pause between closing two circuits: the DESTROY cell of the first is on its way by then. Without it, that of the second
/// would wait in tor until something else goes by the same connection (see [`crate::tor::destroys`]).
const BETWEEN_CLOSED: Duration = Duration::from_millis(100);
/// A relay's RSA identity in hexadecimal digits.
const FINGERPRINT_DIGITS: usize = 40;

/// The hands of the publisher.
#[derive(Debug)]
pub struct Workshop {
    identity: Arc<Identity>,
    serving: Option<Controller>,
    standby: Option<Controller>,
    /// Held by who closes a circuit: they are closed one after the other.
    closing: Arc<Mutex<()>>,
    /// Work under way. The core bounds it: one read of each kind, one list for each time that events were missed, one post for
    /// each HSDir.
    tasks: JoinSet<Vec<Event>>,
}

impl Workshop {
    /// Hands without tools: no tor is known yet.
    pub fn new(identity: Arc<Identity>) -> Self {
        Self { identity, serving: None, standby: None, closing: Arc::default(), tasks: JoinSet::new() }
    }

    /// From now on this connection is the one to that tor.
    pub fn equip(&mut self, role: TorRole, controller: Controller) {
        *self.tool(role) = Some(controller);
    }

    /// Begins to do all of this. Without a connection nothing happens: the core knows that it is gone, or will.
    pub fn perform(&mut self, actions: Vec<Action>) {
        let mut posts = Vec::new();
        for action in actions {
            let identity = Arc::clone(&self.identity);
            match action {
                Action::ReadOwn(ticket) => self.spawn(TorRole::Serving, async move |tor| {
                    vec![Event::OwnRead(ticket, read_own(&tor, &identity).await)]
                }),
                Action::ReadNetwork(role, ticket) => self.spawn(role, async move |tor| {
                    vec![Event::Network(role, ticket, read_network(&tor, identity).await)]
                }),
                Action::Look(role, hsdirs) => self.spawn(role, async move |tor| {
                    look(&tor, &identity, &hsdirs).await;
                    Vec::new()
                }),
                Action::Post(role, post) => posts.push((role, post)),
                Action::ListIntroCircuits => self.spawn(TorRole::Serving, async move |tor| {
                    list_intro_circuits(&tor, identity.hs_id()).await
                }),
                Action::CloseCircuit(id) => {
                    let closing = Arc::clone(&self.closing);
                    self.spawn(TorRole::Serving, async move |tor| {
                        let _turn = closing.lock().await;
                        close_circuit(&tor, &id).await;
                        sleep(BETWEEN_CLOSED).await;
                        Vec::new()
                    });
                }
            }
        }
        if let Some(role) = posts.first().map(|(role, _)| *role) {
            let identity = Arc::clone(&self.identity);
            let posts = posts.into_iter().map(|(_, post)| post).collect();
            self.spawn(role, async move |tor| post_in_order(role, &tor, &identity, posts).await);
        }
    }

    /// The next events that work has led to; never any, while there is no work. Safe to drop in a `select!`.
    pub async fn next(&mut self) -> Vec<Event> {
        match self.tasks.join_next().await {
            Some(Ok(events)) => events,
            Some(Err(error)) => {
                error!(%error, "a task panicked; this is a mistake in rustbalance");
                Vec::new()
            }
            None => std::future::pending().await,
        }
    }

    fn spawn<F>(&mut self, role: TorRole, work: impl FnOnce(Controller) -> F)
    where
        F: Future<Output = Vec<Event>> + Send + 'static,
    {
        if let Some(tor) = self.tool(role).clone() {
            self.tasks.spawn(work(tor));
        }
    }

    fn tool(&mut self, role: TorRole) -> &mut Option<Controller> {
        match role {
            TorRole::Serving => &mut self.serving,
            TorRole::Standby => &mut self.standby,
        }
    }
}

async fn read_own(tor: &Controller, identity: &Identity) -> Reading {
    let key = format!("hs/service/desc/id/{}", identity.hs_id().service_id());
    let text = match tor.getinfo(&key).await {
        Ok(text) => text,
        Err(ControlError::Refused { status: STATUS_NOT_THERE, .. }) => return Reading::Absent,
        Err(error) => {
            debug!(%error, "the own descriptor could not be read");
            return Reading::Failed;
        }
    };
    identity.open_own(&text, unix_secs()).unwrap_or_else(|error| {
        warn!(error = %whole_reason(&error), "the own descriptor could not be opened");
        Reading::Failed
    })
}

async fn read_network(tor: &Controller, identity: Arc<Identity>) -> Option<Plan> {
    // A tor without a service of its own goes dormant after a day without use, and then learns nothing.
    if let Err(error) = tor.signal(Signal::Active).await {
        debug!(%error, "tor was not kept awake");
    }
    let view = match directory::fetch(tor).await {
        Ok(view) => view,
        Err(error) => {
            debug!(error = %whole_reason(&error), "no view of the network");
            return None;
        }
    };
    let planned = tokio::task::spawn_blocking(move || identity.plan(&view)).await.ok()?;
    planned.inspect_err(|error| error!(%error, "the identity key cannot be blinded")).ok()
}

/// Builds all descriptors at once, and posts them in the order given: the one that clients fetch comes first.
async fn post_in_order(
    role: TorRole,
    tor: &Controller,
    identity: &Arc<Identity>,
    posts: Vec<Post>,
) -> Vec<Event> {
    // Signing twenty points takes some milliseconds; events must not wait for it.
    let begin = |post: Post| {
        let (identity, id) = (Arc::clone(identity), post.id());
        let hsdirs: Vec<_> = post.hsdirs.iter().map(|hsdir| hsdir.rsa_id).collect();
        (id, hsdirs, tokio::task::spawn_blocking(move || identity.build(&post, unix_secs())))
    };
    let begun: Vec<_> = posts.into_iter().map(begin).collect();
    let mut events = Vec::new();
    for (id, hsdirs, building) in begun {
        let launch = match building.await {
            Ok(Ok(descriptor)) => launch(tor, &identity.hs_id(), id, &hsdirs, &descriptor).await,
            Ok(Err(error)) => {
                error!(error = %whole_reason(&error), period = id.period, "the descriptor could not be built");
                Launch::Refused
            }
            Err(_) => Launch::NotSent,
        };
        events.push(Event::PostLaunched(role, id, launch));
    }
    events
}

async fn launch(
    tor: &Controller,
    service: &HsId,
    id: PostId,
    hsdirs: &[[u8; 20]],
    descriptor: &str,
) -> Launch {
    let PostId { period, counter } = id;
    debug!(period, counter = counter.0, bytes = descriptor.len(), hsdirs = hsdirs.len(), "posting");
    match tor.hspost(hsdirs, service, descriptor).await {
        Ok(()) => Launch::Launched,
        Err(ControlError::Refused { status: STATUS_UNKNOWN_SERVER, text, .. }) => {
            warn!(text, "tor does not know an HSDir of the consensus it gave us");
            fingerprint_in(&text).map_or(Launch::NotSent, Launch::UnknownHsDir)
        }
        Err(error @ (ControlError::Refused { .. } | ControlError::Argument { .. })) => {
            error!(%error, period, "tor refused the descriptor");
            Launch::Refused
        }
        Err(error) => {
            debug!(%error, period, "the descriptor was not posted");
            Launch::NotSent
        }
    }
}

async fn look(tor: &Controller, identity: &Identity, hsdirs: &[HsDir]) {
    let hsdirs: Vec<_> = hsdirs.iter().map(|hsdir| hsdir.rsa_id).collect();
    if let Err(error) = tor.hsfetch(&identity.hs_id(), &hsdirs).await {
        // No answers will come, which the core takes as it takes any silence.
        warn!(%error, "the descriptor could not be read back");
    }
}

async fn list_intro_circuits(tor: &Controller, service: HsId) -> Vec<Event> {
    match tor.circuits().await {
        Ok(circuits) => vec![Event::IntroCircuits(introduction_circuits(circuits, service))],
        Err(error) => {
            // Clients of a node that is drained go on coming to the old points until this tor or the node stops.
            warn!(%error, "tor did not list its circuits; if the node is drained, its introduction points stay");
            Vec::new()
        }
    }
}

async fn close_circuit(tor: &Controller, id: &str) {
    match tor.close_circuit(id).await {
        // It had gone by itself.
        Ok(()) | Err(ControlError::Refused { status: STATUS_UNKNOWN_CIRCUIT, .. }) => {}
        Err(error) => warn!(%error, "an introduction circuit was not closed"),
    }
}

/// The fingerprint in tor's words (`Server "$A0279B…" not found`).
fn fingerprint_in(text: &str) -> Option<[u8; 20]> {
    let word = text.split(|c: char| !c.is_ascii_hexdigit()).find(|word| word.len() == FINGERPRINT_DIGITS)?;
    data_encoding::HEXUPPER_PERMISSIVE.decode(word.as_bytes()).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unknown_hsdir_is_found_in_tors_words() {
        let words = r#"Server \"$A0279BD64C35DBBC0EBB9F9F6CDAF327AEA18A96\" not found"#;
        assert_eq!(fingerprint_in(words).unwrap()[..3], [0xa0, 0x27, 0x9b]);
        assert_eq!(
            fingerprint_in("Server A0279BD64C35DBBC0EBB9F9F6CDAF327AEA18A96 not found").unwrap()[19],
            0x96
        );
        assert_eq!(fingerprint_in("No such server"), None);
    }
}
