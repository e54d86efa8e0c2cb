//! Files the operator names, read up to a limit. `-` is standard input.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use zeroize::Zeroizing;

use crate::ctl::inspect::error::InspectError;
use crate::proto::onion::identity::{HsIdKeypair, MAX_KEY_BYTES};

/// The name tor gives the secret key in a `HiddenServiceDir`.
const TOR_SECRET_KEY_FILE: &str = "hs_ed25519_secret_key";

/// Reads a small file with a secret. The buffer is allocated once, so that no copy is left behind by its growth, and
/// erased when dropped.
pub fn read_secret(path: &Path) -> Result<Zeroizing<Vec<u8>>, InspectError> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_KEY_BYTES + 1));
    read_into(&mut bytes, path, MAX_KEY_BYTES)?;
    Ok(bytes)
}

/// Reads a document of at most `limit` bytes.
pub fn read_text(path: &Path, limit: usize) -> Result<String, InspectError> {
    let mut bytes = Vec::new();
    read_into(&mut bytes, path, limit)?;
    String::from_utf8(bytes).map_err(|_| InspectError::NotText { path: path.to_owned() })
}

/// The secret key in a file of any form, or in tor's `HiddenServiceDir`.
pub fn read_key(path: &Path) -> Result<HsIdKeypair, InspectError> {
    let path = if path.is_dir() { path.join(TOR_SECRET_KEY_FILE) } else { path.to_owned() };
    let bytes = read_secret(&path)?;
    HsIdKeypair::from_any_form(&bytes).map_err(|source| InspectError::Key { path, source })
}

/// Reads all of a file, and refuses more than `limit` bytes.
fn read_into(bytes: &mut Vec<u8>, path: &Path, limit: usize) -> Result<(), InspectError> {
    let failed = |source| InspectError::Read { path: path.to_owned(), source };
    let source: Box<dyn Read> = if path == Path::new("-") {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(path).map_err(failed)?)
    };
    // One byte more than allowed, to notice that there is more.
    let allowed = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    source.take(allowed).read_to_end(bytes).map_err(failed)?;
    if bytes.len() > limit {
        return Err(InspectError::TooLarge { path: path.to_owned(), limit });
    }
    Ok(())
}
