//! A client's stream that lets only bytes through that the guard has passed.
//!
//! A head is held back until it is whole, so the library parses each head once, and a client that sends one slowly holds
//! nothing but the bytes it sent. In bodies nothing is held back or copied.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use crate::proto::http::guard::{Guard, stand_in};
use crate::proto::http::head::Refusal;

/// How long a head may take from its first byte on: some cells over the slowest circuit.
const HEAD_LIMIT: Duration = Duration::from_secs(30);
/// How much is read at once while a head is awaited: a browser's usual one.
const READ_BYTES: usize = 4 * 1024;

/// The gate in front of the library.
pub struct Gate<S> {
    stream: S,
    guard: Guard,
    /// What was read and may not have passed yet, from `passed` on.
    held: Vec<u8>,
    passed: usize,
    /// How much of what is held may pass.
    allowed: usize,
    /// When the head that is held must be whole.
    limit: Option<Pin<Box<Sleep>>>,
    /// Nothing passes any more.
    shut: bool,
}

impl<S> Gate<S> {
    /// A gate that has seen nothing yet.
    pub fn new(stream: S) -> Self {
        Self {
            stream,
            guard: Guard::default(),
            held: Vec::new(),
            passed: 0,
            allowed: 0,
            limit: None,
            shut: false,
        }
    }

    /// The stream alone, and what was read of it and has not passed.
    pub fn into_parts(mut self) -> (S, Vec<u8>) {
        // What was refused belongs to nobody.
        let left = if self.shut { Vec::new() } else { self.held.split_off(self.passed) };
        (self.stream, left)
    }

    /// Has the refusal told in the place of the request that is refused.
    fn refuse(&mut self, refusal: Refusal) {
        (self.held, self.passed) = (stand_in(refusal), 0);
        (self.allowed, self.limit, self.shut) = (self.held.len(), None, true);
    }

    /// Gives what is held and may pass.
    fn give(&mut self, buffer: &mut ReadBuf<'_>) {
        let some = self.allowed.min(buffer.remaining());
        buffer.put_slice(&self.held[self.passed..self.passed + some]);
        self.passed += some;
        self.allowed -= some;
        if self.passed == self.held.len() {
            self.held.clear();
            self.passed = 0;
        }
    }

    /// Asks the guard about what is held.
    fn judge(&mut self) -> io::Result<()> {
        let in_head = self.guard.is_in_head();
        match self.guard.pass(&self.held[self.passed..]) {
            Ok(allowed) => {
                self.allowed = allowed;
                if allowed > 0 {
                    self.limit = None;
                } else {
                    self.limit.get_or_insert_with(|| Box::pin(sleep(HEAD_LIMIT)));
                }
                Ok(())
            }
            Err(refusal) if in_head => {
                self.refuse(refusal);
                Ok(())
            }
            Err(refusal) => self.break_off(refusal),
        }
    }

    /// Ends a body that turned out to be bad: the request has begun, so it cannot be refused any more.
    fn break_off(&mut self, refusal: Refusal) -> io::Result<()> {
        self.shut = true;
        Err(io::Error::new(io::ErrorKind::InvalidData, refusal))
    }
}

impl<S: AsyncRead + Unpin> Gate<S> {
    /// Reads on while a head is awaited; true at the end of the stream.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        if self.passed > 0 {
            self.held.drain(..self.passed);
            self.passed = 0;
        }
        let mut some = [0; READ_BYTES];
        let mut buffer = ReadBuf::new(&mut some);
        let read = Pin::new(&mut self.stream).poll_read(cx, &mut buffer);
        match read {
            Poll::Ready(Ok(())) if buffer.filled().is_empty() => return Poll::Ready(Ok(true)),
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending => {
                if let Some(limit) = &mut self.limit {
                    ready!(limit.as_mut().poll(cx));
                    self.refuse(Refusal::Slow);
                    return Poll::Ready(Ok(false));
                }
                return Poll::Pending;
            }
        }
        self.held.extend_from_slice(buffer.filled());
        self.judge()?;
        Poll::Ready(Ok(false))
    }

    /// Reads a body straight into the reader's buffer, and holds what lies behind its end.
    fn poll_body(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        let passed = match self.guard.pass(&buffer.filled()[before..]) {
            Ok(passed) => before + passed,
            Err(refusal) => {
                buffer.set_filled(before);
                return Poll::Ready(self.break_off(refusal));
            }
        };
        self.held.extend_from_slice(&buffer.filled()[passed..]);
        buffer.set_filled(passed);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gate<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let gate = self.get_mut();
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        loop {
            if gate.allowed > 0 {
                gate.give(buffer);
                return Poll::Ready(Ok(()));
            }
            if gate.shut {
                // What was refused is answered now; nothing more is read.
                return Poll::Pending;
            }
            if gate.passed < gate.held.len() && gate.limit.is_none() {
                gate.judge()?;
                if gate.allowed > 0 {
                    continue;
                }
            }
            if !gate.guard.is_in_head() {
                return gate.poll_body(cx, buffer);
            }
            if ready!(gate.poll_head(cx))? {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gate<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, data)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, data)
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
