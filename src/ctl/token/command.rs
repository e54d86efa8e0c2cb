//! The command line of `rustbalance token`.

use std::io::Write;

use clap::{Args, Subcommand};

use crate::ctl::error::CtlError;
use crate::ctl::token::create;

/// What to do with invitations.
#[derive(Debug, Args)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    command: Command,
}

/// What can be done.
#[derive(Debug, Subcommand)]
enum Command {
    /// Make an invitation: all that a new node needs, the master key included, sealed under a passphrase
    Create(create::Arguments),
}

impl Arguments {
    /// Does it, and writes the answer.
    pub fn run(&self, out: impl Write) -> Result<(), CtlError> {
        let Command::Create(create) = &self.command;
        create.run(out)
    }
}
