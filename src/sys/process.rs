//! What every process of ours does to itself first: no core dump, no debugger, no new privileges.

use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Hardening failed; the process must not go on to read a key.
#[derive(Debug, thiserror::Error)]
#[error("cannot harden this process ({step}): {source}; nothing secret was read, the process should end")]
pub struct HardenError {
    step: &'static str,
    source: nix::Error,
}

/// Makes the process undumpable, sets its core limit to 0 and forbids new privileges.
///
/// Call it before anything secret is read. Afterwards `/proc/PID` belongs to root, other processes of the same
/// user cannot attach with ptrace, and a crash leaves no memory image on a disk.
pub fn harden() -> Result<(), HardenError> {
    let step = |step| move |source| HardenError { step, source };
    prctl::set_dumpable(false).map_err(step("PR_SET_DUMPABLE"))?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0).map_err(step("RLIMIT_CORE"))?;
    prctl::set_no_new_privs().map_err(step("PR_SET_NO_NEW_PRIVS"))
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
