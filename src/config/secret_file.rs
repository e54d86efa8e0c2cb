//! Files that hold secrets: the configuration has their paths, this reads them carefully.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretSlice, SecretString};
use serde::de::{Deserialize, Deserializer};
use zeroize::Zeroizing;

use super::endpoint::absolute_path;

/// No secret of ours is larger: a PEM key is some hundred bytes, a cluster token less. A larger file is a mistake.
pub const MAX_SECRET_BYTES: usize = 16 * 1024;
/// Permission bits of "everybody else" (read, write, execute): none of them may be set.
const WORLD: u32 = 0o007;

/// The path of a file that holds a secret. Printing it shows the path, never the content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretFile(PathBuf);

/// Why a secret could not be read. Nothing was read, or what was read has been wiped.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    /// The file cannot be opened or read.
    #[error("cannot read the secret file {file}: {source}")]
    Unreadable {
        /// Its path.
        file: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// It is a directory, a pipe, a device.
    #[error("the secret file {file} is not a regular file")]
    NotAFile {
        /// Its path.
        file: PathBuf,
    },
    /// Every user of the machine can get at it.
    #[error("the secret file {file} is open to every user (mode {mode:04o}); run: chmod o= {file}")]
    OpenToEverybody {
        /// Its path.
        file: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It is larger than any secret.
    #[error(
        "the secret file {file} is larger than {MAX_SECRET_BYTES} bytes; it is probably not the right file"
    )]
    TooLarge {
        /// Its path.
        file: PathBuf,
    },
    /// Its content is not the kind of secret that is expected there.
    #[error("the secret file {file} does not hold {expected}")]
    WrongContent {
        /// Its path.
        file: PathBuf,
        /// What it should hold.
        expected: &'static str,
    },
}

impl SecretFile {
    /// Names a secret file; nothing is opened yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Reads the whole file, at most [`MAX_SECRET_BYTES`]; refuses one that other users can read or change.
    pub fn read(&self) -> Result<SecretSlice<u8>, SecretFileError> {
        let unreadable = |source| SecretFileError::Unreadable { file: self.0.clone(), source };
        // O_NONBLOCK: opening a pipe that nobody writes to must not hang the daemon's start.
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(nix::libc::O_NONBLOCK | nix::libc::O_NOCTTY)
            .open(&self.0)
            .map_err(unreadable)?;
        // The open file is asked, not the path: the path could be another file by now.
        let metadata = file.metadata().map_err(unreadable)?;
        if !metadata.is_file() {
            return Err(SecretFileError::NotAFile { file: self.0.clone() });
        }
        let mode = metadata.mode() & 0o7777;
        if mode & WORLD != 0 {
            return Err(SecretFileError::OpenToEverybody { file: self.0.clone(), mode });
        }
        let content = read_bounded(file).map_err(unreadable)?;
        if content.len() > MAX_SECRET_BYTES {
            return Err(SecretFileError::TooLarge { file: self.0.clone() });
        }
        Ok(SecretSlice::from(content.to_vec()))
    }

    /// Reads a secret that is one line of text; spaces and the line end around it are not part of it.
    pub fn read_text(&self) -> Result<SecretString, SecretFileError> {
        let content = self.read()?;
        one_line(content.expose_secret()).map_err(|expected| self.wrong(expected))
    }

    /// The error for content that is not `expected`.
    pub fn wrong(&self, expected: &'static str) -> SecretFileError {
        SecretFileError::WrongContent { file: self.0.clone(), expected }
    }
}

/// A secret that is one line of text, without the spaces and the line end around it; or what it should be.
pub(super) fn one_line(content: &[u8]) -> Result<SecretString, &'static str> {
    let text = std::str::from_utf8(content).map_err(|_| "UTF-8 text")?.trim();
    if text.is_empty() || text.contains('\n') {
        return Err("exactly one line of text");
    }
    Ok(SecretString::from(text))
}

/// Reads one byte more than allowed at most, into memory that never moves and is wiped when dropped.
fn read_bounded(mut file: File) -> std::io::Result<Zeroizing<Vec<u8>>> {
    let mut content = Zeroizing::new(vec![0; MAX_SECRET_BYTES + 1]);
    let mut filled = 0;
    while filled < content.len() {
        match file.read(&mut content[filled..])? {
            0 => break,
            read => filled += read,
        }
    }
    content.truncate(filled);
    Ok(content)
}

impl<'de> Deserialize<'de> for SecretFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        absolute_path(deserializer).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn secret(content: &[u8], mode: u32) -> (tempfile::TempDir, SecretFile) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        (directory, SecretFile::new(path))
    }

    #[test]
    fn owner_and_group_may_read_everybody_may_not() {
        for mode in [0o400, 0o600, 0o640] {
            let (_directory, file) = secret(b"hush", mode);
            assert_eq!(file.read().unwrap().expose_secret(), b"hush", "{mode:o}");
        }
        for mode in [0o604, 0o602, 0o644, 0o666] {
            let (_directory, file) = secret(b"hush", mode);
            let error = file.read().unwrap_err();
            assert!(matches!(error, SecretFileError::OpenToEverybody { .. }), "{mode:o}: {error}");
            assert!(error.to_string().contains("chmod o= /"), "{error}");
        }
    }

    #[test]
    fn size_is_bounded() {
        let (_directory, file) = secret(&vec![7; MAX_SECRET_BYTES], 0o600);
        assert_eq!(file.read().unwrap().expose_secret().len(), MAX_SECRET_BYTES);
        let (_directory, file) = secret(&vec![7; MAX_SECRET_BYTES + 1], 0o600);
        assert!(matches!(file.read(), Err(SecretFileError::TooLarge { .. })));
    }

    #[test]
    fn what_is_no_file_is_refused_without_hanging() {
        let directory = tempfile::tempdir().unwrap();
        assert!(matches!(SecretFile::new(directory.path()).read(), Err(SecretFileError::NotAFile { .. })));
        let pipe = directory.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRUSR).unwrap();
        assert!(matches!(SecretFile::new(&pipe).read(), Err(SecretFileError::NotAFile { .. })));
        let missing = SecretFile::new(directory.path().join("missing"));
        assert!(matches!(missing.read(), Err(SecretFileError::Unreadable { .. })));
    }

    #[test]
    fn text_is_one_trimmed_line() {
        let (_directory, file) = secret(b"  a b \r\n", 0o600);
        assert_eq!(file.read_text().unwrap().expose_secret(), "a b");
        for bad in [&b""[..], b"\n", b"a\nb", b"\xff"] {
            let (_directory, file) = secret(bad, 0o600);
            assert!(matches!(file.read_text(), Err(SecretFileError::WrongContent { .. })), "{bad:?}");
        }
    }

    #[test]
    fn neither_secrets_nor_errors_show_the_content() {
        let (_directory, file) = secret(b"xyzzy-the-secret\nsecond", 0o600);
        let shown = format!("{file:?} {:?} {}", file.read().unwrap(), file.read_text().unwrap_err());
        assert!(!shown.contains("xyzzy") && !shown.contains("120, 121"), "{shown}");
        let (_directory, file) = secret(b"xyzzy", 0o600);
        assert!(!format!("{:?}", file.read_text().unwrap()).contains("xyzzy"));
    }
}
