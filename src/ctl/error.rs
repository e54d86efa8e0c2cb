//! Why a command of the operator's tool did not do what it was asked to.

use std::io;
use std::path::PathBuf;

use crate::config::file::ConfigError;
use crate::config::secret::SecretError;
use crate::config::secret_file::SecretFileError;
use crate::ctl::daemon_error::DaemonError;
use crate::ctl::files::FilesError;
use crate::ctl::input::{InputError, Named};
use crate::ctl::inspect::error::InspectError;
use crate::ctl::install_error::InstallError;
use crate::ctl::manifest::error::ManifestFailure;
use crate::ctl::moment::Moment;
use crate::ctl::passphrase::NoPassphrase;
use crate::proto::cluster::timing::TimingError;
use crate::proto::join::invitation::InvitationError;
use crate::proto::node::NodeId;
use crate::sys::exit::Exit;
use crate::sys::process::HardenError;
use crate::vault::sealed::{OpenError, SealError};

/// Why a command failed. The whole reason is this message and those of its sources, one after the other.
#[derive(Debug, thiserror::Error)]
pub enum CtlError {
    /// The process could not be protected; nothing secret was read.
    #[error(transparent)]
    Harden(#[from] HardenError),
    /// `inspect` has errors of its own.
    #[error(transparent)]
    Inspect(#[from] InspectError),
    /// A file that was named is not what it should be.
    #[error(transparent)]
    Input(#[from] InputError),
    /// Files were not made or not replaced.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// Tor was not given its key.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// There is no passphrase.
    #[error(transparent)]
    Passphrase(#[from] NoPassphrase),
    /// Something was not sealed. No file was changed.
    #[error("{}", Named(path))]
    Seal {
        /// The file.
        path: PathBuf,
        /// Why.
        source: SealError,
    },
    /// Something sealed was not opened. No file was changed.
    #[error("{}", Named(path))]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: OpenError,
    },
    /// A file that was to be sealed is sealed. No file was changed.
    #[error("{} is sealed already, or once was; no file was changed", Named(path))]
    SealedAlready {
        /// The file.
        path: PathBuf,
    },
    /// Files that were to be checked are not sealed.
    #[error("not sealed: {number} of the files, the first is {}", Named(first))]
    NotSealed {
        /// How many.
        number: usize,
        /// The first of them.
        first: PathBuf,
    },
    /// A value must be one line of text.
    #[error("{} is not one line of text, so it cannot be a value; seal it as a file", Named(path))]
    NotALine {
        /// The file.
        path: PathBuf,
    },
    /// Standard input has no place to be replaced in.
    #[error("standard input cannot be unsealed in place; leave --in-place out")]
    NoPlace,
    /// The configuration cannot be used. Nothing was changed.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A secret file that the configuration names cannot be used. Nothing was changed.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// An invitation is none, or could not be made. Nothing was changed.
    #[error(transparent)]
    Invitation(#[from] InvitationError),
    /// An invitation is of no use any more. Nothing was changed.
    #[error(
        "the invitation was good until {until}, which is over by this machine's clock; if the clock is right, have \
         another one made"
    )]
    Expired {
        /// Until when it could be used.
        until: Moment,
    },
    /// An invitation brings periods that do not go together. Nothing was changed.
    #[error("the invitation's periods cannot be used, have it made again: {0}")]
    InvitedTiming(TimingError),
    /// A manifest was not made, or files are not what was signed.
    #[error(transparent)]
    Manifest(#[from] ManifestFailure),
    /// A daemon gave no answer, or said no.
    #[error(transparent)]
    Daemon(#[from] DaemonError),
    /// The cluster does not know a node. Nothing was changed.
    #[error("the cluster has no node {node}; it has {known}")]
    NoSuchNode {
        /// What was named.
        node: NodeId,
        /// Those it has.
        known: String,
    },
    /// A node cannot take its own place. Nothing was changed.
    #[error("{node} cannot take its own place; name another node with --after")]
    AfterItself {
        /// Which one.
        node: NodeId,
    },
    /// Waiting for a drained node was given up; it goes on being drained.
    #[error("{node} is not drained yet, and goes on being drained; see how far it is: rustbalance status")]
    NotDrained {
        /// Which one.
        node: NodeId,
    },
    /// While one waited, somebody else had the node serve again.
    #[error("{node} is not being drained any more: somebody took it back")]
    TakenBack {
        /// Which one.
        node: NodeId,
    },
    /// The operator did not confirm. Nothing was changed.
    #[error("that was not the node's name; nothing was changed")]
    NotMeant,
    /// There is no terminal to ask at. Nothing was changed.
    #[error("there is nobody to ask whether it is meant; say so with --yes")]
    NobodyToAsk,
    /// The machine's name is no node name, and no other was given.
    #[error("this machine's name {0:?} is no node name; give one with --node-id (a-z, 0-9 and '-')")]
    NoNodeName(String),
    /// A path in the configuration must be absolute and text.
    #[error("{} cannot be written into a configuration: {reason}", path.display())]
    Path {
        /// The path.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// What this node's coordinator remembers cannot be read, so nobody knows which token is the newest.
    #[error(
        "cannot read what this node's coordinator remembers, {}: {reason}; run this as root or as the coordinator's user",
        path.display()
    )]
    Memory {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The answer could not be written.
    #[error("the answer could not be written")]
    Write(#[from] io::Error),
}

impl CtlError {
    /// The exit code, one of sysexits(3).
    pub fn exit(&self) -> Exit {
        match self {
            Self::Inspect(error) => error.exit(),
            Self::Daemon(error) => error.exit(),
            Self::Manifest(error) => error.exit(),
            Self::Input(error) => error.exit(),
            Self::Files(error) => error.exit(),
            Self::Install(error) => error.exit(),
            Self::Passphrase(error) => error.exit(),
            Self::Secret(SecretError::File(SecretFileError::OpenToEverybody { .. }))
            | Self::Memory { .. } => Exit::Permission,
            Self::Secret(SecretError::File(SecretFileError::Unreadable { source, .. }))
                if source.kind() == io::ErrorKind::PermissionDenied =>
            {
                Exit::Permission
            }
            Self::Config(_) | Self::Secret(_) => Exit::Config,
            Self::NoNodeName(_) | Self::Path { .. } | Self::NoPlace | Self::NobodyToAsk => Exit::Usage,
            Self::NotDrained { .. } => Exit::TemporaryFailure,
            Self::Seal { .. }
            | Self::Open { .. }
            | Self::SealedAlready { .. }
            | Self::NotSealed { .. }
            | Self::NotALine { .. }
            | Self::NoSuchNode { .. }
            | Self::AfterItself { .. }
            | Self::TakenBack { .. }
            | Self::NotMeant
            | Self::Invitation(_)
            | Self::Expired { .. }
            | Self::InvitedTiming(_) => Exit::Data,
            Self::Harden(_) | Self::Write(_) => Exit::Os,
        }
    }
}
