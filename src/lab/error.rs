//! What can go wrong inside the lab. Whatever it is, the lab ends and everything with it.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use crate::ipc::client::ClientError;
use crate::tor::error::ControlError;

/// The lab cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(super) enum LabError {
    /// The kernel refused something.
    #[error("{doing}: {source}")]
    Io {
        /// What was tried.
        doing: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// A program of others failed.
    #[error("{program} failed ({status}): {output}")]
    Program {
        /// Its name and what it was asked to do.
        program: String,
        /// How it ended.
        status: ExitStatus,
        /// What it said.
        output: String,
    },
    /// Something did not happen in time.
    #[error("{what} did not happen within {} s; the logs say more (--log-dir keeps them)", limit.as_secs())]
    TimedOut {
        /// What was waited for.
        what: String,
        /// How long.
        limit: Duration,
    },
    /// A process that must run has ended and is not started again.
    #[error("{unit} has ended ({how}); its log ends with:\n{log}")]
    Ended {
        /// Its name.
        unit: String,
        /// How it ended.
        how: String,
        /// The end of its log.
        log: String,
    },
    /// A file that a program of others wrote is not what it should be.
    #[error("{} is not what was expected: {what}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
    },
    /// A unit file that nodes are shipped with does not have one value for a setting that the lab follows.
    #[error("{name} does not say one usable {setting}=")]
    UnitFile {
        /// The file.
        name: &'static str,
        /// The setting.
        setting: String,
    },
    /// A tor of the lab's own does not do as it is told.
    #[error("a tor of the lab: {0}")]
    Control(#[from] ControlError),
    /// A daemon does not answer.
    #[error("a daemon of the lab: {0}")]
    Daemon(#[from] ClientError),
    /// The observer's tor has ended.
    #[error("the observer's tor has ended")]
    ObserverLost,
    /// A node that serves has no introduction points.
    #[error("a node's tor has no introduction points, although all was well just before")]
    NoPoints,
    /// All that could be chosen are directory authorities or guards, to which nothing may happen.
    #[error("no HSDir, or introduction point, of the descriptor is at a relay to which something may happen")]
    NoRelay,
    /// A process that a scene does something to is not there.
    #[error("a process has ended, although all was well just before")]
    NoProcess,
    /// Scenes have made too many nodes.
    #[error("no name is left for a new node: so many scenes cannot be played in one lab")]
    NoName,
    /// Random bytes did not give a usable key; it does not happen.
    #[error("an onion key that was made is not usable")]
    Address,
    /// A request to join could not be written; it does not happen.
    #[error("a request to join that was made is not usable")]
    Request,
}

/// For `map_err`: says what was being done.
pub(super) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> LabError {
    let doing = doing.into();
    move |source| LabError::Io { doing, source }
}
