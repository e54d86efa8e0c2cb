//! Waiting for a child while passing signals on.

use std::io;
use std::process::{Child, ExitStatus};

use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;

/// Signals that ask the lab to end.
const STOPPING: [Signal; 3] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];

/// Holds back the signals that [`wait`] looks at; call it before starting the child, so that none is lost.
///
/// The child inherits this and holds them back too, until it calls [`release_signals`].
pub(super) fn hold_signals() -> nix::Result<SigSet> {
    let signals = watched();
    signals.thread_block()?;
    Ok(signals)
}

/// Lets through again what a parent held back.
pub(super) fn release_signals() -> nix::Result<()> {
    watched().thread_unblock()
}

fn watched() -> SigSet {
    STOPPING.into_iter().chain([Signal::SIGCHLD]).collect()
}

/// Waits for a child's end; what asks us to end is passed on to it.
///
/// A Ctrl-C reaches all of us from the terminal already. Passing it on again does no harm, and a `kill` of only
/// this process needs it.
pub(super) fn wait(mut child: Child, signals: &SigSet) -> io::Result<ExitStatus> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if signals.wait()? != Signal::SIGCHLD {
            stop(&child);
        }
    }
}

/// Asks a child to end.
pub(super) fn stop(child: &Child) {
    // It was not waited for yet, so the number is still its own; if it is gone there is nothing to stop.
    let _ = i32::try_from(child.id()).map(|pid| kill(Pid::from_raw(pid), Signal::SIGTERM));
}

/// The number by which a shell would report this end.
pub(super) fn code(status: ExitStatus) -> u8 {
    use std::os::unix::process::ExitStatusExt;
    let number = status.code().or_else(|| Some(128 + status.signal()?)).unwrap_or(1);
    u8::try_from(number).unwrap_or(u8::MAX)
}
