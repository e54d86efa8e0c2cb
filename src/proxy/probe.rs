//! Trying the target although no client asks for it: clients go elsewhere while it is not well, so nobody else would find
//! out that it is back.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::dial::Dialer;

/// How soon the target is tried again after a failure, whoever met it.
const AGAIN: Duration = Duration::from_secs(5);

/// Tries for ever: every `interval` while all is well, soon again after a failure. A probe opens a connection and closes
/// it; what comes of it, the dialer notes.
pub async fn probe(dialer: Arc<Dialer>, interval: Duration) {
    let mut failures = dialer.health().failures();
    loop {
        drop(dialer.dial().await);
        if failures.any() {
            sleep(AGAIN).await;
        } else {
            tokio::select! {
                () = sleep(interval) => {}
                () = failures.begin() => sleep(AGAIN).await,
            }
        }
    }
}
