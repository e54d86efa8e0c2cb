//! The line to this node's proxy: whether it reaches the target, what it carries, and the word to cut that.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::sleep;

use super::link::{self, News};
use crate::ipc::client::{ClientError, Watch};
use crate::ipc::proxy::{ProxyClient, ProxyStatus};

/// How often the proxy is told to cut: one that is restarting meanwhile carries nothing afterwards.
const TRIES: u32 = 3;
/// Pause between them.
const PAUSE: Duration = Duration::from_secs(1);

/// Follows the proxy's reports. Ends when nobody listens.
pub async fn follow(path: PathBuf, news: mpsc::Sender<News<ProxyStatus>>) {
    // One that hangs is fenced by the watchdog, or killed.
    link::follow("proxy", path, connect, |_| std::future::pending(), news).await;
}

async fn connect(path: PathBuf) -> Result<Watch<ProxyStatus>, ClientError> {
    ProxyClient::connect(&path).await?.watch().await
}

/// Has what the proxy still carries cut.
pub async fn finish(path: PathBuf) {
    for tries in 1..=TRIES {
        match tell(&path).await {
            Ok(()) => return,
            Err(error) if tries == TRIES => {
                tracing::warn!(%error, "the proxy cannot be told to cut the connections that are left");
            }
            Err(_) => sleep(PAUSE).await,
        }
    }
}

async fn tell(path: &Path) -> Result<(), ClientError> {
    ProxyClient::connect(path).await?.finish().await.map(|_| ())
}
