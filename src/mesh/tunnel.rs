//! Addresses inside the tunnel.
//!
//! A cluster has one IPv6 prefix of its own (RFC 4193: `fd`, 40 bits), and a node's address in it is a hash of
//! its WireGuard public key: 80 bits, so nobody can make a key whose address is another node's. All nodes
//! compute all addresses; none has to be configured, assigned or announced. An operator may still give explicit
//! addresses (`tunnel_ip = "10.9.9.1/24"`), then for all nodes and from one network.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::mesh::token::ClusterToken;
use crate::mesh::wireguard_key::WireGuardPublicKey;

/// The interface's MTU, in bytes: the least IPv6 allows (RFC 8200 section 5). With WireGuard's 80 bytes around
/// it, an outer packet of 1360 bytes passes unfragmented wherever IPv6, `PPPoE` or another tunnel does. What
/// crosses this tunnel is membership, not bulk data: a larger MTU would gain nothing.
pub const TUNNEL_MTU: u32 = 1280;

/// Prefix length of the cluster's IPv6 network.
const PREFIX_LEN: u8 = 48;

/// A cluster's IPv6 network, `fdxx:xxxx:xxxx::/48`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TunnelPrefix([u8; 6]);

/// An address in the tunnel and the length of the network it lies in, as `address/length`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TunnelAddress {
    address: IpAddr,
    prefix_len: u8,
}

/// Why a text is no tunnel prefix or address. Nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TunnelAddressError {
    /// Not of the form `fdxx:xxxx:xxxx::/48`.
    #[error("not a tunnel prefix; expected a unique local network such as fd12:3456:789a::/48")]
    Prefix,
    /// Not of the form `address` or `address/length`.
    #[error("not a tunnel address; expected for example 10.9.9.1/24 or fd12:3456:789a::1/48")]
    Syntax,
    /// The length leaves no network (0) or no second node (/32, /128), or exceeds the address.
    #[error("a tunnel network of /{0} cannot hold a cluster; use for example /24 for IPv4 or /48 for IPv6")]
    Length(u8),
    /// Unspecified, loopback, multicast, link-local IPv6, or a network's own or broadcast address: no node can
    /// be reached there.
    #[error("{0} cannot be a tunnel address; use a private one such as 10.9.9.1/24")]
    Unusable(IpAddr),
}

impl TunnelPrefix {
    /// The prefix every holder of the token computes.
    ///
    /// When the token is rotated the prefix must not move with it: keep using the first token's, as an
    /// explicit prefix.
    pub fn from_token(token: &ClusterToken) -> Self {
        let mut prefix = [0xfd; 6];
        prefix[1..].copy_from_slice(&token.derive("tunnel prefix", &[])[..5]);
        Self(prefix)
    }

    /// The tunnel address of the node with this key.
    pub fn address_of(&self, key: &WireGuardPublicKey) -> TunnelAddress {
        let hash: [u8; 32] = Sha256::new()
            .chain_update(b"rustbalance tunnel address v1")
            .chain_update(key.0)
            .finalize()
            .into();
        let mut bytes = [0; 16];
        bytes[..6].copy_from_slice(&self.0);
        bytes[6..].copy_from_slice(&hash[..10]);
        TunnelAddress { address: Ipv6Addr::from(bytes).into(), prefix_len: PREFIX_LEN }
    }
}

impl FromStr for TunnelPrefix {
    type Err = TunnelAddressError;

    fn from_str(text: &str) -> Result<Self, TunnelAddressError> {
        let (address, length) = text.split_once('/').ok_or(TunnelAddressError::Prefix)?;
        let bytes = address.parse::<Ipv6Addr>().map_err(|_| TunnelAddressError::Prefix)?.octets();
        match bytes.split_first_chunk::<6>() {
            Some((prefix @ [0xfd, ..], host)) if host == [0; 10] && length == "48" => Ok(Self(*prefix)),
            _ => Err(TunnelAddressError::Prefix),
        }
    }
}

impl fmt::Display for TunnelPrefix {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = [0; 16];
        bytes[..6].copy_from_slice(&self.0);
        write!(formatter, "{}/{PREFIX_LEN}", Ipv6Addr::from(bytes))
    }
}

impl fmt::Debug for TunnelPrefix {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl TunnelAddress {
    /// An explicit address with the length of its network.
    pub fn new(address: IpAddr, prefix_len: u8) -> Result<Self, TunnelAddressError> {
        let bits = if address.is_ipv4() { 32 } else { 128 };
        if prefix_len == 0 || prefix_len >= bits {
            return Err(TunnelAddressError::Length(prefix_len));
        }
        let link_local = matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
        let special = address.is_unspecified() || address.is_loopback() || address.is_multicast();
        if special || link_local || !is_host(address, prefix_len) {
            return Err(TunnelAddressError::Unusable(address));
        }
        Ok(Self { address, prefix_len })
    }

    /// The address alone.
    pub fn ip(&self) -> IpAddr {
        self.address
    }

    /// Length of the network, in bits.
    pub fn prefix_len(&self) -> u8 {
        self.prefix_len
    }

    /// Whether `other` lies in the same network, and so is reached through the tunnel.
    pub fn network_contains(&self, other: IpAddr) -> bool {
        match (self.address, other) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                (own.to_bits() ^ other.to_bits()) >> (32 - u32::from(self.prefix_len)) == 0
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                (own.to_bits() ^ other.to_bits()) >> (128 - u32::from(self.prefix_len)) == 0
            }
            _ => false,
        }
    }
}

