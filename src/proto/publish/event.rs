//! What the publisher's mind hears, and what it has done.

use std::time::Duration;

use crate::proto::onion::blinding::HsBlindId;
use crate::proto::onion::counter::RevisionCounter;
use crate::proto::onion::hsdir::HsDir;
use crate::proto::publish::collect::Reading;
use crate::proto::publish::exchange::{HsDirAnswer, Launch, Post, PostId};
use crate::proto::publish::intro_circuit::{IntroCircuit, IntroCircuits};
use crate::proto::publish::order::Order;
use crate::proto::publish::plan::Plan;
use crate::proto::publish::uplink::TorRole;

/// What happens to the publisher.
#[derive(Debug)]
pub enum Event {
    /// A control connection is up and events are subscribed to.
    TorUp(TorRole),
    /// A control connection is gone.
    TorDown(TorRole),
    /// The tor has a new consensus.
    NewConsensus(TorRole),
    /// Events of this tor were lost: everything must be read anew.
    EventsMissed(TorRole),
    /// The answer to [`Action::ReadNetwork`] with the same ticket; `None` if it could not be read.
    Network(TorRole, u64, Option<Plan>),
    /// `HS_DESC CREATED` for our address, at the serving tor.
    Created,
    /// An introduction circuit of our service was established, at the serving tor.
    IntroEstablished(IntroCircuit),
    /// An established introduction circuit of our service closed, at the serving tor.
    IntroClosed(IntroCircuit),
    /// The serving tor is building an introduction circuit of our service.
    IntroBuilding(IntroCircuit),
    /// The answer to [`Action::ListIntroCircuits`].
    IntroCircuits(IntroCircuits),
    /// The answer to [`Action::ReadOwn`] with the same ticket.
    OwnRead(u64, Reading),
    /// What became of an [`Action::Post`].
    PostLaunched(TorRole, PostId, Launch),
    /// An HSDir's answer, by this tor.
    Answer(TorRole, [u8; 20], Option<HsBlindId>, HsDirAnswer),
    /// A descriptor read back from an HSDir, its signature checked, by this tor.
    ReadBack(TorRole, [u8; 20], HsBlindId, RevisionCounter),
    /// The coordinator's word; `None` stands down.
    Order(Option<Order>),
    /// The coordinator wants this node's introduction points given up (`true`), or back.
    Mute(bool),
    /// Nobody watches this publisher any more, so the coordinator does not either.
    CoordinatorAway,
    /// Somebody watches.
    CoordinatorBack,
    /// The operator wishes another pace.
    Pace(Pace),
    /// The time that [`Publication::next_timeout`](crate::proto::publish::publication::Publication::next_timeout) gave has come.
    Timeout,
}

/// What to do. Each is answered by an event; an answer that never comes does no harm.
#[derive(Debug)]
pub enum Action {
    /// Read the service's own descriptor from the serving tor.
    ReadOwn(u64),
    /// Read consensus and microdescriptors from this tor, and make a [`Plan`] of them.
    ReadNetwork(TorRole, u64),
    /// Build, sign, and upload through this tor.
    Post(TorRole, Post),
    /// Read back from these HSDirs through this tor.
    Look(TorRole, Vec<HsDir>),
    /// List the introduction circuits that the serving tor has for our service.
    ListIntroCircuits,
    /// Close this circuit of the serving tor.
    CloseCircuit(String),
}

/// How often things are done although nothing happened.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Renewing both descriptors.
    pub refresh: Duration,
    /// Reading the own descriptor.
    pub poll: Duration,
}
