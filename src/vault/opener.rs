//! Opening the secrets of a configuration, as far as they are sealed.

use std::cell::OnceCell;
use std::fmt;

use secrecy::{ExposeSecret, SecretSlice};

use super::form;
use super::passphrase::Passphrase;
use super::sealed::{Content, OpenError};

/// Opens what is sealed, and gives back what is not. All is sealed under one passphrase, which is looked for when the
/// first secret needs it, and forgotten with the opener.
pub struct Opener<F> {
    find: F,
    found: OnceCell<Passphrase>,
}

impl<F> fmt::Debug for Opener<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Opener")
    }
}

/// Why a secret was not opened. Nothing of it was kept.
#[derive(Debug, thiserror::Error)]
pub enum OpenerError {
    /// It is sealed, and no passphrase was found.
    #[error("it is sealed, and there is no passphrase: {0}")]
    NoPassphrase(String),
    /// It cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
}

impl<F: Fn() -> Result<Passphrase, String>> Opener<F> {
    /// Nothing is looked for yet.
    pub fn new(find: F) -> Self {
        Self { find, found: OnceCell::new() }
    }

    /// Opens one secret. Takes a fraction of a second and 64 MiB if it is sealed: not for an async task.
    pub fn open(&self, secret: SecretSlice<u8>) -> Result<SecretSlice<u8>, OpenerError> {
        // A key in raw bytes is no text.
        let Ok(text) = str::from_utf8(secret.expose_secret()) else { return Ok(secret) };
        match form::parse(text) {
            Err(OpenError::NotSealed) => Ok(secret),
            Err(error) => Err(error.into()),
            Ok((sealed, _)) if sealed.content() == Content::Invitation => {
                Err(OpenError::Content { found: Content::Invitation, expected: Content::File }.into())
            }
            Ok((sealed, _)) => Ok(sealed.open(self.passphrase()?)?),
        }
    }

    fn passphrase(&self) -> Result<&Passphrase, OpenerError> {
        if let Some(found) = self.found.get() {
            return Ok(found);
        }
        let passphrase = (self.find)().map_err(OpenerError::NoPassphrase)?;
        Ok(self.found.get_or_init(|| passphrase))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;
    use crate::vault::cost::Cost;
    use crate::vault::sealed::Sealed;
    use crate::vault::{armour, field};

    const PASSPHRASE: &str = "correct horse battery";

    fn sealed(content: Content, secret: &[u8]) -> Sealed {
        let (passphrase, mut rng) = (Passphrase::new(PASSPHRASE).unwrap(), StdRng::seed_from_u64(1));
        Sealed::seal(content, secret, &passphrase, Cost::TEST, &mut rng).unwrap()
    }

    fn secret(bytes: impl AsRef<[u8]>) -> SecretSlice<u8> {
        SecretSlice::from(bytes.as_ref().to_vec())
    }

    #[test]
    fn the_passphrase_is_looked_for_once_and_only_if_needed() {
        let asked = Cell::new(0);
        let opener = Opener::new(|| {
            asked.set(asked.get() + 1);
            Passphrase::new(PASSPHRASE).map_err(|error| error.to_string())
        });
        for clear in [
            &b"hush"[..],
            b"\xff\x00raw",
            b"",
            b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        ] {
            assert_eq!(opener.open(secret(clear)).unwrap().expose_secret(), clear);
        }
        assert_eq!(asked.get(), 0);
        let file = armour::write(&sealed(Content::File, b"hush"));
        let value = field::write(&sealed(Content::Field, b"hush"));
        for text in [&file, &value] {
            assert_eq!(opener.open(secret(text)).unwrap().expose_secret(), b"hush");
        }
        assert_eq!(asked.get(), 1);
    }

    #[test]
    fn what_cannot_be_opened_is_never_taken_for_a_clear_secret() {
        let file = armour::write(&sealed(Content::File, b"hush"));
        let value = field::write(&sealed(Content::Field, b"hush"));
        let open = |text: &str, passphrase: Result<&str, &str>| {
            let find = || {
                passphrase
                    .map_err(str::to_owned)
                    .and_then(|text| Passphrase::new(text).map_err(|error| error.to_string()))
            };
            Opener::new(find).open(secret(text)).unwrap_err().to_string()
        };
        let right = Ok(PASSPHRASE);
        assert!(open(&file, Ok("another one")).contains("the passphrase is wrong"));
        assert!(open(&file, Err("nowhere")).contains("there is no passphrase: nowhere"));
        assert!(open(&file, Ok(" ")).contains("the passphrase is empty"));
        assert!(open(&file[..file.len() / 2], right).contains("cut off or damaged"));
        assert!(open(&value[..value.len() - 1], right).contains("cut off or damaged"));
        assert!(open("sealed:v9:AAAA", right).contains("version 9"));
        let invitation = armour::write(&sealed(Content::Invitation, b"hush"));
        assert!(open(&invitation, right).contains("an invitation"));
    }
}
