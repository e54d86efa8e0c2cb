//! The target: a web server that counts its requests, behind an onion service on a tor of its own.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

use super::error::{LabError, io as doing};

/// What every page begins with, so that a client knows it from anyone else's.
pub(super) const GREETING: &str = "rustbalance lab, request ";
/// Longest request that is read.
const MAX_REQUEST: usize = 8192;
/// How long a request may take to arrive.
const REQUEST_LIMIT: Duration = Duration::from_secs(30);

/// Serves pages until the lab ends.
pub(super) fn serve(path: &Path) -> Result<Arc<AtomicU64>, LabError> {
    let listener = UnixListener::bind(path).map_err(doing("binding the target's socket"))?;
    let requests = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&requests);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let counter = Arc::clone(&counter);
            // A client that goes away in the middle is its own affair.
            tokio::spawn(async move { timeout(REQUEST_LIMIT, answer(stream, &counter)).await });
        }
    });
    Ok(requests)
}

async fn answer(mut stream: UnixStream, requests: &AtomicU64) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        if request.len() > MAX_REQUEST || stream.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    let number = requests.fetch_add(1, Ordering::Relaxed) + 1;
    let body = format!("{GREETING}{number}\n");
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).await?;
    stream.shutdown().await
}
