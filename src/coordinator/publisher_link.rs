//! The line to this node's publisher: reports one way, orders the other, for ever.
//!
//! Either daemon may start first, restart or be away; the other goes on. Reports come over a connection that stays,
//! so its end says that the publisher is gone. An order is delivered when the publisher can be reached; while it
//! cannot, only the latest one waits.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use crate::ipc::client::ClientError;
use crate::ipc::publisher::PublisherClient;
use crate::proto::publish::order::Order;
use crate::proto::publish::report::PublisherReport;

/// The first wait before the publisher is tried again: it restarts within a fraction of a second.
const RETRY_FIRST: Duration = Duration::from_millis(100);
/// The longest wait: a local connection costs nothing, and a second is soon enough for an operator.
const RETRY_MOST: Duration = Duration::from_secs(1);

/// What is heard of the publisher.
#[derive(Debug)]
pub enum News {
    /// It is there.
    Found,
    /// It reports.
    Report(Box<PublisherReport>),
    /// It is gone.
    Lost,
}

/// Follows the publisher's reports. Ends when nobody listens.
pub async fn follow(path: PathBuf, news: mpsc::Sender<News>) {
    let mut wait = RETRY_FIRST;
    let mut complaints = Complaints::default();
    loop {
        match watch_once(&path, &news).await {
            Ok(None) => return,
            Ok(Some(error)) => {
                wait = RETRY_FIRST;
                complaints = Complaints::default();
                tracing::warn!(%error, "the publisher is gone; waiting for it");
            }
            Err(error) => complaints.about("the publisher does not report", &error),
        }
        tokio::select! {
            () = sleep(wait) => wait = (wait * 2).min(RETRY_MOST),
            () = news.closed() => return,
        }
    }
}

/// One connection's life. `Err`: it never spoke. `Ok(Some)`: it spoke, then ended. `Ok(None)`: nobody listens.
async fn watch_once(path: &Path, news: &mpsc::Sender<News>) -> Result<Option<ClientError>, ClientError> {
    let mut reports = PublisherClient::connect(path).await?.watch().await?;
    let mut report = reports.next().await?;
    tracing::info!("the publisher is there");
    if news.send(News::Found).await.is_err() {
        return Ok(None);
    }
    let error = loop {
        if news.send(News::Report(Box::new(report))).await.is_err() {
            return Ok(None);
        }
        match reports.next().await {
            Ok(next) => report = next,
            Err(error) => break error,
        }
    };
    Ok(news.send(News::Lost).await.is_ok().then_some(error))
}

/// Delivers orders, always the latest one, until it is taken. Ends when no more can come and the last is delivered, or
/// cannot be.
pub async fn deliver(path: PathBuf, mut orders: watch::Receiver<Option<Order>>) {
    while orders.changed().await.is_ok() {
        let mut wait = RETRY_FIRST;
        let mut complaints = Complaints::default();
        loop {
            let order = orders.borrow_and_update().clone();
            let Err(error) = publish(&path, order).await else { break };
            complaints.about("the publisher does not take an order", &error);
            tokio::select! {
                () = sleep(wait) => wait = (wait * 2).min(RETRY_MOST),
                changed = orders.changed() => match changed {
                    Ok(()) => wait = RETRY_FIRST,
                    Err(_) => return,
                },
            }
        }
    }
}

async fn publish(path: &Path, order: Option<Order>) -> Result<(), ClientError> {
    PublisherClient::connect(path).await?.publish(order).await.map(|_| ())
}

/// Says what is wrong once, not at every try.
#[derive(Debug, Default)]
struct Complaints {
    last: String,
}

impl Complaints {
    fn about(&mut self, what: &str, error: &ClientError) {
        let text = error.to_string();
        if self.is_news(error, &text) {
            tracing::warn!(%error, "{what}; trying again");
        } else {
            tracing::debug!(%error, "{what}");
        }
        self.last = text;
    }

    /// That nobody listens yet is no news: the publisher may start later. A refusal does not pass by itself.
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
