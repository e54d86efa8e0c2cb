//! What the parts use of what they may use: memory as systemd tells it, which asks the kernel; open files as each daemon
//! counts them, as nobody else may look.
//!
//! The kernel's count of memory is what it goes by when it kills. Pages of files that it would give back are in it, but no
//! part of a node reads or writes so much that they would come near its limit.

use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tracing::debug;

use super::service_manager::Units;
use crate::ipc::process::ProcessClient;
use crate::proto::health::part::{Daemon, Part};
use crate::proto::health::vitals::{Observation, Share};

/// How often each is asked: nothing is done about it within minutes.
const ASK_EVERY: Duration = Duration::from_secs(15);
/// How long a daemon may count.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// Looks up all parts' memory again and again, until nobody listens.
pub(super) async fn watch_memory(units: Units, observations: mpsc::Sender<Observation>) {
    loop {
        match units.memory().await {
            Ok(found) => {
                for (part, memory) in found {
                    if observations.send(Observation::Memory(part, memory)).await.is_err() {
                        return;
                    }
                }
            }
            Err(error) => debug!(%error, "the service manager does not tell how much memory is used"),
        }
        sleep(ASK_EVERY).await;
    }
}

/// Has a daemon count its files again and again, until nobody listens. Whether it answers at all is another's question.
pub(super) async fn watch_files(daemon: Daemon, socket: PathBuf, observations: mpsc::Sender<Observation>) {
    let part = Part::Daemon(daemon);
    loop {
        let asked = async { ProcessClient::connect(&socket).await?.status().await };
        match timeout(ANSWER_LIMIT, asked).await {
            Ok(Ok(status)) => {
                let files = Share { used: status.open_files, limit: status.open_files_limit };
                if observations.send(Observation::Files(part, files)).await.is_err() {
                    return;
                }
            }
            Ok(Err(error)) => debug!(%error, "{part} does not tell how many files it has open"),
            Err(_) => debug!("{part} does not count its files in time"),
        }
        sleep(ASK_EVERY).await;
    }
}
