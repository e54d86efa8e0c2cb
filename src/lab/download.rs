//! Long downloads through the onion address, of which every byte is looked at.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_socks::tcp::Socks5Stream;

use super::content::{self, Length};
use super::pool::ClientTor;
use super::screen::Screen;

/// Longest head of an answer.
const MAX_HEAD: usize = 8192;
/// How long a download may take to begin: twenty circuits are built at once.
const BEGIN_LIMIT: Duration = Duration::from_secs(30);
/// How much later than the target sent it, at most, the last byte comes: circuits are slow, and so is a busy machine.
const LATE: Duration = Duration::from_mins(2);
/// Between two looks at how many have begun.
const POLL: Duration = Duration::from_millis(100);
/// Read at once.
const BUFFER: usize = 16384;

/// Why a download is not what it should be.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum DownloadError {
    /// Not in the time that it may take.
    #[error("not complete within {} s", .0.as_secs())]
    TimedOut(Duration),
    /// Tor did not connect.
    #[error("tor: {0}")]
    Socks(String),
    /// Reset, after so many bytes.
    #[error("reset after {1} bytes ({0})")]
    Reset(std::io::ErrorKind, u64),
    /// It ended in order, but too early.
    #[error("ended in order after {0} bytes, which is too early")]
    Short(u64),
    /// It went on after its end.
    #[error("longer than it was said to be")]
    Long,
    /// Something came, but not a download.
    #[error("not the target's download: {0:?}")]
    NotTheDownload(String),
    /// A byte that the target did not send.
    #[error("byte {0} is wrong")]
    Wrong(u64),
}

/// Downloads at work.
#[derive(Debug)]
pub(super) struct Downloads {
    running: JoinSet<Result<(), DownloadError>>,
    begun: Arc<AtomicUsize>,
}

impl Downloads {
    /// Starts so many, evenly over the clients, each over a circuit of its own. `name` keeps these circuits apart from
    /// others.
    pub(super) fn start(
        name: &str,
        clients: &[ClientTor],
        address: &str,
        number: usize,
        length: Length,
        screen: &Screen,
    ) -> Self {
        let begun = Arc::new(AtomicUsize::new(0));
        let mut running = JoinSet::new();
        for (count, client) in (0..number).zip(clients.iter().cycle()) {
            let one = One {
                socks: client.socks,
                host: address.to_owned(),
                circuit: format!("{name}-long-{count}"),
                length,
                begun: Arc::clone(&begun),
            };
            let screen = screen.clone();
            running.spawn(async move {
                let done = one.download().await;
                let how = done.as_ref().map_or_else(ToString::to_string, |()| "complete".to_owned());
                screen.note(&format!("download of circuit {}: {how}", one.circuit));
                done
            });
        }
        Self { running, begun }
    }

    /// Waits until each of them has begun to arrive, or has failed.
    pub(super) async fn all_begun(&self) {
        while self.begun.load(Ordering::Relaxed) < self.running.len() {
            sleep(POLL).await;
        }
    }

    /// Waits for all of them; what went wrong with each.
    pub(super) async fn finish(mut self) -> Vec<Result<(), DownloadError>> {
        let mut done = Vec::new();
        while let Some(one) = self.running.join_next().await {
            done.extend(one);
        }
        done
    }
}

/// One download.
struct One {
    socks: SocketAddr,
    host: String,
    circuit: String,
    length: Length,
    /// How many of all have begun, or have failed to.
    begun: Arc<AtomicUsize>,
}

impl One {
    async fn download(&self) -> Result<(), DownloadError> {
        let begun = within(BEGIN_LIMIT, self.begin()).await;
        self.begun.fetch_add(1, Ordering::Relaxed);
        let (stream, first) = begun?;
        within(self.length.duration + LATE, self.go_on(stream, first)).await
    }

    /// Up to the head of the answer; what came with it of the rest.
    async fn begin(&self) -> Result<(TcpStream, Vec<u8>), DownloadError> {
        let host = self.host.as_str();
        let stream = Socks5Stream::connect_with_password(self.socks, (host, 80), &self.circuit, "lab").await;
        let mut stream = stream.map_err(|error| DownloadError::Socks(error.to_string()))?.into_inner();
        let request = format!("GET {} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n", self.length);
        stream.write_all(request.as_bytes()).await.map_err(reset_at(0))?;
        let first = self.head(&mut stream).await?;
        Ok((stream, first))
    }

