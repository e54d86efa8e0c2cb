//! Asking for a passphrase on the terminal itself: not echoed, and not from or to a pipe.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;

use nix::sys::termios::{InputFlags, LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use super::passphrase::{MAX_BYTES, Passphrase, PassphraseError};

/// The terminal that the process was started from, wherever its standard streams lead.
const TERMINAL: &str = "/dev/tty";
/// How often a new passphrase may be mistyped before the operator should have a look at the keyboard.
const TRIES: usize = 3;

/// The operator's terminal.
#[derive(Debug)]
pub struct Terminal {
    file: File,
}

/// Why the terminal gave no passphrase. Echo is as it was before.
#[derive(Debug, thiserror::Error)]
pub enum TerminalError {
    /// The process has no terminal: it was started by a service manager, a scheduler, another program.
    #[error(
        "there is no terminal to ask for the passphrase, or to show a generated one ({0}); give one in a file, a \
         credential or a variable"
    )]
    None(io::Error),
    /// The terminal broke off.
    #[error("the terminal failed: {0}")]
    Io(#[from] io::Error),
    /// The operator pressed Ctrl-C, or ended the input.
    #[error("no passphrase was given")]
    Cancelled,
    /// The two did not match, each time.
    #[error("the two passphrases differ, {TRIES} times")]
    Different,
    /// What was typed is no passphrase.
    #[error(transparent)]
    Passphrase(#[from] PassphraseError),
}

impl Terminal {
    /// Opens the terminal the process was started from.
    pub fn open() -> Result<Self, TerminalError> {
        let flags = nix::libc::O_NOCTTY;
        let file = OpenOptions::new().read(true).write(true).custom_flags(flags).open(TERMINAL);
        file.map(|file| Self { file }).map_err(TerminalError::None)
    }

    /// Asks for the passphrase of something that is sealed already.
    pub fn ask(&mut self, question: &str) -> Result<Passphrase, TerminalError> {
        let line = self.read_line(question)?;
        let text = str::from_utf8(&line.0).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
        Ok(Passphrase::new(text)?)
    }

    /// Asks for a new passphrase, twice, until it is strong enough and both are the same.
    pub fn ask_new(&mut self, question: &str) -> Result<Passphrase, TerminalError> {
        for _ in 0..TRIES {
            let first = match self.ask(question).and_then(|given| Ok(given.strong_enough()?)) {
                Ok(first) => first,
                Err(TerminalError::Passphrase(error)) => {
                    self.say(&format!("{error}\r\n"))?;
                    continue;
                }
                Err(other) => return Err(other),
            };
            if self.ask("The same again: ").is_ok_and(|second| second.same_as(&first)) {
                return Ok(first);
            }
            self.say("The two are not the same.\r\n")?;
        }
        Err(TerminalError::Different)
    }

    /// Shows a generated passphrase: on the terminal and nowhere else, so that it gets into no log and no pipe.
    pub fn show(&mut self, before: &str, passphrase: &Passphrase) -> Result<(), TerminalError> {
        self.say(before)?;
        self.say(passphrase.expose())?;
        self.say("\r\n")
    }

    fn say(&mut self, text: &str) -> Result<(), TerminalError> {
        Ok(self.file.write_all(text.as_bytes()).and_then(|()| self.file.flush())?)
    }

    /// Reads one line without echo. Keys come one by one, so that Ctrl-C too passes through here and cannot leave the
    /// terminal silent.
    fn read_line(&mut self, question: &str) -> Result<Line, TerminalError> {
        let mut keyboard = self.file.try_clone()?;
        let _silence = Silence::begin(&self.file)?;
        self.say(question)?;
        let mut line = Line::new();
        loop {
            let mut key = [0];
            if keyboard.read(&mut key)? == 0 {
                return Err(TerminalError::Cancelled);
            }
            match line.take(key[0]) {
                Step::More => {}
                Step::Done => break,
                Step::Cancelled => {
                    self.say("\r\n")?;
                    return Err(TerminalError::Cancelled);
                }
            }
        }
        self.say("\r\n")?;
        Ok(line)
    }
}

/// While it lives, the terminal hands over each key at once and shows none.
struct Silence {
    file: File,
    before: Termios,
}

impl Silence {
    fn begin(terminal: &File) -> Result<Self, io::Error> {
        let file = terminal.try_clone()?;
        let before = tcgetattr(&file)?;
        let mut silent = before.clone();
        silent
            .local_flags
            .remove(LocalFlags::ECHO | LocalFlags::ECHONL | LocalFlags::ICANON | LocalFlags::ISIG);
        silent.input_flags.insert(InputFlags::ICRNL);
        // What was typed before the question was not meant for it.
        tcsetattr(&file, SetArg::TCSAFLUSH, &silent)?;
        Ok(Self { file, before })
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        // Nothing better is possible when the terminal is gone.
        let _ = tcsetattr(&self.file, SetArg::TCSADRAIN, &self.before);
    }
}

/// A line that is being typed. Its memory does not move, so that no copy of the passphrase is left behind.
struct Line(Zeroizing<Vec<u8>>);

/// What a key did.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    More,
    Done,
    Cancelled,
}

impl Line {
    fn new() -> Self {
        Self(Zeroizing::new(Vec::with_capacity(MAX_BYTES + 1)))
    }

    /// Takes one key: a letter, or what a terminal's line editing usually does.
    fn take(&mut self, key: u8) -> Step {
        match key {
            b'\r' | b'\n' => return Step::Done,
            0x03 => return Step::Cancelled,
            0x04 => return if self.0.is_empty() { Step::Cancelled } else { Step::Done },
            // Backspace takes a whole character.
            0x08 | 0x7f => while self.0.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {},
            0x15 => self.0.clear(),
            // One byte beyond the limit is kept, so that the excess is noticed.
            byte if self.0.len() <= MAX_BYTES => self.0.push(byte),
            _ => {}
        }
        Step::More
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(keys: &[u8]) -> (Vec<u8>, Step) {
        let mut line = Line::new();
        let step = keys.iter().map(|key| line.take(*key)).find(|step| *step != Step::More);
        (line.0.to_vec(), step.unwrap_or(Step::More))
    }

    #[test]
    fn keys_edit_the_line_as_usual() {
        let is = |keys: &[u8], line: &[u8], step| assert_eq!(typed(keys), (line.to_vec(), step), "{keys:?}");
        is(b"abc\n", b"abc", Step::Done);
        is(b"abc\r", b"abc", Step::Done);
        is("aö\x7f\x08\x08b\n".as_bytes(), b"b", Step::Done);
        is(b"wrong\x15right\n", b"right", Step::Done);
        is(b"abc\x04", b"abc", Step::Done);
        is(b"\x04", b"", Step::Cancelled);
        is(b"abc\x03", b"abc", Step::Cancelled);
    }

    #[test]
    fn a_line_that_is_too_long_does_not_move_and_is_noticed() {
        let (line, step) = typed(&[b'x'; 3 * MAX_BYTES]);
        assert_eq!((line.len(), step), (MAX_BYTES + 1, Step::More));
        assert!(matches!(Passphrase::new(str::from_utf8(&line).unwrap()), Err(PassphraseError::TooLong(_))));
    }
}
