//! `rustbalance manuals`: a page for every command, from the same texts as `--help`.

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Args, Command};
use clap_mangen::Man;

use crate::ctl::error::CtlError;
use crate::ctl::files::FilesError;

/// The section of the manual for the tools of administrators.
const SECTION: &str = "8";
/// What begins the examples in a command's last words.
const EXAMPLES: &str = "Examples:\n";
/// What every command has in common.
const EXIT_STATUS: &str = "\
.SH \"EXIT STATUS\"\n\
As in sysexits(3): 0 when it was done; 64 for a wrong command line; 65 for wrong input; 69 when a daemon is away; \
71 and 73 when the operating system refused something; 75 when trying again may help; 77 when permission is missing; \
78 for a wrong configuration.\n";

/// Where to.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rustbalance manuals /usr/share/man/man8")]
pub struct Arguments {
    /// The directory, made if it is not there; pages of before are replaced
    #[arg(value_name = "DIRECTORY")]
    directory: PathBuf,
}

impl Arguments {
    /// Writes the pages of `command`, which is the whole tool, and names them.
    pub fn run(&self, mut command: Command, mut out: impl Write) -> Result<(), CtlError> {
        let failed = |path: PathBuf| |source| FilesError::Make { path, source };
        fs::create_dir_all(&self.directory).map_err(failed(self.directory.clone()))?;
        command.build();
        self.pages(&command, &mut out)
    }

    /// The page of a command, and those of the commands below it.
    fn pages(&self, command: &Command, out: &mut impl Write) -> Result<(), CtlError> {
        let source = concat!("rustbalance ", env!("CARGO_PKG_VERSION"));
        let page = Man::new(command.clone()).section(SECTION).source(source).manual("rustbalance");
        let path = self.directory.join(page.get_filename());
        let mut text = Vec::new();
        let written = write_page(&page, command, &mut text).and_then(|()| fs::write(&path, text));
        written.map_err(|source| FilesError::Make { path: path.clone(), source })?;
        writeln!(out, "{}", path.display())?;
        command.get_subcommands().try_for_each(|below| self.pages(below, out))
    }
}

fn write_page(page: &Man, command: &Command, text: &mut Vec<u8>) -> io::Result<()> {
    page.render_title(text)?;
    page.render_name_section(text)?;
    page.render_synopsis_section(text)?;
    page.render_description_section(text)?;
    if command.get_arguments().next().is_some() {
        page.render_options_section(text)?;
    }
    if command.has_subcommands() {
        page.render_subcommands_section(text)?;
    }
    if let Some(last_words) = command.get_after_help() {
        let last_words = last_words.to_string();
        let (examples, notes) = last_words.split_once("\n\n").unwrap_or((&last_words, ""));
        if let Some(examples) = examples.strip_prefix(EXAMPLES) {
            write!(text, ".SH EXAMPLES\n.nf\n{}.fi\n", Roff(examples))?;
        }
        if !notes.is_empty() {
            write!(text, ".SH NOTES\n{}", Roff(notes))?;
        }
    }
    text.write_all(EXIT_STATUS.as_bytes())
}

/// Lines of text as the manual's typesetter takes them: none is taken for a command, and a minus stays one.
struct Roff<'a>(&'a str);

impl fmt::Display for Roff<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.lines().try_for_each(|line| {
            let line = line.trim_start().replace('\\', "\\e").replace('-', "\\-");
            let guard = if line.starts_with(['.', '\'']) { "\\&" } else { "" };
            writeln!(f, "{guard}{line}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_is_taken_for_a_command_of_the_typesetter() {
        let text = Roff("  .x --y\n'z\\n");
        assert_eq!(text.to_string(), "\\&.x \\-\\-y\n\\&'z\\en\n");
    }
}
