//! Reaching an onion service over SOCKS, through the first tor that is there.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use crate::tor::address::SocketAddress;
use crate::tor::error::SocksError;
use crate::tor::socks;
use crate::tor::stream::Stream;

/// How long a tor may take to accept a connection on this machine and to say its first byte. A living one takes
/// milliseconds; one that hangs must not cost the caller the whole time-out.
const TOR_SILENCE: Duration = Duration::from_secs(2);

/// Dials through the SOCKS ports of the node's tors.
#[derive(Debug)]
pub struct SocksDialer {
    /// SOCKS ports in the order in which they are tried.
    tors: Vec<SocketAddress>,
    /// Distinguishes this process's circuits from those of one before it.
    process: u64,
    connections: AtomicU64,
}

impl SocksDialer {
    /// `tors` are the SOCKS ports in order of preference, `process` a random number.
    pub fn new(tors: Vec<SocketAddress>, process: u64) -> Self {
        Self { tors, process, connections: AtomicU64::new(0) }
    }

    /// Opens a connection to `host:port` within `limit`, over a circuit that no other connection of ours uses.
    pub async fn dial(&self, host: &str, port: u16, limit: Duration) -> Result<Stream, SocksError> {
        timeout(limit, self.through_tors(host, port, limit)).await.unwrap_or(Err(SocksError::TimedOut))
    }

    /// Tries one tor after the other until one gives an answer that is about the service.
    ///
    /// A tor that has lost its way into the network, or is still finding it after a restart, does not say so: it
    /// keeps the request waiting. So when a third of the time is gone the next tor is asked as well, and the first
    /// connection wins.
    async fn through_tors(&self, host: &str, port: u16, limit: Duration) -> Result<Stream, SocksError> {
        // One circuit per connection: the service cannot link connections, and a slow circuit hurts one only.
        let number = self.connections.fetch_add(1, Ordering::Relaxed);
        let isolation = format!("rustbalance-{:016x}-{number}", self.process);
        let mut waiting = self.tors.iter().map(|tor| through_one(tor, host, port, &isolation));
        let mut asked = FuturesUnordered::new();
        let mut outcome = SocksError::NoTor;
        loop {
            if asked.is_empty() {
                match waiting.next() {
                    Some(tor) => asked.push(tor),
                    None => return Err(outcome),
                }
            }
            tokio::select! {
                Some(answer) = asked.next() => match answer {
                    Ok(stream) => return Ok(stream),
                    // It is about this tor: whatever another one says, or said, tells more.
                    Err(SocksError::NoTor) => {}
                    Err(reason @ (SocksError::TorFailed | SocksError::SocksBroken)) => outcome = reason,
                    Err(reason) if asked.is_empty() => return Err(reason),
                    Err(reason) => outcome = reason,
                },
                () = sleep(limit / 3), if waiting.len() > 0 => asked.extend(waiting.next()),
            }
        }
    }
}

async fn through_one(
    tor: &SocketAddress,
    host: &str,
    port: u16,
    isolation: &str,
) -> Result<Stream, SocksError> {
    let Ok(Ok(stream)) = timeout(TOR_SILENCE, Stream::connect(tor)).await else {
        return Err(SocksError::NoTor);
    };
    let first_byte = Notify::new();
    let connected = socks::connect(stream, (host, port), isolation, || first_byte.notify_one());
    tokio::pin!(connected);
    tokio::select! {
        connected = &mut connected => return connected,
        () = first_byte.notified() => {}
        () = sleep(TOR_SILENCE) => return Err(SocksError::NoTor),
    }
    connected.await
}
