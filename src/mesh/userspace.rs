//! WireGuard inside this process, for kernels that have none: `gotatun` on a tun device, with the control
//! socket that `wireguard-control` and the program `wg` speak to.

use std::fs::{DirBuilder, Permissions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use gotatun::device::uapi::{UapiClient, UapiServer};
use gotatun::device::{DefaultDeviceTransports, Device};
use gotatun::tun::tun::Error as TunError;
use gotatun::tun::tun_async_device::{self, TunDevice};
use nix::errno::Errno;
use nix::libc::{EACCES, EBUSY, ENODEV, ENOENT, EPERM};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use nix::unistd::geteuid;
use tokio::net::UnixListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;

use crate::mesh::error::InterfaceError;
use crate::mesh::interface_name::InterfaceName;

/// Where `wireguard-control` and `wg` look for control sockets; they cannot be told another place.
const SOCKET_DIR: &str = "/var/run/wireguard";
/// Most connections to the control socket at once: ours is one, an operator's `wg` another; each has a thread.
const MAX_CONNECTIONS: usize = 8;
/// Longest silence on a connection: a question is asked at once, so who is silent has gone to sleep.
const CONNECTION_IDLE: Duration = Duration::from_secs(10);

/// The device that the tunnel's packets come from.
const TUN: &str = "/dev/net/tun";

/// What a tunnel opens and makes in the file system, for a process that is about to confine itself. The directory is made
/// if it is not there; where that fails, it fails again, with its reason, when the tunnel starts.
pub(super) fn files() -> [&'static Path; 2] {
    let _ = DirBuilder::new().mode(0o700).create(SOCKET_DIR);
    [Path::new(TUN), Path::new(SOCKET_DIR)]
}

/// A running tunnel. Dropping it stops it, a moment later.
pub(super) struct Userspace {
    device: Mutex<Device<DefaultDeviceTransports>>,
    control: ControlSocket,
}

/// The control socket, served until this is dropped.
struct ControlSocket {
    accepting: JoinHandle<()>,
    path: PathBuf,
}

impl Userspace {
    /// Starts a tunnel without key or peers; the interface exists afterwards, without address and down.
    pub(super) async fn start(name: &InterfaceName) -> Result<Self, InterfaceError> {
        let socket = Path::new(SOCKET_DIR).join(format!("{name}.sock"));
        let listener = bind_control_socket(name, &socket)?;
        let started = start_device(name).await;
        let (client, device) = started.inspect_err(|_| {
            let _ = std::fs::remove_file(&socket);
        })?;
        let accepting = tokio::spawn(accept(listener, client));
        Ok(Self { device: Mutex::new(device), control: ControlSocket { accepting, path: socket } })
    }

    /// Stops the tunnel and waits until it has let go of its UDP port.
    pub(super) async fn stop(self) {
        let Self { device, control } = self;
        drop(control);
        if let Ok(device) = device.into_inner() {
            device.stop().await;
        }
    }

    /// Whether the tunnel has met an error after which it carries no more packets.
    pub(super) fn has_stopped(&self) -> bool {
        // A poisoned lock means a panic inside of the tunnel's own code.
        self.device.lock().map_or(true, |mut device| device.wait().now_or_never().is_some())
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        self.accepting.abort();
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn start_device(
    name: &InterfaceName,
) -> Result<(UapiClient, Device<DefaultDeviceTransports>), InterfaceError> {
    let tun = TunDevice::from_name(name.as_str()).map_err(|e| tun_error(name, &e))?;
    let (client, server) = UapiServer::new();
    let device = gotatun::device::build().with_uapi(server).with_default_udp().with_ip(tun).build().await;
    let device = device.map_err(|e| InterfaceError::Userspace(e.to_string()))?;
    Ok((client, device))
}

/// Finds the system's answer inside of the tun library's error, which does not count it among its sources.
fn tun_error(name: &InterfaceName, error: &tun_async_device::Error) -> InterfaceError {
    let tun_async_device::Error::OpenTun(TunError::Io(io)) = error else {
        return InterfaceError::Userspace(error.to_string());
    };
    match io.raw_os_error() {
        Some(EPERM) => InterfaceError::NotPermitted { action: "create the userspace tunnel" },
        Some(EBUSY) => InterfaceError::NameTaken(name.to_string()),
        Some(code @ (EACCES | ENOENT | ENODEV)) => InterfaceError::NoTun(io::Error::from_raw_os_error(code)),
        _ => InterfaceError::Userspace(error.to_string()),
    }
}

/// Binds the control socket, in place of one that a crashed process left behind.
fn bind_control_socket(name: &InterfaceName, path: &Path) -> Result<UnixListener, InterfaceError> {
    let failed = |action, source| InterfaceError::ControlSocket { action, path: path.to_owned(), source };
    match DirBuilder::new().mode(0o700).create(SOCKET_DIR) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
            return Err(failed("create the directory of", e));
        }
        _ => {}
    }
    match path.symlink_metadata() {
        Ok(found) if found.file_type().is_socket() => {
            if is_served(path).map_err(|e| failed("ask the left-over", e))? {
                return Err(InterfaceError::AlreadyRunning(name.to_string()));
            }
            tracing::info!(%name, "replacing the control socket that an earlier run left behind");
            std::fs::remove_file(path).map_err(|e| failed("remove the left-over", e))?;
        }
        Ok(_) => return Err(failed("replace, being no socket,", io::ErrorKind::AlreadyExists.into())),
        Err(_) => {}
    }
    let listener = UnixListener::bind(path).map_err(|e| failed("bind", e))?;
    std::fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(|e| failed("protect", e))?;
    Ok(listener)
}

/// Whether a living process listens on a unix socket. Does not wait, also not for one that hangs.
fn is_served(path: &Path) -> io::Result<bool> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let caller = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    match connect(caller.as_raw_fd(), &UnixAddr::new(path)?) {
        Ok(()) | Err(Errno::EAGAIN) => Ok(true),
        Err(Errno::ECONNREFUSED | Errno::ENOENT) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Serves the control socket. Whoever may speak there can read the private key, so besides the file's mode the
/// caller's uid is checked: ours or root's.
async fn accept(listener: UnixListener, client: UapiClient) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file descriptors or memory: without a pause this would spin.
                tracing::warn!(%error, "the tunnel's control socket accepts no connection");
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        let uid = stream.peer_cred().map(|credentials| credentials.uid());
        if !uid.as_ref().is_ok_and(|uid| *uid == 0 || *uid == geteuid().as_raw()) {
            tracing::warn!(?uid, "refused a stranger at the tunnel's control socket");
            continue;
        }
        match connection(stream, permit) {
            Ok(connection) => client.clone().wrap_read_write(connection),
            Err(error) => tracing::warn!(%error, "a connection to the tunnel's control socket is lost"),
        }
    }
}

/// A connection to the control socket, served by a thread of its own until it ends or falls silent.
struct Connection {
    stream: UnixStream,
    _permit: OwnedSemaphorePermit,
}

fn connection(stream: tokio::net::UnixStream, permit: OwnedSemaphorePermit) -> io::Result<Connection> {
    let stream = stream.into_std()?;
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(CONNECTION_IDLE))?;
    stream.set_write_timeout(Some(CONNECTION_IDLE))?;
    Ok(Connection { stream, _permit: permit })
}

impl Read for &Connection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&self.stream).read(buffer)
    }
}

impl Write for &Connection {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match (&self.stream).write(buffer) {
            // `wireguard-control` reads the first line of an answer and leaves; the tunnel would log an error.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(buffer.len()),
            written => written,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        (&self.stream).flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_served_while_its_process_listens_and_not_after() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.sock");
        assert!(!is_served(&path).unwrap());
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        assert!(is_served(&path).unwrap());
        drop(listener);
        assert!(path.exists() && !is_served(&path).unwrap());
    }
}
