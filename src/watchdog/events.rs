//! What the status page shows, and the stream that tells browsers of its changes (HTML, "Server-sent events").
//!
//! A stream holds no queue: it looks at what there is to show when its reader has taken what was sent before.

use std::convert::Infallible;
use std::fmt::Write;
use std::time::Duration;

use futures_util::stream::{self, Stream};
use hyper::body::{Bytes, Frame};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, sleep_until};

use super::overview::Overview;
use super::page::document::View;
use crate::proto::health::report::HealthReport;
use crate::sys::clock::unix_secs;

/// What the answer is called in HTTP.
pub(super) const CONTENT_TYPE: &str = "text/event-stream";
/// How long a stream lasts: a reader that takes nothing any more does not keep its place for ever, and one that does
/// comes back at once.
pub(super) const STREAM_LIFE: Duration = Duration::from_hours(1);
/// Least time between two events: nobody reads faster, and a node in trouble changes with every observation.
const SPACING: Duration = Duration::from_secs(1);
/// When a stream without news says that it is still there: what is in between may cut what is silent for half a minute.
const PING_AFTER: Duration = Duration::from_secs(15);

/// Where the pages take what they show from: always the latest.
#[derive(Debug, Clone)]
pub(super) struct Shown {
    /// This node's name.
    pub(super) node: String,
    /// Its health.
    pub(super) health: watch::Receiver<HealthReport>,
    /// What is known besides.
    pub(super) overview: watch::Receiver<Overview>,
}

impl Shown {
    /// Has something made of what there is to show now.
    pub(super) fn with<T>(&self, make: impl FnOnce(View<'_>) -> T) -> T {
        let (health, overview) = (self.health.borrow(), self.overview.borrow());
        let view =
            View { node: &self.node, health: &health, overview: &overview, now_unix_secs: unix_secs() };
        make(view)
    }

    /// Waits for something new; `None` if there will be nothing, since the watchdog stops.
    async fn changed(&mut self) -> Option<()> {
        tokio::select! {
            changed = self.health.changed() => changed.ok(),
            changed = self.overview.changed() => changed.ok(),
        }
    }
}

/// One reader's stream.
struct Events {
    shown: Shown,
    /// What was sent last.
    sent: Option<String>,
    sent_at: Instant,
    ends_at: Instant,
    /// Its place among the streams, free again when it is dropped.
    _place: OwnedSemaphorePermit,
}

/// The page's changing piece, now and whenever it changes, as the body of an answer. It ends after [`STREAM_LIFE`], or with
/// the watchdog.
pub(super) fn stream(
    shown: Shown,
    place: OwnedSemaphorePermit,
) -> impl Stream<Item = Result<Frame<Bytes>, Infallible>> + Send {
    let now = Instant::now();
    let events = Events { shown, sent: None, sent_at: now, ends_at: now + STREAM_LIFE, _place: place };
    stream::unfold(events, async |mut events| {
        let text = events.next().await?;
        Some((Ok(Frame::data(Bytes::from(text))), events))
    })
}

impl Events {
    /// What is to be sent next; waits until there is something.
    async fn next(&mut self) -> Option<String> {
        if self.sent.is_some() {
            sleep_until(self.sent_at + SPACING).await;
        }
        loop {
            if Instant::now() >= self.ends_at {
                return None;
            }
            // Marked as seen before they are looked at: what changes meanwhile is seen the next time.
            self.shown.health.mark_unchanged();
            self.shown.overview.mark_unchanged();
            let piece = self.shown.with(|view| view.piece());
            if self.sent.as_ref() != Some(&piece) {
                let text = event(&piece);
                self.note(piece);
                return Some(text);
            }
            tokio::select! {
                changed = self.shown.changed() => changed?,
                () = sleep_until(self.sent_at + PING_AFTER) => {
                    self.sent_at = Instant::now();
                    return Some(": still here\n\n".to_owned());
                }
            }
        }
    }

