//! `[integrity]`: whether a daemon makes sure at its start that it is the program that was signed.

use std::path::PathBuf;

use serde::Deserialize;
use serde::de::{self, Deserializer};

use super::endpoint::absolute_path;
use crate::proto::manifest::ManifestKey;

/// `[integrity]`. Where it is not there, nothing is verified. It protects against programs that are altered, or half
/// updated, behind the back of who may write this file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Integrity {
    /// The signed list of programs and other files.
    #[serde(deserialize_with = "absolute_path")]
    pub manifest: PathBuf,
    /// The key under which it must be signed.
    #[serde(deserialize_with = "key")]
    pub public_key: ManifestKey,
}

fn key<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ManifestKey, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
}
