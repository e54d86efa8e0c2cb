//! `rustbalance reseal`.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use secrecy::ExposeSecret;

use crate::ctl::error::CtlError;
use crate::ctl::files::replace;
use crate::ctl::input::STANDARD_INPUT;
use crate::ctl::passphrase::PassphraseSource;
use crate::ctl::sealing::written;
use crate::vault::cost::Cost;
use crate::vault::form;
use crate::vault::sealed::Sealed;

/// What to seal anew.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rustbalance reseal /etc/rustbalance/hs_ed25519_secret_key /etc/rustbalance/cluster.token
  rustbalance reseal --passphrase-file old --new-passphrase-file new invitation.txt

All files are opened before the first one is replaced; each is replaced at once. What was sealed at a lower cost is
sealed at the present default.")]
pub struct Arguments {
    /// The sealed files, all under the same passphrase; - reads standard input and writes standard output
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    passphrase: PassphraseSource,
    #[command(flatten)]
    new: NewPassphraseSource,
}

/// Where the new passphrase comes from.
#[derive(Debug, Args)]
#[group(multiple = false)]
struct NewPassphraseSource {
    /// Read the new passphrase from this file
    #[arg(long = "new-passphrase-file", id = "new_passphrase_file", value_name = "FILE")]
    file: Option<PathBuf>,
    /// Read the new passphrase from the systemd credential of this name
    #[arg(long = "new-passphrase-credential", id = "new_passphrase_credential", value_name = "NAME")]
    credential: Option<String>,
    /// Read the new passphrase from the environment variable of this name
    #[arg(long = "new-passphrase-env", id = "new_passphrase_env", value_name = "VARIABLE")]
    variable: Option<String>,
}

impl Arguments {
    /// Opens all files, and only then replaces the first.
    pub fn run(self, mut out: impl Write) -> Result<(), CtlError> {
        let mut sealed = Vec::new();
        for path in self.files {
            let (one, form) = written::read(&path)?;
            sealed.push((path, one, form));
        }
        let old = self.passphrase.passphrase("Present passphrase: ")?;
        let mut opened = Vec::new();
        for (path, sealed, form) in sealed {
            match sealed.open(&old) {
                Ok(secret) => opened.push((path, secret, sealed.content(), form)),
                Err(source) => return Err(CtlError::Open { path, source }),
            }
        }
        let NewPassphraseSource { file, credential, variable } = self.new;
        let new = PassphraseSource::of(file, credential, variable).new_passphrase("New passphrase: ")?;
        let mut texts = Vec::new();
        for (path, secret, content, form) in opened {
            let again = Sealed::seal(content, secret.expose_secret(), &new, Cost::DEFAULT, &mut rand::rng());
            match again {
                Ok(again) => texts.push((path, form::write(&again, form))),
                Err(source) => return Err(CtlError::Seal { path, source }),
            }
        }
        for (path, text) in texts {
            if path == Path::new(STANDARD_INPUT) {
                out.write_all(text.as_bytes())?;
            } else {
                replace(&path, text.as_bytes())?;
            }
        }
        Ok(())
    }
}
