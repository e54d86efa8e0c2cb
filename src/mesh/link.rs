//! The network interface as the kernel sees it, by rtnetlink. Everything here blocks, for as long as the kernel
//! takes: microseconds, or tens of milliseconds where a link is removed.

use std::io;
use std::net::IpAddr;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage};
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteType};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_request::netlink_request_rtnl;
use nix::ifaddrs::getifaddrs;
use nix::libc::{ENODEV, ENOENT};
use nix::sys::socket::SockaddrStorage;

use crate::mesh::tunnel::TunnelAddress;

/// What the kernel says about a link.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Link {
    /// The number that stays while the name may pass to another link.
    pub(super) index: u32,
    /// Made by the kernel's WireGuard.
    pub(super) wireguard: bool,
    /// The comment an owner may leave on it.
    pub(super) alias: Option<String>,
    pub(super) up: bool,
    pub(super) mtu: u32,
}

/// Looks a link up by its name.
pub(super) fn find(name: &str) -> io::Result<Option<Link>> {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::IfName(name.to_owned()));
    match request(RouteNetlinkMessage::GetLink(message), 0) {
        Ok(answers) => Ok(answers.into_iter().find_map(|answer| match answer.payload {
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) => Some(describe(&link)),
            _ => None,
        })),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn describe(message: &LinkMessage) -> Link {
    let mut link = Link {
        index: message.header.index,
        up: message.header.flags.contains(LinkFlags::Up),
        ..Link::default()
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfAlias(alias) => link.alias = Some(alias.clone()),
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::LinkInfo(infos) => {
                link.wireguard = infos.contains(&LinkInfo::Kind(InfoKind::Wireguard));
            }
            _ => {}
        }
    }
    link
}

/// Creates a link of the kernel's WireGuard; `EOPNOTSUPP` when the kernel has none.
pub(super) fn create_wireguard(name: &str) -> io::Result<()> {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::IfName(name.to_owned()));
    message.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Wireguard)]));
    request(RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL).map(drop)
}

/// Removes a link; one that is gone already is fine.
pub(super) fn delete(index: u32) -> io::Result<()> {
    let mut message = LinkMessage::default();
    message.header.index = index;
    match request(RouteNetlinkMessage::DelLink(message), 0) {
        Err(error) if !is_absent(&error) => Err(error),
        _ => Ok(()),
    }
}

/// Sets a link's MTU and leaves a comment on it that tells whose it is.
pub(super) fn label(index: u32, mtu: u32, alias: &str) -> io::Result<()> {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes.push(LinkAttribute::Mtu(mtu));
    message.attributes.push(LinkAttribute::IfAlias(alias.to_owned()));
    request(RouteNetlinkMessage::SetLink(message), 0).map(drop)
}

/// Takes a link up.
pub(super) fn bring_up(index: u32) -> io::Result<()> {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    request(RouteNetlinkMessage::SetLink(message), 0).map(drop)
}

/// Gives a link an address, and with it the route to the address's network.
pub(super) fn add_address(index: u32, address: &TunnelAddress) -> io::Result<()> {
    let mut message = AddressMessage::default();
    message.header.index = index;
    message.header.prefix_len = address.prefix_len();
    message.header.family = if address.ip().is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    if address.ip().is_ipv6() {
        // Nobody else can have it, and until the search for duplicates ended nothing could be bound to it.
        message.header.flags = AddressHeaderFlags::Nodad;
    }
    message.attributes.push(AddressAttribute::Local(address.ip()));
    message.attributes.push(AddressAttribute::Address(address.ip()));
    request(RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_EXCL).map(drop)
}

/// Whether packets for the address are for this host: the kernel installs that route a moment after it took an
/// IPv6 address, and drops what arrives in between, although sockets can be bound already.
pub(super) fn is_local(address: IpAddr) -> io::Result<bool> {
    let mut message = RouteMessage::default();
    let (family, length, destination) = match address {
        IpAddr::V4(v4) => (AddressFamily::Inet, 32, RouteAddress::Inet(v4)),
        IpAddr::V6(v6) => (AddressFamily::Inet6, 128, RouteAddress::Inet6(v6)),
    };
    message.header.address_family = family;
    message.header.destination_prefix_length = length;
    message.attributes.push(RouteAttribute::Destination(destination));
    let answers = request(RouteNetlinkMessage::GetRoute(message), 0)?;
    Ok(answers.iter().any(|answer| match &answer.payload {
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewRoute(route)) => {
            route.header.kind == RouteType::Local
        }
        _ => false,
    }))
}

/// Whether the link of this name has the address.
pub(super) fn has_address(name: &str, address: IpAddr) -> io::Result<bool> {
    let is_it = |storage: &SockaddrStorage| match address {
        IpAddr::V4(v4) => storage.as_sockaddr_in().is_some_and(|found| found.ip() == v4),
        IpAddr::V6(v6) => storage.as_sockaddr_in6().is_some_and(|found| found.ip() == v6),
    };
    let mut all = getifaddrs().map_err(io::Error::from)?;
    Ok(all.any(|one| one.interface_name == name && one.address.as_ref().is_some_and(is_it)))
}

/// The kernel's ways of saying that there is no such link.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(ENODEV | ENOENT))
}

fn request(message: RouteNetlinkMessage, flags: u16) -> io::Result<Vec<NetlinkMessage<RouteNetlinkMessage>>> {
    netlink_request_rtnl(message, Some(NLM_F_REQUEST | NLM_F_ACK | flags))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_is_found_with_its_address_and_nothing_else_is() {
        let lo = find("lo").unwrap().unwrap();
        assert!(!lo.wireguard && lo.index > 0 && lo.mtu >= 1280, "{lo:?}");
        assert_eq!(find("no-such-link").unwrap(), None);
        assert!(is_local("127.0.0.1".parse().unwrap()).unwrap());
        assert!(!has_address("no-such-link", "127.0.0.1".parse().unwrap()).unwrap());
        assert!(!has_address("lo", "192.0.2.1".parse().unwrap()).unwrap());
    }
}
