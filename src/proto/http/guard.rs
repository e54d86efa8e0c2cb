//! Every byte of a client, looked at before the HTTP library gets it: only requests pass that can be read in one way.
//!
//! The library reads the same bytes again, more leniently. As all it gets is what the strict reading let through, both
//! agree where each request ends, which `tests/fuzz` holds against each other.

use super::chunks::Chunks;
use super::head::{Framing, Refusal, check, find_end};

/// The method of a request that stands in the place of a refused one. No client can send it.
const REFUSED: &str = "REFUSED";

/// Where in a client's requests we are.
#[derive(Debug)]
pub struct Guard(State);

#[derive(Debug)]
enum State {
    /// In a head, of which the first `seen` bytes have been looked at.
    Head { seen: usize },
    /// In a body of known length.
    Length { left: u64 },
    /// In a body in chunks.
    Chunked(Chunks),
}

impl Default for Guard {
    fn default() -> Self {
        Self(State::Head { seen: 0 })
    }
}

impl Guard {
    /// How many of these bytes may pass on, at most up to the end of a head or a body. None may while a head has not all
    /// arrived: then the same bytes are to be shown again, with those that follow.
    pub fn pass(&mut self, bytes: &[u8]) -> Result<usize, Refusal> {
        match &mut self.0 {
            State::Head { seen } => {
                let Some(end) = find_end(bytes, *seen)? else {
                    *seen = bytes.len();
                    return Ok(0);
                };
                self.0 = match check_own(&bytes[..end])? {
                    Framing::Length(0) => State::Head { seen: 0 },
                    Framing::Length(left) => State::Length { left },
                    Framing::Chunked => State::Chunked(Chunks::default()),
                };
                Ok(end)
            }
            State::Length { left } => {
                let some = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= some as u64;
                if *left == 0 {
                    self.0 = State::Head { seen: 0 };
                }
                Ok(some)
            }
            State::Chunked(chunks) => {
                let some = chunks.read(bytes)?;
                if chunks.is_done() {
                    self.0 = State::Head { seen: 0 };
                }
                Ok(some)
            }
        }
    }

    /// Whether the next byte belongs to a head.
    pub fn is_in_head(&self) -> bool {
        matches!(self.0, State::Head { .. })
    }
}

/// A head that does not speak for us either.
fn check_own(head: &[u8]) -> Result<Framing, Refusal> {
    let begin = head.strip_prefix(b"\r\n").unwrap_or(head);
    if begin.starts_with(REFUSED.as_bytes()) { Err(Refusal::Method) } else { check(head) }
}

/// What the library is given in the place of a request that is refused: so its answer comes in its turn, behind those to
/// the requests before it, and the connection ends with it.
pub fn stand_in(refusal: Refusal) -> Vec<u8> {
    format!("{REFUSED} /{} HTTP/1.0\r\n\r\n", refusal.status()).into_bytes()
}

/// The status to answer with, if a request of this method and path stands in the place of a refused one.
pub fn refused_status(method: &str, path: &str) -> Option<u16> {
    let status = path.strip_prefix('/').filter(|_| method == REFUSED)?;
    Some(status.parse().unwrap_or_else(|_| Refusal::Malformed.status()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What passes of a stream that comes in pieces of this length, one entry for each part that passed at once.
    fn passed(stream: &[u8], piece: usize) -> (Vec<u8>, Option<Refusal>) {
        let (mut guard, mut held, mut out) = (Guard::default(), Vec::new(), Vec::new());
        for part in stream.chunks(piece) {
            held.extend_from_slice(part);
            loop {
                match guard.pass(&held) {
                    Ok(0) => break,
                    Ok(some) => out.extend(held.drain(..some)),
                    Err(refusal) => return (out, Some(refusal)),
                }
            }
        }
        (out, None)
    }

    const GOOD: &str = "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc\
        GET /b HTTP/1.1\r\nHost: a\r\n\r\n\
        POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nGET\r\n0\r\nX: y\r\n\r\n\
        PUT /d HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";

    #[test]
    fn good_requests_pass_in_whatever_pieces_they_come() {
        for piece in 1..GOOD.len() {
            assert_eq!(passed(GOOD.as_bytes(), piece), (GOOD.as_bytes().to_vec(), None), "{piece}");
        }
    }

    #[test]
    fn what_is_refused_does_not_pass_but_what_came_before_does() {
        for bad in [
            "GET / HTTP/1.1\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
            "REFUSED /200 HTTP/1.1\r\nHost: a\r\n\r\n",
            "\r\nREFUSED /200 HTTP/1.1\r\nHost: a\r\n\r\n",
            "hello\n",
        ] {
            for piece in [1, 7, 1000] {
                let (out, refusal) = passed(format!("{GOOD}{bad}{GOOD}").as_bytes(), piece);
                assert_eq!(out, GOOD.as_bytes(), "{bad:?}");
                assert!(refusal.is_some(), "{bad:?}");
            }
        }
    }

    #[test]
    fn the_body_of_one_request_is_not_the_next_request() {
        let smuggled = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 30\r\n\r\nGET /admin HTTP/1.1\r\nHost: a\r\n\r\nGET";
        assert_eq!(passed(smuggled.as_bytes(), 5).1, None);
        let early =
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nGET /admin HTTP/1.1\r\n";
        assert_eq!(passed(early.as_bytes(), 5).1, Some(Refusal::Malformed));
    }

    #[test]
    fn a_refusal_is_told_through_the_library() {
        let said = String::from_utf8(stand_in(Refusal::LargeHead)).unwrap();
        assert_eq!(said, "REFUSED /431 HTTP/1.0\r\n\r\n");
        assert_eq!(refused_status("REFUSED", "/431"), Some(431));
        assert_eq!(refused_status("GET", "/431"), None);
        assert_eq!(check(said.as_bytes()), Ok(Framing::Length(0)), "the library can read it");
        assert_eq!(passed(said.as_bytes(), 100).1, Some(Refusal::Method), "but no client can send it");
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_alike_whole_or_in_pieces(
            bytes in proptest::collection::vec(proptest::sample::select(&b"GET / HTP1.\r\n:Host0a5;X\0"[..]), 0..200),
            piece in 1usize..20,
        ) {
            let (whole, pieces) = (passed(&bytes, bytes.len().max(1)), passed(&bytes, piece));
            proptest::prop_assert_eq!(whole.1, pieces.1);
            // In a body that turns out to be bad, its beginning has passed when it came in pieces.
            proptest::prop_assert!(pieces.0.starts_with(&whole.0));
        }
    }
}
