//! Where a passphrase comes from: a file, a credential of the service manager, a variable, or the operator's keyboard.
//! Never from the command line, which every user of the machine can read.

use std::path::PathBuf;

use clap::Args;
use secrecy::{ExposeSecret, SecretString};

use crate::config::secret_file::{SecretFile, SecretFileError};
use crate::config::vault::{self, Vault};
use crate::sys::exit::Exit;
use crate::vault::passphrase::{Passphrase, PassphraseError};
use crate::vault::terminal::{Terminal, TerminalError};

/// Where the passphrase comes from; without any of these it is asked for on the terminal.
#[derive(Debug, Default, Args)]
#[group(multiple = false)]
pub struct PassphraseSource {
    /// Read the passphrase from this file, which other users must not be able to read
    #[arg(long = "passphrase-file", id = "passphrase_file", value_name = "FILE")]
    file: Option<PathBuf>,
    /// Read it from the systemd credential of this name (`LoadCredential=` or `LoadCredentialEncrypted=`)
    #[arg(long = "passphrase-credential", id = "passphrase_credential", value_name = "NAME")]
    credential: Option<String>,
    /// Read it from the environment variable of this name
    #[arg(long = "passphrase-env", id = "passphrase_env", value_name = "VARIABLE")]
    variable: Option<String>,
}

/// Why there is no passphrase. Nothing was sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum NoPassphrase {
    /// The place that was named does not have it.
    #[error(transparent)]
    Place(#[from] vault::NoPassphrase),
    /// What was found is no passphrase.
    #[error("{from}: {source}")]
    Wrong {
        /// Where it was found.
        from: String,
        /// What is wrong with it.
        source: PassphraseError,
    },
    /// The operator could not be asked, or did not answer.
    #[error(transparent)]
    Terminal(#[from] TerminalError),
}

impl NoPassphrase {
    /// The exit code: 77 for a file that is not protected or not readable, 64 where there is nobody to ask.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Place(vault::NoPassphrase::File(SecretFileError::OpenToEverybody { .. })) => {
                Exit::Permission
            }
            Self::Place(vault::NoPassphrase::File(SecretFileError::Unreadable { source, .. }))
                if source.kind() == std::io::ErrorKind::PermissionDenied =>
            {
                Exit::Permission
            }
            Self::Terminal(TerminalError::None(_)) => Exit::Usage,
            Self::Terminal(TerminalError::Io(_)) => Exit::Os,
            _ => Exit::Data,
        }
    }
}

impl PassphraseSource {
    /// The sources given by other options than these.
    pub fn of(file: Option<PathBuf>, credential: Option<String>, variable: Option<String>) -> Self {
        Self { file, credential, variable }
    }

    /// The passphrase of something sealed; asks `question` where nothing else was given.
    pub fn passphrase(&self, question: &str) -> Result<Passphrase, NoPassphrase> {
        match self.without_asking()? {
            Some((passphrase, _)) => Ok(passphrase),
            None => Ok(Terminal::open()?.ask(question)?),
        }
    }

    /// A passphrase to seal something under: strong enough, and typed twice where it is typed.
    pub fn new_passphrase(&self, question: &str) -> Result<Passphrase, NoPassphrase> {
        match self.without_asking()? {
            Some((passphrase, from)) => {
                passphrase.strong_enough().map_err(|source| NoPassphrase::Wrong { from, source })
            }
            None => Ok(Terminal::open()?.ask_new(question)?),
        }
    }

    /// The passphrase, and where it was found; `None` where only the terminal is left.
    fn without_asking(&self) -> Result<Option<(Passphrase, String)>, NoPassphrase> {
        let (found, from) = match (&self.file, &self.credential, &self.variable) {
            (Some(path), _, _) => (from_file(path.clone())?, path.display().to_string()),
            (_, Some(name), _) => (vault::from_credential(name)?, format!("the systemd credential {name}")),
            (_, _, Some(name)) => (vault::from_variable(name)?, format!("the environment variable {name}")),
            (None, None, None) => return Ok(None),
        };
        match Passphrase::new(found.expose_secret()) {
            Ok(passphrase) => Ok(Some((passphrase, from))),
            Err(source) => Err(NoPassphrase::Wrong { from, source }),
        }
    }
}

/// The passphrase of this node's sealed secrets: where its daemons find it, else from the operator.
pub fn passphrase_of_node(vault: &Vault) -> Result<Passphrase, NoPassphrase> {
    match vault.passphrase() {
        Ok(text) => {
            let from = "[vault]".to_owned();
            Passphrase::new(text.expose_secret()).map_err(|source| NoPassphrase::Wrong { from, source })
        }
        Err(vault::NoPassphrase::Nowhere { .. }) => {
            Ok(Terminal::open()?.ask("Passphrase of this node's sealed secrets: ")?)
        }
        Err(error) => Err(error.into()),
    }
}

fn from_file(path: PathBuf) -> Result<SecretString, vault::NoPassphrase> {
    Ok(SecretFile::new(path).read_text()?)
}
