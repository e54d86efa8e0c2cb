//! The target: a web server that counts its requests, behind an onion service on a tor of its own.
//!
//! It answers with a short page, or slowly with a long download where one is asked for.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::{sleep, timeout};

use super::content::{self, Length};
use super::error::{LabError, io as doing};

/// What every page begins with, so that a client knows it from anyone else's.
pub(super) const GREETING: &str = "rustbalance lab, request ";
/// Longest request that is read.
const MAX_REQUEST: usize = 8192;
/// How long a request may take to arrive, and a page to be taken.
const REQUEST_LIMIT: Duration = Duration::from_secs(30);
/// Between two pieces of a long download.
const PIECE: Duration = Duration::from_millis(100);

/// Serves pages until the lab ends.
pub(super) fn serve(path: &Path) -> Result<Arc<AtomicU64>, LabError> {
    let listener = UnixListener::bind(path).map_err(doing("binding the target's socket"))?;
    let requests = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&requests);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let counter = Arc::clone(&counter);
            // A client that goes away in the middle is its own affair.
            tokio::spawn(async move { answer(stream, &counter).await });
        }
    });
    Ok(requests)
}

async fn answer(mut stream: UnixStream, requests: &AtomicU64) -> std::io::Result<()> {
    let request = timeout(REQUEST_LIMIT, request(&mut stream)).await??;
    let number = requests.fetch_add(1, Ordering::Relaxed) + 1;
    let line = request.lines().next().unwrap_or_default();
    match Length::of_request(line) {
        Some(length) => download(&mut stream, length).await?,
        None => timeout(REQUEST_LIMIT, page(&mut stream, number)).await??,
    }
    stream.shutdown().await
}

/// The head of a request.
async fn request(stream: &mut UnixStream) -> std::io::Result<String> {
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        if request.len() > MAX_REQUEST || stream.read_buf(&mut request).await? == 0 {
            return Err(std::io::ErrorKind::InvalidData.into());
        }
    }
    Ok(String::from_utf8_lossy(&request).into_owned())
}

async fn page(stream: &mut UnixStream, number: u64) -> std::io::Result<()> {
    let body = format!("{GREETING}{number}\n");
    stream.write_all((head("text/plain", body.len() as u64) + &body).as_bytes()).await
}

async fn download(stream: &mut UnixStream, length: Length) -> std::io::Result<()> {
    stream.write_all(head("application/octet-stream", length.bytes).as_bytes()).await?;
    let began = Instant::now();
    let mut sent = 0;
    while sent < length.bytes {
        let due = length.due(began.elapsed());
        stream.write_all(&content::between(sent, due)).await?;
        sent = due;
        sleep(PIECE).await;
    }
    Ok(())
}

fn head(what: &str, length: u64) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {what}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    )
}
