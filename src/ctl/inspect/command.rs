//! The command line of `rustbalance inspect`.

use std::io::Write;

use clap::{Args, Subcommand};

use crate::ctl::answer;
use crate::ctl::inspect::error::InspectError;
use crate::ctl::inspect::{address, counter, descriptor, hsdirs, period};

/// What to inspect, and how to show it.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Answer in JSON, whose keys stay the same from version to version
    #[arg(long, global = true)]
    json: bool,
    /// What to inspect.
    #[command(subcommand)]
    command: Command,
}

/// What can be inspected.
#[derive(Debug, Subcommand)]
enum Command {
    /// The address of a secret key in any form
    Address(address::Question),
    /// The two live time periods of an address, with blinded keys and sub-credentials
    Period(period::Question),
    /// Verify a descriptor as a client does, and show all that is in it
    Descriptor(descriptor::Question),
    /// The relays that store the two descriptors of an address
    Hsdirs(hsdirs::Question),
    /// The revision counters tor itself would publish with
    Counter(counter::Question),
}

impl Arguments {
    /// Writes the answer.
    pub fn run(&self, out: impl Write) -> Result<(), InspectError> {
        match &self.command {
            Command::Address(question) => answer::write(&question.answer()?, self.json, out)?,
            Command::Period(question) => answer::write(&question.answer()?, self.json, out)?,
            Command::Descriptor(question) => answer::write(&question.answer()?, self.json, out)?,
            Command::Hsdirs(question) => answer::write(&question.answer()?, self.json, out)?,
            Command::Counter(question) => answer::write(&question.answer()?, self.json, out)?,
        }
        Ok(())
    }
}
