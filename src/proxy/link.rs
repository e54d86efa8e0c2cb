//! A connection to a target.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, timeout_at};

use super::dial::Dialer;
use super::pool::{Pool, Seat};
use super::tls::TargetStream;
use crate::ipc::proxy::FailureReason;

/// A connection to a target, and its place there.
#[derive(Debug)]
pub struct Link {
    stream: TargetStream,
    seat: Seat,
}

impl Link {
    /// Connects to the target whose turn it is. If that cannot be reached, to the next one: nothing of the client's has
    /// been sent yet. All together within the time that one dial may take, of which each that is not the last gets half of
    /// what is left.
    pub async fn open(pool: &Arc<Pool>) -> Result<Self, FailureReason> {
        let begin = Instant::now();
        let (mut failed, mut last) = (Vec::new(), None);
        loop {
            let seat = pool.seat(&failed).map_err(|reason| last.unwrap_or(reason))?;
            let end = begin + seat.dialer.limit();
            let left = end.saturating_duration_since(Instant::now());
            let end = if seat.others { end - left / 2 } else { end };
            let dialled = timeout_at(end, seat.dialer.dial()).await;
            let dialled = dialled.unwrap_or(Err(FailureReason::ConnectTimedOut));
            seat.note(dialled.as_ref().map(|_| ()).map_err(|reason| *reason));
            match dialled {
                Ok(stream) => return Ok(Self { stream, seat }),
                Err(reason) => last = Some(reason),
            }
            failed.push(seat.id());
        }
    }

    /// The way it came.
    pub fn dialer(&self) -> &Arc<Dialer> {
        &self.seat.dialer
    }

    /// See [`TargetStream::reset`].
    pub fn reset(self) {
        self.stream.reset();
    }
}

impl AsyncRead for Link {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Link {
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
