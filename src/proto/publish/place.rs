//! One descriptor at one responsible HSDir: what it stores, and when to post there or to look again.

use std::time::{Duration, Instant};

use crate::proto::publish::report::Answers;

/// How long the first answer to a post is waited for. tor says nothing at all when the circuit or the HSDir fails,
/// so this is the only way to notice; it takes 0.1–0.3 s on loopback and a few seconds on the real network.
const ANSWER_FIRST: Duration = Duration::from_secs(5);
/// How long an answer is waited for after failures: a slow HSDir must have a chance to answer at last.
const ANSWER_MAX: Duration = Duration::from_secs(20);
/// The pause after the first failure.
const RETRY_FIRST: Duration = Duration::from_millis(500);
/// The longest pause. Together with [`ANSWER_MAX`] it is below a minute, within which an HSDir that comes back gets its
/// descriptor.
const RETRY_MAX: Duration = Duration::from_secs(35);
/// When to read back what was accepted. Not at once, so that reading does not get in the way of a burst of changes.
const LOOK_AFTER_POST: Duration = Duration::from_secs(1);
/// How often to read back in quiet times (R4.6). HSDirs forget at a restart, and shall have the descriptor again within a
/// minute; each look costs tor a circuit, as each client does.
const LOOK_INTERVAL: Duration = Duration::from_secs(45);
/// How soon to read back what somebody else has overwritten: whoever does that, in a partition, may die unseen, and its
/// dead points would stay until the next look.
const LOOK_CONTESTED: Duration = Duration::from_secs(15);
/// After so many failures a newer descriptor of somebody else is no longer answered at once, but after the pause that
/// is due: two publishers (a partition) must not chase each other.
const NEWER_AT_ONCE: u32 = 2;
/// The pause after the first look without an outcome.
const LOOK_RETRY_FIRST: Duration = Duration::from_secs(5);

/// A descriptor as it was sent: which content, under which counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Edition {
    /// The generation of the content.
    pub(super) generation: u64,
    /// The revision counter.
    pub(super) counter: u64,
}

/// What a look at the HSDir showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finding {
    /// What was accepted last, or sent last.
    Ours,
    /// Something older.
    Older,
    /// Something with a higher counter than anything that was sent there: another publisher's.
    Foreign,
    /// Something, where nothing was sent: another publisher's, or this one's from before it was restarted.
    Unknown,
}

/// One descriptor at one HSDir.
#[derive(Debug, Default)]
pub(super) struct Place {
    /// What it stores, as far as is known.
    pub(super) held: Option<Edition>,
    /// When it accepted that, Unix seconds.
    pub(super) accepted_at: Option<u64>,
    /// When that was last read back, Unix seconds.
    pub(super) read_back_at: Option<u64>,
    /// Failures since the last success.
    pub(super) failures: u32,
    /// All answers.
    pub(super) answers: Answers,
    /// Our tor does not know the relay.
    pub(super) unknown: bool,
    /// What was sent last.
    sent: Option<Edition>,
    /// What was sent last was rejected: whatever has its counter is another publisher's.
    rejected: bool,
    /// No post before this time.
    not_before: Option<Instant>,
    /// Post again at this time even if the content is still the same: an answer was ambiguous.
    repeat_at: Option<Instant>,
    /// Read back at this time.
    look_at: Option<Instant>,
    /// The next post depends on what will be read back.
    urgent: bool,
    look_failures: u32,
}

impl Place {
    /// Whether it holds this content.
    pub(super) fn holds(&self, generation: u64) -> bool {
        self.held.is_some_and(|held| held.generation == generation)
    }

    /// When a post of this content is due; `None` if none is needed.
    pub(super) fn post_at(&self, generation: u64, now: Instant) -> Option<Instant> {
        if self.unknown {
            return None;
        }
        let wanted = if self.holds(generation) { self.repeat_at? } else { now };
        Some(self.not_before.map_or(wanted, |not_before| wanted.max(not_before)))
    }

    /// When to read it back.
    pub(super) fn look_at(&self) -> Option<Instant> {
        self.look_at
    }

    /// Whether the next post depends on reading it back.
    pub(super) fn is_urgent(&self) -> bool {
        self.urgent
    }

    /// A post goes out; the answer is waited for until the time returned.
    pub(super) fn sending(&mut self, edition: Edition, now: Instant) -> Instant {
        self.sent = Some(edition);
        self.rejected = false;
        self.repeat_at = None;
        now + doubled(ANSWER_FIRST, self.failures, ANSWER_MAX)
    }

    /// The content is new, or the way to the HSDir is: what failed before is worth an attempt at once.
    pub(super) fn try_at_once(&mut self) {
        self.not_before = None;
    }

