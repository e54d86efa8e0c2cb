//! This node's own introduction points: when to read them from the serving tor, and what the answer means.
//!
//! tor's answer is a snapshot of the last time it refreshed the descriptor, and no event announces a refresh.
//! But every refresh has a cause that is announced: a descriptor is created (start, rotation), an introduction
//! circuit closes, an introduction circuit is established. So: read at once on the first two, because at a
//! rotation the answer has changed in that very millisecond; read shortly after all of them, because tor
//! refreshes in a one-second rhythm once all circuits are up; and read now and then in any case.
//!
//! A closed circuit is built again to the same relay with the same keys (0.4 s), and the text of the answer
//! differs each time. Hence only a different set of *auth keys* is a change. Losing the control connection
//! means that tor died (8 ms after a kill): the points are gone at once, before anyone can time out.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use crate::proto::onion::descriptor::capabilities::Capabilities;
use crate::proto::onion::descriptor::intro_point::IntroPoint;

/// When to read again after a circuit closed or a descriptor was created. tor refreshes a descriptor at the
/// next beat of its one-second timer after the last missing circuit is up, and rebuilding takes 0.4 s on
/// loopback, a few seconds on the real network.
const AFTER_LOSS: [Duration; 4] = [
    Duration::from_millis(300),
    Duration::from_millis(1200),
    Duration::from_millis(2500),
    Duration::from_secs(5),
];

/// When to read after a circuit was established: just after, and after the next beats of tor's timer.
const AFTER_GAIN: [Duration; 3] =
    [Duration::from_millis(100), Duration::from_millis(1200), Duration::from_millis(2500)];

/// The poll while there is nothing to publish (start-up), or after a read that failed.
const POLL_WITHOUT_POINTS: Duration = Duration::from_secs(1);

/// When an answer is no longer waited for. A command waits its turn behind a whole consensus at most.
const READ_LIMIT: Duration = Duration::from_mins(2);

/// What happens at the serving tor.
#[derive(Debug, Clone)]
pub enum CollectEvent {
    /// The control connection is up, and events are subscribed to.
    Connected,
    /// The control connection is gone.
    Lost,
    /// `HS_DESC CREATED` for our address.
    Created,
    /// An introduction circuit of our service became `HSSI_ESTABLISHED`.
    IntroEstablished,
    /// An established introduction circuit of our service closed or failed.
    IntroClosed,
    /// The answer to [`CollectAction::Read`] with the same ticket.
    Read(u64, Reading),
    /// A time given by [`Collect::next_timeout`] has come.
    Timeout,
}

/// What a read of the own descriptor brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading {
    /// The descriptor was opened. No points: tor has not refreshed it for the first time. At last: until when its
    /// certificates last, in Unix seconds.
    Points(Vec<IntroPoint>, Capabilities, u64),
    /// tor has no such service, or no descriptor of it.
    Absent,
    /// No answer, or one that could not be opened: nothing is known, the points found before stay.
    Failed,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CollectAction {
    /// Read the own descriptor and answer with [`CollectEvent::Read`] and this ticket.
    Read(u64),
    /// [`Collect::points`] or [`Collect::capabilities`] changed.
    Changed,
}

/// The state of the collection. Empty and idle until [`CollectEvent::Connected`].
#[derive(Debug, Default)]
pub struct Collect {
    connected: bool,
    points: Vec<IntroPoint>,
    capabilities: Option<Capabilities>,
    certified_until: Option<u64>,
    /// Ticket of the read under way, and until when it is waited for; answers to older tickets come from a connection that is gone.
    reading: Option<(u64, Instant)>,
    tickets: u64,
    read_again: bool,
    /// Times of the reads to come, ascending; at most one more than the longest list above.
    follow_up: VecDeque<Instant>,
    poll_at: Option<Instant>,
    failures: u32,
    /// The safety poll: nothing should be found by it.
    poll: Duration,
}

impl Collect {
    /// Knows nothing. `poll` is how often to read although nothing happened; an answer costs tor about a millisecond.
    pub fn new(poll: Duration) -> Self {
        Self { poll, ..Self::default() }
    }

