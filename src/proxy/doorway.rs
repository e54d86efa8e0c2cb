//! The doorway: a connection that asks to join is told from all others by its first bytes, and nobody else notices.
//!
//! ```text
//!  first bytes ──► the line of a join request? ──► the cluster's secret? ──► the coordinator answers it
//!                    no, or not soon                 no, or no answer          no: it is none of ours
//!                    └───────────────────────────────┴──────────────────────── all bytes go to the target
//! ```
//!
//! The line decides: until it differs from that of a join request its bytes are held back, a second at most, and a
//! joining node sends it in one piece. Only who knows the secret, and so once held an invitation, gets more than the line
//! read. The proxy itself knows no secret: it asks the coordinator, by a hash.

use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};

use crate::ipc::client::ClientError;
use crate::ipc::coordinator::CoordinatorClient;
use crate::proto::join::http::{self, HttpAnswer, LINE_BYTES, MAX_REQUEST_BYTES, Reading};
use crate::proto::join::secret::SecretDigest;

/// How long the rest of a line that begins like a join request is held back. A target that is slow to get half a line
/// notices no more than it notices a slow circuit.
const LINE_LIMIT: Duration = Duration::from_secs(1);
/// How long the coordinator may take to compare a secret: it takes less than a millisecond.
const CHECK_LIMIT: Duration = Duration::from_secs(1);
/// How long head and body may take to arrive: two kilobytes over a slow circuit.
const REQUEST_LIMIT: Duration = Duration::from_secs(15);
/// How many at a time the coordinator is asked about. A flood of guesses beyond goes to the target unasked.
const ASKING_AT_ONCE: usize = 16;

/// Tells who asks to join.
#[derive(Debug)]
pub struct Doorway {
    coordinator: PathBuf,
    asking: Semaphore,
}

/// What a client's first bytes came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Said {
    /// It may ask to join, with this for a secret.
    MayJoin(String),
    /// It wants the target.
    Other,
    /// Its connection broke.
    Broke,
}

impl Doorway {
    /// `coordinator` is the path of its control socket.
    pub fn new(coordinator: PathBuf) -> Self {
        Self { coordinator, asking: Semaphore::new(ASKING_AT_ONCE) }
    }

    /// Reads a client's first bytes into `held` until they tell what it wants: for as long as it says nothing, and soon
    /// after it has begun. Safe to drop: what was read is in `held`.
    pub async fn look(client: &mut (impl AsyncRead + Unpin), held: &mut Vec<u8>) -> Said {
        let mut until = None;
        loop {
            match http::recognise(held) {
                Reading::Done(secret) => return Said::MayJoin(secret.to_owned()),
                Reading::Other => return Said::Other,
                Reading::More => {}
            }
            held.reserve(LINE_BYTES);
            let read = match until {
                None => Ok(client.read_buf(held).await),
                Some(until) => timeout_at(until, client.read_buf(held)).await,
            };
            match read {
                Ok(Ok(0)) | Err(_) => return Said::Other,
                Ok(Ok(_)) => _ = until.get_or_insert(Instant::now() + LINE_LIMIT),
                Ok(Err(_)) => return Said::Broke,
            }
        }
    }

    /// Reads on if the secret is the cluster's, and asks what to answer; `None`: the target shall get what is in `held`.
    pub async fn answer(
        &self,
        secret: &str,
        client: &mut (impl AsyncRead + Unpin),
        held: &mut Vec<u8>,
    ) -> Option<HttpAnswer> {
        let _turn = self.asking.try_acquire().ok()?;
        let checked = timeout(CHECK_LIMIT, self.is_ours(SecretDigest::of(secret))).await;
        if !matches!(checked, Ok(Ok(true))) {
            return None;
        }
        let body = timeout(REQUEST_LIMIT, read_body(client, held)).await.ok()??;
        match self.ask(body).await {
            Ok(answer) => answer,
            Err(error) => {
                tracing::warn!(%error, "the coordinator did not answer a request to join");
                None
            }
        }
    }

    async fn is_ours(&self, digest: SecretDigest) -> Result<bool, ClientError> {
        Ok(CoordinatorClient::connect(&self.coordinator).await?.check_secret(digest).await?.ours)
    }

    async fn ask(&self, body: String) -> Result<Option<HttpAnswer>, ClientError> {
        let reply = CoordinatorClient::connect(&self.coordinator).await?.join(body).await?;
        Ok(reply.answer.map(|answer| HttpAnswer {
            status: answer.status,
            retry_after_secs: answer.retry_after_secs,
            body: answer.body.into_bytes(),
        }))
    }
}

/// The body of the request in `held`, once it is there; `None` if there is none that could be ours.
async fn read_body(client: &mut (impl AsyncRead + Unpin), held: &mut Vec<u8>) -> Option<String> {
    loop {
        match http::read_request(held) {
            Reading::Done(body) => return String::from_utf8(held.get(body)?.to_vec()).ok(),
            Reading::Other => return None,
            Reading::More if held.len() >= MAX_REQUEST_BYTES => return None,
            Reading::More => {}
        }
        let room = u64::try_from(MAX_REQUEST_BYTES - held.len()).unwrap_or(0);
        if client.take(room).read_buf(held).await.ok()? == 0 {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt, duplex};

    use super::*;

    fn line() -> String {
        format!("POST /.rb/{} HTTP/1.1\r\n", "A".repeat(43))
    }

    async fn said(pieces: &[&str], end: bool) -> (Said, String) {
        let (mut client, mut ours) = duplex(256);
        for piece in pieces {
            client.write_all(piece.as_bytes()).await.unwrap();
        }
        if end {
            client.shutdown().await.unwrap();
        }
        let mut held = Vec::new();
        let said = Doorway::look(&mut ours, &mut held).await;
        (said, String::from_utf8(held).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_line_tells_and_nothing_is_lost() {
        let line = line();
        let (whole, held) = said(&[&line, "Host: x\r\n"], false).await;
        assert_eq!((whole, held.starts_with(&line)), (Said::MayJoin("A".repeat(43)), true));
        for other in ["GET / HTTP/1.1\r\n", "POST /.rb/short HTTP/1.1\r\n", "\0\0", "POST /.rc"] {
            assert_eq!(said(&[other], false).await, (Said::Other, other.to_owned()));
        }
        let begun = Instant::now();
        let half = &line[..30];
        assert_eq!(said(&[half], false).await, (Said::Other, half.to_owned()), "held back for a moment only");
        assert_eq!(begun.elapsed(), LINE_LIMIT);
        assert_eq!(said(&[half], true).await, (Said::Other, half.to_owned()), "or until its end");
        assert_eq!(begun.elapsed(), LINE_LIMIT);
    }

    #[tokio::test]
    async fn without_a_coordinator_everything_is_for_the_target() {
        let doorway = Doorway::new("/nonexistent/coordinator.sock".into());
        let (_client, mut ours) = duplex(256);
        assert_eq!(doorway.answer(&"A".repeat(43), &mut ours, &mut Vec::new()).await, None);
    }
}
