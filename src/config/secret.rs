//! The secrets of a configuration: it has their paths, or themselves, sealed. It never has them in the clear.

use std::fmt;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretSlice, SecretString};
use serde::de::{self, Deserialize, Deserializer};

use super::secret_file::{SecretFile, SecretFileError, one_line};

/// What a sealed value begins with, whatever its version.
const SEALED: &str = "sealed:v";
/// So many of a sealed value's last letters are shown.
const SHOWN_LETTERS: usize = 8;

/// A secret, in a file or sealed in the configuration itself. Printing it shows a path, or the last letters of what is sealed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Place);

#[derive(Clone, PartialEq, Eq)]
enum Place {
    File(SecretFile),
    Here(String),
}

/// Opens what is sealed, and gives back what is not; or says why that cannot be done.
pub type Unseal<'a> = &'a dyn Fn(SecretSlice<u8>) -> Result<SecretSlice<u8>, String>;

/// Why a secret could not be had. Nothing of it was kept.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// Its file cannot be used.
    #[error(transparent)]
    File(#[from] SecretFileError),
    /// What is sealed cannot be opened.
    #[error("{secret}: {reason}")]
    Sealed {
        /// Which one.
        secret: Secret,
        /// Why.
        reason: String,
    },
    /// It is not the kind of secret that is expected there.
    #[error("{secret} does not hold {expected}")]
    WrongContent {
        /// Which one.
        secret: Secret,
        /// What it should hold.
        expected: &'static str,
    },
}

impl Secret {
    /// A secret in a file; nothing is opened yet.
    pub fn in_file(path: impl Into<PathBuf>) -> Self {
        Self(Place::File(SecretFile::new(path)))
    }

    /// Reads it, and has it opened if it is sealed. A file that other users can get at is refused, sealed or not.
    pub fn read(&self, unseal: Unseal<'_>) -> Result<SecretSlice<u8>, SecretError> {
        let found = match &self.0 {
            Place::File(file) => file.read()?,
            Place::Here(value) => SecretSlice::from(value.clone().into_bytes()),
        };
        unseal(found).map_err(|reason| SecretError::Sealed { secret: self.clone(), reason })
    }

    /// Reads a secret that is one line of text; spaces and the line end around it are not part of it.
    pub fn read_text(&self, unseal: Unseal<'_>) -> Result<SecretString, SecretError> {
        let content = self.read(unseal)?;
        one_line(content.expose_secret()).map_err(|expected| self.wrong(expected))
    }

    /// The error for content that is not `expected`.
    pub fn wrong(&self, expected: &'static str) -> SecretError {
        SecretError::WrongContent { secret: self.clone(), expected }
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::File(file) => write!(f, "the secret file {}", file.path().display()),
            // Its end tells it from others, and is no secret: part of the tag.
            Place::Here(value) => {
                let tail = value.char_indices().nth_back(SHOWN_LETTERS - 1).map_or(0, |(at, _)| at);
                write!(f, "the sealed value that ends with {:?}", &value[tail..])
            }
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.starts_with(SEALED) {
            return Ok(Self(Place::Here(text)));
        }
        if Path::new(&text).is_absolute() {
            return Ok(Self(Place::File(SecretFile::new(text))));
        }
        // The text is not repeated: it may be the secret itself.
        Err(de::Error::custom(
            "expected the absolute path of a file, or a sealed value (rustbalance seal --value -); this file is read by \
             all daemons, so no secret stands in it in the clear",
        ))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[derive(Debug, serde::Deserialize)]
    struct Sample {
        #[serde(alias = "key")]
        key_file: Secret,
    }

    fn secret(value: &str) -> Secret {
        toml::from_str::<Sample>(&format!("key = {value:?}")).unwrap().key_file
    }

    /// Opens whatever holds this mark.
    fn unseal(found: SecretSlice<u8>) -> Result<SecretSlice<u8>, String> {
        match found.expose_secret().strip_prefix(b"sealed:v1:") {
            Some(b"bad") => Err("it is bad".to_owned()),
            Some(inside) => Ok(SecretSlice::from(inside.to_vec())),
            None => Ok(found),
        }
    }

    #[test]
    fn secrets_are_read_from_files_and_values_sealed_or_not() {
        let place = tempfile::tempdir().unwrap();
        let write = |name: &str, content: &str, mode: u32| {
            let path = place.path().join(name);
            std::fs::write(&path, content).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            secret(path.to_str().unwrap())
        };
        let text = |secret: &Secret| {
            secret
                .read_text(&unseal)
                .map(|text| text.expose_secret().to_owned())
                .map_err(|error| error.to_string())
        };
        assert_eq!(text(&write("clear", "hush\n", 0o600)).unwrap(), "hush");
        assert_eq!(text(&write("sealed", "sealed:v1:hush\n", 0o640)).unwrap(), "hush");
        assert_eq!(text(&secret("sealed:v1:hush")).unwrap(), "hush");
        assert!(text(&write("open", "hush\n", 0o644)).unwrap_err().contains("chmod o= "));
        assert_eq!(
            text(&secret("sealed:v1:bad")).unwrap_err(),
            "the sealed value that ends with \"d:v1:bad\": it is bad"
        );
        assert_eq!(
            text(&secret("sealed:v1:a\nb")).unwrap_err(),
            "the sealed value that ends with \"d:v1:a\\nb\" does not hold exactly one line of text"
        );
        assert_eq!(
            format!("{:?}", secret("sealed:v1:not-this")),
            "the sealed value that ends with \"not-this\""
        );
    }

    #[test]
    fn a_clear_secret_in_the_configuration_is_refused_and_not_repeated() {
        for wrong in ["hunter2-hunter2", "relative/path", "", "Sealed:v1:AAAA"] {
            let error = toml::from_str::<Sample>(&format!("key = {wrong:?}")).unwrap_err();
            assert!(error.message().contains("no secret stands in it in the clear"), "{error}");
            assert!(wrong.is_empty() || !error.message().contains(wrong), "{error}");
        }
        let both = toml::from_str::<Sample>("key = \"sealed:v1:a\"\nkey_file = \"/a\"").unwrap_err();
        assert!(both.message().contains("duplicate field"), "{both}");
    }
}