    fn note(&mut self, piece: String) {
        self.sent = Some(piece);
        self.sent_at = Instant::now();
    }
}

/// An event with this as its data, line by line. Whatever ends a line for a browser begins another one with `data:` here, so
/// nothing in the text can be anything else.
fn event(text: &str) -> String {
    let mut event = String::with_capacity(text.len() + text.len() / 8);
    for line in text.split(['\n', '\r']) {
        let _ = writeln!(event, "data: {line}");
    }
    event.push('\n');
    event
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::Arc;

    use futures_util::StreamExt;
    use tokio::sync::Semaphore;

    use super::*;

    struct Node {
        health: watch::Sender<HealthReport>,
        _overview: watch::Sender<Overview>,
        shown: Shown,
        places: Arc<Semaphore>,
    }

    fn node() -> Node {
        let (health, overview) =
            (watch::Sender::new(HealthReport::default()), watch::Sender::new(Overview::default()));
        let shown =
            Shown { node: "alpha".to_owned(), health: health.subscribe(), overview: overview.subscribe() };
        Node { health, _overview: overview, shown, places: Arc::new(Semaphore::new(1)) }
    }

    impl Node {
        fn stream(&self) -> impl Stream<Item = String> + use<> {
            let place = Arc::clone(&self.places).try_acquire_owned().unwrap();
            stream(self.shown.clone(), place)
                .map(|sent| String::from_utf8(sent.unwrap().into_data().unwrap().to_vec()).unwrap())
        }

        fn fence(&self, fenced: bool) {
            self.health.send_modify(|report| report.fenced = fenced);
        }
    }

    /// To the timers' milliseconds.
    fn is(elapsed: Duration, wanted: Duration) -> bool {
        elapsed >= wanted && elapsed < wanted + Duration::from_millis(10)
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_event_comes_at_once_the_next_with_a_change_and_no_two_within_a_second() {
        let node = node();
        let mut stream = pin!(node.stream());
        let begin = Instant::now();
        let first = stream.next().await.unwrap();
        assert!(
            first.starts_with("data: <p class=good>all is well</p>\n") && first.ends_with("\n\n"),
            "{first}"
        );
        assert_eq!(begin.elapsed(), Duration::ZERO);
        node.fence(true);
        let second = stream.next().await.unwrap();
        assert!(second.contains("does not serve"), "{second}");
        assert!(is(begin.elapsed(), SPACING), "no sooner and no later");
        // However much happens before it is read, the next is the latest.
        for number in 0..100 {
            node.fence(number % 2 == 1);
        }
        node.fence(false);
        tokio::time::sleep(SPACING * 2).await;
        let third = stream.next().await.unwrap();
        assert_eq!(third, first);
        assert!(is(begin.elapsed(), SPACING * 3), "at once, as it is overdue");
    }

    #[tokio::test(start_paused = true)]
    async fn what_shows_nothing_new_is_no_event_and_silence_is_broken_by_pings() {
        let node = node();
        let mut stream = pin!(node.stream());
        let begin = Instant::now();
        stream.next().await.unwrap();
        let busy = node.health.clone();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(300)).await;
                busy.send_modify(|report| report.tried.clear());
            }
        });
        for pings in 1..=3 {
            assert_eq!(stream.next().await.unwrap(), ": still here\n\n");
            assert!(is(begin.elapsed(), PING_AFTER * pings));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_ends_after_its_life_and_frees_its_place() {
        let node = node();
        let begin = Instant::now();
        let mut stream = pin!(node.stream());
        stream.next().await.unwrap();
        assert_eq!(node.places.available_permits(), 0);
        while stream.next().await.is_some() {}
        assert!(begin.elapsed() >= STREAM_LIFE && begin.elapsed() <= STREAM_LIFE + PING_AFTER);
        assert_eq!(node.places.available_permits(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn it_ends_with_the_watchdog() {
        let node = node();
        let mut stream = pin!(node.stream());
        stream.next().await.unwrap();
        drop(node);
        assert_eq!(stream.next().await, None);
    }

    #[test]
    fn no_text_can_be_another_field_of_the_stream() {
        assert_eq!(
            event("a\nevent: b\rretry: 1\r\n\r\nid: 2"),
            "data: a\ndata: event: b\ndata: retry: 1\ndata: \ndata: \ndata: \ndata: id: 2\n\n"
        );
    }
}
