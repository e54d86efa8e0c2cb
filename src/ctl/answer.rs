//! How an answer is shown: to people as lines, to programs as JSON with stable keys.

use std::fmt::{self, Display};
use std::io::{self, Write};

use serde::Serialize;

/// Writes an answer, followed by a line break. The JSON keys are an interface: they may be added to, not renamed.
pub fn write<A: Serialize + Display>(answer: &A, json: bool, mut out: impl Write) -> io::Result<()> {
    if json {
        serde_json::to_writer_pretty(&mut out, answer)?;
        writeln!(out)
    } else {
        writeln!(out, "{answer}")
    }
}

/// One line of an answer for people: a name and a value, the values below each other.
pub struct Line<V>(pub &'static str, pub V);

impl<V: Display> Display for Line<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The longest name in use has 16 letters.
        write!(f, "{:<17} {}", self.0, self.1)
    }
}
