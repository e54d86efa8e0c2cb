//! Where a configured socket is, for those who connect to it.

use crate::config::endpoint::Endpoint;
use crate::tor::address::SocketAddress;

/// The address of a socket that the configuration names.
pub fn socket_address(endpoint: &Endpoint) -> SocketAddress {
    match endpoint {
        Endpoint::Tcp(address) => SocketAddress::Tcp(*address),
        Endpoint::Unix(path) => SocketAddress::Unix(path.clone()),
    }
}
