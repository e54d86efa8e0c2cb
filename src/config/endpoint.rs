//! Addresses of sockets: where to listen, where tor's ports are, what the target is.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::de::{self, Deserialize, Deserializer};

use crate::proto::onion::address::HsId;

/// `sockaddr_un` holds 108 bytes with the final NUL; a longer path cannot be bound or connected to.
const MAX_UNIX_PATH: usize = 107;

/// A stream socket on this machine: `unix:/absolute/path` or `ip:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// TCP.
    Tcp(SocketAddr),
    /// A unix stream socket.
    Unix(PathBuf),
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix("unix:") {
            Some(path) => unix_path(path).map(Self::Unix),
            None => text
                .parse()
                .map(Self::Tcp)
                .map_err(|_| format!("{text:?} is neither `ip:port` nor `unix:/absolute/path`")),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl<'de> Deserialize<'de> for Endpoint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// What client connections are carried to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Another onion service, through tor's SOCKS port: `http(s)://ADDRESS.onion[:port]` or `tcp://ADDRESS.onion:port`.
    Onion {
        /// Its address.
        address: HsId,
        /// Its virtual port.
        port: u16,
        /// Whether it is spoken to over TLS.
        tls: bool,
    },
    /// A socket on this machine or network: `http(s)://ip[:port]`, `tcp://ip:port` or `unix:/path`.
    Local {
        /// Where it is.
        endpoint: Endpoint,
        /// Whether it is spoken to over TLS.
        tls: bool,
    },
}

/// The port of `http://` when none is written.
const HTTP_PORT: u16 = 80;
/// The port of `https://` when none is written.
const HTTPS_PORT: u16 = 443;

impl Target {
    /// Whether it is spoken to over TLS.
    pub fn is_tls(&self) -> bool {
        match self {
            Self::Onion { tls, .. } | Self::Local { tls, .. } => *tls,
        }
    }

    /// Its host and port; `None` for a socket that has only a path.
    pub fn authority(&self) -> Option<String> {
        match self {
            Self::Onion { address, port, .. } => Some(format!("{address}:{port}")),
            Self::Local { endpoint: Endpoint::Tcp(address), .. } => Some(address.to_string()),
            Self::Local { endpoint: Endpoint::Unix(_), .. } => None,
        }
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = |endpoint| Self::Local { endpoint, tls: false };
        if text.starts_with("unix:") {
            return text.parse().map(plain);
        }
        if text.contains('@') {
            // It is not repeated: what stands before it may be a password, and this may go into a log.
            return Err(
                "a target has no user and no password: the proxy sends none; leave out what stands before \
                        `@`, and the `@`"
                    .to_owned(),
            );
        }
        for (scheme, port, tls) in [("http://", HTTP_PORT, false), ("https://", HTTPS_PORT, true)] {
            let Some(rest) = text.strip_prefix(scheme) else { continue };
            let rest = rest.strip_suffix('/').unwrap_or(rest);
            return match local(rest, port) {
                Some(address) => Ok(Self::Local { endpoint: Endpoint::Tcp(address), tls }),
                None => onion(rest, Some(port), tls),
            };
        }
        if let Some(rest) = text.strip_prefix("tcp://") {
            return match rest.parse() {
                Ok(address) => Ok(plain(Endpoint::Tcp(address))),
                Err(_) => onion(rest, None, false),
            };
        }
        Err(format!(
            "{text:?} is no target; expected `http://ADDRESS.onion[:port]`, `http://ip[:port]`, the same with `https://`, \
             `tcp://ip:port`, `tcp://ADDRESS.onion:port` or `unix:/absolute/path`"
        ))
    }
}

/// An IP address, with this port where none is written.
fn local(text: &str, port: u16) -> Option<SocketAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let alone = bare.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, port));
    text.parse().or(alone).ok().filter(|address: &SocketAddr| address.port() != 0)
}

