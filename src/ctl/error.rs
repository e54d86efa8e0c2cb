//! Why a command of the operator's tool did not do what it was asked to.

use std::io;
use std::path::PathBuf;

use crate::config::file::ConfigError;
use crate::ctl::files::FilesError;
use crate::ctl::input::InputError;
use crate::ctl::inspect::error::InspectError;
use crate::ctl::passphrase::NoPassphrase;
use crate::sys::exit::Exit;
use crate::sys::process::HardenError;

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
    /// There is no passphrase.
    #[error(transparent)]
    Passphrase(#[from] NoPassphrase),
    /// The configuration cannot be used. Nothing was changed.
    #[error(transparent)]
    Config(#[from] ConfigError),
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
    /// The answer could not be written.
    #[error("the answer could not be written")]
    Write(#[from] io::Error),
}

impl CtlError {
    /// The exit code, one of sysexits(3).
    pub fn exit(&self) -> Exit {
        match self {
            Self::Inspect(error) => error.exit(),
            Self::Input(error) => error.exit(),
            Self::Files(error) => error.exit(),
            Self::Passphrase(error) => error.exit(),
            Self::Config(_) => Exit::Config,
            Self::NoNodeName(_) | Self::Path { .. } => Exit::Usage,
            Self::Harden(_) | Self::Write(_) => Exit::Os,
        }
    }
}
