//! Files the operator names, read up to a limit.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use zeroize::Zeroizing;

use crate::ctl::inspect::error::InspectError;
use crate::proto::onion::identity::{HsIdKeypair, MAX_KEY_BYTES};

/// The name tor gives the secret key in a `HiddenServiceDir`.
const TOR_SECRET_KEY_FILE: &str = "hs_ed25519_secret_key";

/// Reads a file, or standard input for `-`; refuses more than `limit` bytes. The buffer is allocated once, so that no
/// copy of a secret is left behind by its growth, and erased when dropped.
pub fn read(path: &Path, limit: usize) -> Result<Zeroizing<Vec<u8>>, InspectError> {
    let failed = |source| InspectError::Read { path: path.to_owned(), source };
    let source: Box<dyn Read> = if path == Path::new("-") {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(path).map_err(failed)?)
    };
    let mut bytes = Zeroizing::new(Vec::with_capacity(limit + 1));
    // One byte more than allowed, to notice that there is more.
    let allowed = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    source.take(allowed).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > limit {
        return Err(InspectError::TooLarge { path: path.to_owned(), limit });
    }
    Ok(bytes)
}

/// The secret key in a file of any form, on standard input (`-`), or in tor's `HiddenServiceDir`.
pub fn read_key(path: &Path) -> Result<HsIdKeypair, InspectError> {
    let path = if path.is_dir() { path.join(TOR_SECRET_KEY_FILE) } else { path.to_owned() };
    let bytes = read(&path, MAX_KEY_BYTES)?;
    HsIdKeypair::from_any_form(&bytes).map_err(|source| InspectError::Key { path, source })
}
