//! `rustbalance manifest verify`.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::config::file::{Config, DEFAULT_PATH};
use crate::ctl::error::CtlError;
use crate::ctl::manifest::create::hash_below;
use crate::ctl::manifest::error::ManifestFailure;
use crate::proto::manifest::{Manifest, ManifestKey};
use crate::sys::exit::whole_reason;
use crate::sys::integrity::read_manifest;

/// What to verify.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rustbalance manifest verify
  rustbalance manifest verify manifest --public-key KEY --root ./staging

What is not given is taken from [integrity] of the configuration. Exit code 65 where something is not what was signed.")]
pub struct Arguments {
    /// The manifest [default: that of the configuration]
    #[arg(value_name = "MANIFEST")]
    manifest: Option<PathBuf>,
    /// The key under which it must be signed [default: that of the configuration]
    #[arg(long, value_name = "KEY")]
    public_key: Option<ManifestKey>,
    /// Where the files are, if they are not installed: /usr/bin/x is read below this directory
    #[arg(long, value_name = "DIRECTORY", default_value = "/")]
    root: PathBuf,
    /// The configuration of this node
    #[arg(long, value_name = "FILE", default_value = DEFAULT_PATH)]
    config: PathBuf,
}

impl Arguments {
    /// Compares every file, and names each that differs.
    pub fn run(&self, mut out: impl Write) -> Result<(), CtlError> {
        let (path, key) = self.trusted()?;
        let text =
            read_manifest(&path).map_err(|source| ManifestFailure::Read { path: path.clone(), source })?;
        let manifest =
            Manifest::open(&text, key).map_err(|source| ManifestFailure::Manifest { path, source })?;
        let (mut wrong, mut listed) = (0, 0);
        for (file, expected) in manifest.files() {
            listed += 1;
            let verdict = match hash_below(&self.root, Path::new(file)) {
                Ok(found) if found == *expected => continue,
                Ok(_) => format!("{file} is not what was signed"),
                Err(error) => whole_reason(&error),
            };
            wrong += 1;
            writeln!(out, "{verdict}")?;
        }
        if wrong > 0 {
            return Err(ManifestFailure::Differs { wrong, listed }.into());
        }
        Ok(writeln!(out, "{listed} files are what was signed")?)
    }

    fn trusted(&self) -> Result<(PathBuf, ManifestKey), CtlError> {
        if let (Some(manifest), Some(key)) = (&self.manifest, self.public_key) {
            return Ok((manifest.clone(), key));
        }
        let config = Config::load(&self.config)?;
        let integrity = config.integrity.as_ref();
        let manifest = self.manifest.clone().or(integrity.map(|integrity| integrity.manifest.clone()));
        let key = self.public_key.or(integrity.map(|integrity| integrity.public_key));
        let manifest = manifest.ok_or(ManifestFailure::NotGiven("the manifest"))?;
        Ok((manifest, key.ok_or(ManifestFailure::NotGiven("--public-key"))?))
    }
}
