//! Reaching the target: directly, or over SOCKS through the first tor that is there.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::socks;
use super::stream::Stream;
use crate::config::endpoint::{Endpoint, Target};
use crate::ipc::proxy::FailureReason;

/// How long a tor may take to accept a connection on this machine and to say its first byte. A living one takes
/// milliseconds; one that hangs must not cost the client the whole time-out.
const TOR_SILENCE: Duration = Duration::from_secs(2);

/// Knows the way to the target.
#[derive(Debug)]
pub struct Dialer {
    target: Target,
    /// SOCKS ports in the order in which they are tried.
    tors: Vec<Endpoint>,
    timeout: Duration,
    /// Distinguishes this process's circuits from those of one before it.
    process: u64,
    connections: AtomicU64,
}

impl Dialer {
    /// `tors` are the SOCKS ports in order of preference, `process` a random number, `timeout` bounds one whole dial.
    pub fn new(target: Target, tors: Vec<Endpoint>, timeout: Duration, process: u64) -> Self {
        Self { target, tors, timeout, process, connections: AtomicU64::new(0) }
    }

    /// Opens a connection to the target.
    pub async fn dial(&self) -> Result<Stream, FailureReason> {
        let dialled = async {
            match &self.target {
                Target::Local(endpoint) => {
                    Stream::connect(endpoint).await.map_err(|_| FailureReason::TargetUnreachable)
                }
                Target::Onion { address, port } => self.through_tor(&address.to_string(), *port).await,
            }
        };
        timeout(self.timeout, dialled).await.unwrap_or(Err(FailureReason::ConnectTimedOut))
    }

    /// Tries one tor after the other until one gives an answer that is about the target.
    async fn through_tor(&self, host: &str, port: u16) -> Result<Stream, FailureReason> {
        // One circuit per client connection: the target cannot link connections, and a slow circuit hurts one client.
        let number = self.connections.fetch_add(1, Ordering::Relaxed);
        let isolation = format!("rustbalance-{:016x}-{number}", self.process);
        let mut last = FailureReason::NoTor;
        for tor in &self.tors {
            match through_one(tor, host, port, &isolation).await {
                Err(
                    reason @ (FailureReason::NoTor | FailureReason::TorFailed | FailureReason::SocksBroken),
                ) => {
                    // The most telling reason wins: a tor that answers badly says more than one that is away.
                    if last == FailureReason::NoTor {
                        last = reason;
                    }
                }
                answer => return answer,
            }
        }
        Err(last)
    }
}

async fn through_one(
    tor: &Endpoint,
    host: &str,
    port: u16,
    isolation: &str,
) -> Result<Stream, FailureReason> {
    let Ok(Ok(stream)) = timeout(TOR_SILENCE, Stream::connect(tor)).await else {
        return Err(FailureReason::NoTor);
    };
    let first_byte = Notify::new();
    let connected = socks::connect(stream, (host, port), isolation, || first_byte.notify_one());
    tokio::pin!(connected);
    tokio::select! {
        connected = &mut connected => return connected,
        () = first_byte.notified() => {}
        () = sleep(TOR_SILENCE) => return Err(FailureReason::NoTor),
    }
    connected.await
}
