//! A stream that counts what is written to it, and notes when a byte moves either way.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::proxy::activity::Activity;
use crate::proxy::relay::Traffic;

/// Where one side's written bytes are counted.
#[derive(Debug, Clone, Copy)]
pub enum Side {
    /// Bytes to the target.
    Target,
    /// Bytes to the client.
    Client,
}

/// What a connection's two streams tell of themselves.
#[derive(Debug, Clone)]
pub struct Meter {
    /// Over all connections.
    pub traffic: Arc<Traffic>,
    /// Of this one.
    pub activity: Arc<Activity>,
}

/// A stream with a meter.
#[derive(Debug)]
pub struct Metered<S> {
    stream: S,
    meter: Meter,
    side: Side,
    heard: Arc<AtomicBool>,
}

impl<S> Metered<S> {
    /// Meters this side.
    pub fn new(stream: S, meter: Meter, side: Side) -> Self {
        Self { stream, meter, side, heard: Arc::default() }
    }

    /// Set when a byte is read.
    pub fn heard(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.heard)
    }

    /// The stream alone.
    pub fn into_stream(self) -> S {
        self.stream
    }

    fn written(&self) -> &AtomicU64 {
        match self.side {
            Side::Target => &self.meter.traffic.to_target,
            Side::Client => &self.meter.traffic.to_client,
        }
    }

    fn count(&self, written: &io::Result<usize>) {
        if let Ok(bytes) = written {
            self.meter.activity.note();
            self.written().fetch_add(*bytes as u64, Ordering::Relaxed);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let metered = self.get_mut();
        let before = buffer.filled().len();
        let read = ready!(Pin::new(&mut metered.stream).poll_read(cx, buffer));
        if buffer.filled().len() > before {
            metered.meter.activity.note();
            metered.heard.store(true, Ordering::Relaxed);
        }
        Poll::Ready(read)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let metered = self.get_mut();
        let written = ready!(Pin::new(&mut metered.stream).poll_write(cx, data));
        metered.count(&written);
        Poll::Ready(written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let metered = self.get_mut();
        let written = ready!(Pin::new(&mut metered.stream).poll_write_vectored(cx, data));
        metered.count(&written);
        Poll::Ready(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