    /// Reads so often from now on although nothing happened.
    pub fn poll_every(&mut self, now: Instant, poll: Duration) {
        self.poll = poll;
        self.poll_at = self.poll_at.map(|at| at.min(now + poll));
    }

    /// The introduction points this node serves at, as far as is known now.
    pub fn points(&self) -> &[IntroPoint] {
        &self.points
    }

    /// What the service's own descriptor said besides points; `None` until it has been read once. It outlives
    /// the connection: the next tor will be of the same kind.
    pub fn capabilities(&self) -> Option<Capabilities> {
        self.capabilities
    }

    /// Until when the certificates last that tor made for its points when it last refreshed its descriptor, in Unix
    /// seconds; `None` while it has none.
    pub fn certified_until(&self) -> Option<u64> {
        self.certified_until
    }

    /// Reads that failed since the last one that did not.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// When [`CollectEvent::Timeout`] is due.
    pub fn next_timeout(&self) -> Option<Instant> {
        let limit = self.reading.map(|(_, until)| until);
        self.follow_up.front().copied().into_iter().chain(self.poll_at).chain(limit).min()
    }

    /// Takes in one event.
    pub fn handle(&mut self, now: Instant, event: CollectEvent) -> Vec<CollectAction> {
        match event {
            CollectEvent::Connected => {
                self.forget_connection();
                self.connected = true;
                self.read_now(now)
            }
            CollectEvent::Lost => {
                self.forget_connection();
                self.set_points(Vec::new())
            }
            _ if !self.connected => Vec::new(),
            CollectEvent::Created | CollectEvent::IntroClosed => {
                self.plan_reads(now, &AFTER_LOSS);
                self.read_now(now)
            }
            CollectEvent::IntroEstablished => {
                self.plan_reads(now, &AFTER_GAIN);
                Vec::new()
            }
            CollectEvent::Read(ticket, reading) if self.reading.is_some_and(|(asked, _)| asked == ticket) => {
                self.take(now, reading)
            }
            CollectEvent::Read(..) => Vec::new(),
            CollectEvent::Timeout => {
                if self.reading.is_some_and(|(_, until)| until <= now) {
                    return self.take(now, Reading::Failed);
                }
                let planned = self.follow_up.len();
                self.follow_up.retain(|&at| at > now);
                let due = self.follow_up.len() < planned || self.poll_at.is_some_and(|at| at <= now);
                if due { self.read_now(now) } else { Vec::new() }
            }
        }
    }

    fn forget_connection(&mut self) {
        self.connected = false;
        self.certified_until = None;
        self.reading = None;
        self.read_again = false;
        self.follow_up.clear();
        self.poll_at = None;
    }

    /// Plans reads after these delays; an earlier one that was planned before is kept, so that a stream of
    /// events cannot push the next read away for ever.
    fn plan_reads(&mut self, now: Instant, delays: &[Duration]) {
        let earliest = self.follow_up.front().copied();
        self.follow_up = delays.iter().map(|&delay| now + delay).collect();
        if let Some(at) = earliest.filter(|&at| self.follow_up.front().is_some_and(|&first| at < first)) {
            self.follow_up.push_front(at);
        }
    }

    /// Reads, or makes sure of another read after the one under way: that one may be older than the event.
    fn read_now(&mut self, now: Instant) -> Vec<CollectAction> {
        self.poll_at = Some(now + if self.points.is_empty() { POLL_WITHOUT_POINTS } else { self.poll });
        if self.reading.is_some() {
            self.read_again = true;
            return Vec::new();
        }
        self.tickets += 1;
        self.reading = Some((self.tickets, now + READ_LIMIT));
        vec![CollectAction::Read(self.tickets)]
    }

