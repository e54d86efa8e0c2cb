//! Why a daemon gave no answer, and what to do about it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, Gid, Group, Uid, User, access, geteuid};

use crate::ipc::client::ClientError;
use crate::sys::exit::Exit;

/// The error by which a daemon turns a user away.
const PERMISSION_DENIED: &str = "org.varlink.service.PermissionDenied";

/// One of a node's daemons.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Daemon {
    /// Keeps the cluster.
    Coordinator,
    /// Publishes.
    Publisher,
    /// Carries connections.
    Proxy,
    /// Watches the others.
    Watchdog,
}

/// Why a daemon gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// Nobody listens. Nothing was changed.
    #[error(
        "the {daemon} of this node is not running: nothing listens at {}; start it, for example with: systemctl start \
         rustbalance-{daemon}", path.display()
    )]
    Away {
        /// Which one.
        daemon: Daemon,
        /// Its socket.
        path: PathBuf,
    },
    /// The file system keeps the caller away from the socket. Nothing was changed.
    #[error("{user} may not use {}, which belongs to {owner}; run this as root or as {owner}", path.display())]
    NoAccess {
        /// Who called.
        user: String,
        /// The socket, or the directory on the way to it.
        path: PathBuf,
        /// Whose it is: user and group.
        owner: String,
    },
    /// The daemon does not talk to this user. Nothing was changed.
    #[error(
        "the {daemon} does not talk to {user}; run this as root, or name the user in ipc.allowed_users of the \
         configuration and restart the daemons"
    )]
    NotAllowed {
        /// Which one.
        daemon: Daemon,
        /// Who called.
        user: String,
    },
    /// The daemon understood and says no, with its reason. Nothing was changed.
    #[error("the {daemon} says no: {reason}")]
    Refused {
        /// Which one.
        daemon: Daemon,
        /// Why.
        reason: String,
    },
    /// Something else went wrong; the source says whether the call can have had an effect.
    #[error("the {daemon} gave no answer")]
    Call {
        /// Which one.
        daemon: Daemon,
        /// What went wrong.
        source: ClientError,
    },
}

impl Daemon {
    /// Why a call failed, for people.
    pub fn explain(self, path: &Path, error: ClientError) -> DaemonError {
        match error {
            ClientError::Connect { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                let (path, owner) = barrier(path);
                DaemonError::NoAccess { user: caller(), path, owner }
            }
            ClientError::Connect { source, .. }
                if matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) =>
            {
                DaemonError::Away { daemon: self, path: path.to_owned() }
            }
            ClientError::Refused { error, .. } if error == PERMISSION_DENIED => {
                DaemonError::NotAllowed { daemon: self, user: caller() }
            }
            ClientError::Refused { parameters, .. } if parameters["reason"].is_string() => {
                let reason = parameters["reason"].as_str().unwrap_or_default().to_owned();
                DaemonError::Refused { daemon: self, reason }
            }
            source => DaemonError::Call { daemon: self, source },
        }
    }
}

impl fmt::Display for Daemon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Coordinator => "coordinator",
            Self::Publisher => "publisher",
            Self::Proxy => "proxy",
            Self::Watchdog => "watchdog",
        })
    }
}

impl DaemonError {
    /// The exit code: 69 when it is away, 77 where permission is missing, 75 where trying again may help.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Away { .. } => Exit::Unavailable,
            Self::NoAccess { .. } | Self::NotAllowed { .. } => Exit::Permission,
            Self::Refused { .. } => Exit::Data,
            Self::Call { source: ClientError::Misunderstood(_), .. } => Exit::Software,
            Self::Call { .. } => Exit::TemporaryFailure,
        }
    }
}

/// The user who runs this, as `user name (number)`.
fn caller() -> String {
    format!("user {}", user_name(geteuid()))
}

fn user_name(uid: Uid) -> String {
    let name = User::from_uid(uid).ok().flatten().map(|user| user.name);
    name.map_or_else(|| uid.to_string(), |name| format!("{name} ({uid})"))
}

/// What on the way to `path` the caller may not pass, and whose it is.
fn barrier(path: &Path) -> (PathBuf, String) {
    let mut way: Vec<&Path> = path.ancestors().skip(1).collect();
    way.reverse();
    let closed = way.into_iter().find(|directory| access(*directory, AccessFlags::X_OK).is_err());
    let barrier = closed.unwrap_or(path);
    (barrier.to_owned(), owner(barrier))
}

/// The user and the group of a file.
fn owner(path: &Path) -> String {
    use std::os::unix::fs::MetadataExt;
    let Ok(metadata) = path.metadata() else { return "somebody else".to_owned() };
    let gid = Gid::from_raw(metadata.gid());
    let group = Group::from_gid(gid).ok().flatten().map_or_else(|| gid.to_string(), |group| group.name);
    format!("user {} and group {group}", user_name(Uid::from_raw(metadata.uid())))
}
