//! Sockets inherited from the service manager (`sd_listen_fds(3)`), found by name, owned exactly once.
//!
//! systemd opens every listening socket and hands it over as number 3 and up, with `LISTEN_FDS`, `LISTEN_FDNAMES`
//! and `LISTEN_PID` in the environment. What does not fit exactly is refused with a sentence: a daemon that
//! quietly ignored an inherited socket would leave clients hanging in its backlog for ever.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::socket::{
    AddressFamily, SockType, SockaddrLike, SockaddrStorage, getsockname, getsockopt, sockopt,
};

/// Name of the listener that tor's onion port connects to.
pub const ONION: &str = "onion";
/// Name of a daemon's control (IPC) listener.
pub const CONTROL: &str = "control";
/// Name of the listener for web pages.
pub const WEB: &str = "web";

/// Inherited sockets start here (`SD_LISTEN_FDS_START`).
const FIRST: RawFd = 3;
/// More sockets than any unit of ours declares; a larger number means a broken environment.
const MAX_SOCKETS: RawFd = 64;

/// Why inherited sockets were refused. In every case the process serves nothing and should end.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The sockets were meant for another process: a wrapper forked instead of exec'ing, or the variables leaked.
    #[error(
        "LISTEN_PID is {for_pid} but this process is {pid}: the sockets were handed to another process. \
         Start the daemon directly (exec), not through a wrapper that forks"
    )]
    OtherProcess {
        /// Whom the environment names.
        for_pid: String,
        /// Who we are.
        pid: u32,
    },
    /// A variable is missing or is not what `sd_listen_fds(3)` promises.
    #[error("{variable} is {value:?}: {reason}")]
    Malformed {
        /// The variable.
        variable: &'static str,
        /// Its value, as found.
        value: String,
        /// What was expected.
        reason: &'static str,
    },
    /// A socket has a name this daemon does not know.
    #[error(
        "an inherited socket is named {name:?}; this daemon knows {known:?}. Set FileDescriptorName= in its .socket unit"
    )]
    UnknownName {
        /// The name found.
        name: String,
        /// What would be accepted.
        known: Vec<String>,
    },
    /// A number in the range is not an open, listening stream socket.
    #[error("inherited file {fd} ({name:?}) is not a listening stream socket: {reason}")]
    NotAListener {
        /// Its number.
        fd: RawFd,
        /// Its name.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A listener that was not handed over could not be opened.
    #[error("cannot listen on {address}: {source}")]
    Open {
        /// Where.
        address: String,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// What was handed over under this name is not one unix socket.
    #[error("the inherited {name} sockets are {found}; expected exactly one unix socket")]
    NotOneUnixSocket {
        /// The name.
        name: &'static str,
        /// What was handed over.
        found: String,
    },
    /// The sockets of this process have already been taken.
    #[error("inherited sockets were already taken; this is a mistake in rustbalance")]
    TakenTwice,
}

/// A listening socket, ready for an asynchronous runtime (non-blocking, close-on-exec).
#[derive(Debug)]
pub enum Listener {
    /// TCP over IPv4 or IPv6.
    Tcp(std::net::TcpListener),
    /// A unix stream socket.
    Unix(UnixListener),
}

/// Owner and group may connect to a unix socket that a daemon opens itself.
const UNIX_MODE: u32 = 0o660;

impl Listener {
    /// Opens a TCP listener.
    pub fn open_tcp(address: SocketAddr) -> Result<Self, ListenError> {
        let failed = |source| ListenError::Open { address: address.to_string(), source };
        let listener = std::net::TcpListener::bind(address).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        Ok(Self::Tcp(listener))
    }

    /// Opens a unix listener, see [`open_unix`].
    pub fn open_unix(path: &Path) -> Result<Self, ListenError> {
        open_unix(path).map(Self::Unix)
    }
}

/// Opens a unix listener for owner and group. A socket file that nobody listens on any more is replaced; a living
/// process's is not.
pub fn open_unix(path: &Path) -> Result<UnixListener, ListenError> {
    let failed = |source| ListenError::Open { address: format!("unix:{}", path.display()), source };
    // Connecting to a plain file is "refused" as well, and such a file is not ours to remove.
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => return Err(failed(std::io::Error::other("another process listens there"))),
        Err(error) if is_socket && error.kind() == std::io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).map_err(failed)?;
        }
        Err(_) => {}
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(UNIX_MODE)).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(listener)
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(listener) => match listener.local_addr() {
                Ok(address) => write!(f, "{address}"),
                Err(_) => f.write_str("tcp"),
            },
            Self::Unix(listener) => match listener.local_addr().ok().as_ref().and_then(|a| a.as_pathname()) {
                Some(path) => write!(f, "unix:{}", path.display()),
                None => f.write_str("unix"),
            },
        }
    }
}

