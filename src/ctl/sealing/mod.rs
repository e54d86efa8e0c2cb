//! `rustbalance seal`, `unseal`, `reseal`: secrets in files, under a passphrase.

pub mod reseal;
pub mod seal;
pub mod unseal;
pub mod written;