fn onion(text: &str, default_port: Option<u16>, tls: bool) -> Result<Target, String> {
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => {
            let port = port.parse().ok().filter(|port| *port != 0);
            (host, Some(port.ok_or_else(|| format!("{text:?} has no usable port"))?))
        }
        None => (text, default_port),
    };
    let port = port.ok_or_else(|| format!("{text:?} needs a port"))?;
    if !host.to_ascii_lowercase().ends_with(".onion") {
        return Err(format!(
            "{host:?} is neither an onion address nor, with `tcp://`, an IP address: names are not looked up, \
             `tcp://127.0.0.1:80` is this machine"
        ));
    }
    let address =
        HsId::from_address(host).map_err(|error| format!("{host:?} is no onion address: {error}"))?;
    Ok(Target::Onion { address, port, tls })
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_tls() { "https://" } else { "" })?;
        match self {
            Self::Onion { address, port, .. } => write!(f, "{address}:{port}"),
            Self::Local { endpoint, .. } => write!(f, "{endpoint}"),
        }
    }
}

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// Deserializes a path that must be absolute: a daemon's working directory is nobody's business.
pub fn absolute_path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    let path = PathBuf::from(String::deserialize(deserializer)?);
    if path.is_absolute() {
        Ok(path)
    } else {
        Err(de::Error::custom(format!("{} is not an absolute path", path.display())))
    }
}

fn unix_path(text: &str) -> Result<PathBuf, String> {
    let path = Path::new(text);
    if !path.is_absolute() {
        return Err(format!("the unix socket path {text:?} is not absolute"));
    }
    if text.len() > MAX_UNIX_PATH || text.contains('\0') {
        return Err(format!(
            "the unix socket path {text:?} is longer than {MAX_UNIX_PATH} bytes or holds a NUL"
        ));
    }
    Ok(path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONION: &str = "pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscryd.onion";

    #[test]
    fn endpoints_are_tcp_or_unix_and_print_as_written() {
        for text in ["127.0.0.1:9051", "[::1]:9051", "unix:/run/tor/control"] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), text);
        }
        let long = format!("unix:/{}", "x".repeat(MAX_UNIX_PATH));
        for bad in
            ["", "localhost:9051", "127.0.0.1", "unix:", "unix:run/x", "unix:/a\0b", "/run/x", long.as_str()]
        {
            assert!(bad.parse::<Endpoint>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn targets() {
        let address = HsId::from_address(ONION).unwrap();
        let onion = |port, tls| Target::Onion { address, port, tls };
        let local = |text: &str, tls| Target::Local { endpoint: text.parse().unwrap(), tls };
        let cases = [
            (format!("http://{ONION}"), onion(80, false)),
            (format!("http://{ONION}/"), onion(80, false)),
            (format!("http://{ONION}:8080"), onion(8080, false)),
            (format!("https://{ONION}"), onion(443, true)),
            (format!("https://{ONION}:8443/"), onion(8443, true)),
            (format!("tcp://{ONION}:22"), onion(22, false)),
            ("tcp://127.0.0.1:80".into(), local("127.0.0.1:80", false)),
            ("http://127.0.0.1:8080/".into(), local("127.0.0.1:8080", false)),
            ("http://127.0.0.1".into(), local("127.0.0.1:80", false)),
            ("https://127.0.0.1".into(), local("127.0.0.1:443", true)),
            ("https://[::1]:8443".into(), local("[::1]:8443", true)),
            ("http://[::1]".into(), local("[::1]:80", false)),
            ("unix:/run/app".into(), local("unix:/run/app", false)),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse::<Target>().unwrap(), expected, "{text}");
        }
        let bad = [
            "",
            ONION,
            "http://example.org",
            "https://x.onion",
            "https://example.org",
            "tcp://localhost:1",
            "unix:app",
            &format!("tcp://{ONION}"),
            &format!("http://{ONION}:0"),
            &format!("http://{ONION}:70000"),
            &format!("http://{ONION}/path"),
        ];
        for text in bad {
            assert!(text.parse::<Target>().is_err(), "{text:?}");
        }
        for text in ["http://me:hush@127.0.0.1:80", "https://me:hush@example.org", "me:hush@127.0.0.1"] {
            let error = text.parse::<Target>().unwrap_err();
            assert!(error.contains("password") && !error.contains("hush"), "{error}");
        }
    }
}
