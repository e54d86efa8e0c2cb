//! Signed lists of the files that make up an installation: what each must hold, to the last byte.
//!
//! ```text
//! rustbalance-manifest 1
//! sha256 0d6c…  /usr/bin/rustbalance
//! sha256 91aa…  /usr/bin/rustbalance-proxy
//! ed25519 PUBLIC-KEY SIGNATURE
//! ```
//!
//! Paths are absolute, each once, in ascending order; hashes are in lower-case hex, key and signature in base64. The
//! signature is of all lines before its own, as they stand, and the first line makes sure that it is of nothing else.
//! There is one way to write a manifest: whatever differs by a byte is refused.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::str::FromStr;

use data_encoding::{BASE64, HEXLOWER};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use thiserror::Error;

/// No manifest is longer: an installation has some dozen files.
pub const MAX_MANIFEST_BYTES: usize = 64 * 1024;
/// The first line, which no other signed text of ours has.
const TITLE: &str = "rustbalance-manifest 1";
const HASH_MARK: &str = "sha256 ";
const SIGNATURE_MARK: &str = "ed25519 ";

/// SHA-256 of a file.
pub type FileHash = [u8; 32];

/// What every file of an installation holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest(BTreeMap<String, FileHash>);

/// The key under which manifests are signed: `ed25519` in base64, 44 characters.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ManifestKey([u8; 32]);

/// Why a text is not the key of manifests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "expected an Ed25519 public key (44 characters of base64, as `rustbalance manifest create` prints it)"
)]
pub struct ManifestKeyError;

/// Why a manifest is not believed. Nothing of it counts.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ManifestError {
    /// Longer than any installation needs.
    #[error("it is longer than {MAX_MANIFEST_BYTES} bytes; is it the right file?")]
    TooLong,
    /// The first line is another one.
    #[error("it does not begin with `{TITLE}`; is it the right file, or of another version?")]
    Title,
    /// A line is not what it should be.
    #[error("line {line} is not {expected}; it was cut off, or altered")]
    Line {
        /// Its number, from 1.
        line: usize,
        /// What should stand there.
        expected: &'static str,
    },
    /// Somebody else signed it.
    #[error("it is signed under the key {found}, not under the one that is trusted")]
    OtherKey {
        /// Whose it says it is.
        found: ManifestKey,
    },
    /// It is not what was signed.
    #[error("its signature is wrong: it was altered after it was signed")]
    Signature,
    /// A path cannot be listed.
    #[error("{0:?} is no absolute path without detours, or has a line break in it")]
    Path(String),
}

impl Manifest {
    /// A manifest of these files.
    pub fn new(files: BTreeMap<String, FileHash>) -> Result<Self, ManifestError> {
        match files.keys().find(|path| !is_plain(path)) {
            Some(path) => Err(ManifestError::Path(path.clone())),
            None => Ok(Self(files)),
        }
    }

    /// The files, by path.
    pub fn files(&self) -> impl Iterator<Item = (&str, &FileHash)> {
        self.0.iter().map(|(path, hash)| (path.as_str(), hash))
    }

    /// What the file at this path must hold; `None` if it is not listed.
    pub fn hash_of(&self, path: &str) -> Option<&FileHash> {
        self.0.get(path)
    }

    /// Writes it down, signed.
    pub fn sign(&self, key: &SigningKey) -> Result<String, ManifestError> {
        let mut text = self.signed_part();
        let signature = BASE64.encode(&key.sign(text.as_bytes()).to_bytes());
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{SIGNATURE_MARK}{} {signature}", ManifestKey(key.verifying_key().to_bytes()));
        if text.len() > MAX_MANIFEST_BYTES { Err(ManifestError::TooLong) } else { Ok(text) }
    }

