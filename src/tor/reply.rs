//! Control protocol framing (control-spec, section 2.3): bytes in, whole replies out. No I/O.
//!
//! ```text
//! 250 OK                      one line
//! 250-version=0.4.9.11        more lines follow
//! 250+md/all=                 a data block follows, ended by "." on a line of its own
//! 650 HS_DESC CREATED …       an event: the same shapes, sent without being asked
//! ```

/// Longest line accepted, in bytes without its end. The longest lines tor sends are the `family` lines inside
/// microdescriptors; a relay's whole descriptor may have 20,000 bytes (`MAX_DESCRIPTOR_UPLOAD_SIZE`), so this is
/// three times the longest possible one, and what a peer without line ends can make us hold.
pub const MAX_LINE_BYTES: usize = 64 * 1024;

/// Largest reply accepted, in bytes. The largest real one is `GETINFO md/all`: about 1.2 kB for each of 8,000
/// relays and as much again for microdescriptors not yet forgotten, so 10 to 20 MB; the consensus has 3 MB.
/// This leaves room for the network to triple.
pub const MAX_REPLY_BYTES: usize = 64 * 1024 * 1024;

/// Most lines accepted in one reply; a data block counts as one. Everything large comes as a data block; what
/// comes in lines is `GETCONF` with a few dozen. Without this limit millions of six-byte lines would cost many
/// times their bytes in memory.
pub const MAX_REPLY_LINES: usize = 1024;

/// One complete reply or event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The three-digit status of its last line.
    pub status: u16,
    /// Its lines, at least one.
    pub lines: Vec<ReplyLine>,
}

impl Reply {
    /// Whether tor sent this by itself (6xx) and not as the answer to a command.
    pub fn is_event(&self) -> bool {
        is_event_status(self.status)
    }

    /// The text of the first line.
    pub fn text(&self) -> &str {
        self.lines.first().map_or("", |line| line.text.as_str())
    }
}

/// One line of a reply, without status and line end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplyLine {
    /// The text after the status. Bytes that are not UTF-8 are replaced.
    pub text: String,
    /// The data block that follows a `+` line: lines ended by `\n`, leading dots unescaped.
    pub data: Option<String>,
}

/// Why bytes are not the control protocol. The decoder is of no further use; the connection must be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FramingError {
    /// A line longer than [`MAX_LINE_BYTES`].
    #[error("a line of more than {MAX_LINE_BYTES} bytes")]
    LongLine,
    /// A reply larger than [`MAX_REPLY_BYTES`].
    #[error("a reply of more than {MAX_REPLY_BYTES} bytes")]
    LargeReply,
    /// A reply of more than [`MAX_REPLY_LINES`] lines.
    #[error("a reply of more than {MAX_REPLY_LINES} lines")]
    ManyLines,
    /// A line that does not begin with three digits and one of space, `-` and `+`.
    #[error("a line without a status code")]
    NoStatus,
    /// One reply has lines of an event and lines of an answer.
    #[error("an event inside an answer, or the reverse")]
    MixedStatus,
}

/// Cuts a stream of bytes into [`Reply`]s.
#[derive(Debug, Default)]
pub struct ReplyDecoder {
    /// The start of a line whose end has not arrived.
    line: Vec<u8>,
    /// The lines of the reply that is not complete.
    lines: Vec<ReplyLine>,
    /// The data block that is not complete.
    data: Option<Vec<u8>>,
    /// Whether the incomplete reply is an event.
    is_event: bool,
    /// Bytes of the incomplete reply.
    bytes: usize,
}

