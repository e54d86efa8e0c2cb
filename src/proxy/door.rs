//! Join requests among the clients: known by their first line and by nothing else, answered by the coordinator.
//!
//! ```text
//! first bytes ──► could it be one? ──► line whole ──► the coordinator: is it our secret? ──► head and body ──► Join
//!                   no, too slow         │ ended            no, no answer in time              strange, too slow    │
//!                   └────────────────────┴──────────────────┴──────────────────────────────────┴──── none of ours ┤
//!                                                     ▼                                                             ▼
//!                                        the target gets every byte, as if nobody had looked                     answer
//! ```
//!
//! What may be the secret is hashed here and compared there, so this daemon, which reads strangers' bytes, never knows
//! one that is right.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::ipc::client::ClientError;
use crate::ipc::coordinator::CoordinatorClient;
use crate::proto::join::http::HttpAnswer;
use crate::proto::join::secret::SecretDigest;

/// Questions to the coordinator at once. Each takes a millisecond; a stranger who sends many lines that could be right
/// must not crowd its control socket.
const QUESTIONS: usize = 8;
/// How long the coordinator may take to compare a digest. While it is away, or busy, nobody joins here.
const CHECK_LIMIT: Duration = Duration::from_secs(1);
/// How long it may take to let somebody in: it tells the others first, which takes half a second.
const JOIN_LIMIT: Duration = Duration::from_secs(5);

/// Asks the coordinator.
#[derive(Debug)]
pub struct Door {
    coordinator: PathBuf,
    turns: Semaphore,
}

impl Door {
    /// A door to the coordinator with this control socket.
    pub fn new(coordinator: PathBuf) -> Self {
        Self { coordinator, turns: Semaphore::new(QUESTIONS) }
    }

    /// Whether that is the join secret; it is not, if nobody can say so soon.
    pub async fn knows(self: Arc<Self>, digest: SecretDigest) -> bool {
        // No waiting for a turn: whoever has to be told apart by that is a stranger in a crowd of strangers.
        let Ok(_turn) = self.turns.try_acquire() else { return false };
        let asked = async {
            CoordinatorClient::connect(&self.coordinator)
                .await?
                .check_secret(digest)
                .await
                .map(|said| said.ours)
        };
        match timeout(CHECK_LIMIT, asked).await {
            Ok(Ok(ours)) => ours,
            Ok(Err(error)) => {
                complain(&error);
                false
            }
            Err(_) => false,
        }
    }

    /// What to answer to this body; `None`: it is none of ours.
    pub async fn ask(&self, body: &[u8]) -> Option<HttpAnswer> {
        let body = str::from_utf8(body).ok()?.to_owned();
        let asked = async {
            // Who knows the secret may wait for a turn.
            let _turn = self.turns.acquire().await;
            CoordinatorClient::connect(&self.coordinator).await?.join(body).await.map(|said| said.answer)
        };
        match timeout(JOIN_LIMIT, asked).await {
            Ok(Ok(answer)) => answer.map(|answer| HttpAnswer {
                status: answer.status,
                retry_after_secs: answer.retry_after_secs,
                body: answer.body.into_bytes(),
            }),
            Ok(Err(error)) => {
                complain(&error);
                None
            }
            Err(_) => None,
        }
    }
}

/// Strangers can make this happen as often as they like, so it is for those who look closely.
fn complain(error: &ClientError) {
    tracing::debug!(%error, "the coordinator cannot be asked about a join request");
}
