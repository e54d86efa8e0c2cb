//! An introduction point, for show.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use data_encoding::{BASE64_NOPAD, HEXLOWER, HEXUPPER};
use serde::Serialize;

use crate::ctl::answer::Line;
use crate::proto::onion::descriptor::intro_point::IntroPoint;

/// Link specifier types of addresses (tor-spec, EXTEND2).
const LINK_IPV4: u8 = 0;
/// See [`LINK_IPV4`].
const LINK_IPV6: u8 = 1;

/// An introduction point.
#[derive(Debug, Serialize)]
pub struct Point {
    /// The relay's RSA identity.
    fingerprint: Option<String>,
    /// The relay's Ed25519 identity, in base 64.
    ed25519_id: Option<String>,
    /// The relay's addresses.
    addresses: Vec<SocketAddr>,
    /// The block of link specifiers, in hexadecimal.
    link_specifiers: String,
    /// The relay's ntor key, in hexadecimal.
    onion_key: String,
    /// The key that names this introduction point at its relay, in hexadecimal.
    auth_key: String,
    /// The service's ntor key, in hexadecimal.
    enc_key: String,
}

impl Point {
    /// Makes a point presentable.
    pub fn new(point: &IntroPoint) -> Self {
        Self {
            fingerprint: point.relay_id().map(|id| HEXUPPER.encode(&id)),
            ed25519_id: point.relay_ed25519_id().map(|id| BASE64_NOPAD.encode(&id)),
            addresses: addresses(&point.link_specifiers),
            link_specifiers: HEXLOWER.encode(&point.link_specifiers),
            onion_key: HEXLOWER.encode(&point.onion_key),
            auth_key: HEXLOWER.encode(&point.auth_key),
            enc_key: HEXLOWER.encode(&point.enc_key),
        }
    }
}

/// The addresses in a block of link specifiers (a count; then type, length and value of each), as far as it is sound.
fn addresses(block: &[u8]) -> Vec<SocketAddr> {
    let mut addresses = Vec::new();
    let mut rest = block.get(1..).unwrap_or_default();
    while let [kind, length, after @ ..] = rest {
        let Some((value, next)) = after.split_at_checked(usize::from(*length)) else { break };
        rest = next;
        let Some((ip, port)) = value.split_last_chunk::<2>() else { continue };
        let port = u16::from_be_bytes(*port);
        if let (LINK_IPV4, Ok(ip)) = (*kind, <[u8; 4]>::try_from(ip)) {
            addresses.push(SocketAddr::new(Ipv4Addr::from(ip).into(), port));
        } else if let (LINK_IPV6, Ok(ip)) = (*kind, <[u8; 16]>::try_from(ip)) {
            addresses.push(SocketAddr::new(Ipv6Addr::from(ip).into(), port));
        }
    }
    addresses
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "  {}", Line("relay", self.fingerprint.as_deref().unwrap_or("unknown")))?;
        for address in &self.addresses {
            write!(f, " {address}")?;
        }
        if let Some(id) = &self.ed25519_id {
            write!(f, "\n    {}", Line("Ed25519", id))?;
        }
        write!(f, "\n    {}", Line("onion key", &self.onion_key))?;
        write!(f, "\n    {}", Line("auth key", &self.auth_key))?;
        write!(f, "\n    {}", Line("enc key", &self.enc_key))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn finds_both_kinds_of_address() {
        let mut block = vec![3, 2, 20];
        block.extend([7; 20]);
        block.extend([0, 6, 127, 0, 0, 1, 0x23, 0x29]);
        block.extend([1, 18]);
        block.extend(Ipv6Addr::LOCALHOST.octets());
        block.extend([0, 80]);
        let expected = ["127.0.0.1:9001", "[::1]:80"].map(|address| address.parse().unwrap());
        assert_eq!(addresses(&block), expected);
        assert_eq!(addresses(&block[..30]), []);
    }

    proptest! {
        #[test]
        fn no_block_makes_it_panic(block: Vec<u8>) {
            let _ = addresses(&block);
        }
    }
}
