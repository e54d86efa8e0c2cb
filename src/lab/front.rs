//! The front door: what the user started, and the roles it starts itself again in.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;

use super::arguments::Arguments;
use super::babysit;
use super::namespaces::{self, NamespaceError};
use super::place;
use super::plan::Plan;
use super::requirements::{RequirementError, Tools};
use super::role::Role;
use super::stage;
use crate::sys::exit::Exit;

/// Why the lab did not even start.
#[derive(Debug, thiserror::Error)]
enum FrontError {
    /// Something is missing on this machine.
    #[error(transparent)]
    Requirement(#[from] RequirementError),
    /// No namespaces.
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
    /// A file of the user's cannot be written.
    #[error("{option}: cannot write {}: {source}", path.display())]
    CannotCreate {
        /// Which option named it.
        option: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The operating system refused something basic.
    #[error("cannot start the lab: {0}")]
    Os(#[from] std::io::Error),
    /// The program was started in a role, with arguments that do not fit it.
    #[error("roles are for the lab itself: {0}")]
    Role(&'static str),
}

impl FrontError {
    fn exit(&self) -> Exit {
        match self {
            Self::Requirement(_) => Exit::Unavailable,
            Self::Namespace(_) => Exit::Permission,
            Self::CannotCreate { .. } => Exit::CannotCreate,
            Self::Os(_) => Exit::Os,
            Self::Role(_) => Exit::Usage,
        }
    }
}

/// `main` of `rustbalance-lab`.
#[allow(clippy::print_stderr)] // a terminal is this program's purpose
pub fn main() -> ExitCode {
    let done = match Role::of(std::env::args_os()) {
        None => outer(),
        Some((Role::Enter, arguments)) => namespaces::enter(&arguments).map_err(FrontError::from),
        Some((Role::Init, arguments)) => namespaces::init(&arguments).map_err(FrontError::from),
        Some((Role::Inside, arguments)) => {
            Plan::from_arguments(&arguments).as_ref().map(stage::run).ok_or(FrontError::Role("no plan"))
        }
        Some((Role::Hold, arguments)) => place::hold(&arguments).map(|()| 0).map_err(FrontError::from),
        Some((Role::Join, arguments)) => Err(FrontError::from(place::join(&arguments))),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("rustbalance-lab: {error}");
            error.exit().into()
        }
    }
}

/// What the user started: checks, starts the lab in namespaces, waits for its end, writes its report.
fn outer() -> Result<u8, FrontError> {
    let arguments = match Arguments::ask() {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Success };
            return Ok(exit.code());
        }
    };
    let tools = Tools::find()?;
    let cannot = |option, path: &PathBuf| {
        let path = path.clone();
        move |source| FrontError::CannotCreate { option, path, source }
    };
    let mut logs = None;
    if let Some(path) = &arguments.log_dir {
        logs = Some(
            std::fs::create_dir_all(path)
                .and_then(|()| path.canonicalize())
                .map_err(cannot("--log-dir", path))?,
        );
    }
    let report = match &arguments.json {
        Some(path) => Some((path, File::create(path).map_err(cannot("--json", path))?)),
        None => None,
    };
    let plan = Plan { arguments: arguments.clone(), tools };
    let signals = babysit::hold_signals().map_err(std::io::Error::from)?;
    let (mut ours, theirs) = UnixStream::pair()?;
    let child = namespaces::start(&plan.to_text(), logs.as_deref(), &mut ours, theirs)?;
    // Read beside waiting, so that a long report cannot fill the channel and stop the lab.
    let reader = thread::spawn(move || {
        let mut text = Vec::new();
        ours.read_to_end(&mut text).map(|_| text)
    });
    let status = babysit::wait(child, &signals)?;
    let text = reader.join().unwrap_or_else(|_| Ok(Vec::new()))?;
    if let Some((path, mut file)) = report {
        file.write_all(&text).map_err(cannot("--json", path))?;
    }
    Ok(babysit::code(status))
}
