//! A client's connection, of which the first bytes are looked at before anybody else gets them.
//!
//! Whoever reads from it afterwards gets every byte in order, and its end or failure behind them.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, Sleep, sleep, timeout_at};

use super::door::Door;
use crate::proto::join::http::{
    HttpAnswer, LINE_BYTES, MAX_REQUEST_BYTES, Reading, read_request, recognise, write_answer,
};
use crate::proto::join::secret::SecretDigest;

/// How long the first line may take from its first byte on. A new node sends it in one piece; what is slower goes on to
/// the target, which may have a patience of its own.
const LINE_LIMIT: Duration = Duration::from_secs(2);
/// How long head and body may take: a few cells over a slow circuit.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);
/// How long the answer may take to leave.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// A connection of which it is not known yet who calls.
pub struct Caller<S> {
    client: Client<S>,
    door: Option<Arc<Door>>,
    state: State,
}

/// A client's connection, with what was read of it before.
pub struct Client<S> {
    stream: S,
    /// What was read and has not been passed on, from `passed` on.
    held: Vec<u8>,
    passed: usize,
    /// How it broke, which comes behind what is held.
    broke: Option<io::Error>,
}

enum State {
    /// It may be a join request.
    Listening(Option<Pin<Box<Sleep>>>),
    /// Its first line is one; the coordinator is asked whether the secret is right.
    Asking(Pin<Box<dyn Future<Output = bool> + Send>>),
    /// Whether it knows the secret.
    Decided(bool),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Caller<S> {
    /// Looks at what `stream` says, or without a door does not.
    pub fn new(stream: S, door: Option<Arc<Door>>) -> Self {
        let state = if door.is_some() { State::Listening(None) } else { State::Decided(false) };
        Self { client: Client::new(stream), door, state }
    }

    /// The client, whoever it is.
    pub fn into_client(self) -> Client<S> {
        self.client
    }

    /// Waits until it is known whether the caller knows the join secret. Safe to drop in a `select!`.
    pub async fn knows_secret(&mut self) -> bool {
        std::future::poll_fn(|cx| self.poll_decided(cx)).await
    }

    /// Writes to the caller, whoever it is.
    pub async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.client.stream.write_all(bytes).await
    }

    /// Reads the request of a caller who knows the secret and answers it. False: it is a client like any other after all.
    pub async fn serve(&mut self) -> bool {
        let Some(answer) = self.answer().await else {
            self.state = State::Decided(false);
            return false;
        };
        let (end, bytes) = (Instant::now() + ANSWER_LIMIT, write_answer(&answer));
        // Whether it arrives is the new node's concern: it asks again.
        let _ = timeout_at(end, async {
            self.client.stream.write_all(&bytes).await?;
            self.client.stream.shutdown().await
        })
        .await;
        true
    }

    async fn answer(&mut self) -> Option<HttpAnswer> {
        let (door, end) = (self.door.as_ref()?, Instant::now() + REQUEST_LIMIT);
        let Client { stream, held, broke, .. } = &mut self.client;
        loop {
            match read_request(held) {
                Reading::Done(body) => return door.ask(&held[body]).await,
                Reading::Other => return None,
                Reading::More if held.len() >= MAX_REQUEST_BYTES => return None,
                Reading::More => {}
            }
            let left = (MAX_REQUEST_BYTES - held.len()) as u64;
            match timeout_at(end, (&mut *stream).take(left).read_buf(held)).await {
                Ok(Ok(read)) if read > 0 => {}
                Ok(Err(error)) => {
                    *broke = Some(error);
                    return None;
                }
                Ok(Ok(_)) | Err(_) => return None,
            }
        }
    }

    fn poll_decided(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        loop {
            match &mut self.state {
                State::Decided(knows) => return Poll::Ready(*knows),
                State::Asking(asked) => self.state = State::Decided(ready!(asked.as_mut().poll(cx))),
                State::Listening(limit) => {
                    let late = limit.as_mut().is_some_and(|limit| limit.as_mut().poll(cx).is_ready());
                    match self.client.poll_more(cx) {
                        Poll::Ready(true) => self.listen(),
                        // It ended, or broke.
                        Poll::Ready(false) => self.state = State::Decided(false),
                        Poll::Pending if late => self.state = State::Decided(false),
                        Poll::Pending => return Poll::Pending,
                    }
                }
            }
        }
    }

    /// What follows from the bytes so far.
    fn listen(&mut self) {
        match (recognise(&self.client.held), &self.door, &mut self.state) {
            (Reading::More, Some(_), State::Listening(limit)) => {
                limit.get_or_insert_with(|| Box::pin(sleep(LINE_LIMIT)));
            }
            (Reading::Done(secret), Some(door), _) => {
                let digest = SecretDigest::of(secret);
                self.state = State::Asking(Box::pin(Arc::clone(door).knows(digest)));
            }
            _ => self.state = State::Decided(false),
        }
    }
}

