//! What the schedule is told, and what it asks for.

use std::sync::Arc;

use crate::proto::onion::blinding::{HsBlindId, HsBlindKeypair};
use crate::proto::onion::counter::RevisionCounter;
use crate::proto::onion::descriptor::capabilities::Capabilities;
use crate::proto::onion::descriptor::intro_point::IntroPoint;
use crate::proto::onion::hsdir::HsDir;
use crate::proto::onion::period::TimePeriod;
use crate::proto::publish::order::Candidate;
use crate::proto::publish::plan::Plan;

/// What to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Material {
    /// The lease under which this is published. Under a new one everything is posted anew: others may have published.
    pub epoch: u64,
    /// The nodes and their points, the own node's freshest ones among them.
    pub candidates: Vec<Candidate>,
    /// What the descriptor says besides points.
    pub capabilities: Capabilities,
}

/// What happens to the schedule.
#[derive(Debug)]
pub enum ScheduleEvent {
    /// The uploading tor is there and this is its view; also when a new consensus comes.
    Plan(Plan),
    /// The uploading tor is gone, or another one takes over: answers of the old one will not come.
    UploaderLost,
    /// What to publish from now on, and counters that others have used; `None` stands down.
    Material(Option<Material>, Vec<(u64, u64)>),
    /// What became of a [`Post`], if it is known.
    PostLaunched(PostId, Launch),
    /// An answer from an HSDir (its RSA identity), with the blinded key if the answer names it.
    Answer([u8; 20], Option<HsBlindId>, HsDirAnswer),
    /// A descriptor was read back from an HSDir: its blinded key and counter, the signature checked.
    ReadBack([u8; 20], HsBlindId, RevisionCounter),
    /// The time that the schedule gave as its next timeout has come.
    Timeout,
}

/// What to do.
#[derive(Debug)]
pub enum ScheduleAction {
    /// Build, sign and upload; answer with [`ScheduleEvent::PostLaunched`], then with each HSDir's answer.
    Post(Post),
    /// Read back from these HSDirs the descriptor that clients fetch.
    Look(Vec<HsDir>),
    /// Somebody else has posted a descriptor newer than ours.
    MetAnotherPublisher,
}

/// One descriptor to be uploaded to some HSDirs.
#[derive(Debug, Clone)]
pub struct Post {
    /// Its period.
    pub period: TimePeriod,
    /// The keys of that period.
    pub keys: Arc<HsBlindKeypair>,
    /// Its revision counter.
    pub counter: RevisionCounter,
    /// The introduction points, in this order; at least one, at most 20, no relay twice.
    pub points: Vec<IntroPoint>,
    /// What it says besides points.
    pub capabilities: Capabilities,
    /// Where to.
    pub hsdirs: Vec<HsDir>,
}

impl Post {
    /// Its name.
    pub fn id(&self) -> PostId {
        PostId { period: self.period.num, counter: self.counter }
    }
}

/// Names one [`Post`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PostId {
    /// The time period's number.
    pub period: u64,
    /// The revision counter; no two posts of a period share one.
    pub counter: RevisionCounter,
}

/// What the own tor said to a post.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Launch {
    /// The uploads are on their way; the HSDirs answer one by one.
    Launched,
    /// tor knows no relay of this RSA identity, and launched nothing.
    UnknownHsDir([u8; 20]),
    /// tor refused the descriptor, or it could not be built.
    Refused,
    /// The command did not get through.
    NotSent,
}

/// How an HSDir answered, or what came of asking it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HsDirAnswer {
    /// A post was accepted.
    Uploaded,
    /// A post was rejected.
    Rejected,
    /// It has no descriptor.
    NotFound,
    /// It gave a descriptor that our tor, or we, cannot read.
    Unreadable,
    /// Something else went wrong, with a post or a look.
    Failed,
}
