//! Trying a target although no client asks for it: clients go elsewhere while it is not well, so nobody else would find
//! out that it is back.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::http::check::Check;
use super::pool::{Attempt, Pool};
use crate::ipc::proxy::FailureReason;
use crate::proto::balance::member::{Finding, MemberId};
use crate::proto::balance::row::SPAN;

/// How soon a target is tried again after a failure that was not the last straw: as soon as that can be it.
const AGAIN: Duration = SPAN;

/// So many trials of one target may hang at a time: as many as begin within the time that a dial may take by default.
const AT_MOST: usize = 8;

/// Tries for as long as there is this target: every `interval` while all is well, soon again after a failure, whoever met
/// it. A probe opens a connection, asks what `check` says, if anything, and closes it; what comes of it, the pool notes.
/// One that hangs holds the next one up neither while the target falls ill nor when it is back.
pub async fn probe(pool: Arc<Pool>, id: MemberId, interval: Duration, check: Option<Arc<Check>>) {
    let Some(mut trouble) = pool.trouble(id) else { return };
    let mut looks = JoinSet::new();
    loop {
        while looks.try_join_next().is_some() {}
        if looks.len() == AT_MOST {
            looks.join_next().await;
        }
        if let Some(attempt) = pool.trial(id) {
            looks.spawn(look(attempt, check.clone()));
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

async fn look(mut attempt: Attempt, check: Option<Arc<Check>>) {
    let dialer = Arc::clone(&attempt.dialer);
    let Ok(stream) = attempt.dial(dialer.limit()).await else { return };
    let Some(check) = check else { return };
    match timeout(dialer.limit(), check.ask(stream, dialer.name())).await {
        Ok(true) => attempt.note(Finding::Passed, Ok(())),
        Ok(false) | Err(_) => attempt.note(Finding::Flunked, Err(FailureReason::WrongAnswer)),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixListener, UnixStream};

    use nix::sys::socket::{Backlog, listen};

    use super::*;
    use crate::config::target::ProxyTarget;
    use crate::proto::balance::member::{FIRST_TRIAL, Limits};
    use crate::proxy::dial::Dialer;

    /// Whoever connects to such a socket has to wait.
    fn with_full_queue(path: &std::path::Path) -> (UnixListener, Vec<UnixStream>) {
        let listener = UnixListener::bind(path).unwrap();
        listen(&listener, Backlog::new(0).unwrap()).unwrap();
        // One is in the queue, however short it is.
        let waits = UnixStream::connect(path).unwrap();
        (listener, vec![waits])
    }

    #[tokio::test]
    async fn a_trial_that_hangs_keeps_no_other_from_finding_out() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("target.sock");
        let (listener, _waiting) = with_full_queue(&path);
        let target = ProxyTarget {
            address: format!("unix:{}", path.display()).parse().unwrap(),
            weight: 1,
            host: None,
            verify: None,
            roots: None,
            pins: Vec::new(),
        };
        let dialer = Dialer::new(target, &[], Duration::from_secs(10)).unwrap();
        let pool = Arc::new(Pool::default());
        pool.lead_to(&[Arc::new(dialer)], Limits { failures: 1, ..Limits::default() });
        let mut attempt = pool.trial(pool.ids()[0]).unwrap();
        attempt.note(Finding::Missed, Err(FailureReason::TargetUnreachable));
        assert!(!pool.status()[0].well);
        let probing = tokio::spawn(probe(Arc::clone(&pool), pool.ids()[0], Duration::from_mins(1), None));
        timeout(Duration::from_secs(5), async {
            // One trial waits for the queue. Only further ones make the pause grow beyond that of the second.
            while pool.until_trial(pool.ids()[0]).is_none_or(|pause| pause <= 4 * FIRST_TRIAL) {
                sleep(Duration::from_millis(5)).await;
            }
        })
        .await
        .expect("more trials while one waits");
        assert!(!pool.status()[0].well && !probing.is_finished());
        // There is room in the queue.
        let _first = listener.accept().unwrap();
        timeout(Duration::from_secs(5), async {
            while !pool.status()[0].well {
                sleep(Duration::from_millis(5)).await;
            }
        })
        .await
        .expect("one of them to end");
    }
}
