//! A client of the onion address: one page through a tor's SOCKS port, as a browser would get it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_socks::tcp::Socks5Stream;

use super::target::GREETING;

/// Longest page that is read.
const MAX_PAGE: u64 = 65536;
/// Pause before a request is made again, lest a service that always hangs up keeps two processes busy.
const BEFORE_REPEAT: Duration = Duration::from_millis(50);

/// How a fetch went.
#[derive(Clone, Debug)]
pub(super) struct Fetch {
    /// When it began.
    pub(super) began: Instant,
    /// How long it took.
    pub(super) took: Duration,
    /// Why the request was made again, each time, and how long after the beginning: its stream had ended before any
    /// answer.
    pub(super) repeats: Vec<(Duration, FetchError)>,
    /// Why it failed; None when the page came.
    pub(super) failure: Option<FetchError>,
}

/// Why a page did not come.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum FetchError {
    /// Not in the time a client is given: tor had not connected yet.
    #[error("no connection within {} s", .0.as_secs())]
    NotConnected(Duration),
    /// Not in the time a client is given, though tor had connected.
    #[error("connected, but no page within {} s", .0.as_secs())]
    NotAnswered(Duration),
    /// Tor did not connect.
    #[error("tor: {0}")]
    Socks(String),
    /// The circuit was destroyed while the stream was being opened, which tor calls a general failure.
    #[error("tor: the stream's circuit was destroyed")]
    CircuitDestroyed,
    /// The connection ended before the first byte of an answer.
    #[error("hung up without an answer")]
    NoAnswer,
    /// The connection broke in the middle of the answer.
    #[error("broken off: {0}")]
    Broken(std::io::ErrorKind),
    /// Something came, but not the page.
    #[error("not the target's page: {0:?}")]
    NotThePage(String),
}

/// Fetches a page. Each `circuit` is a client of its own to tor: its streams share nothing with others'.
///
/// A request whose stream ends before the first byte of an answer is made again within the same time limit, as a
/// browser does for methods that change nothing, and `curl --retry-all-errors`. When a node dies, what it was
/// connecting or answering just then ends so; no other node has ever heard of it.
pub(super) async fn fetch(socks: SocketAddr, host: &str, circuit: &str, limit: Duration) -> Fetch {
    let began = Instant::now();
    let (mut repeats, is_connected) = (Vec::new(), AtomicBool::new(false));
    let once = async || {
        is_connected.store(false, Ordering::Relaxed);
        let stream = connect(socks, host, circuit).await?;
        is_connected.store(true, Ordering::Relaxed);
        get(stream, host).await
    };
    let page = async {
        loop {
            match once().await {
                Err(ended @ (FetchError::NoAnswer | FetchError::CircuitDestroyed)) => {
                    repeats.push((began.elapsed(), ended));
                }
                other => return other,
            }
            sleep(BEFORE_REPEAT).await;
        }
    };
    let paged = timeout(limit, page).await;
    let late = if is_connected.into_inner() { FetchError::NotAnswered } else { FetchError::NotConnected };
    let failure = paged.unwrap_or(Err(late(limit))).err();
    Fetch { began, took: began.elapsed(), repeats, failure }
}

/// Says something to the address over a connection of its own; what comes back until its end.
pub(super) async fn say(
    socks: SocketAddr,
    host: &str,
    circuit: &str,
    words: &[u8],
) -> Result<String, FetchError> {
    exchange(connect(socks, host, circuit).await?, words).await
}

/// Fetches a page once.
pub(super) async fn page(socks: SocketAddr, host: &str, circuit: &str) -> Result<(), FetchError> {
    get(connect(socks, host, circuit).await?, host).await
}

/// Whether it is the target that answers so.
pub(super) fn is_the_page(answer: &str) -> bool {
    answer.starts_with("HTTP/1.1 200 ") && answer.contains(GREETING)
}

async fn connect(
    socks: SocketAddr,
    host: &str,
    circuit: &str,
) -> Result<Socks5Stream<TcpStream>, FetchError> {
    Socks5Stream::connect_with_password(socks, (host, 80), circuit, "lab").await.map_err(
        |error| match error {
            tokio_socks::Error::GeneralSocksServerFailure => FetchError::CircuitDestroyed,
            other => FetchError::Socks(other.to_string()),
        },
    )
}

async fn get(stream: Socks5Stream<TcpStream>, host: &str) -> Result<(), FetchError> {
    let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    let text = exchange(stream, request.as_bytes()).await?;
    if is_the_page(&text) { Ok(()) } else { Err(FetchError::NotThePage(text.chars().take(80).collect())) }
}

async fn exchange(mut stream: Socks5Stream<TcpStream>, words: &[u8]) -> Result<String, FetchError> {
    stream.write_all(words).await.map_err(|_| FetchError::NoAnswer)?;
    let mut text = Vec::new();
    let read = stream.take(MAX_PAGE).read_to_end(&mut text).await;
    if text.is_empty() {
        return Err(FetchError::NoAnswer);
    }
    read.map_err(|error| FetchError::Broken(error.kind()))?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}
