//! Why an inspection gave no answer.

use std::io;
use std::path::PathBuf;

use crate::proto::onion::blinding::BlindError;
use crate::proto::onion::identity::KeyError;
use crate::sys::exit::Exit;

/// Why an inspection gave no answer. Nothing was changed anywhere.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InspectError {
    /// A file cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A file is larger than anything of its kind.
    #[error("{}: larger than {limit} bytes; is it the right file?", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// What is allowed, in bytes.
        limit: usize,
    },
    /// A key file holds no key.
    #[error("{}: {source}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: KeyError,
    },
    /// The key cannot be blinded.
    #[error(transparent)]
    Blind(#[from] BlindError),
    /// The answer could not be written.
    #[error("the answer could not be written: {0}")]
    Write(#[from] io::Error),
}

impl InspectError {
    /// The exit code: 65 for bad input, 77 for a file one may not read, 71 for other troubles with files.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Read { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => Exit::Permission,
            Self::Write(_) => Exit::Os,
            _ => Exit::Data,
        }
    }
}