    /// Reads a manifest that was signed under this key.
    pub fn open(text: &str, key: ManifestKey) -> Result<Self, ManifestError> {
        if text.len() > MAX_MANIFEST_BYTES {
            return Err(ManifestError::TooLong);
        }
        let body =
            text.strip_prefix(TITLE).and_then(|rest| rest.strip_prefix('\n')).ok_or(ManifestError::Title)?;
        let mut lines = (2..).zip(body.split('\n'));
        let mut files = BTreeMap::new();
        for (number, line) in lines.by_ref() {
            let wrong = |expected| ManifestError::Line { line: number, expected };
            if let Some(rest) = line.strip_prefix(SIGNATURE_MARK) {
                let (signer, signature) = signature_line(rest).ok_or(wrong("a key and a signature"))?;
                let manifest = Self(files);
                // The end must be the end, and what was read must be written the same again.
                let ends = lines.next().is_some_and(|(_, last)| last.is_empty()) && lines.next().is_none();
                let signed = manifest.signed_part();
                if !ends || !text.starts_with(&signed) {
                    return Err(wrong("the last line"));
                }
                return manifest.check(&signed, (key, signer), &signature);
            }
            let (path, hash) = file_line(line).ok_or(wrong("a hash and a path, nor a signature"))?;
            if files.last_key_value().is_some_and(|(last, _): (&String, _)| last.as_str() >= path) {
                return Err(wrong("in ascending order"));
            }
            files.insert(path.to_owned(), hash);
        }
        Err(ManifestError::Line {
            line: text.lines().count(),
            expected: "the last one: there is no signature",
        })
    }

    fn check(
        self,
        signed: &str,
        (trusted, signer): (ManifestKey, ManifestKey),
        signature: &[u8; 64],
    ) -> Result<Self, ManifestError> {
        if signer != trusted {
            return Err(ManifestError::OtherKey { found: signer });
        }
        let signature = Signature::from_bytes(signature);
        let key = VerifyingKey::from_bytes(&trusted.0).map_err(|_| ManifestError::Signature)?;
        match key.verify_strict(signed.as_bytes(), &signature) {
            Ok(()) => Ok(self),
            Err(_) => Err(ManifestError::Signature),
        }
    }

    /// All lines but the last.
    fn signed_part(&self) -> String {
        let mut text = format!("{TITLE}\n");
        for (path, hash) in &self.0 {
            let _ = writeln!(text, "{HASH_MARK}{}  {path}", HEXLOWER.encode(hash));
        }
        text
    }
}

fn file_line(line: &str) -> Option<(&str, FileHash)> {
    let (hash, path) = line.strip_prefix(HASH_MARK)?.split_once("  ")?;
    let hash = HEXLOWER.decode(hash.as_bytes()).ok()?.try_into().ok()?;
    is_plain(path).then_some((path, hash))
}

fn signature_line(rest: &str) -> Option<(ManifestKey, [u8; 64])> {
    let (key, signature) = rest.split_once(' ')?;
    Some((key.parse().ok()?, BASE64.decode(signature.as_bytes()).ok()?.try_into().ok()?))
}

/// Whether it is an absolute path that leads to one place and fits on a line.
fn is_plain(path: &str) -> bool {
    let steps = |path: &str| path.split('/').all(|step| !matches!(step, "" | "." | ".."));
    path.strip_prefix('/').is_some_and(steps) && !path.contains(char::is_control)
}

impl ManifestKey {
    /// The public half of a signing key.
    pub fn of(key: &SigningKey) -> Self {
        Self(key.verifying_key().to_bytes())
    }
}

impl FromStr for ManifestKey {
    type Err = ManifestKeyError;

    fn from_str(text: &str) -> Result<Self, ManifestKeyError> {
        let bytes = BASE64.decode(text.as_bytes()).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        bytes.filter(|bytes| VerifyingKey::from_bytes(bytes).is_ok()).map(Self).ok_or(ManifestKeyError)
    }
}

impl fmt::Display for ManifestKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64.encode(&self.0))
    }
}

