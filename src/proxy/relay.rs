//! Carrying bytes both ways between two streams, with half-close, back-pressure and an idle limit.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional_with_sizes};

use super::activity::Activity;
use crate::ipc::proxy::FailureReason;

/// Buffer per direction. Tor delivers cells of half a kilobyte; this holds 32 of them, and a thousand connections
/// stay at 32 MiB. A full buffer stops reading, so a slow reader slows its sender and nothing grows.
const BUFFER_BYTES: usize = 16 * 1024;

/// Bytes carried since the start, over all connections.
#[derive(Debug, Default)]
pub struct Traffic {
    /// Written to the target.
    pub to_target: AtomicU64,
    /// Written to the client.
    pub to_client: AtomicU64,
}

/// Carries until both directions have ended, one side breaks, or nothing moves for `idle`.
///
/// When one side has said all, the other one is told so and may go on answering. It is a success when both said that
/// they have no more to say and everything was delivered; otherwise [`FailureReason::Idle`], or the side that broke.
pub async fn relay(
    client: &mut (impl AsyncRead + AsyncWrite + Unpin),
    target: &mut (impl AsyncRead + AsyncWrite + Unpin),
    idle: Duration,
    traffic: &Traffic,
) -> Result<(), FailureReason> {
    let activity = Activity::begin();
    let mut client = Side { stream: client, written: &traffic.to_client, activity: &activity, broke: false };
    let mut target = Side { stream: target, written: &traffic.to_target, activity: &activity, broke: false };
    let carried = tokio::select! {
        carried = copy_bidirectional_with_sizes(&mut client, &mut target, BUFFER_BYTES, BUFFER_BYTES) => carried,
        () = activity.quiet_for(idle) => return Err(FailureReason::Idle),
    };
    match carried {
        Ok(_) => Ok(()),
        Err(_) if target.broke => Err(FailureReason::TargetBroke),
        Err(_) => Err(FailureReason::ClientBroke),
    }
}

/// One side of the relay: counts, notes activity, and remembers that it was this side that broke.
struct Side<'a, S> {
    stream: &'a mut S,
    written: &'a AtomicU64,
    activity: &'a Activity,
    broke: bool,
}

impl<S: AsyncRead + Unpin> AsyncRead for Side<'_, S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let side = self.get_mut();
        let read = ready!(Pin::new(&mut *side.stream).poll_read(cx, buffer));
        side.activity.note();
        side.broke |= read.is_err();
        Poll::Ready(read)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Side<'_, S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let side = self.get_mut();
        let written = ready!(Pin::new(&mut *side.stream).poll_write(cx, data));
        side.activity.note();
        match &written {
            Ok(bytes) => {
                side.written.fetch_add(*bytes as u64, Ordering::Relaxed);
            }
            Err(_) => side.broke = true,
        }
        Poll::Ready(written)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let side = self.get_mut();
        let flushed = ready!(Pin::new(&mut *side.stream).poll_flush(cx));
        side.broke |= flushed.is_err();
        Poll::Ready(flushed)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let side = self.get_mut();
        match ready!(Pin::new(&mut *side.stream).poll_shutdown(cx)) {
            // It is gone already, so it need not be told that no more will come; what it said itself still counts.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Poll::Ready(Ok(())),
            ended => {
                side.broke |= ended.is_err();
                Poll::Ready(ended)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::time::Instant;

    use super::*;

    const IDLE: Duration = Duration::from_mins(2);

    /// What a relay says in the end, and the bytes it counted to the target and to the client.
    type Outcome = (Result<(), FailureReason>, u64, u64);

    /// The far ends of a relay that runs, and what it will say.
    fn start(idle: Duration) -> (DuplexStream, DuplexStream, tokio::task::JoinHandle<Outcome>) {
        let ((client, mut near), (mut far, target)) = (duplex(64), duplex(64));
        let relay = tokio::spawn(async move {
            let traffic = Traffic::default();
            let end = relay(&mut near, &mut far, idle, &traffic).await;
            (end, traffic.to_target.into_inner(), traffic.to_client.into_inner())
        });
        (client, target, relay)
    }

    #[tokio::test]
    async fn the_answer_still_comes_after_the_question_has_ended() {
        let (mut client, mut target, relay) = start(IDLE);
        client.write_all(b"question").await.unwrap();
        client.shutdown().await.unwrap();
        let mut question = String::new();
        target.read_to_string(&mut question).await.unwrap();
        assert_eq!(question, "question");
        target.write_all(b"the answer").await.unwrap();
        target.shutdown().await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, "the answer");
        assert_eq!(relay.await.unwrap(), (Ok(()), 8, 10));
    }

    #[tokio::test]
    async fn the_question_goes_on_after_the_answer_has_ended() {
        let (mut client, mut target, relay) = start(IDLE);
        target.write_all(b"no").await.unwrap();
        target.shutdown().await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        client.write_all(&[7; 1000]).await.unwrap();
        client.shutdown().await.unwrap();
        let mut question = Vec::new();
        target.read_to_end(&mut question).await.unwrap();
        assert_eq!((answer.as_str(), question.len()), ("no", 1000));
        assert_eq!(relay.await.unwrap().0, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn idle_counts_from_the_last_byte_in_either_direction() {
        let (mut client, mut target, relay) = start(IDLE);
        let began = Instant::now();
        for _ in 0..5 {
            tokio::time::sleep(Duration::from_secs(100)).await;
            client.write_all(b"x").await.unwrap();
            tokio::time::sleep(Duration::from_secs(100)).await;
            target.write_all(b"y").await.unwrap();
        }
        assert_eq!(relay.await.unwrap(), (Err(FailureReason::Idle), 5, 5));
        assert_eq!(began.elapsed().as_secs(), 1120);
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_does_not_read_stops_the_sender_and_is_idle() {
        let (client, mut target, relay) = start(IDLE);
        let sent = tokio::spawn(async move {
            let mut sent = 0;
            while target.write_all(&[0; 1024]).await.is_ok() {
                sent += 1024;
            }
            sent
        });
        assert_eq!(relay.await.unwrap().0, Err(FailureReason::Idle));
        // Two pipes of 64 bytes and one buffer: no more is ever taken from the sender.
        assert!(sent.await.unwrap() <= BUFFER_BYTES + 2048);
        drop(client);
    }

    #[tokio::test]
    async fn the_side_that_broke_is_named() {
        let (mut client, target, relay) = start(IDLE);
        drop(target);
        // The relay may notice the end before or at the write; either way it is the target's.
        let _ = client.write_all(b"x").await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        let _ = client.write_all(b"x").await;
        assert_eq!(relay.await.unwrap().0, Err(FailureReason::TargetBroke));
        let (client, mut target, relay) = start(IDLE);
        drop(client);
        let _ = target.write_all(b"x").await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        let _ = target.write_all(b"x").await;
        assert_eq!(relay.await.unwrap().0, Err(FailureReason::ClientBroke));
    }
}