    /// Reads everything and looks at it.
    async fn go_on(&self, mut stream: TcpStream, mut piece: Vec<u8>) -> Result<(), DownloadError> {
        let mut place = 0;
        loop {
            if let Some(wrong) = content::first_wrong(place, &piece) {
                return Err(DownloadError::Wrong(wrong));
            }
            place += piece.len() as u64;
            if place > self.length.bytes {
                return Err(DownloadError::Long);
            }
            piece.clear();
            piece.reserve(BUFFER);
            if stream.read_buf(&mut piece).await.map_err(reset_at(place))? == 0 {
                break;
            }
        }
        if place == self.length.bytes { Ok(()) } else { Err(DownloadError::Short(place)) }
    }

    /// Reads up to the end of the head, which must be the one of this download; what came with it of the rest.
    async fn head(&self, stream: &mut TcpStream) -> Result<Vec<u8>, DownloadError> {
        let mut answer = Vec::new();
        loop {
            if let Some(end) = answer.windows(4).position(|end| end == b"\r\n\r\n") {
                let rest = answer.split_off(end + 4);
                let head = String::from_utf8_lossy(&answer).into_owned();
                let length = format!("\r\nContent-Length: {}\r\n", self.length.bytes);
                let good = head.starts_with("HTTP/1.1 200 ") && head.contains(&length);
                return if good { Ok(rest) } else { Err(DownloadError::NotTheDownload(head)) };
            }
            let read = stream.read_buf(&mut answer).await.map_err(reset_at(0))?;
            if read == 0 || answer.len() > MAX_HEAD {
                return Err(DownloadError::NotTheDownload(String::from_utf8_lossy(&answer).into_owned()));
            }
        }
    }
}

fn reset_at(place: u64) -> impl FnOnce(std::io::Error) -> DownloadError {
    move |error| DownloadError::Reset(error.kind(), place)
}

async fn within<T>(
    limit: Duration,
    step: impl Future<Output = Result<T, DownloadError>>,
) -> Result<T, DownloadError> {
    timeout(limit, step).await.unwrap_or(Err(DownloadError::TimedOut(limit)))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    const LENGTH: Length = Length { bytes: 40_000, duration: Duration::ZERO };

    /// What a client says about an answer that consists of these bytes; the other side then closes in order, or resets.
    async fn about(answer: Vec<u8>, reset: bool) -> Result<(), DownloadError> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let socks = listener.local_addr().unwrap();
        let one =
            One { socks, host: "x.onion".into(), circuit: "c".into(), length: LENGTH, begun: Arc::default() };
        let tor = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut heard = [0; 1024];
            // Method, password, request: each is one message, answered like tor does.
            for said in [&b"\x05\x02"[..], b"\x01\x00", b"\x05\x00\x00\x01\0\0\0\0\0\0"] {
                assert!(stream.read(&mut heard).await.unwrap() > 0);
                stream.write_all(said).await.unwrap();
            }
            assert!(stream.read(&mut heard).await.unwrap() > 0);
            stream.write_all(&answer).await.unwrap();
            if reset {
                sleep(Duration::from_millis(50)).await;
                stream.set_zero_linger().unwrap();
            }
        };
        tokio::join!(one.download(), tor).0
    }

    fn answer(from: u64, to: u64) -> Vec<u8> {
        let mut answer = b"HTTP/1.1 200 OK\r\nContent-Length: 40000\r\n\r\n".to_vec();
        answer.extend(content::between(from, to));
        answer
    }

    #[tokio::test]
    async fn a_whole_download_is_good_and_each_damage_has_its_name() {
        assert!(about(answer(0, 40_000), false).await.is_ok());
        let short = about(answer(0, 39_999), false).await;
        assert!(matches!(short, Err(DownloadError::Short(39_999))), "{short:?}");
        let long = about(answer(0, 40_001), false).await;
        assert!(matches!(long, Err(DownloadError::Long)), "{long:?}");
        let shifted = about(answer(1, 40_001), false).await;
        assert!(matches!(shifted, Err(DownloadError::Wrong(_))), "{shifted:?}");
        let reset = about(answer(0, 20_000), true).await;
        assert!(matches!(reset, Err(DownloadError::Reset(_, 20_000))), "{reset:?}");
        let other = about(b"HTTP/1.1 404 Not Found\r\n\r\n".to_vec(), false).await;
        assert!(matches!(other, Err(DownloadError::NotTheDownload(_))), "{other:?}");
    }
}
