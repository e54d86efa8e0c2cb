//! When a byte last moved on a connection, and waiting until none has for a while.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// When a byte last moved, in milliseconds since the connection began.
#[derive(Debug)]
pub struct Activity {
    began: Instant,
    last_ms: AtomicU64,
}

impl Activity {
    /// A connection begins now.
    pub fn begin() -> Self {
        Self { began: Instant::now(), last_ms: AtomicU64::new(0) }
    }

    /// A byte has moved.
    pub fn note(&self) {
        let ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_ms.store(ms, Ordering::Relaxed);
    }

    /// Waits until no byte has moved for `limit`. Safe to drop in a `select!`.
    pub async fn quiet_for(&self, limit: Duration) {
        let mut watch = QuietWatch::default();
        std::future::poll_fn(|cx| watch.poll(cx, self, limit)).await;
    }

    /// When no byte will have moved for `limit`, if none moves.
    fn due(&self, limit: Duration) -> Instant {
        self.began + Duration::from_millis(self.last_ms.load(Ordering::Relaxed)) + limit
    }
}

/// Waits for quiet again and again, with one timer, which is only set anew when it has run out. (Setting and cancelling one
/// for each request costs more than the requests of a busy connection otherwise do to be watched.)
#[derive(Debug, Default)]
pub struct QuietWatch {
    timer: Option<Pin<Box<Sleep>>>,
}

impl QuietWatch {
    /// Ready when no byte has moved for `limit`.
    pub fn poll(&mut self, cx: &mut Context<'_>, activity: &Activity, limit: Duration) -> Poll<()> {
        loop {
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(activity.due(limit))));
            ready!(timer.as_mut().poll(cx));
            let due = activity.due(limit);
            if Instant::now() >= due {
                return Poll::Ready(());
            }
            timer.as_mut().reset(due);
        }
    }
}
