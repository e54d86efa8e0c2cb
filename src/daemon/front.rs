//! The front door of every daemon: its command line, and how it says that it cannot run.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use clap::{Args, Command, FromArgMatches};

use crate::daemon::failure::StartError;
use crate::sys::exit::{Exit, refuse};

/// How long a daemon stays that was given sockets and can never run. Somebody who waits at one of them has the service
/// manager start it again at once and for ever, since `RestartPreventExitStatus=` does not hold for that.
const BEFORE_THE_END: Duration = Duration::from_secs(5);

/// The command line of a daemon.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Only checks the configuration.
    #[arg(long)]
    pub check_config: bool,
}

/// Reads the command line and runs the daemon `name` until it is told to stop. Its configuration is at `config` unless
/// the command line says otherwise.
pub fn run(
    name: &'static str,
    about: &'static str,
    config: &'static str,
    arguments: impl IntoIterator<Item = OsString>,
    start: impl FnOnce(&Arguments) -> Result<(), StartError>,
) -> ExitCode {
    // After the arguments, whose own description would replace it.
    let parsed = Arguments::augment_args(Command::new(name).version(env!("CARGO_PKG_VERSION")))
        .about(about)
        .long_about(None)
        .mut_arg("config", |argument| argument.default_value(config).required(false))
        .try_get_matches_from(arguments)
        .and_then(|matches| Arguments::from_arg_matches(&matches));
    match parsed {
        Ok(arguments) => {
            // Asked before they are taken, as taking them forgets the variable.
            let was_given_sockets = std::env::var_os("LISTEN_FDS").is_some();
            match start(&arguments) {
                Ok(()) => Exit::Success.into(),
                Err(error) => {
                    let code = refuse(name, error.exit(), error.reason());
                    if was_given_sockets && matches!(error.exit(), Exit::Config | Exit::Data) {
                        thread::sleep(BEFORE_THE_END);
                    }
                    code
                }
            }
        }
        Err(answer) => {
            // A closed standard output is no reason to fail differently.
            let _ = answer.print();
            if answer.use_stderr() { Exit::Usage } else { Exit::Success }.into()
        }
    }
}
