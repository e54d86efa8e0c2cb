//! The target: a web server that counts its requests, behind an onion service on a tor of its own.
//!
//! It answers with a short page, or slowly with a long download where one is asked for, or as a WebSocket.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::content::{self, Length};
use super::error::{LabError, io as doing};
use super::web_socket;

/// What every page begins with, so that a client knows it from anyone else's.
pub(super) const GREETING: &str = "rustbalance lab, request ";
/// Longest request that is read.
const MAX_REQUEST: usize = 8192;
/// How long a request may take to arrive, and a page to be taken.
const REQUEST_LIMIT: Duration = Duration::from_secs(30);
/// Between two pieces of a long download.
const PIECE: Duration = Duration::from_millis(100);

/// The target, and what it has served.
#[derive(Debug)]
pub(super) struct Target {
    path: PathBuf,
    requests: Arc<AtomicU64>,
    /// The one that its onion service leads to; none while it is down.
    front: Option<Door>,
}

/// A socket at which it serves. When this is dropped, who connects is refused.
#[derive(Debug)]
pub(super) struct Door {
    path: PathBuf,
    task: JoinHandle<()>,
}

impl Target {
    /// Serves pages at that socket.
    pub(super) fn start(path: &Path) -> Result<Self, LabError> {
        let mut target = Self { path: path.to_owned(), requests: Arc::default(), front: None };
        target.open()?;
        Ok(target)
    }

    /// How many requests it has answered.
    pub(super) fn served(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// It is up again.
    pub(super) fn open(&mut self) -> Result<(), LabError> {
        if self.front.is_none() {
            self.front = Some(self.door(&self.path)?);
        }
        Ok(())
    }

    /// It is down: whoever connects is refused.
    pub(super) fn close(&mut self) {
        self.front = None;
    }

    /// Serves the same pages at another socket, too.
    pub(super) fn door(&self, path: &Path) -> Result<Door, LabError> {
        let listener = UnixListener::bind(path).map_err(doing("binding the target's socket"))?;
        let counter = Arc::clone(&self.requests);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let counter = Arc::clone(&counter);
                // A client that goes away in the middle is its own affair.
                tokio::spawn(async move { answer(stream, &counter).await });
            }
        });
        Ok(Door { path: path.to_owned(), task })
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.task.abort();
        // Where it cannot be removed, the next one says so when it cannot be bound.
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn answer(mut stream: UnixStream, requests: &AtomicU64) -> std::io::Result<()> {
    let request = timeout(REQUEST_LIMIT, request(&mut stream)).await??;
    let number = requests.fetch_add(1, Ordering::Relaxed) + 1;
    if web_socket::is_wanted(&request) {
        return web_socket::echo(&mut stream, &request).await;
    }
    let line = request.lines().next().unwrap_or_default();
    match Length::of_request(line) {
        Some(length) => download(&mut stream, length).await?,
        None => timeout(REQUEST_LIMIT, page(&mut stream, number)).await??,
    }
    stream.shutdown().await
}

/// The head of a request. A body is read, too: what is closed with something unread in it ends with a reset, and the
/// answer may be lost.
async fn request(stream: &mut UnixStream) -> std::io::Result<String> {
    let mut request = Vec::new();
    let head = loop {
        if let Some(head) = request.windows(4).position(|end| end == b"\r\n\r\n") {
            break head + 4;
        }
        more(stream, &mut request).await?;
    };
    let text = String::from_utf8_lossy(&request[..head]).into_owned();
    let length = text.lines().find_map(|line| line.strip_prefix("Content-Length: ")?.parse().ok());
    while request.len() < head + length.unwrap_or(0) {
        more(stream, &mut request).await?;
    }
    Ok(text)
}

async fn more(stream: &mut UnixStream, request: &mut Vec<u8>) -> std::io::Result<()> {
    if request.len() > MAX_REQUEST || stream.read_buf(request).await? == 0 {
        return Err(std::io::ErrorKind::InvalidData.into());
    }
    Ok(())
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
