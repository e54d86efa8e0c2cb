//! What the daemons say, gathered.

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use tokio::time::{Instant, sleep};

use crate::config::ipc::Ipc;
use crate::ctl::daemon_error::{Daemon, DaemonError};
use crate::ctl::moment::Moment;
use crate::ipc::client::ClientError;
use crate::ipc::coordinator::{CoordinatorClient, CoordinatorStatus};
use crate::ipc::proxy::{ProxyClient, ProxyStatus};
use crate::ipc::publisher::PublisherClient;
use crate::proto::publish::report::PublisherReport;
use crate::sys::exit::whole_reason;

/// What this node's daemons know, at one moment. Its JSON is an interface: keys may be added, not renamed.
#[derive(Debug, Serialize)]
pub struct Report {
    /// When they were asked.
    pub at: Moment,
    /// What the coordinator says; `None` if it said nothing.
    pub coordinator: Option<CoordinatorStatus>,
    /// What the publisher says.
    pub publisher: Option<PublisherReport>,
    /// What the proxy says.
    pub proxy: Option<ProxyStatus>,
    /// Who said nothing, and why.
    pub silent: Vec<Silent>,
}

/// A daemon that said nothing.
#[derive(Debug, Serialize)]
pub struct Silent {
    /// Which one.
    pub daemon: String,
    /// Why.
    pub reason: String,
}

/// How long a daemon that ends while it is asked is asked again: longer than one takes to be started again.
const RESTART_TIME: Duration = Duration::from_secs(5);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(100);

/// Asks a daemon, and its successor if it ended before it answered. Asking changes nothing, so it may be done twice.
async fn ask<T>(question: impl AsyncFn() -> Result<T, ClientError>) -> Result<T, ClientError> {
    let deadline = Instant::now() + RESTART_TIME;
    loop {
        match question().await {
            Err(error) if error.is_an_end() && Instant::now() < deadline => sleep(PAUSE).await,
            answer => return answer,
        }
    }
}

impl Report {
    /// Asks all daemons. The error is why the coordinator said nothing: without it there is no cluster to show.
    pub async fn gather(sockets: &Ipc) -> (Self, Option<DaemonError>) {
        let coordinator =
            ask(async || CoordinatorClient::connect(&sockets.coordinator_socket()).await?.status().await);
        let publisher =
            ask(async || PublisherClient::connect(&sockets.publisher_socket()).await?.status().await);
        let proxy = ask(async || ProxyClient::connect(&sockets.proxy_socket()).await?.status().await);
        let (coordinator, publisher, proxy) = tokio::join!(coordinator, publisher, proxy);
        let mut silent = Vec::new();
        let mut explain = |daemon: Daemon, socket: PathBuf, error: ClientError| {
            let error = daemon.explain(&socket, error);
            silent.push(Silent { daemon: daemon.to_string(), reason: whole_reason(&error) });
            error
        };
        let (coordinator, error) = match coordinator {
            Ok(status) => (Some(status), None),
            Err(error) => (None, Some(explain(Daemon::Coordinator, sockets.coordinator_socket(), error))),
        };
        let publisher =
            publisher.map_err(|error| explain(Daemon::Publisher, sockets.publisher_socket(), error));
        let proxy = proxy.map_err(|error| explain(Daemon::Proxy, sockets.proxy_socket(), error));
        let (publisher, proxy) = (publisher.ok(), proxy.ok());
        (Self { at: Moment::now(), coordinator, publisher, proxy, silent }, error)
    }

    /// Whether any daemon said anything.
    pub fn is_empty(&self) -> bool {
        self.coordinator.is_none() && self.publisher.is_none() && self.proxy.is_none()
    }
}
