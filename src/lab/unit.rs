//! What the supervisor is to run, and what it knows of it.

use std::ffi::OsString;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::place::Place;

/// A process to run, as a systemd unit would describe it. After a failure it is started again.
#[derive(Debug)]
pub(super) struct Unit {
    /// Its name, unique in the lab; its log has that name too.
    pub(super) name: String,
    /// Where it runs.
    pub(super) place: Arc<Place>,
    /// The program.
    pub(super) program: PathBuf,
    /// Its arguments.
    pub(super) arguments: Vec<OsString>,
    /// What has to be before each start.
    pub(super) first: First,
    /// `.socket`: listeners by `FileDescriptorName=`. The supervisor keeps them while the process restarts.
    pub(super) sockets: Vec<(&'static str, UnixListener)>,
    /// `RestartSec=`: how long after its end it is started again.
    pub(super) restart: Duration,
    /// `TimeoutStopSec=`: how long it may take to end when it is asked to.
    pub(super) stop: Duration,
    /// `Type=notify`: it tells when it is ready.
    pub(super) notify: bool,
    /// `WatchdogSec=`: after how long a silence it is killed.
    pub(super) keepalive: Option<Duration>,
}

/// What has to be before a unit is started.
#[derive(Debug, Default)]
pub(super) struct First {
    /// `ConditionPathExists=` and a `.path` unit beside it: it is started as soon as this file, as its place sees it,
    /// exists.
    pub(super) exists: Option<PathBuf>,
    /// `Requires=` and `After=` a service that does not remain: this program, with these arguments, succeeds each time.
    pub(super) succeeds: Option<(PathBuf, Vec<OsString>)>,
}

/// What a unit is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct UnitState {
    /// Its process, while it has one.
    pub(super) pid: Option<i32>,
    /// It said `READY=1` (or does not say such things and runs).
    pub(super) ready: bool,
    /// The last `STATUS=`.
    pub(super) status: String,
    /// How often it was started.
    pub(super) starts: u32,
    /// How its last process ended, in words.
    pub(super) ended: Option<String>,
    /// It failed too often and is left alone.
    pub(super) given_up: bool,
}
