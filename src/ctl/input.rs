//! Files the operator names, read up to a limit. `-` is standard input.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::proto::onion::identity::{HsIdKeypair, KeyError, MAX_KEY_BYTES};
use crate::sys::exit::Exit;

/// The name that stands for standard input, and where it is written to for standard output.
pub const STANDARD_INPUT: &str = "-";
/// What configurations are below by far.
const MAX_TOML_BYTES: usize = 1024 * 1024;
/// The name tor gives the secret key in a `HiddenServiceDir`.
const TOR_SECRET_KEY_FILE: &str = "hs_ed25519_secret_key";

/// How messages call a file that the operator has named.
#[derive(Debug, Clone, Copy)]
pub struct Named<'a>(pub &'a Path);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == Path::new(STANDARD_INPUT) {
            f.write_str("standard input")
        } else {
            self.0.display().fmt(f)
        }
    }
}

/// Why a file that the operator named was not taken. Nothing was kept of it, nothing was changed. The whole reason is
/// this message and those of its sources, one after the other.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// It cannot be read.
    #[error("{} cannot be read", Named(path))]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// It is larger than anything of its kind.
    #[error("{} is larger than {limit} bytes; is it the right file?", Named(path))]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// What is allowed, in bytes.
        limit: usize,
    },
    /// It should be a document and is none.
    #[error("{} is not text; is it the right file?", Named(path))]
    NotText {
        /// The file.
        path: PathBuf,
    },
    /// It should be TOML and is none.
    #[error("{} is no TOML: {reason}", Named(path))]
    NotToml {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, without the line: that could be a secret in the wrong place.
        reason: String,
    },
    /// It should be a key and holds none.
    #[error("{}", Named(path))]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: KeyError,
    },
}

impl InputError {
    /// The exit code: 77 for a file one may not read, 78 for a configuration that is none, 65 for everything else.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Read { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => Exit::Permission,
            Self::NotToml { .. } => Exit::Config,
            _ => Exit::Data,
        }
    }
}

/// Reads a file with a secret of at most `limit` bytes. The buffer is allocated once, so that no copy is left behind by
/// its growth, and erased when dropped.
pub fn read_secret(path: &Path, limit: usize) -> Result<Zeroizing<Vec<u8>>, InputError> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(limit + 1));
    read_into(&mut bytes, path, limit)?;
    Ok(bytes)
}

/// Reads a configuration, whatever is in it.
pub fn read_toml(path: &Path) -> Result<toml::Table, InputError> {
    let text = read_text(path, MAX_TOML_BYTES)?;
    text.parse().map_err(|error: toml::de::Error| InputError::NotToml {
        path: path.to_owned(),
        reason: error.message().to_owned(),
    })
}

/// Reads a document of at most `limit` bytes.
pub fn read_text(path: &Path, limit: usize) -> Result<String, InputError> {
    let mut bytes = Vec::new();
    read_into(&mut bytes, path, limit)?;
    String::from_utf8(bytes).map_err(|_| InputError::NotText { path: path.to_owned() })
}

/// The secret key in a file of any form, or in tor's `HiddenServiceDir`.
pub fn read_key(path: &Path) -> Result<HsIdKeypair, InputError> {
    let path = if path.is_dir() { path.join(TOR_SECRET_KEY_FILE) } else { path.to_owned() };
    let bytes = read_secret(&path, MAX_KEY_BYTES)?;
    HsIdKeypair::from_any_form(&bytes).map_err(|source| InputError::Key { path, source })
}

/// Reads all of a file, and refuses more than `limit` bytes.
fn read_into(bytes: &mut Vec<u8>, path: &Path, limit: usize) -> Result<(), InputError> {
    let failed = |source| InputError::Read { path: path.to_owned(), source };
    let source: Box<dyn Read> = if path == Path::new(STANDARD_INPUT) {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(path).map_err(failed)?)
    };
    // One byte more than allowed, to notice that there is more.
    let allowed = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    source.take(allowed).read_to_end(bytes).map_err(failed)?;
    if bytes.len() > limit {
        return Err(InputError::TooLarge { path: path.to_owned(), limit });
    }
    Ok(())
}
