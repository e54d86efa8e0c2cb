//! `rustbalance unseal`.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use secrecy::ExposeSecret;

use crate::ctl::error::CtlError;
use crate::ctl::files::{make_file, replace};
use crate::ctl::input::{Named, STANDARD_INPUT};
use crate::ctl::passphrase::PassphraseSource;
use crate::ctl::sealing::written;
use crate::vault::sealed::{Content, OpenError};

/// What to unseal.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rustbalance unseal cluster.token
  rustbalance unseal hs_ed25519_secret_key --output /run/key/hs_ed25519_secret_key
  rustbalance unseal --in-place /etc/rustbalance/wireguard.key

With a wrong passphrase, or one altered byte, nothing is written.")]
pub struct Arguments {
    /// The sealed file or value; - reads standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Write a new file instead of standard output, readable by its owner only
    #[arg(long, value_name = "FILE", conflicts_with = "in_place")]
    output: Option<PathBuf>,
    /// Put the clear text in the sealed file's place
    #[arg(long)]
    in_place: bool,
    #[command(flatten)]
    passphrase: PassphraseSource,
}

impl Arguments {
    /// Opens the file, and only then writes anything.
    pub fn run(&self, mut out: impl Write) -> Result<(), CtlError> {
        let wrong = |source| CtlError::Open { path: self.file.clone(), source };
        if self.in_place && self.file == Path::new(STANDARD_INPUT) {
            return Err(CtlError::NoPlace);
        }
        let (sealed, _) = written::read(&self.file)?;
        if sealed.content() == Content::Invitation {
            return Err(wrong(OpenError::Content { found: Content::Invitation, expected: Content::File }));
        }
        let question = format!("Passphrase of {}: ", Named(&self.file));
        let passphrase = self.passphrase.passphrase(&question)?;
        let secret = sealed.open(&passphrase).map_err(wrong)?;
        let secret = secret.expose_secret();
        match &self.output {
            Some(output) => make_file(output, secret)?,
            None if self.in_place => replace(&self.file, secret)?,
            None => out.write_all(secret)?,
        }
        Ok(())
    }
}