impl ReplyDecoder {
    /// A decoder at the beginning of a connection.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes bytes off `input` until a reply is complete. `None` means that all of `input` was taken and
    /// more is needed. After an error nothing more can be decoded.
    pub fn decode(&mut self, input: &mut &[u8]) -> Result<Option<Reply>, FramingError> {
        while let Some(end) = input.iter().position(|&byte| byte == b'\n') {
            let (head, rest) = input.split_at(end);
            *input = rest.get(1..).unwrap_or_default();
            let complete = if self.line.is_empty() {
                self.take_line(head)?
            } else {
                self.hold(head)?;
                let line = std::mem::take(&mut self.line);
                self.take_line(&line)?
            };
            if complete.is_some() {
                return Ok(complete);
            }
        }
        self.hold(input)?;
        *input = &[];
        Ok(None)
    }

    /// Keeps a part of a line.
    fn hold(&mut self, part: &[u8]) -> Result<(), FramingError> {
        // One more for the CR that a line of the greatest length may bring.
        if self.line.len() + part.len() > MAX_LINE_BYTES + 1 {
            return Err(FramingError::LongLine);
        }
        self.line.extend_from_slice(part);
        Ok(())
    }

    /// Handles one line, still with its CR.
    fn take_line(&mut self, line: &[u8]) -> Result<Option<Reply>, FramingError> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.len() > MAX_LINE_BYTES {
            return Err(FramingError::LongLine);
        }
        self.bytes += line.len() + 1;
        if self.bytes > MAX_REPLY_BYTES {
            return Err(FramingError::LargeReply);
        }
        match self.data.take() {
            Some(data) => {
                self.take_data_line(data, line);
                Ok(None)
            }
            None => self.take_reply_line(line),
        }
    }

    /// Handles one line inside a data block.
    fn take_data_line(&mut self, mut data: Vec<u8>, line: &[u8]) {
        if line == b"." {
            if let Some(last) = self.lines.last_mut() {
                last.data = Some(into_text(data));
            }
            return;
        }
        data.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
        data.push(b'\n');
        self.data = Some(data);
    }

    /// Handles one line that begins with a status.
    fn take_reply_line(&mut self, line: &[u8]) -> Result<Option<Reply>, FramingError> {
        let [a @ b'0'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', kind, text @ ..] = line else {
            return Err(FramingError::NoStatus);
        };
        let status = [a, b, c].into_iter().fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'));
        if self.lines.is_empty() {
            self.is_event = is_event_status(status);
        } else if self.is_event != is_event_status(status) {
            return Err(FramingError::MixedStatus);
        }
        if self.lines.len() == MAX_REPLY_LINES {
            return Err(FramingError::ManyLines);
        }
        self.lines.push(ReplyLine { text: into_text(text.to_vec()), data: None });
        match kind {
            b' ' => {
                self.bytes = 0;
                Ok(Some(Reply { status, lines: std::mem::take(&mut self.lines) }))
            }
            b'-' => Ok(None),
            b'+' => {
                self.data = Some(Vec::new());
                Ok(None)
            }
            _ => Err(FramingError::NoStatus),
        }
    }
}

/// Whether a status marks an asynchronous reply (control-spec, section 4: 6xx).
fn is_event_status(status: u16) -> bool {
    status / 100 == 6
}

