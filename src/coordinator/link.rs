//! Following another daemon of this node, for ever: either may start first, restart, hang or be away; the other goes on.
//!
//! Reports come over a connection that stays, so its end says that the daemon is gone. One that hangs keeps it.

use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use crate::ipc::client::{ClientError, Watch};

/// The first wait before a daemon is tried again: it restarts within a fraction of a second.
pub const RETRY_FIRST: Duration = Duration::from_millis(100);
/// The longest wait: a local connection costs nothing, and a second is soon enough for an operator.
pub const RETRY_MOST: Duration = Duration::from_secs(1);
/// How long the first report may take: it needs no more than any answer.
const FIRST_REPORT: Duration = Duration::from_secs(8);
/// A daemon that has been away for so long is not just restarting.
const AWAY_AFTER: Duration = Duration::from_secs(5);

/// What is heard of a daemon.
#[derive(Debug)]
pub enum News<R> {
    /// It is there.
    Found,
    /// It reports.
    Report(Box<R>),
    /// It is gone.
    Lost,
    /// It has not come back for a while.
    Away,
}

/// Follows a daemon's reports over connections that `connect` makes to its control socket; `who` is for the log. Where
/// `silence` ends meanwhile, the daemon hangs, which is as if it were gone. Ends when nobody listens.
pub async fn follow<R, F, S>(
    who: &str,
    path: PathBuf,
    connect: impl Fn(PathBuf) -> F,
    silence: impl Fn(PathBuf) -> S,
    news: mpsc::Sender<News<R>>,
) where
    R: DeserializeOwned,
    F: Future<Output = Result<Watch<R>, ClientError>>,
    S: Future<Output = ClientError>,
{
    let mut wait = RETRY_FIRST;
    let mut complaints = Complaints::default();
    let mut lost_at = None;
    loop {
        match follow_once(who, connect(path.clone()), silence(path.clone()), &news).await {
            Ok(None) => return,
            Ok(Some(error)) => {
                wait = RETRY_FIRST;
                complaints = Complaints::default();
                lost_at = Some(Instant::now());
                tracing::warn!(%error, "the {who} is gone; waiting for it");
            }
            Err(error) => complaints.about(&format!("the {who} does not report"), &error),
        }
        if lost_at.is_some_and(|at| at.elapsed() >= AWAY_AFTER) {
            lost_at = None;
            if news.send(News::Away).await.is_err() {
                return;
            }
        }
        tokio::select! {
            () = sleep(wait) => wait = (wait * 2).min(RETRY_MOST),
            () = news.closed() => return,
        }
    }
}

/// One connection's life. `Err`: it never spoke. `Ok(Some)`: it spoke, then ended. `Ok(None)`: nobody listens.
async fn follow_once<R: DeserializeOwned>(
    who: &str,
    connecting: impl Future<Output = Result<Watch<R>, ClientError>>,
    silence: impl Future<Output = ClientError>,
    news: &mpsc::Sender<News<R>>,
) -> Result<Option<ClientError>, ClientError> {
    let mut reports = connecting.await?;
    let mut report = timeout(FIRST_REPORT, reports.next()).await.unwrap_or(Err(ClientError::TimedOut))?;
    tracing::info!("the {who} is there");
    if news.send(News::Found).await.is_err() {
        return Ok(None);
    }
    let mut silence = pin!(silence);
    let error = loop {
        if news.send(News::Report(Box::new(report))).await.is_err() {
            return Ok(None);
        }
        let next = tokio::select! {
            next = reports.next() => next,
            error = &mut silence => Err(error),
        };
        match next {
            Ok(next) => report = next,
            Err(error) => break error,
        }
    };
    Ok(news.send(News::Lost).await.is_ok().then_some(error))
}

/// Says what is wrong once, not at every try.
#[derive(Debug, Default)]
pub struct Complaints {
    last: String,
}

impl Complaints {
    /// Complains, unless it did so before.
    pub fn about(&mut self, what: &str, error: &ClientError) {
        let text = error.to_string();
        if self.is_news(error, &text) {
            tracing::warn!(%error, "{what}; trying again");
        } else {
            tracing::debug!(%error, "{what}");
        }
        self.last = text;
    }

    /// That nobody listens yet is no news: the daemon may start later. A refusal does not pass by itself.
    fn is_news(&self, error: &ClientError, text: &str) -> bool {
        let absent = matches!(error, ClientError::Connect { .. } | ClientError::Broken(_));
        !absent && self.last != text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_news_once_and_an_absence_is_none() {
        let mut complaints = Complaints::default();
        let refusal = || ClientError::Misunderstood("x".to_owned());
        let absence = ClientError::Broken("the daemon closed it".to_owned());
        assert!(!complaints.is_news(&absence, &absence.to_string()));
        assert!(complaints.is_news(&refusal(), &refusal().to_string()));
        complaints.about("x", &refusal());
        assert!(!complaints.is_news(&refusal(), &refusal().to_string()));
        assert!(complaints.is_news(&ClientError::TimedOut, &ClientError::TimedOut.to_string()));
    }
}
