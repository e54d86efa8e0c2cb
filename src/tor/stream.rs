//! A stream socket, TCP or unix: tor comes and is reached over either.

use std::io;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::task::{Context, Poll};

use nix::sys::socket::{MsgFlags, recv};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Duration, sleep};

use crate::tor::address::SocketAddress;

/// How soon a unix socket is asked again whose queue is full. A server takes a connection out of it in less.
const QUEUE_PAUSE: Duration = Duration::from_millis(5);

/// A connected stream socket.
#[derive(Debug)]
pub enum Stream {
    /// TCP.
    Tcp(TcpStream),
    /// Unix.
    Unix(UnixStream),
}

impl Stream {
    /// Connects. Waits for as long as the kernel does, or the queue of a unix socket is full: the caller has a time-out.
    pub async fn connect(address: &SocketAddress) -> io::Result<Self> {
        match address {
            SocketAddress::Tcp(address) => TcpStream::connect(address).await.map(Self::from),
            SocketAddress::Unix(path) => loop {
                match UnixStream::connect(path).await {
                    // A socket that must not block is told so instead of waiting in the queue.
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => sleep(QUEUE_PAUSE).await,
                    connected => return connected.map(Self::Unix),
                }
            },
        }
    }

    /// Waits for bytes, and shows those that are there without taking them; none at the end of the stream.
    pub async fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let stream = match self {
            Self::Tcp(stream) => return stream.peek(buffer).await,
            Self::Unix(stream) => stream,
        };
        loop {
            stream.readable().await?;
            let peeked = stream
                .try_io(Interest::READABLE, || Ok(recv(stream.as_raw_fd(), buffer, MsgFlags::MSG_PEEK)?));
            match peeked {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                peeked => return peeked,
            }
        }
    }

    /// Closes at once, without delivering what is still on its way, so that the other end does not take an aborted
    /// connection for one that ended in order. (Unix sockets know no such difference.)
    pub fn reset(self) {
        if let Self::Tcp(stream) = &self {
            let _ = stream.set_zero_linger();
        }
    }
}

impl From<TcpStream> for Stream {
    fn from(stream: TcpStream) -> Self {
        // Requests and answers are carried as they come; waiting to fill segments only adds delay.
        let _ = stream.set_nodelay(true);
        Self::Tcp(stream)
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, data),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, data),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
