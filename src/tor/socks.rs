//! SOCKS5 through tor, with the reasons tor gives.
//!
//! The library maps every reply code it does not know to one error, and so loses tor's extended onion errors
//! (`SocksPort … ExtendedErrors`, proposal 304). `Tap` keeps the first bytes of tor's side, where the code is.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_socks::tcp::Socks5Stream;

use crate::tor::error::SocksError;
use crate::tor::stream::Stream;

/// Method choice (2 bytes), answer to the password (2, when asked for), version and code of the reply (2).
const KEPT: usize = 6;

/// Asks tor, over `tor`, for a connection to `host:port`, isolated from every other `isolation`.
///
/// `heard` is called when tor says its first byte. No time limit of its own.
pub async fn connect(
    tor: Stream,
    (host, port): (&str, u16),
    isolation: &str,
    heard: impl FnMut() + Unpin,
) -> Result<Stream, SocksError> {
    let mut tap = Tap { stream: tor, first: [0; KEPT], kept: 0, heard };
    // The password only has to be there: tor isolates by both together (IsolateSOCKSAuth).
    let outcome =
        Socks5Stream::connect_with_password_and_socket(&mut tap, (host, port), isolation, "rustbalance")
            .await;
    match outcome {
        Ok(_) => Ok(tap.stream),
        Err(error) => Err(tap.reply_code().map_or_else(|| of_library(&error), of_code)),
    }
}

/// A stream that keeps the first bytes it read.
struct Tap<F> {
    stream: Stream,
    first: [u8; KEPT],
    kept: usize,
    heard: F,
}

impl<F> Tap<F> {
    /// The code of tor's reply, if the conversation got that far.
    fn reply_code(&self) -> Option<u8> {
        match &self.first[..self.kept] {
            // With and without the answer to the password in between.
            [5, 2, _, 0, 5, code, ..] | [5, 0, 5, code, ..] => Some(*code),
            _ => None,
        }
    }
}

impl<F: FnMut() + Unpin> AsyncRead for Tap<F> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let tap = self.get_mut();
        let before = buffer.filled().len();
        let read = ready!(Pin::new(&mut tap.stream).poll_read(cx, buffer));
        let new = &buffer.filled()[before..];
        if tap.kept == 0 && !new.is_empty() {
            (tap.heard)();
        }
        let keep = new.len().min(KEPT - tap.kept);
        tap.first[tap.kept..tap.kept + keep].copy_from_slice(&new[..keep]);
        tap.kept += keep;
        Poll::Ready(read)
    }
}

impl<F: Unpin> AsyncWrite for Tap<F> {
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

/// What a reply code means: RFC 1928 section 6, and proposal 304 for F0 and up.
fn of_code(code: u8) -> SocksError {
    match code {
        // General failure and "network unreachable" are about this tor, not about the target.
        0x01 | 0x03 => SocksError::TorFailed,
        0x02 | 0x04..=0x06 => SocksError::Unreachable,
        0xF0 => SocksError::DescriptorNotFound,
        0xF1 => SocksError::DescriptorInvalid,
        0xF2 => SocksError::IntroductionFailed,
        0xF3 => SocksError::RendezvousFailed,
        0xF4 | 0xF5 => SocksError::AuthorisationNeeded,
        0xF6 => SocksError::BadAddress,
        0xF7 => SocksError::IntroductionTimedOut,
        _ => SocksError::SocksBroken,
    }
}

/// What went wrong before tor gave a reply code.
fn of_library(error: &tokio_socks::Error) -> SocksError {
    match error {
        tokio_socks::Error::Io(_) => SocksError::TorFailed,
        _ => SocksError::SocksBroken,
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixStream;

    use super::*;

    /// Plays a tor that says these bytes, each part after having heard something.
    async fn against(script: &'static [&'static [u8]]) -> Result<Stream, SocksError> {
        let (ours, mut tor) = UnixStream::pair().unwrap();
        tokio::spawn(async move {
            for part in script {
                let mut heard = [0; 600];
                if tor.read(&mut heard).await.unwrap_or(0) == 0 {
                    return;
                }
                tor.write_all(part).await.unwrap();
            }
        });
        connect(Stream::Unix(ours), ("x.onion", 80), "isolation", || ()).await
    }

    #[tokio::test]
    async fn success_hands_over_the_stream_with_what_follows_unread() {
        let ok: &[&[u8]] = &[b"\x05\x02", b"\x01\x00", b"\x05\x00\x00\x01\0\0\0\0\0\0hello"];
        let mut stream = against(ok).await.unwrap();
        let mut hello = [0; 5];
        stream.read_exact(&mut hello).await.unwrap();
        assert_eq!(&hello, b"hello");
    }

    #[tokio::test]
    async fn tors_extended_errors_become_reasons() {
        use SocksError as Reason;
        let cases: [(&[&[u8]], Reason); 8] = [
            (&[b"\x05\x02", b"\x01\x00", b"\x05\xF0\x00\x01\0\0\0\0\0\0"], Reason::DescriptorNotFound),
            (&[b"\x05\x00", b"\x05\xF2\x00\x01\0\0\0\0\0\0"], Reason::IntroductionFailed),
            (&[b"\x05\x02", b"\x01\x00", b"\x05\xF7\x00\x01\0\0\0\0\0\0"], Reason::IntroductionTimedOut),
            (&[b"\x05\x02", b"\x01\x00", b"\x05\x01\x00\x01\0\0\0\0\0\0"], Reason::TorFailed),
            (&[b"\x05\x02", b"\x01\x00", b"\x05\x06\x00\x01\0\0\0\0\0\0"], Reason::Unreachable),
            (&[b"\x05\x02", b"\x01\x01"], Reason::SocksBroken),
            (&[b"HTTP/1.1 400 Bad Request\r\n\r\n"], Reason::SocksBroken),
            (&[b"\x05"], Reason::TorFailed),
        ];
        for (script, reason) in cases {
            assert_eq!(against(script).await.unwrap_err(), reason, "{script:?}");
        }
    }

    #[tokio::test]
    async fn no_bytes_of_a_broken_tor_make_it_panic() {
        for code in 0..=255_u8 {
            for kept in 0..=KEPT {
                let (ours, _tor) = UnixStream::pair().unwrap();
                let first = [5, code, code, 0, 5, code];
                let tap = Tap { stream: Stream::Unix(ours), first, kept, heard: || () };
                let _ = tap.reply_code().map(of_code);
            }
        }
    }
}
