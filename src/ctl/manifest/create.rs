//! `rustbalance manifest create`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::DecodePrivateKey;
use secrecy::ExposeSecret;

use crate::config::secret_file::SecretFile;
use crate::ctl::answer::Line;
use crate::ctl::error::CtlError;
use crate::ctl::files::make_file;
use crate::ctl::input::STANDARD_INPUT;
use crate::ctl::manifest::error::ManifestFailure;
use crate::ctl::passphrase::PassphraseSource;
use crate::proto::manifest::{FileHash, Manifest, ManifestKey};
use crate::sys::integrity::hash;
use crate::vault::opener::Opener;

/// What to sign.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  openssl genpkey -algorithm ed25519 -out signing.pem
  rustbalance manifest create --key signing.pem --output manifest /usr/bin/rustbalance*
  rustbalance manifest create --key signing.pem --root ./staging --output manifest /usr/bin/rustbalance-proxy

Keep the key away from the machines that verify. Put what is printed as the public key into [integrity] of their
configuration.")]
pub struct Arguments {
    /// The files, by the absolute paths under which they are installed
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// The signing key: Ed25519 in PKCS#8 PEM, which may be sealed
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Where the files are now, if they are not installed yet: /usr/bin/x is read below this directory
    #[arg(long, value_name = "DIRECTORY", default_value = "/")]
    root: PathBuf,
    /// Where the manifest is written: a new file, or - for standard output
    #[arg(long, value_name = "FILE", default_value = STANDARD_INPUT)]
    output: PathBuf,
    #[command(flatten)]
    passphrase: PassphraseSource,
}

impl Arguments {
    /// Reads all files, and only then writes the manifest.
    pub fn run(&self, mut out: impl Write) -> Result<(), CtlError> {
        let mut files = BTreeMap::new();
        for path in &self.files {
            files.insert(path.to_string_lossy().into_owned(), hash_below(&self.root, path)?);
        }
        let wrong = |source| ManifestFailure::Manifest { path: self.output.clone(), source };
        let manifest = Manifest::new(files).map_err(wrong)?;
        let key = self.signing_key()?;
        let text = manifest.sign(&key).map_err(wrong)?;
        if self.output == Path::new(STANDARD_INPUT) {
            return Ok(out.write_all(text.as_bytes())?);
        }
        make_file(&self.output, text.as_bytes())?;
        writeln!(out, "{}", Line("manifest", self.output.display()))?;
        writeln!(out, "{}", Line("files", manifest.files().count()))?;
        Ok(writeln!(out, "{}", Line("public key", ManifestKey::of(&key)))?)
    }

    fn signing_key(&self) -> Result<SigningKey, ManifestFailure> {
        let question = format!("Passphrase of {}: ", self.key.display());
        let opener = Opener::new(|| self.passphrase.passphrase(&question).map_err(|error| error.to_string()));
        let found = SecretFile::new(&self.key).read()?;
        let opened = opener
            .open(found)
            .map_err(|source| ManifestFailure::SealedKey { path: self.key.clone(), source })?;
        let pem = str::from_utf8(opened.expose_secret()).ok();
        pem.and_then(|pem| SigningKey::from_pkcs8_pem(pem).ok())
            .ok_or_else(|| ManifestFailure::NoKey { path: self.key.clone() })
    }
}

/// The hash of the file that is, or will be, installed under this path.
pub fn hash_below(root: &Path, path: &Path) -> Result<FileHash, ManifestFailure> {
    let at = root.join(path.strip_prefix("/").unwrap_or(path));
    File::open(&at).and_then(hash).map_err(|source| ManifestFailure::Read { path: at, source })
}
