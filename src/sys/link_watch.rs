//! Hears from the kernel that some link, or an address of one, has come, gone or changed.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
};
use tokio::io::unix::AsyncFd;

/// Links, and their addresses of both kinds (rtnetlink(7): `RTMGRP_LINK`, `RTMGRP_IPV4_IFADDR`, `RTMGRP_IPV6_IFADDR`).
const GROUPS: u32 = 0x1 | 0x10 | 0x100;

/// A socket that becomes readable when something has changed.
#[derive(Debug)]
pub struct LinkWatch(AsyncFd<OwnedFd>);

impl LinkWatch {
    /// Listens from now on. Must be called within a tokio runtime with I/O enabled.
    pub fn open() -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, GROUPS))?;
        // SAFETY: the descriptor is owned by what is registered, which never gives it away nor exchanges it.
        #[allow(unsafe_code)]
        let watched = unsafe { AsyncFd::register(socket) };
        Ok(Self(watched?))
    }

    /// Waits until something has changed. What it was has to be looked up: several changes are told as one.
    pub async fn changed(&mut self) -> io::Result<()> {
        loop {
            let mut ready = self.0.readable().await?;
            match ready.try_io(|socket| read_all(socket.get_ref())) {
                Ok(read) => return read,
                // Somebody was wrong about its being readable.
                Err(_would_block) => {}
            }
        }
    }
}

/// Reads, and forgets, all that waits; `WouldBlock` if that is nothing.
fn read_all(socket: &OwnedFd) -> io::Result<()> {
    let mut buffer = [0; 8192];
    let mut anything = false;
    loop {
        match recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
            // So much has changed that the kernel could not keep it all for us.
            Ok(_) | Err(Errno::ENOBUFS) => anything = true,
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) if anything => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}
