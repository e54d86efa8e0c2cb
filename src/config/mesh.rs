//! `[mesh]`: the WireGuard interface between the nodes.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use data_encoding::BASE64;
use secrecy::{ExposeSecret, SecretBox};
use serde::Deserialize;
use serde::de::{self, Deserializer};

use super::secret::{Secret, SecretError, Unseal};
use crate::proto::cluster::record::MAX_NODES;
use crate::proto::node::NodeId;

/// The others of the largest possible cluster.
pub const MAX_PEERS: usize = MAX_NODES - 1;
/// Length in bits of the network that derived tunnel addresses lie in: what RFC 4193 gives one site.
const PREFIX_LEN: u8 = 48;

/// `[mesh]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mesh {
    /// The interface's name.
    #[serde(default = "Mesh::default_interface", deserialize_with = "interface_name")]
    pub interface: String,
    /// UDP port of WireGuard, as peers reach it.
    #[serde(default = "Mesh::default_listen_port", deserialize_with = "port")]
    pub listen_port: u16,
    /// Where the other nodes reach this one's WireGuard, if that is fixed; they tell it each other.
    #[serde(default, deserialize_with = "endpoint")]
    pub endpoint: Option<SocketAddr>,
    /// Whose WireGuard carries the tunnel.
    #[serde(default)]
    pub backend: Backend,
    /// UDP port of the sealed datagrams, inside the tunnel.
    #[serde(default = "Mesh::default_datagram_port", deserialize_with = "port")]
    pub datagram_port: u16,
    /// This node's WireGuard private key, as `wg genkey` writes it.
    #[serde(alias = "private_key")]
    pub private_key_file: Secret,
    /// This node's address inside the tunnel; derived from its public key when absent.
    #[serde(alias = "tunnel_ip")]
    pub tunnel_address: Option<IpAddr>,
    /// The cluster's IPv6 prefix, in which derived tunnel addresses lie; derived from the cluster token when absent.
    pub prefix: Option<Prefix>,
    /// The other nodes.
    #[serde(default)]
    pub peers: Vec<Peer>,
}

/// Whose WireGuard carries the tunnel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// The kernel's where it has one, otherwise the one in the coordinator.
    #[default]
    Auto,
    /// The kernel's or none.
    Kernel,
    /// The one in the coordinator.
    Userspace,
}

/// `[[mesh.peers]]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peer {
    /// The node's name.
    pub id: NodeId,
    /// Its WireGuard public key, in base64 as `wg pubkey` writes it.
    #[serde(deserialize_with = "public_key")]
    pub public_key: [u8; 32],
    /// Where to reach it; without one it has to reach us first.
    #[serde(default, deserialize_with = "endpoint")]
    pub endpoint: Option<SocketAddr>,
    /// Its address inside the tunnel; derived from its public key when absent.
    #[serde(alias = "tunnel_ip")]
    pub tunnel_address: Option<IpAddr>,
}

impl Mesh {
    fn default_interface() -> String {
        "wg-rb".to_owned()
    }

    /// WireGuard's customary port.
    fn default_listen_port() -> u16 {
        51820
    }

    fn default_datagram_port() -> u16 {
        51821
    }

    /// Reads this node's private key.
    pub fn read_private_key(&self, unseal: Unseal<'_>) -> Result<SecretBox<[u8; 32]>, SecretError> {
        const EXPECTED: &str = "a WireGuard private key (44 characters of base64, as `wg genkey` writes it)";
        let text = self.private_key_file.read_text(unseal).map_err(|error| match error {
            SecretError::WrongContent { .. } => self.private_key_file.wrong(EXPECTED),
            other => other,
        })?;
        let mut key = SecretBox::new(Box::new([0; 32]));
        decode_key(text.expose_secret(), secrecy::ExposeSecretMut::expose_secret_mut(&mut key))
            .map_err(|()| self.private_key_file.wrong(EXPECTED))?;
        Ok(key)
    }
}

/// A unique local IPv6 prefix of 48 bits (RFC 4193), its host bits zero; the remaining bits come from public keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix(pub Ipv6Addr);

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{PREFIX_LEN}", self.0)
    }
}

