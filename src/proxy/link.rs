//! A connection to a target.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::dial::Dialer;
use super::pool::{Place, Pool};
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
            let (mut attempt, place) = pool.seat(&failed).map_err(|reason| last.unwrap_or(reason))?;
            let dialer = Arc::clone(&attempt.dialer);
            let left = dialer.limit().saturating_sub(begin.elapsed());
            let limit = if attempt.others() { left / 2 } else { left };
            match attempt.dial(limit).await {
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
