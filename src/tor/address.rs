//! Where a tor's control and SOCKS ports are, and how to show that we may use the former.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use secrecy::SecretString;

/// A control or SOCKS port on this machine.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum SocketAddress {
    /// `ControlPort`, `SocksPort`.
    Tcp(SocketAddr),
    /// `ControlSocket`, or either port as `unix:…`.
    Unix(PathBuf),
}

/// The text is not the address of a port.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not the address of a port of tor; write unix:/absolute/path or 127.0.0.1:9051")]
pub struct SocketAddressError;

impl FromStr for SocketAddress {
    type Err = SocketAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix("unix:") {
            Some(path) if path.starts_with('/') => Ok(Self::Unix(path.into())),
            Some(_) => Err(SocketAddressError),
            None => text.parse().map(Self::Tcp).map_err(|_| SocketAddressError),
        }
    }
}

impl fmt::Display for SocketAddress {
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
            assert_eq!(text.parse::<SocketAddress>().unwrap().to_string(), text);
        }
        for text in ["", "9051", "localhost:9051", "unix:", "unix:run/tor", "/run/tor/control"] {
            assert_eq!(text.parse::<SocketAddress>(), Err(SocketAddressError), "{text}");
        }
    }

    #[test]
    fn a_password_is_not_shown() {
        let shown = format!("{:?}", ControlAuth::Password("hunter2".into()));
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
