//! `rustbalance completions`.

use std::io::Write;

use clap::{Args, Command};
use clap_complete::{Shell, generate};

use crate::ctl::error::CtlError;

/// For which shell.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rustbalance completions bash > /usr/share/bash-completion/completions/rustbalance
  rustbalance completions zsh > /usr/share/zsh/vendor-completions/_rustbalance
  rustbalance completions fish > /usr/share/fish/vendor_completions.d/rustbalance.fish")]
pub struct Arguments {
    /// The shell that shall complete the tool's words
    #[arg(value_enum)]
    shell: Shell,
}

impl Arguments {
    /// Writes the shell's script for `command`, which is the whole tool.
    pub fn run(&self, mut command: Command, mut out: impl Write) -> Result<(), CtlError> {
        let name = command.get_name().to_owned();
        // The crate ends the process when it cannot write, so it writes to memory.
        let mut script = Vec::new();
        generate(self.shell, &mut command, name, &mut script);
        Ok(out.write_all(&script)?)
    }
}
