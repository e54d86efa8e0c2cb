//! What the outer process hands to the lab inside: the user's wishes and where the programs are.

use std::ffi::OsString;

use serde::{Deserialize, Serialize};

use super::arguments::Arguments;
use super::requirements::Tools;

/// Everything the lab inside needs to know.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Plan {
    /// What the user asked for.
    pub(super) arguments: Arguments,
    /// The programs of others.
    pub(super) tools: Tools,
}

impl Plan {
    /// As one argument of a process.
    pub(super) fn to_text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Back from the first argument; `None` if it is not a plan.
    pub(super) fn from_arguments(arguments: &[OsString]) -> Option<Self> {
        serde_json::from_str(arguments.first()?.to_str()?).ok()
    }
}