    fn take(&mut self, now: Instant, reading: Reading) -> Vec<CollectAction> {
        self.reading = None;
        self.failures = if reading == Reading::Failed { self.failures.saturating_add(1) } else { 0 };
        let mut actions = match reading {
            Reading::Points(points, capabilities, until) => {
                self.certified_until = (!points.is_empty()).then_some(until);
                let news = self.capabilities.replace(capabilities) != Some(capabilities);
                let changed = self.set_points(points);
                if changed.is_empty() && news { vec![CollectAction::Changed] } else { changed }
            }
            Reading::Absent => {
                self.certified_until = None;
                self.set_points(Vec::new())
            }
            Reading::Failed => Vec::new(),
        };
        let quick = self.points.is_empty() || self.failures > 0;
        self.poll_at = Some(now + if quick { POLL_WITHOUT_POINTS } else { self.poll });
        if std::mem::take(&mut self.read_again) {
            actions.extend(self.read_now(now));
        }
        actions
    }

    fn set_points(&mut self, points: Vec<IntroPoint>) -> Vec<CollectAction> {
        let keys = |points: &[IntroPoint]| points.iter().map(|p| p.auth_key).collect::<BTreeSet<_>>();
        if keys(&points) == keys(&self.points) {
            return Vec::new();
        }
        self.points = points;
        vec![CollectAction::Changed]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use CollectAction::{Changed, Read};

    const POLL: Duration = Duration::from_secs(15);
    const UNTIL: u64 = 1_800_000_000;

    fn points(keys: &[u8]) -> Vec<IntroPoint> {
        let point = |&key: &u8| IntroPoint {
            link_specifiers: [&[1, 2, 20], &[key; 20][..]].concat(),
            onion_key: [key; 32],
            auth_key: [key; 32],
            enc_key: [key; 32],
        };
        keys.iter().map(point).collect()
    }

    fn found(keys: &[u8]) -> Reading {
        Reading::Points(points(keys), Capabilities::default(), UNTIL)
    }

    /// A collection that has read these points; the next ticket is 2.
    fn collecting(now: Instant, keys: &[u8]) -> Collect {
        let mut collect = Collect::new(POLL);
        assert_eq!(collect.handle(now, CollectEvent::Connected), [Read(1)]);
        assert_eq!(collect.handle(now, CollectEvent::Read(1, found(keys))), [Changed]);
        collect
    }

    #[test]
    fn a_lost_connection_takes_the_points_with_it_at_once() {
        let now = Instant::now();
        let mut collect = collecting(now, &[1, 2, 3]);
        assert_eq!(collect.handle(now, CollectEvent::IntroClosed), [Read(2)]);
        assert_eq!(collect.certified_until(), Some(UNTIL));
        assert_eq!(collect.handle(now, CollectEvent::Lost), [Changed]);
        assert_eq!((collect.points(), collect.certified_until()), (&[][..], None));
        assert_eq!(collect.next_timeout(), None);
        // The answer of the dead tor comes late, before and after the new connection.
        assert_eq!(collect.handle(now, CollectEvent::Read(2, found(&[1, 2, 3]))), []);
        assert_eq!(collect.handle(now, CollectEvent::Connected), [Read(3)]);
        assert_eq!(collect.handle(now, CollectEvent::Read(2, found(&[1, 2, 3]))), []);
        assert_eq!(collect.points(), []);
        assert_eq!(collect.handle(now, CollectEvent::Read(3, found(&[4]))), [Changed]);
        assert_eq!(collect.points(), points(&[4]));
    }

    #[test]
    fn a_circuit_built_again_with_the_same_keys_is_no_change() {
        let now = Instant::now();
        let mut collect = collecting(now, &[1, 2, 3]);
        assert_eq!(collect.handle(now, CollectEvent::IntroClosed), [Read(2)]);
        // Same keys, other order: as tor's hash map pleases.
        assert_eq!(collect.handle(now, CollectEvent::Read(2, found(&[3, 1, 2]))), []);
        assert_eq!(collect.points(), points(&[1, 2, 3]));
    }

    #[test]
    fn the_rotation_is_read_in_the_same_instant() {
        let now = Instant::now();
        let mut collect = collecting(now, &[1, 2, 3]);
        assert_eq!(collect.handle(now, CollectEvent::Created), [Read(2)]);
        // Three circuits close in the same millisecond: one more read covers them all.
        for _ in 0..3 {
            assert_eq!(collect.handle(now, CollectEvent::IntroClosed), []);
        }
        assert_eq!(collect.handle(now, CollectEvent::Read(2, found(&[4, 5, 6]))), [Changed, Read(3)]);
        assert_eq!(collect.handle(now, CollectEvent::Read(3, found(&[4, 5, 6]))), []);
    }

    #[test]
    fn reads_follow_an_established_circuit_and_end() {
        let start = Instant::now();
        let mut collect = collecting(start, &[1]);
        assert_eq!(collect.handle(start, CollectEvent::IntroEstablished), []);
        let mut ticket = 1;
        for delay in AFTER_GAIN {
            assert_eq!(collect.next_timeout(), Some(start + delay));
            ticket += 1;
            assert_eq!(collect.handle(start + delay, CollectEvent::Timeout), [Read(ticket)]);
            assert_eq!(collect.handle(start + delay, CollectEvent::Read(ticket, found(&[1]))), []);
        }
        assert_eq!(collect.next_timeout(), Some(start + AFTER_GAIN[2] + POLL));
    }

    #[test]
    fn a_stream_of_events_does_not_push_the_next_read_away() {
        let start = Instant::now();
        let mut collect = collecting(start, &[1]);
        for ms in 0..100 {
            collect.handle(start + Duration::from_millis(ms), CollectEvent::IntroEstablished);
            assert_eq!(collect.next_timeout(), Some(start + AFTER_GAIN[0]));
            assert!(collect.follow_up.len() <= AFTER_LOSS.len() + 1);
        }
    }

    #[test]
    fn failures_keep_the_points_and_are_tried_again_soon() {
        let now = Instant::now();
        let mut collect = collecting(now, &[1, 2]);
        assert_eq!(collect.next_timeout(), Some(now + POLL));
        let later = now + POLL;
        assert_eq!(collect.handle(later, CollectEvent::Timeout), [Read(2)]);
        assert_eq!(collect.handle(later, CollectEvent::Read(2, Reading::Failed)), []);
        assert_eq!((collect.points().len(), collect.failures()), (2, 1));
        assert_eq!(collect.next_timeout(), Some(later + POLL_WITHOUT_POINTS));
        let later = later + POLL_WITHOUT_POINTS;
        assert_eq!(collect.handle(later, CollectEvent::Timeout), [Read(3)]);
        // The service is gone from tor: no points, and looked for every second.
        assert_eq!(collect.handle(later, CollectEvent::Read(3, Reading::Absent)), [Changed]);
        assert_eq!((collect.points().len(), collect.failures()), (0, 0));
        assert_eq!(collect.next_timeout(), Some(later + POLL_WITHOUT_POINTS));
    }

    #[test]
    fn an_answer_that_never_comes_is_a_failure_in_the_end() {
        let mut now = Instant::now();
        let end = now + READ_LIMIT;
        let mut collect = collecting(now, &[1]);
        assert_eq!(collect.handle(now, CollectEvent::Created), [Read(2)]);
        while now < end {
            assert_eq!(collect.failures(), 0);
            now = collect.next_timeout().unwrap();
            let actions = collect.handle(now, CollectEvent::Timeout);
            assert_eq!(actions.is_empty(), now < end, "{actions:?}");
        }
        assert_eq!((collect.failures(), collect.points().len()), (1, 1));
        assert_eq!(collect.handle(now, CollectEvent::Read(2, found(&[7]))), []);
        assert_eq!(collect.handle(now, CollectEvent::Read(3, found(&[7]))), [Changed]);
    }

    #[test]
    fn capabilities_are_news_too() {
        let now = Instant::now();
        let mut collect = collecting(now, &[1]);
        let single = Capabilities { single_onion: true, ..Capabilities::default() };
        collect.handle(now, CollectEvent::Created);
        let answer = Reading::Points(points(&[1]), single, UNTIL);
        assert_eq!(collect.handle(now, CollectEvent::Read(2, answer)), [Changed]);
        collect.handle(now, CollectEvent::Lost);
        assert_eq!(collect.capabilities(), Some(single));
    }
}
