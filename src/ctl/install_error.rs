//! Why tor was not given the onion's key.

use std::io;
use std::path::PathBuf;

use crate::proto::onion::address::HsId;
use crate::sys::exit::Exit;

/// Why tor was not given the key. What is in the directory is as before, or new and right.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// The directory cannot be looked at.
    #[error("{} cannot be used: {source}; mount a tmpfs (noswap) or a ramfs there first", directory.display())]
    Directory {
        /// The directory.
        directory: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// The key would be written to a disk.
    #[error(
        "{} is on a disk, which would keep the key; mount a tmpfs (noswap) or a ramfs there first",
        directory.display()
    )]
    OnDisk {
        /// The directory.
        directory: PathBuf,
    },
    /// Others can read what is there, and that cannot be changed.
    #[error("{} can be read by others than tor, and that cannot be changed: {source}; make it tor's own", path.display())]
    Open {
        /// The directory or the file.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// The key is a good one, but of another service.
    #[error("the key is that of {found}, but service.address is {configured}; nothing was installed")]
    OtherAddress {
        /// The key's address.
        found: HsId,
        /// The configured one.
        configured: HsId,
    },
    /// Something else is there: another key, or an address that tor made up.
    #[error(
        "{} is not that of {configured}; nothing was changed. Stop this node's tors, empty the directory, and start \
         again",
        file.display()
    )]
    Occupied {
        /// The file.
        file: PathBuf,
        /// The configured address.
        configured: HsId,
    },
}

impl InstallError {
    /// The exit code.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Directory { .. } | Self::OnDisk { .. } | Self::Open { .. } => Exit::CannotCreate,
            Self::OtherAddress { .. } => Exit::Config,
            Self::Occupied { .. } => Exit::Data,
        }
    }
}
