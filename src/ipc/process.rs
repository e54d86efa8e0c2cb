//! `io.rustbalance.Process`: what a daemon uses of what it may use. Nobody but itself can count its files.
//!
//! Every daemon has it, and [`super::server`] answers it: its main loop is not asked.

use std::path::Path;

use nix::sys::resource::{Resource, getrlimit};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::call::{Fault, Parameters};
use super::client::{Client, ClientError};

/// The interface's name.
pub const NAME: &str = "io.rustbalance.Process";
/// What this process has open. It may always read that of itself, however it is confined.
const OPEN_FILES: &str = "/proc/self/fd";

/// What a daemon uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessStatus {
    /// Files, sockets and the like that it has open.
    pub open_files: u64,
    /// How many it may have open.
    pub open_files_limit: u64,
}

impl ProcessStatus {
    /// Counts. With many thousands of connections that takes some milliseconds.
    fn now() -> std::io::Result<Self> {
        // The directory that is read is one of them, for that moment.
        let open = std::fs::read_dir(OPEN_FILES)?.count().saturating_sub(1);
        let (limit, _) = getrlimit(Resource::RLIMIT_NOFILE)?;
        Ok(Self { open_files: open as u64, open_files_limit: limit })
    }
}

/// Answers a call to this interface.
pub(super) async fn answer(method: &str, parameters: Parameters) -> Result<Value, Fault> {
    if method != "Status" {
        return Err(Fault::MethodNotFound(method.to_owned()));
    }
    parameters.none()?;
    let counted = tokio::task::spawn_blocking(ProcessStatus::now).await.map_err(|_| Fault::Stopping)?;
    let refused = |error: String| Fault::Refused(format!("cannot count open files: {error}"));
    let status = counted.map_err(|error| refused(error.to_string()))?;
    serde_json::to_value(status).map_err(|error| refused(error.to_string()))
}

/// A daemon's process, as its callers see it.
#[derive(Debug)]
pub struct ProcessClient(Client);

impl ProcessClient {
    /// Connects to any daemon's control socket.
    pub async fn connect(path: &Path) -> Result<Self, ClientError> {
        Client::connect(path).await.map(Self)
    }

    /// Asks what it uses.
    pub async fn status(&mut self) -> Result<ProcessStatus, ClientError> {
        self.0.call("io.rustbalance.Process.Status", &()).await
    }
}
