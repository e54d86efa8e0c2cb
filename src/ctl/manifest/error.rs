//! Why a manifest was not made, or files are not what was signed.

use std::io;
use std::path::PathBuf;

use crate::config::secret_file::SecretFileError;
use crate::proto::manifest::ManifestError;
use crate::sys::exit::Exit;
use crate::vault::opener::OpenerError;

/// Why. No file was changed.
#[derive(Debug, thiserror::Error)]
pub enum ManifestFailure {
    /// A file cannot be read.
    #[error("{} cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// The file with the signing key cannot be used.
    #[error(transparent)]
    KeyFile(#[from] SecretFileError),
    /// The signing key is sealed and cannot be opened.
    #[error("{}", path.display())]
    SealedKey {
        /// The file.
        path: PathBuf,
        /// Why.
        source: OpenerError,
    },
    /// The file holds something else.
    #[error("{} holds no Ed25519 key in PKCS#8 PEM; make one: openssl genpkey -algorithm ed25519 -out FILE", path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// The list cannot be made, or is not believed.
    #[error("{}", path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// Why.
        source: ManifestError,
    },
    /// Nobody said which manifest, or which key.
    #[error("{0} is not given, and the configuration has no [integrity]")]
    NotGiven(&'static str),
    /// Files are missing, or differ.
    #[error("{wrong} of {listed} files are not what was signed")]
    Differs {
        /// How many.
        wrong: usize,
        /// Of how many.
        listed: usize,
    },
}

impl ManifestFailure {
    /// The exit code: 77 for what one may not read, 64 where something was not said, 65 for everything else.
    pub fn exit(&self) -> Exit {
        match self {
            Self::KeyFile(SecretFileError::OpenToEverybody { .. }) => Exit::Permission,
            Self::Read { source, .. } | Self::KeyFile(SecretFileError::Unreadable { source, .. })
                if source.kind() == io::ErrorKind::PermissionDenied =>
            {
                Exit::Permission
            }
            Self::NotGiven(_) => Exit::Usage,
            _ => Exit::Data,
        }
    }
}
