//! Sealed secrets as they stand in files.

use std::path::Path;

use crate::ctl::error::CtlError;
use crate::ctl::input::read_text;
use crate::vault::armour::MAX_TEXT_BYTES;
use crate::vault::form::{Form, parse};
use crate::vault::sealed::Sealed;

/// Reads a sealed secret in either form.
pub fn read(path: &Path) -> Result<(Sealed, Form), CtlError> {
    let text = read_text(path, MAX_TEXT_BYTES)?;
    parse(&text).map_err(|source| CtlError::Open { path: path.to_owned(), source })
}