impl<S> Client<S> {
    /// A connection of which nothing was read.
    pub fn new(stream: S) -> Self {
        Self { stream, held: Vec::new(), passed: 0, broke: None }
    }

    /// The same with bytes in front of everything else: somebody read them who had no use for them.
    #[must_use]
    pub fn with_before(self, bytes: &[u8]) -> Self {
        let held = [bytes, &self.held[self.passed..]].concat();
        Self { held, passed: 0, ..self }
    }

    /// The connection alone, where what was read of it does not matter any more.
    pub fn into_stream(self) -> S {
        self.stream
    }
}

impl<S: AsyncRead + Unpin> Client<S> {
    /// Reads and holds some bytes; false at the end, or when the connection breaks.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let mut some = [0; LINE_BYTES];
        let mut buffer = ReadBuf::new(&mut some);
        match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer)) {
            Ok(()) => {
                self.held.extend_from_slice(buffer.filled());
                Poll::Ready(!buffer.filled().is_empty())
            }
            Err(error) => {
                self.broke = Some(error);
                Poll::Ready(false)
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Client<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let client = self.get_mut();
        let left = &client.held[client.passed..];
        if !left.is_empty() {
            let some = left.len().min(buffer.remaining());
            buffer.put_slice(&left[..some]);
            client.passed += some;
            if client.passed == client.held.len() {
                (client.held, client.passed) = (Vec::new(), 0);
            }
            return Poll::Ready(Ok(()));
        }
        match client.broke.take() {
            Some(error) => Poll::Ready(Err(error)),
            None => Pin::new(&mut client.stream).poll_read(cx, buffer),
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Client<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, data)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{DuplexStream, duplex};

    use super::*;

    /// A caller at a door whose coordinator is away.
    fn at_the_door() -> (DuplexStream, Caller<DuplexStream>) {
        let (far, near) = duplex(4096);
        (far, Caller::new(near, Some(Arc::new(Door::new("/nonexistent/coordinator.sock".into())))))
    }

    fn line() -> Vec<u8> {
        format!("POST /.rb/{} HTTP/1.1\r\n", "A".repeat(43)).into_bytes()
    }

    async fn all(caller: Caller<DuplexStream>) -> Vec<u8> {
        let mut bytes = Vec::new();
        caller.into_client().read_to_end(&mut bytes).await.unwrap();
        bytes
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_differs_is_let_through_at_its_first_other_byte() {
        for at in 0..line().len() {
            let (mut far, mut caller) = at_the_door();
            let mut said = line();
            said[at] = b'!';
            far.write_all(&said[..at]).await.unwrap();
            let begin = Instant::now();
            if at > 0 {
                let early = tokio::time::timeout(Duration::from_secs(1), caller.knows_secret()).await;
                assert!(early.is_err(), "{at}: it could still be one");
            }
            far.write_all(&said[at..]).await.unwrap();
            assert!(!caller.knows_secret().await);
            assert!(begin.elapsed() < LINE_LIMIT, "{at}");
            drop(far);
            assert_eq!(all(caller).await, said);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_waited_for_but_half_a_line_is_not() {
        let (mut far, mut caller) = at_the_door();
        let early = tokio::time::timeout(Duration::from_hours(1), caller.knows_secret()).await;
        assert!(early.is_err(), "nothing is held, so nothing is late");
        far.write_all(b"POST /.rb/").await.unwrap();
        let begin = Instant::now();
        assert!(!caller.knows_secret().await);
        assert_eq!(begin.elapsed(), LINE_LIMIT);
        far.write_all(b"x").await.unwrap();
        drop(far);
        assert_eq!(all(caller).await, b"POST /.rb/x");
    }

    #[tokio::test]
    async fn nobody_knows_the_secret_while_the_coordinator_is_away() {
        let (mut far, mut caller) = at_the_door();
        far.write_all(&line()).await.unwrap();
        far.write_all(b"and more").await.unwrap();
        assert!(!caller.knows_secret().await);
        drop(far);
        assert_eq!(all(caller).await, [&line()[..], b"and more"].concat());
    }

    #[tokio::test]
    async fn the_end_of_a_half_line_is_passed_on_behind_it() {
        let (mut far, mut caller) = at_the_door();
        far.write_all(&line()[..20]).await.unwrap();
        far.shutdown().await.unwrap();
        assert!(!caller.knows_secret().await);
        assert_eq!(all(caller).await, &line()[..20]);
    }
}
