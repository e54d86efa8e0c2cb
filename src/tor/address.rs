//! Where a control port is, and how to show that we may use it.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use secrecy::SecretString;

/// A control port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum ControlAddress {
    /// `ControlPort`.
    Tcp(SocketAddr),
    /// `ControlSocket`, or `ControlPort unix:…`.
    Unix(PathBuf),
}

/// The text is not a control port's address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not the address of a control port; write unix:/absolute/path or 127.0.0.1:9051")]
pub struct ControlAddressError;

impl FromStr for ControlAddress {
    type Err = ControlAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix("unix:") {
            Some(path) if path.starts_with('/') => Ok(Self::Unix(path.into())),
            Some(_) => Err(ControlAddressError),
            None => text.parse().map(Self::Tcp).map_err(|_| ControlAddressError),
        }
    }
}

impl fmt::Display for ControlAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// How to authenticate to tor.
#[derive(Debug, Clone)]
pub enum ControlAuth {
    /// Whatever tor offers that needs no secret from the configuration: the cookie file, without disclosing it
    /// where tor can do that (`SAFECOOKIE`), or nothing at all (`NULL`).
    Auto,
    /// The password whose hash is tor's `HashedControlPassword`.
    Password(SecretString),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_survives_text() {
        for text in ["127.0.0.1:9051", "[::1]:9051", "unix:/run/tor/control"] {
            assert_eq!(text.parse::<ControlAddress>().unwrap().to_string(), text);
        }
        for text in ["", "9051", "localhost:9051", "unix:", "unix:run/tor", "/run/tor/control"] {
            assert_eq!(text.parse::<ControlAddress>(), Err(ControlAddressError), "{text}");
        }
    }

    #[test]
    fn a_password_is_not_shown() {
        let shown = format!("{:?}", ControlAuth::Password("hunter2".into()));
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
