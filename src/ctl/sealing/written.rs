//! Sealed secrets as they stand in files.

use std::path::Path;

use crate::ctl::error::CtlError;
use crate::ctl::input::read_text;
use crate::vault::armour::{self, MAX_TEXT_BYTES};
use crate::vault::field;
use crate::vault::sealed::{OpenError, Sealed};

/// Which of the two forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A whole file.
    Armour,
    /// One line.
    Field,
}

/// Reads a sealed secret in either form.
pub fn read(path: &Path) -> Result<(Sealed, Form), CtlError> {
    let text = read_text(path, MAX_TEXT_BYTES)?;
    parse(&text).map_err(|source| CtlError::Open { path: path.to_owned(), source })
}

/// Finds a sealed secret in a text.
pub fn parse(text: &str) -> Result<(Sealed, Form), OpenError> {
    match armour::read(text) {
        Ok(sealed) => Ok((sealed, Form::Armour)),
        Err(OpenError::NotSealed) => Ok((field::read(text)?, Form::Field)),
        Err(error) => Err(error),
    }
}

/// Writes it in the form it had, with a line end.
pub fn write(sealed: &Sealed, form: Form) -> String {
    match form {
        Form::Armour => armour::write(sealed),
        Form::Field => field::write(sealed) + "\n",
    }
}