impl FromStr for Prefix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (network, length) = text
            .split_once('/')
            .and_then(|(network, length)| {
                Some((network.parse::<Ipv6Addr>().ok()?, length.parse::<u8>().ok()?))
            })
            .ok_or_else(|| format!("{text:?} is no IPv6 prefix such as fd12:3456:789a::/48"))?;
        if length != PREFIX_LEN {
            return Err(format!("the prefix length {length} is not {PREFIX_LEN}"));
        }
        // fd00::/8, RFC 4193: anything else could be somebody's real network.
        if network.octets()[0] != 0xfd {
            return Err(format!("{network} is not a unique local address (fd00::/8)"));
        }
        if u128::from(network) & (u128::MAX >> length) != 0 {
            return Err(format!("{network} has bits set beyond its prefix length {length}"));
        }
        Ok(Self(network))
    }
}

impl<'de> Deserialize<'de> for Prefix {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// A WireGuard endpoint as another machine can reach it: `ip:port`, neither of them "any".
pub fn reachable_endpoint(text: &str) -> Result<SocketAddr, String> {
    let endpoint: SocketAddr = text.parse().map_err(|_| {
        format!("{text:?} is no `ip:port`; names are not looked up, an IPv6 address stands in brackets")
    })?;
    if endpoint.ip().is_unspecified() || endpoint.ip().is_multicast() || endpoint.port() == 0 {
        return Err(format!(
            "nobody can reach {endpoint}, expected the address and port that other nodes see"
        ));
    }
    Ok(endpoint)
}

fn endpoint<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
    reachable_endpoint(&String::deserialize(deserializer)?).map(Some).map_err(de::Error::custom)
}

fn port<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u16, D::Error> {
    match u16::deserialize(deserializer)? {
        0 => Err(de::Error::custom("port 0 cannot be reached by peers, expected 1 to 65535")),
        port => Ok(port),
    }
}

/// Linux takes 15 bytes without slash, colon or space; keeping to plain characters also keeps it out of trouble
/// in `/sys` and in logs.
fn interface_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let name = String::deserialize(deserializer)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if (1..=15).contains(&name.len()) && name.chars().all(plain) {
        Ok(name)
    } else {
        Err(de::Error::custom(format!(
            "{name:?} is no interface name, expected 1 to 15 letters, digits, - or _"
        )))
    }
}

fn public_key<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 32], D::Error> {
    let text = String::deserialize(deserializer)?;
    let mut key = [0; 32];
    // The text is not repeated in the error: it could be a private key in the wrong place.
    decode_key(&text, &mut key)
        .map_err(|()| de::Error::custom("expected a WireGuard public key (44 characters of base64)"))?;
    Ok(key)
}

/// Decodes straight into its destination, so that no copy of a private key is left behind.
fn decode_key(text: &str, key: &mut [u8; 32]) -> Result<(), ()> {
    /// 44 characters decode into at most this much, the last byte being padding.
    const DECODED: usize = 33;
    let mut decoded = zeroize::Zeroizing::new([0; DECODED]);
    if BASE64.decode_len(text.len()) != Ok(DECODED) {
        return Err(());
    }
    if BASE64.decode_mut(text.as_bytes(), decoded.as_mut()).map_err(|_| ())? != key.len() {
        return Err(());
    }
    key.copy_from_slice(&decoded[..32]);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_unique_local_and_clean() {
        assert_eq!("fd12:3456:789a::/48".parse::<Prefix>().unwrap().to_string(), "fd12:3456:789a::/48");
        for bad in [
            "",
            "fd00::",
            "fd00::/47",
            "fd00::/64",
            "fc00::/48",
            "2001:db8::/64",
            "fd00::1/64",
            "fd00:0:0:0:1::/64",
            "10.0.0.0/8",
        ] {
            assert!(bad.parse::<Prefix>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_endpoint_is_an_address_that_others_can_reach() {
        for good in ["192.0.2.1:51820", "[2001:db8::1]:1", "127.0.0.1:51820"] {
            assert_eq!(reachable_endpoint(good).unwrap().to_string(), good);
        }
        for bad in [
            "",
            "0.0.0.0:51820",
            "[::]:51820",
            "192.0.2.1:0",
            "192.0.2.1",
            "node.example:51820",
            "224.0.0.1:5",
        ] {
            assert!(reachable_endpoint(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn keys_are_exactly_32_bytes_of_base64() {
        let mut key = [0; 32];
        decode_key(&BASE64.encode(&[9; 32]), &mut key).unwrap();
        assert_eq!(key, [9; 32]);
        for bad in [String::new(), BASE64.encode(&[9; 31]), BASE64.encode(&[9; 33]), "*".repeat(44)] {
            assert!(decode_key(&bad, &mut key).is_err(), "{bad}");
        }
    }
}