/// The inherited sockets that have not been claimed yet, by name.
#[derive(Debug, Default)]
pub struct InheritedSockets {
    by_name: BTreeMap<String, Vec<Listener>>,
}

/// Ownership of the raw numbers may be assumed once in a process.
static TAKEN: AtomicBool = AtomicBool::new(false);

impl InheritedSockets {
    /// Takes ownership of everything the service manager handed to this process; empty when it handed nothing.
    ///
    /// `known` are the names this daemon can use. Call it once, before the process opens files of its own.
    pub fn take(known: &[&str]) -> Result<Self, ListenError> {
        let environment = Environment {
            pid: std::env::var("LISTEN_PID").ok(),
            count: std::env::var("LISTEN_FDS").ok(),
            names: std::env::var("LISTEN_FDNAMES").ok(),
        };
        let announced = environment.announced(std::process::id(), known)?;
        if TAKEN.swap(true, Ordering::SeqCst) {
            return Err(ListenError::TakenTwice);
        }
        let mut by_name: BTreeMap<String, Vec<Listener>> = BTreeMap::new();
        for (fd, name) in announced {
            let listener = adopt(fd, &name)?;
            by_name.entry(name).or_default().push(listener);
        }
        Ok(Self { by_name })
    }

    /// Claims the control socket, or opens it at `path` when none was handed over.
    pub fn control_or_open(&mut self, path: &Path) -> Result<UnixListener, ListenError> {
        self.unix_or_open(CONTROL, path)
    }

    /// The same for the one unix socket of another name.
    pub fn unix_or_open(&mut self, name: &'static str, path: &Path) -> Result<UnixListener, ListenError> {
        let mut found = self.claim(name);
        match (found.pop(), found.is_empty()) {
            (None, _) => open_unix(path),
            (Some(Listener::Unix(listener)), true) => Ok(listener),
            (Some(last), _) => {
                found.push(last);
                let found: Vec<String> = found.iter().map(ToString::to_string).collect();
                Err(ListenError::NotOneUnixSocket { name, found: found.join(", ") })
            }
        }
    }

    /// Claims every socket of that name; empty when there is none. A second claim of one name finds nothing.
    pub fn claim(&mut self, name: &str) -> Vec<Listener> {
        self.by_name.remove(name).unwrap_or_default()
    }
}

/// The three variables of `sd_listen_fds(3)`, as text.
#[derive(Debug, Default)]
struct Environment {
    pid: Option<String>,
    count: Option<String>,
    names: Option<String>,
}

