//! Which of the two written forms something sealed has.

use super::sealed::{OpenError, Sealed};
use super::{armour, field};

/// One of the two written forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A whole file.
    Armour,
    /// One line.
    Field,
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
