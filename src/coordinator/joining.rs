//! Asking to be let in: what an invited node does before anything else.
//!
//! Its own core does not run yet, so that it can never take itself for a cluster of one; callers are told how far it is.

use std::time::{Duration, Instant};

use rand::RngExt;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::door::peer;
use super::plan::Asking;
use super::reach::{ReachLimits, ask};
use super::serve::Signals;
use crate::ipc::coordinator::{Checked, CoordinatorCall, CoordinatorStatus, JoinReply};
use crate::proto::cluster::memory::Memory;
use crate::proto::cluster::note::{Admission, Note, Rotation};
use crate::proto::join::answer::Welcome;
use crate::proto::join::joiner::{Joiner, JoinerAction, JoinerEvent, JoiningStatus, TryFailure};
use crate::proto::join::member::Member;
use crate::proto::join::ticket::Ticket;
use crate::sys::clock::unix_ms;
use crate::sys::notify::{Keepalive, Notice, notify};
use crate::sys::stop::until;
use crate::tor::dial::SocksDialer;

/// How long reaching the service may take: a circuit, a descriptor, an introduction and a rendezvous on the real network,
/// through a tor that may just have started. And its answer then: half a second and a slow circuit.
const LIMITS: ReachLimits = ReachLimits { dial: Duration::from_mins(1), answer: Duration::from_secs(30) };
/// How often the line in `systemctl status` is renewed.
const STATUS_EVERY: Duration = Duration::from_secs(2);
/// By how much our own note of our admission is dated later than now: the one that let us in dated its own earlier, and of
/// both the earlier one counts. Ours only has to be later than a departure of an earlier life that we may hear of first.
const NOTED_LATER: Duration = Duration::from_mins(10);

/// What must be answered while a node asks.
pub struct Front<'a> {
    /// Calls from the control socket.
    pub calls: &'a mut mpsc::Receiver<CoordinatorCall>,
    /// What the operator may want. The core hears of another configuration when it begins.
    pub signals: &'a mut Signals,
    /// The service manager's watchdog.
    pub keepalive: &'a mut Keepalive,
}

/// Asks until it is let in; gives what is to be remembered then, or `None` if it is told to stop before. `describe` is
/// what callers are told.
pub async fn join(
    asking: Asking,
    front: Front<'_>,
    describe: impl Fn(JoiningStatus) -> CoordinatorStatus,
) -> Option<Memory> {
    let (ticket, member) = (asking.config.ticket, asking.config.member.clone());
    let service = (asking.config.address.to_string(), asking.port);
    let dialer = SocksDialer::new(asking.tors, rand::rng().random());
    let mut joiner = Joiner::new(asking.config);
    let mut tries: JoinSet<JoinerEvent> = JoinSet::new();
    let dialer = std::sync::Arc::new(dialer);
    let mut status = interval(STATUS_EVERY);
    status.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tracing::info!(service = service.0, "this node was invited; asking to be let in");
    notify(&[Notice::Ready]);
    let mut event = Some(JoinerEvent::Start);
    loop {
        let actions =
            event.take().map(|event| joiner.handle(Instant::now(), unix_ms(), event)).unwrap_or_default();
        for action in actions {
            match action {
                JoinerAction::Try { request } => {
                    let (dialer, service) = (std::sync::Arc::clone(&dialer), service.clone());
                    tries.spawn(async move {
                        match ask(&dialer, (&service.0, service.1), &request, LIMITS).await {
                            Ok(answer) => JoinerEvent::Answered(answer),
                            Err(failure) => JoinerEvent::Failed(failure),
                        }
                    });
                }
                JoinerAction::Tell(news) if news.is_alarming() => tracing::warn!("{news}"),
                JoinerAction::Tell(news) => tracing::info!("{news}"),
                JoinerAction::Joined(welcome) => return Some(memory(*welcome, &ticket, member)),
            }
        }
        let now = Instant::now();
        tokio::select! {
            Some(tried) = tries.join_next() => event = Some(tried.unwrap_or_else(|error| {
                tracing::error!(%error, "asking to join panicked; this is a mistake in rustbalance");
                JoinerEvent::Failed(TryFailure::NoAnswer("this node failed".to_owned()))
            })),
            () = until(joiner.next_timeout()) => event = Some(JoinerEvent::Timer),
            Some(call) = front.calls.recv() => answer(call, || describe(joiner.status(now))),
            () = front.keepalive.ping() => {}
            _ = status.tick() => notify(&[Notice::Status(&joiner.status(now).to_string())]),
            () = front.signals.hangup.heard() => {
                notify(&[Notice::Reloading]);
                front.signals.reload.take_over();
                notify(&[Notice::Ready]);
            }
            () = front.signals.stop.wanted() => return None,
        }
    }
}

/// What a node that was let in knows from the start: how the others are reached, which tokens followed the one of its
/// invitation, and that it belongs to them.
fn memory(welcome: Welcome, ticket: &Ticket, own: Member) -> Memory {
    let Welcome { member, known_peers, rotations } = welcome;
    let own = peer(own);
    let peers: Vec<_> = std::iter::once(member).chain(known_peers).map(peer).collect();
    let later = u64::try_from(NOTED_LATER.as_millis()).unwrap_or(0);
    let admission = Admission {
        ticket: ticket.id(),
        uses: ticket.uses(),
        node: own.node.clone(),
        wireguard_key: own.wireguard_key,
        endpoint: own.endpoint,
        tunnel_address: own.tunnel_address,
        at_ms: unix_ms().saturating_add(later),
        expires_ms: ticket.expires_ms(),
    };
    let decode = |bytes: Vec<u8>| postcard::from_bytes::<Rotation>(&bytes).ok();
    let rotations = rotations.into_iter().filter_map(decode).map(Note::Rotation);
    Memory {
        peers: peers.into_iter().filter(|other| other.node != own.node).collect(),
        notes: rotations.chain([Note::Admission(admission)]).collect(),
    }
}

/// Answers a caller while this node is in no cluster.
fn answer(call: CoordinatorCall, describe: impl Fn() -> CoordinatorStatus) {
    const NOT_IN: &str = "this node is not in the cluster yet";
    match call {
        CoordinatorCall::Status(reply) => reply.answer(&describe()),
        CoordinatorCall::CheckSecret { digest: _, reply } => reply.answer(&Checked { ours: false }),
        CoordinatorCall::Join { body: _, reply } => reply.answer(&JoinReply { answer: None }),
        CoordinatorCall::Drain { wish: _, reply } | CoordinatorCall::Leave(reply) => reply.refuse(NOT_IN),
        CoordinatorCall::RotateToken(reply) => reply.refuse(NOT_IN),
    }
}
