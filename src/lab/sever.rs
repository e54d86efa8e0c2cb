//! Breaks connections between processes that live on: neither of them has done it, and both hear of it.

use std::fs;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use super::error::{LabError, io as doing};

/// Breaks every local connection that one of `callers` has made to `process`; how many those were.
pub(super) fn sever(process: i32, callers: &[i32]) -> Result<usize, LabError> {
    let connections = connections(process, callers)?;
    for connection in &connections {
        connection.shutdown(Shutdown::Both).map_err(doing("breaking a connection"))?;
    }
    Ok(connections.len())
}

/// The local connections that one of `callers` has made to `process`: that process's own ends of them.
pub(super) fn connections(process: i32, callers: &[i32]) -> Result<Vec<UnixStream>, LabError> {
    let pid = Pid::from_raw(process).ok_or(LabError::NoProcess)?;
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).map_err(|error| looking(error.into()))?;
    let open = fs::read_dir(format!("/proc/{process}/fd")).map_err(looking)?;
    let numbers = open.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    // One that is closed by now is no connection either.
    let files = numbers.filter_map(|number| pidfd_getfd(&pidfd, number, PidfdGetfdFlags::empty()).ok());
    let by_a_caller =
        |file: &_| getsockopt(file, PeerCredentials).is_ok_and(|peer| callers.contains(&peer.pid()));
    Ok(files.filter(by_a_caller).map(UnixStream::from).collect())
}

fn looking(error: std::io::Error) -> LabError {
    doing("looking at a process's connections")(error)
}
