//! The line to this node's publisher: reports one way, orders the other.
//!
//! An order is delivered when the publisher can be reached; while it cannot, only the latest one waits.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use super::link::{self, Complaints, News, RETRY_FIRST, RETRY_MOST};
use crate::ipc::client::{ClientError, Watch};
use crate::ipc::publisher::PublisherClient;
use crate::proto::cluster::events::PublishOrder;
use crate::proto::publish::order::{Candidate, Order};
use crate::proto::publish::report::PublisherReport;

/// How often the publisher is asked for a word, as one that hangs reports nothing and ends nothing. With the time that an
/// answer may take, it is found out within ten seconds: half of what the service manager gives it (`WatchdogSec=`).
const ASK_EVERY: Duration = Duration::from_secs(2);

/// What the publisher is to do.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// What to publish; `None`: nothing.
    pub order: Option<Order>,
    /// Whether to give this node's introduction points up.
    pub muted: bool,
}

/// Follows the publisher's reports. Ends when nobody listens.
pub async fn follow(path: PathBuf, news: mpsc::Sender<News<PublisherReport>>) {
    link::follow("publisher", path, connect, silence, news).await;
}

async fn connect(path: PathBuf) -> Result<Watch<PublisherReport>, ClientError> {
    PublisherClient::connect(&path).await?.watch().await
}

/// Ends when the publisher takes a question and does not answer it.
async fn silence(path: PathBuf) -> ClientError {
    loop {
        sleep(ASK_EVERY).await;
        let asked = async { PublisherClient::connect(&path).await?.status().await };
        // That it ends is seen where its reports come from.
        if let Some(error) = asked.await.err().filter(ClientError::is_silence) {
            return error;
        }
    }
}

/// Delivers what is wanted, always the latest, until it is taken. Ends when no more can come and the last is delivered,
/// or cannot be.
pub async fn deliver(path: PathBuf, mut wanted: watch::Receiver<Wanted>) {
    while wanted.changed().await.is_ok() {
        let mut wait = RETRY_FIRST;
        let mut complaints = Complaints::default();
        loop {
            let latest = wanted.borrow_and_update().clone();
            let Err(error) = tell(&path, latest).await else { break };
            complaints.about("the publisher does not take an order", &error);
            tokio::select! {
                () = sleep(wait) => wait = (wait * 2).min(RETRY_MOST),
                changed = wanted.changed() => match changed {
                    Ok(()) => wait = RETRY_FIRST,
                    Err(_) => return,
                },
            }
        }
    }
}

async fn tell(path: &Path, wanted: Wanted) -> Result<(), ClientError> {
    let mut publisher = PublisherClient::connect(path).await?;
    publisher.publish(wanted.order).await?;
    publisher.mute(wanted.muted).await?;
    Ok(())
}

/// The core's order in the publisher's words.
pub(super) fn to_publisher(order: PublishOrder) -> Order {
    let candidates = order.candidates.into_iter().map(|(node, points)| Candidate { node, points }).collect();
    let PublishOrder { epoch, capabilities, last_counters, .. } = order;
    Order { epoch, candidates, capabilities, last_counters }
}