impl fmt::Debug for ManifestKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_bytes(&[seed; 32])
    }

    fn manifest(paths: &[&str]) -> Manifest {
        let files = paths.iter().zip(1..).map(|(path, n)| ((*path).to_owned(), [n; 32])).collect();
        Manifest::new(files).unwrap()
    }

    fn signed() -> (Manifest, String) {
        let manifest = manifest(&["/usr/bin/a", "/usr/bin/b", "/usr/lib/with space"]);
        let text = manifest.sign(&key(1)).unwrap();
        (manifest, text)
    }

    fn open(text: &str) -> Result<Manifest, ManifestError> {
        Manifest::open(text, ManifestKey::of(&key(1)))
    }

    #[test]
    fn what_was_signed_is_read_under_its_key_only() {
        let (manifest, text) = signed();
        assert_eq!(open(&text), Ok(manifest.clone()));
        assert_eq!(manifest.hash_of("/usr/bin/b"), Some(&[2; 32]));
        assert_eq!(manifest.hash_of("/usr/bin/c"), None);
        let (own, other) = (ManifestKey::of(&key(1)), ManifestKey::of(&key(2)));
        assert_eq!(Manifest::open(&text, other), Err(ManifestError::OtherKey { found: own }));
        // Who exchanges the name of the key as well has another key's signature.
        let forged = text.replace(&own.to_string(), &other.to_string());
        assert_eq!(Manifest::open(&forged, other), Err(ManifestError::Signature));
        let empty = Manifest::new(BTreeMap::new()).unwrap();
        assert_eq!(open(&empty.sign(&key(1)).unwrap()), Ok(empty));
    }

    #[test]
    fn every_byte_counts() {
        let (_, text) = signed();
        for at in 0..text.len() {
            assert!(open(&text[..at]).is_err(), "cut at {at}");
            for bit in 0..7 {
                let mut altered = text.clone().into_bytes();
                altered[at] ^= 1 << bit;
                let altered = String::from_utf8(altered).unwrap();
                assert!(open(&altered).is_err(), "byte {at}: {altered}");
            }
            for more in [" ", "\n", "0"] {
                let longer = format!("{}{more}{}", &text[..at], &text[at..]);
                assert!(open(&longer).is_err(), "before {at}: {longer}");
            }
        }
        assert!(open(&format!("{text}\n")).is_err() && open(&text.replace('\n', "\r\n")).is_err());
    }

    #[test]
    fn lines_cannot_be_taken_out_put_in_or_exchanged() {
        let (_, text) = signed();
        let lines: Vec<&str> = text.lines().collect();
        let written = |lines: &[&str]| lines.join("\n") + "\n";
        assert!(open(&written(&lines)).is_ok());
        for at in 0..lines.len() {
            let mut fewer = lines.clone();
            fewer.remove(at);
            assert!(open(&written(&fewer)).is_err(), "without {at}");
            let mut more = lines.clone();
            more.insert(at, lines[at]);
            assert!(open(&written(&more)).is_err(), "{at} twice");
            for other in at + 1..lines.len() {
                let mut exchanged = lines.clone();
                exchanged.swap(at, other);
                assert!(open(&written(&exchanged)).is_err(), "{at} and {other}");
            }
        }
        let hash = HEXLOWER.encode(&[9; 32]);
        let added = text.replacen("sha256", &format!("sha256 {hash}  /bin/x\nsha256"), 1);
        assert_eq!(open(&added), Err(ManifestError::Signature));
    }

    #[test]
    fn a_path_leads_to_one_place() {
        for bad in ["", "usr/bin/a", "/", "/usr//bin", "/usr/./bin", "/usr/../bin", "/usr/", "/a\nb", "/a\tb"]
        {
            let files = BTreeMap::from([(bad.to_owned(), [0; 32])]);
            assert_eq!(Manifest::new(files), Err(ManifestError::Path(bad.to_owned())), "{bad:?}");
        }
        let long: Vec<String> = (0..1000).map(|n| format!("/usr/bin/{n:04}")).collect();
        let long: Vec<&str> = long.iter().map(String::as_str).collect();
        let files = long.iter().map(|path| ((*path).to_owned(), [0; 32])).collect();
        assert_eq!(Manifest::new(files).unwrap().sign(&key(1)), Err(ManifestError::TooLong));
        assert_eq!(open(&" ".repeat(MAX_MANIFEST_BYTES + 1)), Err(ManifestError::TooLong));
    }

    #[test]
    fn keys_are_points_in_base64() {
        let good = ManifestKey::of(&key(1)).to_string();
        assert_eq!(good.parse(), Ok(ManifestKey::of(&key(1))));
        for bad in ["", &good[1..], &format!("{good} "), &BASE64.encode(&[2; 32]), &HEXLOWER.encode(&[1; 32])]
        {
            assert_eq!(bad.parse::<ManifestKey>(), Err(ManifestKeyError), "{bad}");
        }
    }
}
