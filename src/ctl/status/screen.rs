//! A terminal that is drawn over and over.

use std::io::{self, Write};

use console::{Term, truncate_str};

/// Another screen than the shell's, without a cursor.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
/// Back to the shell's, as it was.
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
/// To the upper left corner. What follows appears at once, on terminals that know how; others show it as it comes.
const BEGIN: &str = "\x1b[?2026h\x1b[H";
/// The rest of a line, and then of the screen, is emptied after the new text, not before: nothing flickers.
const END_OF_LINE: &str = "\x1b[K";
const END: &str = "\x1b[J\x1b[?2026l";

/// The terminal, until dropped.
#[derive(Debug)]
pub struct Screen(Term);

impl Screen {
    /// Takes the terminal over.
    pub fn begin() -> io::Result<Self> {
        write(ENTER)?;
        Ok(Self(Term::stdout()))
    }

    /// Shows these lines, as far as there is room.
    pub fn draw(&self, text: &str) -> io::Result<()> {
        let (rows, columns) = self.0.size();
        write(&frame(text, rows.into(), columns.into()))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Nothing better is possible when the terminal is gone.
        let _ = write(LEAVE);
    }
}

fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// One picture: a line that is too long would push all others down, so it is cut.
fn frame(text: &str, rows: usize, columns: usize) -> String {
    let lines: Vec<String> = text
        .lines()
        .take(rows)
        .map(|line| format!("{}{END_OF_LINE}", truncate_str(line, columns, "")))
        .collect();
    format!("{BEGIN}{}{END}", lines.join("\r\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_fits_its_terminal_colours_included() {
        let text = "\x1b[31mtoo long for this\x1b[0m\nshort\nbelow the edge\n";
        let shown = frame(text, 2, 8);
        let inside = shown.strip_prefix(BEGIN).unwrap().strip_suffix(END).unwrap();
        let lines: Vec<&str> = inside.split("\r\n").collect();
        assert_eq!(lines, [format!("\x1b[31mtoo long\x1b[0m{END_OF_LINE}"), format!("short{END_OF_LINE}")]);
    }
}
