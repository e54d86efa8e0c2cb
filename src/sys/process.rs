//! What every process of ours does to itself first: no core dump, no debugger, no new privileges, nothing in swap.

use std::ffi::CString;

use nix::libc::{MCL_ONFAULT, RLIM_INFINITY};
use nix::sys::mman::{MlockAllFlags, mlockall};
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Hardening failed; the process must not go on to read a key.
#[derive(Debug, thiserror::Error)]
#[error("cannot harden this process ({step}): {source}; nothing secret was read, the process should end")]
pub struct HardenError {
    step: &'static str,
    source: nix::Error,
}

/// Whether secrets in this process's memory can get onto a disk by swapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Swap {
    /// All memory is locked, that of the future too.
    Locked,
    /// Not more than so many bytes may be locked, so none is.
    Limited(u64),
    /// The kernel refused.
    Refused(nix::Error),
}

/// Makes the process undumpable, sets its core limit to 0, forbids new privileges, and locks its memory where the limit
/// for that is none.
///
/// Call it before anything secret is read. Afterwards `/proc/PID` belongs to root, other processes of the same
/// user cannot attach with ptrace, and a crash leaves no memory image on a disk.
pub fn harden() -> Result<Swap, HardenError> {
    let step = |step| move |source| HardenError { step, source };
    prctl::set_dumpable(false).map_err(step("PR_SET_DUMPABLE"))?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0).map_err(step("RLIMIT_CORE"))?;
    prctl::set_no_new_privs().map_err(step("PR_SET_NO_NEW_PRIVS"))?;
    Ok(lock_memory())
}

/// Locks all memory as it comes into use, also that of the future.
///
/// With any limit below infinity this would be a trap: address space counts against it, of which a thread's stack and
/// its heap reserve many times what they use, and once the limit is reached no memory can be had at all. That
/// capabilities may overrule the limit does not help, since they are given away.
fn lock_memory() -> Swap {
    let Ok((soft, _)) = getrlimit(Resource::RLIMIT_MEMLOCK) else { return Swap::Limited(0) };
    // Root may raise even the hard limit, everybody else the soft one up to the hard one.
    let unlimited =
        soft == RLIM_INFINITY || setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY).is_ok();
    if !unlimited {
        return Swap::Limited(soft);
    }
    // A page is locked when it is first touched: reserved address space stays free.
    let on_fault = MlockAllFlags::from_bits_retain(MCL_ONFAULT);
    match mlockall(MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE | on_fault) {
        Ok(()) => Swap::Locked,
        Err(error) => Swap::Refused(error),
    }
}

impl Swap {
    /// Tells the operator if secrets may get into swap.
    pub fn tell(self) {
        match self {
            Self::Locked => {}
            Self::Limited(limit_bytes) => tracing::warn!(
                limit_bytes,
                "memory is not locked, so secrets may get into swap: the limit is too low; set LimitMEMLOCK=infinity"
            ),
            Self::Refused(error) => {
                tracing::warn!(%error, "memory cannot be locked, so secrets may get into swap");
            }
        }
    }
}

/// Overwrites the value of an environment variable with zeros, so that it cannot be read in `/proc/PID/environ` any more.
/// Only while the process has one thread; afterwards nothing happens.
pub fn wipe_variable(name: &str) {
    let threads = std::fs::read_dir("/proc/self/task").map_or(usize::MAX, Iterator::count);
    let Ok(name) = CString::new(name) else { return };
    if threads > 1 {
        return;
    }
    // SAFETY: getenv(3) gives nothing, or the value in this process's own, writable environment, which ends with a NUL.
    // No other thread can read or change the environment meanwhile, and no reference into it is held: `std::env` copies.
    #[allow(unsafe_code)]
    unsafe {
        let value = nix::libc::getenv(name.as_ptr());
        if !value.is_null() {
            std::ptr::write_bytes(value, 0, nix::libc::strlen(value));
        }
    }
}

/// Raises the limit of open files towards `wanted`, as far as the hard limit goes, and says what it is now.
pub fn raise_open_files(wanted: u64) -> u64 {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        // Cannot happen on Linux; POSIX promises at least this many.
        return 20;
    };
    let raised = wanted.clamp(soft, hard.max(soft));
    if raised > soft && setrlimit(Resource::RLIMIT_NOFILE, raised, hard).is_ok() { raised } else { soft }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_files_are_raised_only_within_the_hard_limit() {
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        assert_eq!(raise_open_files(1), soft);
        assert_eq!(raise_open_files(u64::MAX), hard);
        assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).unwrap(), (hard, hard));
    }
}