    /// It accepted a post. `readable`: this slot can be read back, so only that counts as a full success; an HSDir
    /// that accepts and forgets is then retried ever more slowly.
    pub(super) fn accepted(&mut self, edition: Edition, readable: bool, now: Instant, unix_secs: u64) {
        self.held = Some(edition);
        self.accepted_at = Some(unix_secs);
        self.read_back_at = None;
        self.not_before = None;
        self.answers.accepted = self.answers.accepted.saturating_add(1);
        if readable {
            self.look_at = Some(now + LOOK_AFTER_POST);
            self.urgent = false;
        } else {
            self.failures = 0;
        }
    }

    /// The acceptance may have been that of an older post: post again later, to be sure.
    pub(super) fn repeat(&mut self, at: Instant) {
        self.repeat_at = Some(at);
    }

    /// It rejected a post. `readable`: look now what it has.
    pub(super) fn rejected(&mut self, readable: bool, now: Instant) {
        self.answers.rejected = self.answers.rejected.saturating_add(1);
        self.rejected = true;
        self.pause(now);
        if readable {
            self.look_at = Some(now);
            self.urgent = true;
        }
    }

    /// A post failed on the way.
    pub(super) fn failed(&mut self, now: Instant) {
        self.answers.failed = self.answers.failed.saturating_add(1);
        self.pause(now);
    }

    /// No answer came in time.
    pub(super) fn silent(&mut self, now: Instant) {
        self.answers.silent = self.answers.silent.saturating_add(1);
        self.pause(now);
    }

    /// What it accepted can be read back from now on: clients have begun to fetch this descriptor.
    pub(super) fn begin_looking(&mut self, now: Instant) {
        if self.held.is_some() && self.look_at.is_none() {
            self.look_at = Some(now + LOOK_AFTER_POST);
        }
    }

    /// Reading back begins; the answer's own events plan the next one, or [`Place::look_failed`] does.
    pub(super) fn looking(&mut self) {
        self.look_at = None;
        self.urgent = false;
    }

    /// A descriptor with this counter was read back.
    pub(super) fn found(&mut self, counter: u64, now: Instant, unix_secs: u64) -> Finding {
        self.look_failures = 0;
        self.look_at = Some(now + LOOK_INTERVAL);
        // Two publishers that post in the same second use the same counter, and the HSDir takes the first: what was
        // rejected is not what is there.
        let sent = self.sent.filter(|_| !self.rejected);
        let known = [self.held, sent].into_iter().flatten().find(|edition| edition.counter == counter);
        if let Some(edition) = known {
            if self.held != known {
                // An acceptance whose answer was lost.
                self.held = Some(edition);
                self.accepted_at = Some(unix_secs);
            }
            self.read_back_at = Some(unix_secs);
            // To still have what it accepted before is no success of a post that failed since: without its pause, an
            // HSDir that rejects everything would be posted to as fast as it answers.
            if self.sent.is_none_or(|sent| sent.counter == counter) {
                self.failures = 0;
                self.not_before = None;
            }
            return Finding::Ours;
        }
        let newest = [self.held, self.sent].into_iter().flatten().map(|edition| edition.counter).max();
        self.lose(now);
        if newest.is_some_and(|newest| counter < newest) {
            return Finding::Older;
        }
        self.look_at = Some(now + LOOK_CONTESTED);
        if self.failures <= NEWER_AT_ONCE {
            self.not_before = None;
        }
        if newest.is_some() { Finding::Foreign } else { Finding::Unknown }
    }

    /// It has no descriptor of ours.
    pub(super) fn missing(&mut self, now: Instant) {
        self.look_failures = 0;
        self.look_at = Some(now + LOOK_INTERVAL);
        self.lose(now);
    }

    /// Nothing was learned from the look.
    pub(super) fn look_failed(&mut self, now: Instant) {
        self.look_at = Some(now + doubled(LOOK_RETRY_FIRST, self.look_failures, LOOK_INTERVAL));
        self.look_failures = self.look_failures.saturating_add(1);
    }

    fn lose(&mut self, now: Instant) {
        if self.held.take().is_some() {
            self.answers.lost = self.answers.lost.saturating_add(1);
            self.pause(now);
        }
        self.accepted_at = None;
        self.read_back_at = None;
    }

    fn pause(&mut self, now: Instant) {
        self.not_before = Some(now + doubled(RETRY_FIRST, self.failures, RETRY_MAX));
        self.failures = self.failures.saturating_add(1);
    }
}

/// `first`, doubled `times` times, at most `max`.
fn doubled(first: Duration, times: u32, max: Duration) -> Duration {
    first.saturating_mul(1u32.checked_shl(times).unwrap_or(u32::MAX)).min(max)
}