/// Bytes as text. Tor sends ASCII where it matters to us; elsewhere (a contact line, a path) a replaced
/// letter does no harm, while a refused reply would.
fn into_text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes everything, given in pieces of `step` bytes.
    fn decode_all(bytes: &[u8], step: usize) -> Result<Vec<Reply>, FramingError> {
        let mut decoder = ReplyDecoder::new();
        let mut replies = Vec::new();
        for mut piece in bytes.chunks(step) {
            while let Some(reply) = decoder.decode(&mut piece)? {
                replies.push(reply);
            }
        }
        Ok(replies)
    }

    fn line(text: &str, data: Option<&str>) -> ReplyLine {
        ReplyLine { text: text.into(), data: data.map(Into::into) }
    }

    #[test]
    fn every_shape_is_decoded_however_it_is_cut() {
        let bytes = b"250 OK\r\n250-a=1\r\n250+b=\r\nx\r\n..y\r\n\r\n.\r\n250 OK\r\n650 SIGNAL RELOAD\r\n\
            650+HS_DESC_CONTENT q\r\n.\r\n650 OK\r\n552 \r\n";
        let expected = vec![
            Reply { status: 250, lines: vec![line("OK", None)] },
            Reply {
                status: 250,
                lines: vec![line("a=1", None), line("b=", Some("x\n.y\n\n")), line("OK", None)],
            },
            Reply { status: 650, lines: vec![line("SIGNAL RELOAD", None)] },
            Reply { status: 650, lines: vec![line("HS_DESC_CONTENT q", Some("")), line("OK", None)] },
            Reply { status: 552, lines: vec![line("", None)] },
        ];
        for step in 1..=bytes.len() {
            assert_eq!(decode_all(bytes, step).unwrap(), expected, "pieces of {step} bytes");
        }
    }

    #[test]
    fn a_status_inside_data_is_data() {
        let replies = decode_all(b"250+k=\r\n250 OK\r\n650 X\r\n.\r\n250 OK\r\n", 7).unwrap();
        assert_eq!(replies.len(), 1);
        assert_eq!(replies[0].lines[0].data.as_deref(), Some("250 OK\n650 X\n"));
    }

    #[test]
    fn what_is_not_the_protocol_is_refused() {
        for (bytes, error) in [
            (&b"HTTP/1.1 400 Bad Request\r\n"[..], FramingError::NoStatus),
            (b"\r\n", FramingError::NoStatus),
            (b"250\r\n", FramingError::NoStatus),
            (b"250_x\r\n", FramingError::NoStatus),
            (b"25 OK\r\n", FramingError::NoStatus),
            (b"250-a\r\n650 b\r\n", FramingError::MixedStatus),
            (b"650-a\r\n250 b\r\n", FramingError::MixedStatus),
        ] {
            assert_eq!(decode_all(bytes, 3), Err(error), "{}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn bytes_that_are_not_utf8_are_replaced() {
        let replies = decode_all(b"250-a=\xff\r\n250+b=\r\n\xfe\r\n.\r\n250 OK\r\n", 100).unwrap();
        assert_eq!(replies[0].lines[0].text, "a=\u{fffd}");
        assert_eq!(replies[0].lines[1].data.as_deref(), Some("\u{fffd}\n"));
    }

    #[test]
    fn a_line_may_be_as_long_as_the_limit_and_no_longer() {
        for (text_bytes, fits) in [(MAX_LINE_BYTES - 4, true), (MAX_LINE_BYTES - 3, false)] {
            let mut bytes = b"250 ".to_vec();
            bytes.resize(4 + text_bytes, b'x');
            bytes.extend_from_slice(b"\r\n");
            for step in [1000, bytes.len()] {
                assert_eq!(decode_all(&bytes, step).is_ok(), fits, "{text_bytes} in pieces of {step}");
            }
        }
    }

    #[test]
    fn an_endless_line_is_refused_before_it_is_held() {
        let mut decoder = ReplyDecoder::new();
        let piece = [b'x'; 10_000];
        let refused = (0..10).find(|_| decoder.decode(&mut &piece[..]).is_err());
        assert_eq!(refused, Some(6), "refused with the seventh piece");
        assert!(decoder.line.capacity() <= 2 * MAX_LINE_BYTES);
    }

    #[test]
    fn an_endless_reply_is_refused() {
        let lines = b"250-x\r\n".repeat(MAX_REPLY_LINES + 1);
        assert_eq!(decode_all(&lines, 4096), Err(FramingError::ManyLines));

        let mut decoder = ReplyDecoder::new();
        decoder.decode(&mut &b"250+x=\r\n"[..]).unwrap();
        let data = [vec![b'x'; MAX_LINE_BYTES - 1], b"\r\n".to_vec()].concat();
        let refused =
            (0..=MAX_REPLY_BYTES / MAX_LINE_BYTES).find_map(|_| decoder.decode(&mut &data[..]).err());
        assert_eq!(refused, Some(FramingError::LargeReply));
    }
}
