//! When a byte last moved on a connection, and waiting until none has for a while.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

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
        loop {
            let due = self.began + Duration::from_millis(self.last_ms.load(Ordering::Relaxed)) + limit;
            if Instant::now() >= due {
                return;
            }
            sleep_until(due).await;
        }
    }
}
