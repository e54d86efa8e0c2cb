//! What HSDirs have been asked and have not answered yet.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::proto::publish::place::Edition;

/// How long a look at an HSDir may take: a circuit and a request on the real network.
const LOOK_LIMIT: Duration = Duration::from_secs(15);
/// How long a look may hold up the next post: as long as the first answer to a post is waited for.
const URGENT_LOOK_LIMIT: Duration = Duration::from_secs(5);
/// How long after its time an answer may still come: a hung HSDir was seen to be given up by tor after 150 s.
const LATE_ANSWERS: Duration = Duration::from_secs(150);

/// An HSDir by RSA identity.
pub(super) type RsaId = [u8; 20];

/// A post that an HSDir has not answered yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct InFlight {
    /// The time period's number.
    pub(super) period: u64,
    /// What was sent.
    pub(super) edition: Edition,
    /// Until when the answer is waited for.
    pub(super) deadline: Instant,
}

impl InFlight {
    /// Whether both would have the same effect.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        (self.period, self.edition.generation) == (other.period, other.edition.generation)
    }
}

/// All open questions.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// At most one post for each HSDir, because `UPLOADED` does not say which descriptor it is about.
    posting: BTreeMap<RsaId, InFlight>,
    /// Posts whose answer may still come, after its time; `deadline` says until when.
    late: BTreeMap<RsaId, InFlight>,
    /// Looks under way.
    looking: BTreeMap<RsaId, Look>,
}

/// A look at an HSDir that has not been answered yet.
#[derive(Debug, Clone, Copy)]
struct Look {
    /// The time period's number.
    period: u64,
    /// Until when the answer is waited for.
    deadline: Instant,
    /// The next post depends on it.
    urgent: bool,
}

/// Questions that will not be answered any more: posts, and looks with the period looked for.
pub(super) type Given = (Vec<(RsaId, InFlight)>, Vec<(RsaId, u64)>);

impl Waiting {
    /// A post is under way. A look at the same HSDir is forgotten: its failure could be taken for the post's.
    pub(super) fn post(&mut self, hsdir: RsaId, post: InFlight) {
        self.posting.insert(hsdir, post);
        self.looking.remove(&hsdir);
    }

    /// A look is under way. If it is urgent, nothing is posted to this HSDir until it is over.
    pub(super) fn look(&mut self, hsdir: RsaId, period: u64, urgent: bool, now: Instant) {
        let deadline = now + if urgent { URGENT_LOOK_LIMIT } else { LOOK_LIMIT };
        self.looking.insert(hsdir, Look { period, deadline, urgent });
    }

    /// Whether nothing may be posted to this HSDir now.
    pub(super) fn is_taken(&self, hsdir: &RsaId) -> bool {
        self.posting.contains_key(hsdir) || self.looking.get(hsdir).is_some_and(|look| look.urgent)
    }

    /// The post under way to this HSDir.
    pub(super) fn posting(&self, hsdir: &RsaId) -> Option<&InFlight> {
        self.posting.get(hsdir)
    }

    /// Whether a look at this HSDir is under way.
    pub(super) fn is_looking(&self, hsdir: &RsaId) -> bool {
        self.looking.contains_key(hsdir)
    }

    /// The HSDirs that have not answered this post.
    pub(super) fn concerned(&self, period: u64, counter: u64) -> Vec<RsaId> {
        let ours = |post: &InFlight| (post.period, post.edition.counter) == (period, counter);
        self.posting.iter().filter(|(_, post)| ours(post)).map(|(hsdir, _)| *hsdir).collect()
    }

    /// The answer to a post has come, or will not come.
    pub(super) fn take_post(&mut self, hsdir: &RsaId) -> Option<InFlight> {
        self.posting.remove(hsdir)
    }

    /// The late answer has come.
    pub(super) fn take_late(&mut self, hsdir: &RsaId) -> Option<InFlight> {
        self.late.remove(hsdir)
    }

    /// The answer to a look has come; gives the period looked for.
    pub(super) fn take_look(&mut self, hsdir: &RsaId) -> Option<u64> {
        self.looking.remove(hsdir).map(|look| look.period)
    }

    /// Everything whose time is over. Late answers to the posts are still understood for a while.
    pub(super) fn expire(&mut self, now: Instant) -> Given {
        self.late.retain(|_, post| post.deadline > now);
        let silent: Vec<_> = self.posting.extract_if(.., |_, post| post.deadline <= now).collect();
        for (hsdir, post) in &silent {
            self.late.insert(*hsdir, InFlight { deadline: now + LATE_ANSWERS, ..*post });
        }
        let looks = self.looking.extract_if(.., |_, look| look.deadline <= now);
        (silent, looks.map(|(hsdir, look)| (hsdir, look.period)).collect())
    }

    /// Everything: the tor that was asked is gone, and its answers with it.
    pub(super) fn give_up(&mut self) -> Given {
        self.late.clear();
        let looks = std::mem::take(&mut self.looking).into_iter();
        let posts = std::mem::take(&mut self.posting).into_iter().collect();
        (posts, looks.map(|(hsdir, look)| (hsdir, look.period)).collect())
    }

    /// When [`Waiting::expire`] has something to say.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let posting = self.posting.values().map(|post| post.deadline);
        posting.chain(self.looking.values().map(|look| look.deadline)).min()
    }
}
