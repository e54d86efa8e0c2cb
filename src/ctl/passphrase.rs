//! Where a passphrase comes from: a file, a credential of the service manager, a variable, or the operator's keyboard.
//! Never from the command line, which every user of the machine can read.

use std::path::PathBuf;

use clap::Args;

use crate::config::secret_file::{SecretFile, SecretFileError};
use crate::sys::exit::Exit;
use crate::vault::passphrase::{Passphrase, PassphraseError};
use crate::vault::terminal::{Terminal, TerminalError};

/// Set by the service manager: the directory of the credentials that a unit was given.
const CREDENTIALS_DIRECTORY: &str = "CREDENTIALS_DIRECTORY";

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
    /// The file cannot be used.
    #[error(transparent)]
    File(#[from] SecretFileError),
    /// The process was not given credentials, or the name could lead elsewhere.
    #[error(
        "there is no systemd credential {0}: $CREDENTIALS_DIRECTORY is not set, or the name is not a plain one"
    )]
    Credential(String),
    /// The variable is not set, or is no text.
    #[error("the environment variable {0} is not set, or is no UTF-8 text")]
    Variable(String),
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
            Self::File(SecretFileError::OpenToEverybody { .. }) => Exit::Permission,
            Self::File(SecretFileError::Unreadable { source, .. })
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
        if let Some(path) = &self.file {
            return from_file(path.clone()).map(Some);
        }
        if let Some(name) = &self.credential {
            let plain = !name.is_empty() && !name.contains('/') && !name.starts_with('.');
            let directory = std::env::var_os(CREDENTIALS_DIRECTORY).filter(|_| plain);
            let directory = directory.ok_or_else(|| NoPassphrase::Credential(name.clone()))?;
            return from_file(PathBuf::from(directory).join(name)).map(Some);
        }
        let Some(name) = &self.variable else { return Ok(None) };
        let value = std::env::var(name).map_err(|_| NoPassphrase::Variable(name.clone()))?;
        let value = zeroize::Zeroizing::new(value);
        typed(&value, format!("the environment variable {name}")).map(Some)
    }
}

fn from_file(path: PathBuf) -> Result<(Passphrase, String), NoPassphrase> {
    let from = path.display().to_string();
    typed(secrecy::ExposeSecret::expose_secret(&SecretFile::new(path).read_text()?), from)
}

fn typed(text: &str, from: String) -> Result<(Passphrase, String), NoPassphrase> {
    match Passphrase::new(text) {
        Ok(passphrase) => Ok((passphrase, from)),
        Err(source) => Err(NoPassphrase::Wrong { from, source }),
    }
}
