//! A client of the onion address: one page through a tor's SOCKS port, as a browser would get it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use tokio_socks::tcp::Socks5Stream;

use super::target::GREETING;

/// Longest page that is read.
const MAX_PAGE: u64 = 65536;

/// How a fetch went.
#[derive(Clone, Debug)]
pub(super) struct Fetch {
    /// When it began.
    pub(super) began: Instant,
    /// How long it took.
    pub(super) took: Duration,
    /// Why it failed; None when the page came.
    pub(super) failure: Option<FetchError>,
}

/// Why a page did not come.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum FetchError {
    /// Not in the time a client is given.
    #[error("no page within {} s", .0.as_secs())]
    TimedOut(Duration),
    /// Tor did not connect.
    #[error("tor: {0}")]
    Socks(String),
    /// The connection broke.
    #[error("broken off: {0}")]
    Broken(std::io::ErrorKind),
    /// Something came, but not the page.
    #[error("not the target's page: {0:?}")]
    NotThePage(String),
}

/// Fetches a page. Each `circuit` is a client of its own to tor: its streams share nothing with others'.
pub(super) async fn fetch(socks: SocketAddr, host: &str, circuit: &str, limit: Duration) -> Fetch {
    let began = Instant::now();
    let page = timeout(limit, page(socks, host, circuit)).await;
    let failure = page.unwrap_or(Err(FetchError::TimedOut(limit))).err();
    Fetch { began, took: began.elapsed(), failure }
}

async fn page(socks: SocketAddr, host: &str, circuit: &str) -> Result<(), FetchError> {
    let mut stream = Socks5Stream::connect_with_password(socks, (host, 80), circuit, "lab")
        .await
        .map_err(|error| FetchError::Socks(error.to_string()))?;
    let broken = |error: std::io::Error| FetchError::Broken(error.kind());
    let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.map_err(broken)?;
    let mut text = Vec::new();
    stream.take(MAX_PAGE).read_to_end(&mut text).await.map_err(broken)?;
    let text = String::from_utf8_lossy(&text);
    if text.starts_with("HTTP/1.1 200 ") && text.contains(GREETING) {
        Ok(())
    } else {
        Err(FetchError::NotThePage(text.chars().take(80).collect()))
    }
}
