//! Trying a target although no client asks for it: clients go elsewhere while it is not well, so nobody else would find
//! out that it is back.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::http::check::Check;
use super::pool::{Attempt, Pool};
use crate::ipc::proxy::FailureReason;
use crate::proto::balance::member::{Finding, MemberId};
use crate::proto::balance::row::SPAN;

/// How soon a target is tried again after a failure that was not the last straw: as soon as that can be it.
const AGAIN: Duration = SPAN;

/// Tries for as long as there is this target: every `interval` while all is well, soon again after a failure, whoever met
/// it. A probe opens a connection, asks what `check` says, if anything, and closes it; what comes of it, the pool notes.
pub async fn probe(pool: Arc<Pool>, id: MemberId, interval: Duration, check: Option<Arc<Check>>) {
    let Some(mut trouble) = pool.trouble(id) else { return };
    loop {
        if let Some(attempt) = pool.trial(id) {
            look(attempt, check.as_deref()).await;
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

async fn look(mut attempt: Attempt, check: Option<&Check>) {
    let dialer = Arc::clone(&attempt.dialer);
    let Ok(stream) = attempt.dial(dialer.limit()).await else { return };
    let Some(check) = check else { return };
    match timeout(dialer.limit(), check.ask(stream, dialer.name())).await {
        Ok(true) => attempt.note(Finding::Passed, Ok(())),
        Ok(false) | Err(_) => attempt.note(Finding::Flunked, Err(FailureReason::WrongAnswer)),
    }
}
