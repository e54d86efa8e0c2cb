//! Whether this very program is the one that was signed.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::proto::manifest::{FileHash, MAX_MANIFEST_BYTES, Manifest, ManifestError, ManifestKey};
use crate::sys::exit::Exit;

/// The running program, whatever its path leads to by now.
const OWN_PROGRAM: &str = "/proc/self/exe";
/// What the kernel adds to the path of a program whose file is gone.
const GONE: &str = " (deleted)";

/// Why this program must not run. Nothing secret was read.
#[derive(Debug, thiserror::Error)]
pub enum IntegrityError {
    /// The manifest, or the program itself, cannot be read.
    #[error("cannot read {} to verify this program: {source}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// The manifest is not believed.
    #[error("the manifest {} is not to be trusted: {source}", manifest.display())]
    Manifest {
        /// The manifest.
        manifest: PathBuf,
        /// Why.
        source: ManifestError,
    },
    /// It says nothing about this program.
    #[error("{program} is not in the manifest {}; it was not installed from what was signed", manifest.display())]
    NotListed {
        /// This program.
        program: String,
        /// The manifest.
        manifest: PathBuf,
    },
    /// The program is another one than the one that was signed.
    #[error(
        "{program} is not what was signed in {}: it was altered, or only half of an update was installed; do not run it, \
         install it again", manifest.display()
    )]
    Altered {
        /// This program.
        program: String,
        /// The manifest.
        manifest: PathBuf,
    },
}

impl IntegrityError {
    /// The exit code: 78 where the manifest cannot be read, else 65, as data that something depends on is wrong.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Unreadable { .. } => Exit::Config,
            Self::Manifest { .. } | Self::NotListed { .. } | Self::Altered { .. } => Exit::Data,
        }
    }
}

/// Makes sure that the running program is what a manifest signed under this key says about its path.
pub fn verify_self(manifest: &Path, key: ManifestKey) -> Result<(), IntegrityError> {
    let unreadable = |file: &Path| {
        let file = file.to_owned();
        move |source| IntegrityError::Unreadable { file, source }
    };
    let text = read_manifest(manifest).map_err(unreadable(manifest))?;
    let listed = Manifest::open(&text, key)
        .map_err(|source| IntegrityError::Manifest { manifest: manifest.to_owned(), source })?;
    let own = Path::new(OWN_PROGRAM);
    let path = own.read_link().map_err(unreadable(own))?.to_string_lossy().into_owned();
    let program = path.strip_suffix(GONE).unwrap_or(&path).to_owned();
    let manifest = manifest.to_owned();
    let Some(expected) = listed.hash_of(&program) else {
        return Err(IntegrityError::NotListed { program, manifest });
    };
    let found = File::open(own).and_then(hash).map_err(unreadable(own))?;
    if found == *expected { Ok(()) } else { Err(IntegrityError::Altered { program, manifest }) }
}

/// Reads a manifest; one that is too long is cut, and then refused as such.
pub fn read_manifest(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(MAX_MANIFEST_BYTES as u64 + 1).read_to_string(&mut text)?;
    Ok(text)
}

/// The hash of what is read.
pub fn hash(mut from: impl Read) -> io::Result<FileHash> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(hash.finalize().into()),
            read => hash.update(&buffer[..read]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_sha256sum() {
        let expected = data_encoding::HEXLOWER
            .decode(b"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
            .unwrap();
        assert_eq!(hash(&b"abc"[..]).unwrap().to_vec(), expected);
        assert_eq!(
            hash(io::repeat(7).take(1_000_000)).unwrap(),
            hash(io::repeat(7).take(1_000_000)).unwrap()
        );
    }
}
