//! A node's own network and mount namespace, and going into them.
//!
//! A holder process keeps the namespaces while none of the node's programs runs, so that a node that was killed
//! comes back to the same interfaces and files, as a machine would.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sched::{CloneFlags, setns, unshare};
use tokio::io::AsyncReadExt;

use super::error::{LabError, io as doing};
use super::namespaces;
use super::role::Role;

/// What the holder says when the namespaces are ready.
const READY: u8 = b'.';
/// Instead of a holder's number: stay where you are.
const HERE: &str = "-";

/// A place where programs run.
#[derive(Debug)]
pub(super) struct Place {
    /// Keeps the namespaces; killed when this is dropped. None: the lab's own.
    holder: Option<tokio::process::Child>,
    /// The directory that is `/run` there.
    run: PathBuf,
}

impl Place {
    /// The lab's own namespaces, where the Tor network, the target and the clients are.
    pub(super) fn lab() -> Self {
        Self { holder: None, run: PathBuf::from("/run") }
    }

    /// New namespaces, with `run` as `/run` and no interface but a loopback that is down.
    pub(super) async fn open(run: &Path) -> Result<Self, LabError> {
        let mut command: tokio::process::Command = Role::Hold.command().into();
        command.arg(run).stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0).kill_on_drop(true);
        let mut holder = command.spawn().map_err(doing("starting the holder of a node's namespaces"))?;
        let mut word = [0];
        let mut stdout = holder.stdout.take();
        if let Some(stdout) = &mut stdout {
            stdout.read_exact(&mut word).await.map_err(doing("making a node's namespaces"))?;
        }
        Ok(Self { holder: Some(holder), run: run.to_owned() })
    }

    /// The number by which this place is named to `ip` and to [`join`]; None for the lab's own.
    pub(super) fn pid(&self) -> Option<u32> {
        self.holder.as_ref().and_then(tokio::process::Child::id)
    }

    /// A file of the place, as the lab sees it. `path` is as the place sees it, below `/run`.
    pub(super) fn outside(&self, path: &Path) -> PathBuf {
        path.strip_prefix("/run").map_or_else(|_| path.to_owned(), |path| self.run.join(path))
    }

    /// A command that runs there.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = Role::Join.command();
        command.arg(self.pid().map_or_else(|| HERE.to_owned(), |pid| pid.to_string())).arg(program);
        command
    }
}

/// [`Role::Hold`]: the argument is the directory that shall be `/run`.
pub(super) fn hold(arguments: &[OsString]) -> io::Result<()> {
    let [run] = arguments else { return Err(io::ErrorKind::InvalidInput.into()) };
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET)?;
    namespaces::keep_mounts_private().map_err(io::Error::other)?;
    // Where /var/run is a directory of its own, it must be the same one: WireGuard's socket is there by its name.
    let var_run = fs::canonicalize("/var/run").ok().filter(|path| path != Path::new("/run"));
    for at in var_run.as_deref().into_iter().chain([Path::new("/run")]) {
        namespaces::bind(Path::new(run), at).map_err(io::Error::other)?;
    }
    let mut stdout = io::stdout();
    stdout.write_all(&[READY])?;
    stdout.flush()?;
    // Nothing is ever written: this waits for the end of the lab.
    io::stdin().read_to_end(&mut Vec::new()).map(drop)
}

/// [`Role::Join`]: arguments are a holder's number, a program and its arguments. Comes back only with an error.
pub(super) fn join(arguments: &[OsString]) -> io::Error {
    let [holder, program, arguments @ ..] = arguments else { return io::ErrorKind::InvalidInput.into() };
    if let Err(error) = if holder == HERE { Ok(()) } else { go_into(holder) } {
        return error;
    }
    let mut command = Command::new(program);
    command.args(arguments);
    // As systemd does: these name the process that the sockets and the keepalive are meant for.
    let own = std::process::id().to_string();
    for (given, name) in [("LISTEN_FDS", "LISTEN_PID"), ("WATCHDOG_USEC", "WATCHDOG_PID")] {
        if std::env::var_os(given).is_some() {
            command.env(name, &own);
        }
    }
    command.exec()
}

fn go_into(holder: &OsStr) -> io::Result<()> {
    let namespaces = Path::new("/proc").join(holder).join("ns");
    // Both are opened first, since /proc may look otherwise from in there.
    let network = File::open(namespaces.join("net"))?;
    let mounts = File::open(namespaces.join("mnt"))?;
    setns(network, CloneFlags::CLONE_NEWNET)?;
    setns(mounts, CloneFlags::CLONE_NEWNS)?;
    Ok(())
}