impl Environment {
    /// The numbers and names announced to process `pid`.
    fn announced(&self, pid: u32, known: &[&str]) -> Result<Vec<(RawFd, String)>, ListenError> {
        let (Some(for_pid), Some(count)) = (&self.pid, &self.count) else {
            return match (&self.pid, &self.count) {
                (None, None) => Ok(Vec::new()),
                (None, Some(count)) => Err(malformed("LISTEN_FDS", count, "set without LISTEN_PID")),
                (Some(for_pid), _) => Err(malformed("LISTEN_PID", for_pid, "set without LISTEN_FDS")),
            };
        };
        if for_pid.parse() != Ok(pid) {
            return Err(ListenError::OtherProcess { for_pid: for_pid.clone(), pid });
        }
        let number: RawFd =
            count.parse().map_err(|_| malformed("LISTEN_FDS", count, "expected a number of sockets"))?;
        if !(0..=MAX_SOCKETS).contains(&number) {
            return Err(malformed("LISTEN_FDS", count, "expected 0 to 64 sockets"));
        }
        if number == 0 {
            return Ok(Vec::new());
        }
        let names = self.names.as_deref().unwrap_or_default();
        if names.is_empty() {
            return Err(malformed(
                "LISTEN_FDNAMES",
                names,
                "missing: every socket needs FileDescriptorName=",
            ));
        }
        let names: Vec<&str> = names.split(':').collect();
        if RawFd::try_from(names.len()) != Ok(number) {
            return Err(malformed(
                "LISTEN_FDNAMES",
                &names.join(":"),
                "expected one name for each of LISTEN_FDS",
            ));
        }
        for name in &names {
            if !known.contains(name) {
                let known = known.iter().map(ToString::to_string).collect();
                return Err(ListenError::UnknownName { name: (*name).to_owned(), known });
            }
        }
        Ok((FIRST..).zip(names.into_iter().map(str::to_owned)).collect())
    }
}

fn malformed(variable: &'static str, value: &str, reason: &'static str) -> ListenError {
    ListenError::Malformed { variable, value: value.to_owned(), reason }
}

/// Turns an announced number into an owned listener.
fn adopt(fd: RawFd, name: &str) -> Result<Listener, ListenError> {
    let refuse = |reason: String| ListenError::NotAListener { fd, name: name.to_owned(), reason };
    // SAFETY: borrowed only to ask whether the number is open at all; fcntl(2) answers EBADF when it is not, and
    // nothing keeps the borrow.
    #[allow(unsafe_code)]
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    nix::fcntl::fcntl(borrowed, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC))
        .map_err(|error| refuse(error.to_string()))?;
    // SAFETY: the number is open (checked above), the service manager gave it to this process (LISTEN_PID was
    // compared), and `TAKEN` makes this the only place and time at which ownership is assumed.
    #[allow(unsafe_code)]
    let owned = unsafe { OwnedFd::from_raw_fd(fd) };
    into_listener(owned).map_err(refuse)
}

