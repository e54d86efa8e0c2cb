//! The front door: what the user started, and the roles it starts itself again in.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::arguments::Arguments;
use super::babysit;
use super::namespaces::{self, NamespaceError};
use super::place;
use super::plan::{Plan, PlanError};
use super::report::Delivery;
use super::role::Role;
use super::stage;
use crate::sys::exit::Exit;
use crate::sys::notify::{Notice, notify};

/// Why the lab did not even start.
#[derive(Debug, thiserror::Error)]
enum FrontError {
    /// What was asked for cannot be done here.
    #[error(transparent)]
    Plan(#[from] PlanError),
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
            Self::Plan(PlanError::Requirement(_)) => Exit::Unavailable,
            Self::Plan(PlanError::Measures(_)) => Exit::Data,
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

/// Where the user wants what the lab has to tell.
struct Wanted {
    json: Option<Output>,
    torrc: Option<Output>,
    /// A directory.
    matrix: Option<PathBuf>,
}

impl Wanted {
    /// Made at once, so that a mistake is known before anything starts.
    fn of(arguments: &Arguments) -> Result<Self, FrontError> {
        if let Some(path) = &arguments.matrix {
            std::fs::create_dir_all(path).map_err(cannot_create("--matrix", path))?;
        }
        Ok(Self {
            json: Output::open("--json", arguments.json.as_deref())?,
            torrc: Output::open("--torrc", arguments.torrc.as_deref())?,
            matrix: arguments.matrix.clone(),
        })
    }

    /// Writes what came of the scenes.
    fn write_scenes(&mut self, delivery: &Delivery) -> Result<(), FrontError> {
        if let Some(json) = &mut self.json {
            json.write(delivery.report.as_bytes())?;
        }
        match self.matrix.as_ref().zip(delivery.matrix.as_ref()) {
            Some((path, papers)) => papers.write(path).map_err(cannot_create("--matrix", path)),
            None => Ok(()),
        }
    }
}

/// A file that the user wants.
struct Output {
    option: &'static str,
    path: PathBuf,
    file: File,
}

impl Output {
    fn open(option: &'static str, path: Option<&Path>) -> Result<Option<Self>, FrontError> {
        let Some(path) = path else { return Ok(None) };
        let file = File::create(path).map_err(cannot_create(option, path))?;
        Ok(Some(Self { option, path: path.to_owned(), file }))
    }

    fn write(&mut self, text: &[u8]) -> Result<(), FrontError> {
        self.file.write_all(text).map_err(cannot_create(self.option, &self.path))
    }
}

fn cannot_create(option: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> FrontError {
    let path = path.to_owned();
    move |source| FrontError::CannotCreate { option, path, source }
}

/// What the user started: checks, starts the lab in namespaces, writes what it has to tell, waits for its end.
fn outer() -> Result<u8, FrontError> {
    let arguments = match Arguments::ask() {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Success };
            return Ok(exit.code());
        }
    };
    let plan = Plan::of(&arguments)?;
    let mut logs = None;
    if let Some(path) = &arguments.log_dir {
        logs = Some(
            std::fs::create_dir_all(path)
                .and_then(|()| path.canonicalize())
                .map_err(cannot_create("--log-dir", path))?,
        );
    }
    let wanted = Wanted::of(&arguments)?;
    let signals = babysit::hold_signals().map_err(std::io::Error::from)?;
    let (mut ours, theirs) = UnixStream::pair()?;
    let child = namespaces::start(&plan.to_text(), logs.as_deref(), &mut ours, theirs)?;
    // Ours stays open: its end is how the lab hears that this process is gone.
    let told = ours.try_clone()?;
    let writer = thread::spawn(move || {
        let written = hear(told, wanted, &plan);
        if written.is_err() {
            // Nobody will know what it tells. The other thread hears this, and stops the lab.
            let _ = kill(Pid::this(), Signal::SIGTERM);
        }
        written
    });
    let status = babysit::wait(child, &signals)?;
    writer.join().unwrap_or(Ok(()))?;
    Ok(babysit::code(status))
}

/// Writes what the lab tells to where the user wants it. Beside waiting for the lab, so that much to tell cannot fill the
/// channel and stop it.
#[allow(clippy::print_stdout)] // a terminal is this program's purpose
fn hear(mut told: UnixStream, mut wanted: Wanted, plan: &Plan) -> Result<(), FrontError> {
    let mut text = Vec::new();
    told.read_to_end(&mut text)?;
    match (plan, &mut wanted.torrc) {
        // A lab that was stopped, or has failed and said why, has nothing to tell.
        _ if text.is_empty() => Ok(()),
        (Plan::Network(_), Some(torrc)) => {
            torrc.write(&text)?;
            let path = torrc.path.display();
            println!("The network is there. What a tor elsewhere needs to be in it is in {path}.");
            notify(&[Notice::Ready]);
            Ok(())
        }
        (Plan::Network(_), None) => Ok(()),
        (Plan::Scenes(_), _) => {
            wanted.write_scenes(&serde_json::from_slice(&text).map_err(std::io::Error::from)?)
        }
    }
}
