//! Trying a target although no client asks for it: clients go elsewhere while it is not well, so nobody else would find
//! out that it is back.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::pool::Pool;
use crate::proto::balance::member::MemberId;

/// How soon a target is tried again after a failure that was not the last straw.
const AGAIN: Duration = Duration::from_secs(5);

/// Tries for as long as there is this target: every `interval` while all is well, soon again after a failure, whoever met
/// it. A probe opens a connection and closes it; what comes of it, the pool notes.
pub async fn probe(pool: Arc<Pool>, id: MemberId, interval: Duration) {
    let Some(mut trouble) = pool.trouble(id) else { return };
    loop {
        if let Some(dialer) = pool.trial(id) {
            pool.note(id, dialer.dial().await.map(drop));
        }
        if trouble.borrow_and_update().is_none() {
            match timeout(interval, trouble.wait_for(Option::is_some)).await {
                // Somebody met a failure.
                Ok(Ok(_)) => {}
                Ok(Err(_)) => return,
                Err(_) => continue,
            }
        }
        sleep(pool.until_trial(id).unwrap_or(AGAIN)).await;
    }
}
