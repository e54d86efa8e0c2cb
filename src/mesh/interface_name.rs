//! Names of network interfaces.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// Why a text is not an interface name. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} is not an interface name: 1 to 15 letters, digits, '-', '_' or '.', such as wg-rb")]
pub struct InterfaceNameError(pub String);

/// A network interface's name that the kernel takes: 1 to 15 letters, digits, `-`, `_`, `.`; not `.` or `..`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InterfaceName(String);

impl InterfaceName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for InterfaceName {
    type Err = InterfaceNameError;

    fn from_str(name: &str) -> Result<Self, InterfaceNameError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if (1..=15).contains(&name.len()) && name.chars().all(allowed) && !name.trim_matches('.').is_empty() {
            Ok(Self(name.to_owned()))
        } else {
            Err(InterfaceNameError(name.to_owned()))
        }
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interface_names_cannot_leave_the_directory_of_control_sockets() {
        for good in ["wg-rb", "a", "wg_rb.15-chars_"] {
            assert_eq!(good.parse::<InterfaceName>().unwrap().as_str(), good);
        }
        for bad in ["", ".", "..", "a/b", "../x", "wg rb", "wg\0", "sixteen-chars-xx", "ü"] {
            assert!(matches!(bad.parse::<InterfaceName>(), Err(InterfaceNameError(_))), "{bad:?}");
        }
    }
}