/// Checks that a file is a listening stream socket and makes it non-blocking.
fn into_listener(owned: OwnedFd) -> Result<Listener, String> {
    let text = |error: nix::Error| error.to_string();
    if getsockopt(&owned.as_fd(), sockopt::SockType).map_err(text)? != SockType::Stream {
        return Err("it is not a stream socket".to_owned());
    }
    if !getsockopt(&owned.as_fd(), sockopt::AcceptConn).map_err(text)? {
        return Err("it does not listen (Accept=yes in the unit?)".to_owned());
    }
    let address: SockaddrStorage = getsockname(std::os::fd::AsRawFd::as_raw_fd(&owned)).map_err(text)?;
    match address.family() {
        Some(AddressFamily::Inet | AddressFamily::Inet6) => {
            let listener = std::net::TcpListener::from(owned);
            listener.set_nonblocking(true).map_err(|error| error.to_string())?;
            Ok(Listener::Tcp(listener))
        }
        Some(AddressFamily::Unix) => {
            let listener = UnixListener::from(owned);
            listener.set_nonblocking(true).map_err(|error| error.to_string())?;
            Ok(Listener::Unix(listener))
        }
        other => Err(format!("address family {other:?} is neither IP nor unix")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[&str] = &[ONION, CONTROL];

    fn environment(pid: Option<&str>, count: Option<&str>, names: Option<&str>) -> Environment {
        Environment {
            pid: pid.map(str::to_owned),
            count: count.map(str::to_owned),
            names: names.map(str::to_owned),
        }
    }

    #[test]
    fn nothing_announced_is_nothing_inherited() {
        assert!(environment(None, None, None).announced(7, KNOWN).unwrap().is_empty());
        assert!(environment(Some("7"), Some("0"), None).announced(7, KNOWN).unwrap().is_empty());
    }

    #[test]
    fn names_are_paired_with_numbers_in_order() {
        let announced =
            environment(Some("7"), Some("3"), Some("control:onion:onion")).announced(7, KNOWN).unwrap();
        assert_eq!(announced, [(3, "control".into()), (4, "onion".into()), (5, "onion".into())]);
    }

    #[test]
    fn whatever_does_not_fit_is_refused_loudly() {
        let cases = [
            (Some("8"), Some("1"), Some("onion"), "another process"),
            (Some("x"), Some("1"), Some("onion"), "another process"),
            (None, Some("1"), Some("onion"), "without LISTEN_PID"),
            (Some("7"), None, Some("onion"), "without LISTEN_FDS"),
            (Some("7"), Some("many"), Some("onion"), "number of sockets"),
            (Some("7"), Some("-1"), Some("onion"), "0 to 64"),
            (Some("7"), Some("65"), Some("onion"), "0 to 64"),
            (Some("7"), Some("1"), None, "FileDescriptorName="),
            (Some("7"), Some("1"), Some(""), "FileDescriptorName="),
            (Some("7"), Some("2"), Some("onion"), "one name for each"),
            (Some("7"), Some("1"), Some("unknown"), "knows"),
            (Some("7"), Some("2"), Some("onion:"), "knows"),
        ];
        for (pid, count, names, expected) in cases {
            let error = environment(pid, count, names).announced(7, KNOWN).unwrap_err().to_string();
            assert!(error.contains(expected), "{pid:?} {count:?} {names:?}: {error}");
        }
    }

    #[test]
    fn only_listening_stream_sockets_are_adopted() {
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = tcp.local_addr().unwrap();
        assert!(
            matches!(into_listener(tcp.into()).unwrap(), Listener::Tcp(l) if l.local_addr().unwrap() == address)
        );

        let datagram = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        assert!(into_listener(datagram.into()).unwrap_err().contains("stream"));
        let (left, _right) = std::os::unix::net::UnixStream::pair().unwrap();
        assert!(into_listener(left.into()).unwrap_err().contains("listen"));
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(into_listener(file.into()).is_err());
    }

    #[test]
    fn a_dead_daemons_socket_file_is_replaced_a_living_ones_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.sock");
        let first = open_unix(&path).unwrap();
        assert!(matches!(open_unix(&path), Err(ListenError::Open { .. })));
        drop(first);
        assert!(path.exists());
        let second = open_unix(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, UNIX_MODE);
        drop(second);
        let missing = open_unix(&directory.path().join("missing/x.sock")).unwrap_err().to_string();
        assert!(missing.contains("missing/x.sock"), "{missing}");
        std::fs::write(directory.path().join("file"), "data").unwrap();
        assert!(open_unix(&directory.path().join("file")).is_err());
        assert_eq!(std::fs::read(directory.path().join("file")).unwrap(), b"data");
    }

    #[test]
    fn the_control_socket_is_inherited_or_opened() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.sock");
        let mut sockets = InheritedSockets::default();
        let opened = sockets.control_or_open(&path).unwrap();
        assert_eq!(opened.local_addr().unwrap().as_pathname(), Some(path.as_path()));
        sockets.by_name.insert(CONTROL.to_owned(), vec![Listener::Unix(opened)]);
        assert!(sockets.control_or_open(Path::new("/nowhere/x")).is_ok());
        let tcp = Listener::open_tcp("127.0.0.1:0".parse().unwrap()).unwrap();
        sockets.by_name.insert(CONTROL.to_owned(), vec![tcp]);
        assert!(matches!(sockets.control_or_open(&path), Err(ListenError::NotOneUnixSocket { .. })));
    }

    #[test]
    fn a_closed_number_is_refused_not_adopted() {
        let error = adopt(987, "onion").unwrap_err().to_string();
        assert!(error.contains("987"), "{error}");
    }
}
