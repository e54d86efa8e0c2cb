//! Into namespaces of our own, and process 1 in there.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Child;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getegid, geteuid, getppid};

use super::babysit;
use super::plan::Plan;
use super::role::Role;
use crate::sys::exit::Exit;

/// Where everything that the lab writes is: on a tmpfs that only the lab sees.
pub(super) const STATE: &str = "/run/lab";
/// Where the user's `--log-dir` appears in there, or a directory on the tmpfs.
pub(super) const LOGS: &str = "/run/lab/logs";
/// Tells the lab inside how somebody outside gets into its network.
pub(super) const WAY_IN: &str = "RUSTBALANCE_LAB_WAY_IN";
/// The user namespace is there, its identities are not mapped yet.
const UNSHARED: u8 = b'u';
/// No user namespace was possible, but root needs none.
const NO_USER_NAMESPACE: u8 = b'r';
/// Identities are mapped, go on.
const MAPPED: u8 = b'm';

/// The lab cannot have namespaces of its own. Nothing was started.
#[derive(Debug, thiserror::Error)]
pub(super) enum NamespaceError {
    /// The kernel, or something that guards it, forbids a step.
    #[error(
        "this machine does not let the lab have namespaces of its own ({step}: {source}). {}",
        obstacle()
    )]
    Forbidden {
        /// What was tried.
        step: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

fn forbidden<E: Into<io::Error>>(step: &'static str) -> impl FnOnce(E) -> NamespaceError {
    move |source| NamespaceError::Forbidden { step, source: source.into() }
}

/// What stands in the way, as far as the machine tells, and how to take it away.
fn obstacle() -> &'static str {
    let is = |path: &str, value: &str| fs::read_to_string(path).is_ok_and(|text| text.trim() == value);
    if is("/proc/sys/user/max_user_namespaces", "0") {
        "User namespaces are switched off: sysctl user.max_user_namespaces=15000"
    } else if geteuid().is_root() {
        "This seems to be a container that keeps root from it; start the container with --privileged"
    } else if is("/proc/sys/kernel/unprivileged_userns_clone", "0") {
        "Allow them to ordinary users (sysctl kernel.unprivileged_userns_clone=1) or start the lab as root"
    } else if is("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1") {
        "AppArmor keeps ordinary users from them: sysctl kernel.apparmor_restrict_unprivileged_userns=0, \
         or start the lab as root"
    } else {
        "Start the lab as root; in a container, start the container with --privileged"
    }
}

/// Starts the lab in namespaces of its own. `channel` becomes the other end of its standard input.
pub(super) fn start(
    plan: &str,
    logs: Option<&Path>,
    channel: &mut UnixStream,
    theirs: UnixStream,
) -> Result<Child, NamespaceError> {
    let mut command = Role::Enter.command();
    command.arg(std::process::id().to_string()).arg(plan).args(logs).stdin(OwnedFd::from(theirs));
    let child = command.spawn().map_err(forbidden("starting itself again"))?;
    // The command still holds its end of the channel; without it here, its death is seen as an end of file.
    drop(command);
    let mut word = [0];
    let answered = channel.read(&mut word).map_err(forbidden("hearing of the namespaces"))? == 1;
    if answered && word[0] == UNSHARED {
        map_identities(child.id()).map_err(forbidden("mapping users"))?;
    }
    if answered {
        channel.write_all(&[MAPPED]).map_err(forbidden("answering"))?;
    }
    // Otherwise it has ended, and has said why.
    Ok(child)
}

/// Root keeps every identity it has, so that it can read what it could read before. An ordinary user, and a root
/// without capabilities, becomes root in there, and there is nobody else.
fn map_identities(pid: u32) -> io::Result<()> {
    let file = |name: &str| format!("/proc/{pid}/{name}");
    let keep_all = |name: &str| {
        let own = fs::read_to_string(format!("/proc/self/{name}"))?;
        let same = own.lines().filter_map(|line| match line.split_whitespace().collect::<Vec<_>>()[..] {
            [inside, _, count] => Some(format!("{inside} {inside} {count}\n")),
            _ => None,
        });
        fs::write(file(name), same.collect::<String>())
    };
    let root = geteuid().is_root();
    if !(root && keep_all("uid_map").is_ok()) {
        fs::write(file("uid_map"), format!("0 {} 1\n", geteuid()))?;
    }
    if root && keep_all("gid_map").is_ok() {
        return Ok(());
    }
    // Without this the kernel takes no group map from an ordinary user.
    fs::write(file("setgroups"), "deny")?;
    fs::write(file("gid_map"), format!("0 {} 1\n", getegid()))
}

