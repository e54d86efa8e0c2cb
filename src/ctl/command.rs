//! The command line of `rustbalance`.

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};
use zeroize::Zeroizing;

use crate::ctl::error::CtlError;
use crate::ctl::{
    check_config, completions, drain, init, inspect, install_key, join, leave, manifest, manuals,
    merge_config, rotate_token, sealing, status, token,
};
use crate::sys::exit::{Exit, whole_reason};
use crate::sys::process::harden;

/// A self-healing, multi-node load balancer for Tor v3 onion services: the operator's tool.
#[derive(Debug, Parser)]
#[command(
    name = "rustbalance",
    version,
    about,
    disable_help_subcommand = true,
    after_help = "\
Examples:
  rustbalance init --target tcp://127.0.0.1:8080
  rustbalance COMMAND --help"
)]
struct Arguments {
    /// What to do.
    #[command(subcommand)]
    command: Command,
}

/// What the tool can do.
#[derive(Debug, Subcommand)]
enum Command {
    /// Make the first node of a new cluster: keys, cluster token, and a complete configuration
    Init(init::Arguments),
    /// Show the nodes, the lease, the descriptors and what happened lately, as this node's daemons know them
    Status(status::command::Arguments),
    /// Take a node out of the descriptor without losing a client
    Drain(drain::Arguments),
    /// Take a drained node back
    Undrain(drain::UndrainArguments),
    /// Replace the cluster token on all nodes
    RotateToken(rotate_token::Arguments),
    /// Have this node leave the cluster for good
    Leave(leave::Arguments),
    /// Invite new nodes into the cluster
    Token(token::command::Arguments),
    /// Make a new node from an invitation: keys, tokens, and a complete configuration
    Join(join::Arguments),
    /// Check whether all daemons can make use of a configuration
    CheckConfig(check_config::Arguments),
    /// Print a configuration with some of its values replaced
    MergeConfig(merge_config::Arguments),
    /// Seal files with secrets under a passphrase
    Seal(sealing::seal::Arguments),
    /// Open what was sealed
    Unseal(sealing::unseal::Arguments),
    /// Change the passphrase of what was sealed
    Reseal(sealing::reseal::Arguments),
    /// Give tor the onion's key, in memory
    InstallKey(install_key::Arguments),
    /// Sign the list of what is installed, and compare it with what is there
    Manifest(manifest::command::Arguments),
    /// Compute and check what the onion service protocol makes of keys, times and documents; needs no running daemon
    Inspect(inspect::command::Arguments),
    /// Print the script with which a shell completes this tool's words
    Completions(completions::Arguments),
    /// Write the manual: a page for every command
    Manuals(manuals::Arguments),
}

/// Runs the tool with its arguments (the first is its own name); the answer goes to standard output, an error in one
/// line to standard error. The exit code is one of sysexits(3).
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => return usage(&error).into(),
    };
    // What `unseal` answers is a secret.
    let mut out = Zeroizing::new(Vec::new());
    let exit = match arguments.command.run(&mut out) {
        Ok(()) => Exit::Success,
        Err(error) => {
            // Standard error may be closed; there is nobody else to tell.
            let _ = writeln!(io::stderr(), "rustbalance: {}", whole_reason(&error));
            error.exit()
        }
    };
    match io::stdout().write_all(&out).and_then(|()| io::stdout().flush()) {
        // The reader of a pipe may stop reading early.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            let done = if matches!(exit, Exit::Success) { "; what was made or changed remains" } else { "" };
            let _ = writeln!(io::stderr(), "rustbalance: cannot write the answer: {error}{done}");
            Exit::Os.into()
        }
        _ => exit.into(),
    }
}

impl Command {
    /// Does what was asked, and writes the answer.
    fn run(self, out: &mut Vec<u8>) -> Result<(), CtlError> {
        // The tool runs for a moment, with the limit that its user happens to have: nobody could mend it.
        let _ = harden()?;
        match self {
            Self::Init(init) => init.run(out),
            Self::Status(status) => status.run(out),
            Self::Drain(drain) => drain.run(out),
            Self::Undrain(undrain) => undrain.run(out),
            Self::RotateToken(rotate) => rotate.run(out),
            Self::Leave(leave) => leave.run(out),
            Self::Token(token) => token.run(out),
            Self::Join(join) => join.run(out),
            Self::CheckConfig(check) => check.run(out),
            Self::MergeConfig(merge) => merge.run(out),
            Self::Seal(seal) => seal.run(out),
            Self::Unseal(unseal) => unseal.run(out),
            Self::Reseal(reseal) => reseal.run(out),
            Self::InstallKey(install) => install.run(out),
            Self::Manifest(manifest) => manifest.run(out),
            Self::Inspect(inspect) => Ok(inspect.run(out)?),
            Self::Completions(completions) => completions.run(Arguments::command(), out),
            Self::Manuals(manuals) => manuals.run(Arguments::command(), out),
        }
    }
}

/// Prints clap's message. Asking for help or the version is a success.
fn usage(error: &clap::Error) -> Exit {
    let _ = error.print();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Exit::Success,
        _ => Exit::Usage,
    }
}
