//! `inspect address`: whose key this is.

use std::fmt;
use std::path::PathBuf;

use clap::Args;
use data_encoding::HEXLOWER;
use serde::Serialize;

use crate::ctl::answer::Line;
use crate::ctl::input::read_key;
use crate::ctl::inspect::error::InspectError;
use crate::proto::onion::address::HsId;

/// What is asked.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rustbalance inspect address /var/lib/tor/hidden_service
  rustbalance inspect address key.pem --json")]
pub struct Question {
    /// The secret key: tor's `hs_ed25519_secret_key` or its directory, PKCS#8 PEM, 32-byte seed or 64-byte expanded key
    /// (raw, hex or base64); - reads it from standard input
    #[arg(value_name = "KEY_FILE")]
    key: PathBuf,
}

/// The public half of a key.
#[derive(Debug, Serialize)]
pub struct Answer {
    /// The onion address.
    address: HsId,
    /// The public key, in hexadecimal.
    public_key: String,
}

impl Question {
    /// Reads the key.
    pub fn answer(&self) -> Result<Answer, InspectError> {
        let address = read_key(&self.key)?.hs_id();
        Ok(Answer { address, public_key: HEXLOWER.encode(&address.0) })
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", Line("address", self.address))?;
        write!(f, "{}", Line("public key", &self.public_key))
    }
}
