//! Colours, where there is somebody to see them.

use std::env;
use std::io::{self, IsTerminal};

/// What a colour is to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// As text is.
    Plain,
    /// A head.
    Head,
    /// All is well.
    Good,
    /// On its way, or worth a look.
    Fair,
    /// Wrong.
    Bad,
}

/// Whether colours are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paint(pub bool);

impl Paint {
    /// On a terminal, unless it has no colours or the user wants none (<https://no-color.org>).
    pub fn for_standard_output() -> Self {
        let unwanted = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = env::var_os("TERM").is_none_or(|term| term == "dumb");
        Self(io::stdout().is_terminal() && !unwanted && !dumb)
    }

    /// The text in its colour.
    pub fn tone(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Plain => return text.to_owned(),
            Tone::Head => "1",
            Tone::Good => "32",
            Tone::Fair => "33",
            Tone::Bad => "31",
        };
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}
