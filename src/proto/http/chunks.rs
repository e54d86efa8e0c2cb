//! A body in chunks (RFC 9112 section 7.1), read byte by byte by the strictest reading of it.

use super::head::Refusal;

/// Digits of a chunk's size: 60 bits, so nothing overflows.
const MAX_SIZE_DIGITS: u8 = 15;
/// Most bytes of a chunk's extension, which nobody uses and everybody ignores.
const MAX_EXTENSION_BYTES: usize = 256;
/// Most bytes of all trailers together.
const MAX_TRAILER_BYTES: usize = 8 * 1024;

/// Where in its chunks a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunks {
    state: State,
    /// Bytes of the extension or the trailers so far.
    extra: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// In a chunk's size, after so many digits.
    Size {
        size: u64,
        digits: u8,
    },
    Extension {
        size: u64,
    },
    SizeEnd {
        size: u64,
    },
    /// So many bytes of a chunk are to come.
    Data {
        left: u64,
    },
    DataReturn,
    DataEnd,
    /// At the beginning of a trailer, or of the empty line behind the last one.
    Trailers,
    TrailerName,
    TrailerValue,
    TrailerEnd,
    LastEnd,
    Done,
}

impl Default for Chunks {
    fn default() -> Self {
        Self { state: State::Size { size: 0, digits: 0 }, extra: 0 }
    }
}

impl Chunks {
    /// Reads on; how many of the bytes belong to this body, fewer than all only if it has ended.
    pub fn read(&mut self, bytes: &[u8]) -> Result<usize, Refusal> {
        let mut at = 0;
        while at < bytes.len() && self.state != State::Done {
            if let State::Data { left } = &mut self.state {
                let some = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len() - at);
                *left -= some as u64;
                at += some;
                if *left == 0 {
                    self.state = State::DataReturn;
                }
            } else {
                self.state = self.step(bytes[at])?;
                at += 1;
            }
        }
        Ok(at)
    }

    /// Whether the body has ended.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// What one byte outside of a chunk's data leads to.
    fn step(&mut self, byte: u8) -> Result<State, Refusal> {
        Ok(match (self.state, byte) {
            (State::Size { size, digits }, _) if digits < MAX_SIZE_DIGITS && byte.is_ascii_hexdigit() => {
                let digit = char::from(byte).to_digit(16).map_or(0, u64::from);
                State::Size { size: size * 16 + digit, digits: digits + 1 }
            }
            (State::Size { size, digits: 1.. } | State::Extension { size }, b'\r') => State::SizeEnd { size },
            (State::Size { size, digits: 1.. }, b';') => {
                self.count(State::Extension { size }, MAX_EXTENSION_BYTES)?
            }
            (State::Extension { size }, _) if is_text(byte) => {
                self.count(State::Extension { size }, MAX_EXTENSION_BYTES)?
            }
            (State::SizeEnd { size: 0 }, b'\n') => {
                self.extra = 0;
                State::Trailers
            }
            (State::SizeEnd { size }, b'\n') => {
                self.extra = 0;
                State::Data { left: size }
            }
            (State::DataReturn, b'\r') => State::DataEnd,
            (State::DataEnd, b'\n') => State::Size { size: 0, digits: 0 },
            (State::Trailers, b'\r') => State::LastEnd,
            (State::Trailers | State::TrailerName, _) if is_token(byte) => {
                self.count(State::TrailerName, MAX_TRAILER_BYTES)?
            }
            (State::TrailerName, b':') => self.count(State::TrailerValue, MAX_TRAILER_BYTES)?,
            (State::TrailerValue, b'\r') => State::TrailerEnd,
            (State::TrailerValue, _) if is_text(byte) => {
                self.count(State::TrailerValue, MAX_TRAILER_BYTES)?
            }
            (State::TrailerEnd, b'\n') => State::Trailers,
            (State::LastEnd, b'\n') => State::Done,
            _ => return Err(Refusal::Malformed),
        })
    }

    fn count(&mut self, then: State, limit: usize) -> Result<State, Refusal> {
        self.extra += 1;
        if self.extra > limit { Err(Refusal::Malformed) } else { Ok(then) }
    }
}

/// A byte of a name (RFC 9110 section 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// A byte of a value (RFC 9110 section 5.5).
fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= 0x20 && byte != 0x7f)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads the bytes in pieces of this length; how many belong to the body, if it has ended.
    fn read(bytes: &[u8], piece: usize) -> Result<Option<usize>, Refusal> {
        let (mut chunks, mut at) = (Chunks::default(), 0);
        for part in bytes.chunks(piece) {
            at += chunks.read(part)?;
        }
        Ok(chunks.is_done().then_some(at))
    }

    #[test]
    fn bodies_in_chunks_end_where_they_end() {
        for body in [
            "0\r\n\r\n",
            "5\r\nhello\r\n0\r\n\r\n",
            "000A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n",
            "1;name=\"va lue\"\r\nx\r\n0;last\r\n\r\n",
            "2\r\n\r\n\r\n0\r\n\r\n",
            "0\r\nX-Sum: 1\r\nY:\r\n\r\n",
        ] {
            for next in ["", "GET / HTTP/1.1\r\n", "\r\n"] {
                for piece in [1, 2, 3, 100] {
                    let bytes = format!("{body}{next}");
                    assert_eq!(read(bytes.as_bytes(), piece), Ok(Some(body.len())), "{bytes:?} by {piece}");
                }
            }
            for cut in 0..body.len() {
                assert_eq!(read(&body.as_bytes()[..cut], 7), Ok(None), "{body:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for body in [
            "\r\n",
            "x\r\n",
            "0x5\r\nhello\r\n",
            "+5\r\n",
            "-5\r\n",
            " 5\r\n",
            "5 \r\n",
            "5\nhello",
            "5\r\rhello",
            "5\r\nhello0\r\n",
            "5\r\nhello\n0\r\n\r\n",
            "5\r\nhell\r\n0\r\n\r\n\r\n",
            "1000000000000000\r\n",
            "5;\n",
            "5;a\0\r\n",
            "0\r\n\n",
            "0\r\nX y: z\r\n\r\n",
            "0\r\n folded\r\n\r\n",
            "0\r\nX: y\n\r\n",
            "0\r\nX: \0\r\n",
            "0\r\n: y\r\n",
            "0\r\nGET / HTTP/1.1\r\n",
        ] {
            for piece in [1, 100] {
                assert_eq!(read(body.as_bytes(), piece), Err(Refusal::Malformed), "{body:?} by {piece}");
            }
        }
        let extension = format!("1;{}", "x".repeat(MAX_EXTENSION_BYTES));
        assert_eq!(read(extension.as_bytes(), 100), Err(Refusal::Malformed));
        let trailers = format!("0\r\n{}", "x: y\r\n".repeat(MAX_TRAILER_BYTES / 4 + 1));
        assert_eq!(read(trailers.as_bytes(), 100), Err(Refusal::Malformed));
    }

    #[test]
    fn the_largest_size_is_counted_whole() {
        let mut chunks = Chunks::default();
        assert_eq!(chunks.read(b"fffffffffffffff\r\n"), Ok(17));
        assert_eq!(chunks.state, State::Data { left: (1 << 60) - 1 });
    }
}