/// Whether the address is a host's, and not its network's own (in IPv6 that is the routers') or broadcast one.
fn is_host(address: IpAddr, prefix_len: u8) -> bool {
    match address {
        // A network of two has neither (RFC 3021).
        IpAddr::V4(_) if prefix_len == 31 => true,
        IpAddr::V4(v4) => {
            let host = v4.to_bits() << prefix_len;
            host != 0 && host != u32::MAX << prefix_len
        }
        IpAddr::V6(v6) => v6.to_bits() << prefix_len != 0,
    }
}

impl FromStr for TunnelAddress {
    type Err = TunnelAddressError;

    /// `address/length`; without a length the network is /24 (IPv4) or /48 (IPv6).
    fn from_str(text: &str) -> Result<Self, TunnelAddressError> {
        let (address, length) = text.split_once('/').map_or((text, None), |(a, l)| (a, Some(l)));
        let address: IpAddr = address.parse().map_err(|_| TunnelAddressError::Syntax)?;
        let length = match length {
            Some(length) => length.parse().map_err(|_| TunnelAddressError::Syntax)?,
            None if address.is_ipv4() => 24,
            None => PREFIX_LEN,
        };
        Self::new(address, length)
    }
}

impl fmt::Display for TunnelAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.address, self.prefix_len)
    }
}

impl fmt::Debug for TunnelAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::Ipv4Addr;

    #[test]
    fn the_address_is_a_function_of_prefix_and_key() {
        let token = ClusterToken::from_file_bytes(&[b'x'; 32]).unwrap();
        let prefix = TunnelPrefix::from_token(&token);
        // Computed by Python's hmac and hashlib from the derivation's description.
        assert_eq!(prefix.to_string(), "fd95:3a5b:f129::/48");
        let address = prefix.address_of(&WireGuardPublicKey([7; 32]));
        assert_eq!(address.to_string(), "fd95:3a5b:f129:7d2f:3253:de54:e306:f91d/48");
        assert_ne!(address, prefix.address_of(&WireGuardPublicKey([8; 32])));
        assert!(address.network_contains(prefix.address_of(&WireGuardPublicKey([8; 32])).ip()));
        let other = ClusterToken::from_file_bytes(&[b'y'; 32]).unwrap();
        assert!(!address.network_contains(
            TunnelPrefix::from_token(&other).address_of(&WireGuardPublicKey([8; 32])).ip()
        ));
    }

    #[test]
    fn prefixes_are_unique_local_and_48_bits() {
        let prefix: TunnelPrefix = "fd12:3456:789a::/48".parse().unwrap();
        assert_eq!(prefix.to_string(), "fd12:3456:789a::/48");
        for wrong in [
            "",
            "fd12::",
            "fc12:3456:789a::/48",
            "fd12:3456:789a::/64",
            "fd12:3456:789a:1::/48",
            "10.0.0.0/8",
        ] {
            assert_eq!(wrong.parse::<TunnelPrefix>(), Err(TunnelAddressError::Prefix), "{wrong}");
        }
    }

    #[test]
    fn explicit_addresses_are_checked() {
        let address: TunnelAddress = "10.9.9.1".parse().unwrap();
        assert_eq!(address.to_string(), "10.9.9.1/24");
        assert!(address.network_contains("10.9.9.200".parse().unwrap()));
        assert!(!address.network_contains("10.9.8.200".parse().unwrap()));
        assert!(!address.network_contains("fd00::1".parse().unwrap()));
        assert_eq!("fd00::1".parse::<TunnelAddress>().unwrap().to_string(), "fd00::1/48");
        assert!("10.9.9.0/31".parse::<TunnelAddress>().is_ok());
        assert!("10.9.9.0/16".parse::<TunnelAddress>().is_ok());
        let refusal = |text: &str| text.parse::<TunnelAddress>().unwrap_err();
        assert_eq!(refusal("10.9.9.1/x"), TunnelAddressError::Syntax);
        assert_eq!(refusal("ten"), TunnelAddressError::Syntax);
        assert_eq!(refusal("10.9.9.1/32"), TunnelAddressError::Length(32));
        assert_eq!(refusal("10.9.9.1/0"), TunnelAddressError::Length(0));
        assert_eq!(refusal("fd00::1/128"), TunnelAddressError::Length(128));
        for unusable in [
            "0.0.0.0/8",
            "127.0.0.1/8",
            "224.0.0.1/8",
            "fe80::1/64",
            "10.9.9.0/24",
            "10.9.9.255/24",
            "fd00::/48",
        ] {
            assert!(matches!(refusal(unusable), TunnelAddressError::Unusable(_)), "{unusable}");
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_round_trips(text in "\\PC{0,40}", v4: u32, length in 1u8..32) {
            let _ = text.parse::<TunnelAddress>();
            let _ = text.parse::<TunnelPrefix>();
            if let Ok(address) = TunnelAddress::new(Ipv4Addr::from(v4).into(), length) {
                prop_assert_eq!(address.to_string().parse::<TunnelAddress>().unwrap(), address);
                prop_assert!(address.network_contains(address.ip()));
            }
        }
    }
}
