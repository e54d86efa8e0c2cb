//! The command line of `rustbalance manifest`.

use std::io::Write;

use clap::{Args, Subcommand};

use crate::ctl::error::CtlError;
use crate::ctl::manifest::{create, verify};

/// What to do with manifests.
#[derive(Debug, Args)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    command: Command,
}

/// What can be done.
#[derive(Debug, Subcommand)]
enum Command {
    /// Sign a list of files as they are now
    Create(create::Arguments),
    /// Compare files with a signed list
    Verify(verify::Arguments),
}

impl Arguments {
    /// Does it, and writes the answer.
    pub fn run(&self, out: impl Write) -> Result<(), CtlError> {
        match &self.command {
            Command::Create(create) => create.run(out),
            Command::Verify(verify) => verify.run(out),
        }
    }
}
