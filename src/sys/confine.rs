//! Giving away, for ever, the use of files that a daemon does not need any more (landlock(7)).
//!
//! A unit says the same and more (`ProtectSystem=`, `NoExecPaths=`); this also holds where a daemon was started without
//! one, and takes away what systemd itself needs until a program runs: to run programs at all.

use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, BitFlags, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus,
    Scope, path_beneath_rules,
};

/// What is asked for: all that Linux 6.12 knows. An older kernel does what it can. A newer one could also forbid to connect
/// to sockets by their path, which is most of what daemons do.
const VERSION: ABI = ABI::V6;

/// What is the system's and nobody's secret, in any distribution: libraries, names of users, the configuration wherever its
/// name leads to, what the kernel tells.
pub const SYSTEM: [&str; 7] = ["/etc", "/usr", "/lib", "/lib64", "/nix/store", "/proc", "/sys"];

/// No file at all.
pub const NOTHING: [&Path; 0] = [];

/// The process could not be confined. It has all its rights, and should end.
#[derive(Debug, thiserror::Error)]
#[error("cannot confine this process to its files: {0}; nothing was served, the process should end")]
pub struct ConfineError(#[from] RulesetError);

/// How much of it the kernel does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Confinement {
    /// All.
    Whole,
    /// It is older, and does not know all of it.
    Part,
    /// It has no landlock, or it is switched off.
    None,
}

/// From now on this thread, and those that it starts, can open for reading only what lies in `read`, and make, change and
/// remove only what lies in `change`; run no program; and signal no other process. What is open stays usable, and a path at
/// which there is nothing stands for nothing.
///
/// Call it after configuration, keys and listeners are there, and before the asynchronous runtime starts threads.
pub fn confine(
    read: impl IntoIterator<Item = impl AsRef<Path>>,
    change: impl IntoIterator<Item = impl AsRef<Path>>,
) -> Result<Confinement, ConfineError> {
    let reading: BitFlags<AccessFs> = AccessFs::ReadFile | AccessFs::ReadDir;
    let changing = AccessFs::from_all(VERSION) & !AccessFs::Execute;
    let status = Ruleset::default()
        .handle_access(AccessFs::from_all(VERSION))?
        .scope(Scope::Signal)?
        .create()?
        .add_rules(path_beneath_rules(read, reading))?
        .add_rules(path_beneath_rules(change, changing))?
        .restrict_self()?;
    Ok(match status.ruleset {
        RulesetStatus::FullyEnforced => Confinement::Whole,
        RulesetStatus::PartiallyEnforced => Confinement::Part,
        RulesetStatus::NotEnforced => Confinement::None,
    })
}

impl Confinement {
    /// Tells the operator if the kernel could do better.
    pub fn tell(self) {
        match self {
            Self::Whole => {}
            Self::Part => tracing::info!("an older kernel confines this process to its files only in part"),
            Self::None => tracing::warn!(
                "this process is not confined to its files: the kernel has no landlock (CONFIG_SECURITY_LANDLOCK, lsm=)"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::ErrorKind;
    use std::process::Command;

    use super::*;

    /// In a thread of its own, as it is for ever. None: this kernel has no landlock.
    fn confined<T: Send>(read: &[&Path], change: &[&Path], then: impl FnOnce() -> T + Send) -> Option<T> {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| match confine(read, change).unwrap() {
                Confinement::None => None,
                Confinement::Whole | Confinement::Part => Some(then()),
            });
            thread.join().unwrap()
        })
    }

    #[test]
    fn only_what_is_named_can_be_read_or_changed_and_nothing_run() {
        let place = tempfile::tempdir().unwrap();
        let path = |name: &str| place.path().join(name);
        for name in ["read", "change", "other"] {
            fs::create_dir(path(name)).unwrap();
            fs::write(path(name).join("file"), "x").unwrap();
        }
        let denied = |result: std::io::Result<()>| {
            result.is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
        };
        let open = fs::File::open(path("other/file")).unwrap();
        let seen = confined(&[&path("read")], &[&path("change"), Path::new("/no/such/directory")], || {
            assert_eq!(fs::read_to_string(path("read/file")).unwrap(), "x");
            assert!(denied(fs::read(path("other/file")).map(drop)));
            assert!(denied(fs::read_dir(path("other")).map(drop)));
            assert!(denied(fs::write(path("read/file"), "y")) && denied(fs::write(path("read/new"), "y")));
            assert!(denied(fs::remove_file(path("other/file"))));
            fs::write(path("change/new"), "y").unwrap();
            fs::rename(path("change/new"), path("change/file")).unwrap();
            assert_eq!(fs::read_to_string(path("change/file")).unwrap(), "y");
            fs::remove_file(path("change/file")).unwrap();
            assert!(denied(Command::new("/bin/true").status().map(drop)));
            assert_eq!(std::io::read_to_string(&open).unwrap(), "x", "what is open stays usable");
        });
        // Other threads of this process are as before.
        assert!(Command::new("/bin/true").status().unwrap().success());
        if seen.is_none() {
            eprintln!("this kernel has no landlock: nothing was tried");
        }
    }

    #[test]
    fn other_processes_cannot_be_signalled() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let pid = nix::unistd::Pid::from_raw(child.id().try_into().unwrap());
        let tried = confined(&NOTHING, &NOTHING, || {
            let own = nix::sys::signal::kill(nix::unistd::Pid::this(), None);
            (own, nix::sys::signal::kill(pid, None))
        });
        child.kill().unwrap();
        child.wait().unwrap();
        // Linux 6.12 is the first that can do it; older ones say so by Confinement::Part.
        match tried {
            Some((own, other)) if is_whole() => {
                assert_eq!((own, other), (Ok(()), Err(nix::Error::EPERM)));
            }
            _ => eprintln!("this kernel's landlock does not know signals: nothing was tried"),
        }
    }

    /// Whether this kernel does all that is asked for.
    fn is_whole() -> bool {
        std::thread::scope(|scope| {
            scope.spawn(|| confine(NOTHING, NOTHING).unwrap() == Confinement::Whole).join().unwrap()
        })
    }
}
