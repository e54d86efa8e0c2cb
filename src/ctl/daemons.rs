//! Talking to this node's daemons.

use std::io;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::config::file::{Config, DEFAULT_PATH};
use crate::config::ipc::Ipc;
use crate::ctl::daemon_error::Daemon;
use crate::ctl::error::CtlError;
use crate::ipc::client::ClientError;
use crate::ipc::coordinator::CoordinatorClient;

/// Where the daemons are.
#[derive(Debug, Args)]
pub struct Node {
    /// The configuration, which says where the daemons' sockets are [default: /etc/rustbalance/config.toml, and
    /// /run/rustbalance where that cannot be read]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Node {
    /// The control sockets.
    pub fn sockets(&self) -> Result<Ipc, CtlError> {
        match &self.config {
            Some(path) => Ok(Config::load(path)?.ipc),
            // Whoever may talk to the daemons need not be allowed to read their configuration.
            None if std::fs::File::open(DEFAULT_PATH).is_err() => Ok(Ipc::default()),
            None => Ok(Config::load(Path::new(DEFAULT_PATH))?.ipc),
        }
    }

    /// A connection to the coordinator.
    pub async fn coordinator(&self) -> Result<Coordinator, CtlError> {
        let path = self.sockets()?.coordinator_socket();
        match CoordinatorClient::connect(&path).await {
            Ok(client) => Ok(Coordinator { client, path }),
            Err(error) => Err(Daemon::Coordinator.explain(&path, error).into()),
        }
    }
}

/// A connection to the coordinator, and its socket.
#[derive(Debug)]
pub struct Coordinator {
    /// The connection.
    pub client: CoordinatorClient,
    path: PathBuf,
}

impl Coordinator {
    /// Why a call on this connection failed.
    pub fn explain(&self, error: ClientError) -> CtlError {
        Daemon::Coordinator.explain(&self.path, error).into()
    }
}

/// What calls to daemons run in: they are few, one thread is enough.
pub fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}
