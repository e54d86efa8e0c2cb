//! A connection to a target.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::dial::Dialer;
use super::pool::{Attempt, Place, Pool};
use super::tls::TargetStream;
use crate::ipc::proxy::FailureReason;
use crate::proto::balance::member::{Finding, MemberId};

/// A target that ends a new connection within this time, over whatever circuit, hardly can have done anything with it.
/// Later, it is one that waited for its client; and such a connection had its place meanwhile.
const AT_ONCE: Duration = Duration::from_secs(5);

/// A connection to a target.
#[derive(Debug)]
pub struct Link {
    stream: TargetStream,
    dialer: Arc<Dialer>,
    pool: Arc<Pool>,
    id: MemberId,
    made: Instant,
    /// Whether it is still open what the target makes of it: it has not said anything, nor was it told that nothing more
    /// will come.
    new: bool,
}

impl Link {
    fn new(stream: TargetStream, dialer: Arc<Dialer>, place: &Place) -> Self {
        let (pool, id) = (Arc::clone(place.pool()), place.id());
        Self { stream, dialer, pool, id, made: Instant::now(), new: true }
    }

    /// Connects to the target whose turn it is, those left out that have failed already. If that cannot be reached, to the
    /// next one: nothing of the client's has been sent yet. All together within the time that one dial may take, of which
    /// each that is not the last gets half of what is left.
    pub async fn open(pool: &Arc<Pool>, failed: &[MemberId]) -> Result<(Self, Place), FailureReason> {
        let (begin, mut failed, mut last) = (Instant::now(), failed.to_vec(), None);
        loop {
            let (attempt, place) = pool.seat(&failed).map_err(|reason| last.unwrap_or(reason))?;
            let dialer = Arc::clone(&attempt.dialer);
            let left = dialer.limit().saturating_sub(begin.elapsed());
            let limit = if attempt.others() { left / 2 } else { left };
            let dialled = if attempt.is_trial() {
                // Clients who lose patience must not keep anybody from finding out that the target is back.
                let trial = tokio::spawn(dial(attempt, limit));
                trial.await.unwrap_or(Err(FailureReason::TargetUnreachable))
            } else {
                dial(attempt, limit).await
            };
            match dialled {
                Ok(stream) => return Ok((Self::new(stream, dialer, &place), place)),
                Err(reason) => last = Some(reason),
            }
            failed.push(place.id());
        }
    }

    /// The way it came.
    pub fn dialer(&self) -> &Arc<Dialer> {
        &self.dialer
    }

    /// See [`TargetStream::reset`].
    pub fn reset(self) {
        self.stream.reset();
    }

    /// The target has said something.
    fn spoke(&mut self) {
        if std::mem::take(&mut self.new) {
            self.pool.note(self.id, Finding::Spoke, self.made);
        }
    }

    /// The target has ended it.
    fn ended(&mut self) {
        if std::mem::take(&mut self.new) && self.made.elapsed() < AT_ONCE {
            self.pool.note(self.id, Finding::HungUp, self.made);
        }
    }
}

/// Makes the attempt.
async fn dial(mut attempt: Attempt, limit: Duration) -> Result<TargetStream, FailureReason> {
    attempt.dial(limit).await
}

impl AsyncRead for Link {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let link = self.get_mut();
        let before = buffer.filled().len();
        let read = ready!(Pin::new(&mut link.stream).poll_read(cx, buffer));
        if read.is_ok() && buffer.filled().len() > before {
            link.spoke();
        } else if buffer.remaining() > 0 {
            link.ended();
        }
        Poll::Ready(read)
    }
}

impl AsyncWrite for Link {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let link = self.get_mut();
        let written = ready!(Pin::new(&mut link.stream).poll_write(cx, data));
        Poll::Ready(written.inspect_err(|_| link.ended()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let link = self.get_mut();
        link.new = false;
        Pin::new(&mut link.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixListener, UnixStream};

    use nix::sys::socket::{Backlog, listen};
    use tokio::time::{sleep, timeout};

    use super::*;
    use crate::config::target::ProxyTarget;
    use crate::proto::balance::member::{FIRST_TRIAL, Limits};

    /// Whoever connects to such a socket has to wait.
    fn with_full_queue(path: &std::path::Path) -> (UnixListener, Vec<UnixStream>) {
        let listener = UnixListener::bind(path).unwrap();
        listen(&listener, Backlog::new(0).unwrap()).unwrap();
        // One is in the queue, however short it is.
        let waits = UnixStream::connect(path).unwrap();
        (listener, vec![waits])
    }

    #[tokio::test]
    async fn a_trial_goes_on_when_its_client_leaves() {
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
        sleep(FIRST_TRIAL).await;
        let client = timeout(Duration::from_millis(50), Link::open(&pool, &[]));
        assert!(client.await.is_err(), "the client had no patience");
        assert_eq!(pool.status()[0].connections, 0, "its place is free");
        assert!(pool.until_trial(pool.ids()[0]).is_some_and(|pause| !pause.is_zero()), "nobody gave up");
        // There is room in the queue.
        let _first = listener.accept().unwrap();
        timeout(Duration::from_secs(5), async {
            while !pool.status()[0].well {
                sleep(Duration::from_millis(5)).await;
            }
        })
        .await
        .expect("the trial to end");
    }
}
