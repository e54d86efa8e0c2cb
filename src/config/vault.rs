//! `[vault]`: where the passphrase of sealed secrets comes from.

use std::path::{Path, PathBuf};

use secrecy::SecretString;
use serde::Deserialize;
use serde::de::{self, Deserializer};
use zeroize::Zeroizing;

use super::secret_file::{SecretFile, SecretFileError, one_line};

/// Set by the service manager: the directory of the credentials that a unit was given.
const CREDENTIALS_DIRECTORY: &str = "CREDENTIALS_DIRECTORY";

/// `[vault]`. The first of these that is there counts.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vault {
    /// The name of the systemd credential that holds it (`LoadCredential=`, `LoadCredentialEncrypted=`).
    #[serde(default = "Vault::default_credential", deserialize_with = "credential_name")]
    pub passphrase_credential: String,
    /// The file that holds it.
    pub passphrase_file: Option<SecretFile>,
    /// The environment variable that holds it: the last resort, as whoever sees the unit's settings sees it.
    #[serde(default, deserialize_with = "variable_name")]
    pub passphrase_variable: Option<String>,
}

/// Why there is no passphrase. Nothing was opened.
#[derive(Debug, thiserror::Error)]
pub enum NoPassphrase {
    /// The credential or file cannot be used.
    #[error(transparent)]
    File(#[from] SecretFileError),
    /// The process was not given credentials, or not this one.
    #[error(
        "there is no systemd credential {0}; give the unit one (LoadCredential={0}:/path, or LoadCredentialEncrypted=)"
    )]
    NoCredential(String),
    /// The name could lead elsewhere.
    #[error("there is no systemd credential {0:?}, as that is no plain name")]
    NotAName(String),
    /// The variable is not set, or is no text.
    #[error("the environment variable {0} is not set, or is no UTF-8 text")]
    Variable(String),
    /// The variable holds something else.
    #[error("the environment variable {0} does not hold {1}")]
    WrongVariable(String, &'static str),
    /// None of the places has it.
    #[error(
        "no systemd credential {credential} was given to this process, and [vault] names neither a passphrase_file nor a \
         passphrase_variable"
    )]
    Nowhere {
        /// The credential's name.
        credential: String,
    },
}

impl Vault {
    fn default_credential() -> String {
        "rustbalance-passphrase".to_owned()
    }

    /// Looks for the passphrase: the credential, if this process was given one, then the file, then the variable.
    pub fn passphrase(&self) -> Result<SecretString, NoPassphrase> {
        let credential = &self.passphrase_credential;
        match from_credential(credential) {
            Err(NoPassphrase::NoCredential(_)) => {}
            found => return found,
        }
        match (&self.passphrase_file, &self.passphrase_variable) {
            (Some(file), _) => Ok(file.read_text()?),
            (None, Some(name)) => from_variable(name),
            (None, None) => Err(NoPassphrase::Nowhere { credential: credential.clone() }),
        }
    }
}

impl Default for Vault {
    fn default() -> Self {
        Self {
            passphrase_credential: Self::default_credential(),
            passphrase_file: None,
            passphrase_variable: None,
        }
    }
}

/// The passphrase in the systemd credential of this name.
pub fn from_credential(name: &str) -> Result<SecretString, NoPassphrase> {
    if !is_plain(name) {
        return Err(NoPassphrase::NotAName(name.to_owned()));
    }
    let path = std::env::var_os(CREDENTIALS_DIRECTORY).map(|directory| PathBuf::from(directory).join(name));
    match path.filter(|path| path.exists()) {
        Some(path) => Ok(SecretFile::new(path).read_text()?),
        None => Err(NoPassphrase::NoCredential(name.to_owned())),
    }
}

/// The passphrase in the environment variable of this name.
pub fn from_variable(name: &str) -> Result<SecretString, NoPassphrase> {
    let value = std::env::var(name).map_err(|_| NoPassphrase::Variable(name.to_owned()))?;
    let value = Zeroizing::new(value);
    one_line(value.as_bytes()).map_err(|expected| NoPassphrase::WrongVariable(name.to_owned(), expected))
}

/// Credentials are files in one directory; a name must not lead out of it.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\0']) && Path::new(name).is_relative()
}

fn credential_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let name = String::deserialize(deserializer)?;
    if is_plain(&name) {
        Ok(name)
    } else {
        Err(de::Error::custom("expected a plain name, as in LoadCredential=NAME:…"))
    }
}

/// Not repeated when it is wrong: it could be the passphrase itself.
fn variable_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let name = String::deserialize(deserializer)?;
    let plain = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    if !name.is_empty() && name.chars().all(plain) {
        Ok(Some(name))
    } else {
        Err(de::Error::custom("expected the name of an environment variable (capital letters, digits, _)"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_and_not_repeated() {
        for bad in [
            "passphrase_credential = \"../x\"",
            "passphrase_credential = \"\"",
            "passphrase_variable = \"hush hush\"",
        ] {
            let error = toml::from_str::<Vault>(bad).unwrap_err();
            assert!(error.message().contains("expected") && !error.message().contains("hush"), "{error}");
        }
        let vault: Vault = toml::from_str("passphrase_variable = \"RB_NOT_SET\"").unwrap();
        assert!(matches!(vault.passphrase(), Err(NoPassphrase::Variable(_))));
        let nowhere = Vault::default().passphrase().unwrap_err().to_string();
        assert!(
            nowhere.contains("rustbalance-passphrase") && nowhere.contains("passphrase_file"),
            "{nowhere}"
        );
    }
}