/// [`Role::Enter`]: arguments are the outer process's number, the plan, and the log directory if there is one.
pub(super) fn enter(arguments: &[OsString]) -> Result<u8, NamespaceError> {
    let [outer, text, logs @ ..] = arguments else { return Ok(Exit::Usage.code()) };
    let Some(plan) = Plan::from_arguments(&arguments[1..]) else { return Ok(Exit::Usage.code()) };
    let logs = logs.first().map(Path::new);
    let mut rest = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS;
    // A network alone is for those who are not in here.
    rest.set(CloneFlags::CLONE_NEWNET, matches!(plan, Plan::Scenes(_)));
    let done = match unshare(rest | CloneFlags::CLONE_NEWUSER) {
        Ok(()) => UNSHARED,
        Err(_) if geteuid().is_root() && unshare(rest).is_ok() => NO_USER_NAMESPACE,
        Err(error) => return Err(forbidden("unshare")(error)),
    };
    if !die_with_parent(outer)? {
        return Ok(Exit::Os.code());
    }
    let mut answer = [0];
    let mut channel = stdin_channel().map_err(forbidden("stdin"))?;
    if channel.write_all(&[done]).and_then(|()| channel.read_exact(&mut answer)).is_err() {
        // The outer process has gone, or has failed and says so.
        return Ok(Exit::Os.code());
    }
    mount_state(logs)?;
    let mut init = Role::Init.command();
    // This process is in the namespaces too, and its number is one that the outside knows.
    let user = if done == UNSHARED { " -U --preserve-credentials" } else { "" };
    init.arg(text).env(WAY_IN, format!("nsenter -t {}{user} -n", std::process::id()));
    let signals = babysit::hold_signals().map_err(forbidden("sigprocmask"))?;
    let status = init.spawn().and_then(|init| babysit::wait(init, &signals));
    status.map(babysit::code).map_err(forbidden("running process 1"))
}

/// The channel to the outer process, which came as standard input.
pub(super) fn stdin_channel() -> io::Result<UnixStream> {
    Ok(io::stdin().as_fd().try_clone_to_owned()?.into())
}

/// From now on this process is killed when its parent dies, however that happens. Whether it still lives.
fn die_with_parent(expected: &OsString) -> Result<bool, NamespaceError> {
    set_pdeathsig(Signal::SIGKILL).map_err(forbidden("PR_SET_PDEATHSIG"))?;
    // It may have died before the line above.
    Ok(getppid().to_string().as_str() == expected)
}

/// A tmpfs over `/run`, where the lab keeps everything, with the log directory in it.
fn mount_state(logs: Option<&Path>) -> Result<(), NamespaceError> {
    // Opened before the tmpfs hides it, in case it is below /run.
    let logs = logs.map(File::open).transpose().map_err(forbidden("opening --log-dir"))?;
    keep_mounts_private()?;
    mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV, Some("mode=0755"))
        .map_err(forbidden("mounting a tmpfs on /run"))?;
    // Tor wants the directory of a control socket to be its user's alone.
    let mut private = fs::DirBuilder::new();
    private.mode(0o700);
    private.create(STATE).and_then(|()| private.create(LOGS)).map_err(forbidden("mkdir"))?;
    if let Some(logs) = logs {
        let source = format!("/proc/self/fd/{}", logs.as_raw_fd());
        bind(Path::new(&source), Path::new(LOGS))?;
    }
    Ok(())
}

/// What is mounted from here on is seen by nobody outside.
pub(super) fn keep_mounts_private() -> Result<(), NamespaceError> {
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .map_err(forbidden("making mounts private"))
}

/// An empty file system of that size, in memory, at a directory.
pub(super) fn mount_disk(at: &Path, size: &str) -> io::Result<()> {
    let options = format!("mode=0700,size={size}");
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    Ok(mount(Some("tmpfs"), at, Some("tmpfs"), flags, Some(options.as_str()))?)
}

/// Shows a directory at another place too.
pub(super) fn bind(source: &Path, at: &Path) -> Result<(), NamespaceError> {
    mount(Some(source), at, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)
        .map_err(forbidden("a bind mount"))
}

/// [`Role::Init`]: process 1. It ends when the lab does, and the kernel then kills whatever is left.
pub(super) fn init(arguments: &[OsString]) -> Result<u8, NamespaceError> {
    // Parents in another pid namespace have number 0 here: this one's death cannot be missed, it would have
    // ended the namespace's first process too.
    set_pdeathsig(Signal::SIGKILL).map_err(forbidden("PR_SET_PDEATHSIG"))?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), "/proc", Some("proc"), flags, None::<&str>).map_err(forbidden("mounting /proc"))?;
    let signals = babysit::hold_signals().map_err(forbidden("sigprocmask"))?;
    let mut inside = Role::Inside.command();
    let lab = inside.args(arguments).spawn().map_err(forbidden("starting the lab"))?;
    loop {
        if let Some(code) = reap(&lab)? {
            return Ok(code);
        }
        if signals.wait().map_err(forbidden("sigwait"))? != Signal::SIGCHLD {
            babysit::stop(&lab);
        }
    }
}

/// Takes away every dead child, ours or adopted; the lab's exit code once it is among them.
fn reap(lab: &Child) -> Result<Option<u8>, NamespaceError> {
    let own = i32::try_from(lab.id()).map(Pid::from_raw).ok();
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) if Some(pid) == own => {
                return Ok(Some(u8::try_from(code).unwrap_or(u8::MAX)));
            }
            Ok(WaitStatus::Signaled(pid, signal, _)) if Some(pid) == own => {
                return Ok(Some(u8::try_from(128 + signal as i32).unwrap_or(u8::MAX)));
            }
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return Ok(None),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(forbidden("waitpid")(error)),
        }
    }
}
