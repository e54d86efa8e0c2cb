//! The little HTTP that joining needs: telling a join request from all others by its first line, reading it and its
//! answer.
//!
//! ```text
//! POST /.rb/<43 letters> HTTP/1.1\r\n      exactly so; every other line is none of ours
//! ```

use std::ops::Range;

use zeroize::Zeroizing;

use super::answer::MAX_ANSWER_BYTES;
use super::request::MAX_BODY_BYTES;
use super::secret::{JoinSecret, SECRET_LETTERS};
use crate::proto::onion::address::HsId;

/// What a join request begins with; the secret follows.
const BEGIN: &[u8] = b"POST /.rb/";
/// And what follows the secret.
const END: &[u8] = b" HTTP/1.1\r\n";
/// Bytes of a join request's first line.
pub const LINE_BYTES: usize = BEGIN.len() + SECRET_LETTERS + END.len();
/// Most bytes of a request's head. Ours has about 200; another client's few headers have room too.
pub const MAX_HEAD_BYTES: usize = 4 * 1024;
/// Most bytes that are read of a request whose path is right.
pub const MAX_REQUEST_BYTES: usize = MAX_HEAD_BYTES + MAX_BODY_BYTES;
/// Most bytes that are read of an answer. A target's page for an unknown path may be longer; then it is none of ours.
pub const MAX_RESPONSE_BYTES: usize = MAX_HEAD_BYTES + MAX_ANSWER_BYTES;
/// Most headers of a request or an answer.
const MAX_HEADERS: usize = 64;

/// What can be said of something that may not have arrived whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading<T> {
    /// More is needed.
    More,
    /// It is this.
    Done(T),
    /// It is something else, whatever may follow.
    Other,
}

/// An answer, as HTTP has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpAnswer {
    /// The status.
    pub status: u16,
    /// `Retry-After`, in seconds.
    pub retry_after_secs: Option<u64>,
    /// The body.
    pub body: Vec<u8>,
}

/// Whether a connection that begins with these bytes asks to join, as far as its first line tells; `Done` is what may be
/// the secret.
pub fn recognise(bytes: &[u8]) -> Reading<&str> {
    let line = &bytes[..bytes.len().min(LINE_BYTES)];
    let fits = |at: usize, byte: u8| match at.checked_sub(BEGIN.len()) {
        None => byte == BEGIN[at],
        Some(at) if at < SECRET_LETTERS => byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'),
        Some(at) => byte == END[at - SECRET_LETTERS],
    };
    if !line.iter().enumerate().all(|(at, &byte)| fits(at, byte)) {
        return Reading::Other;
    }
    if line.len() < LINE_BYTES {
        return Reading::More;
    }
    match str::from_utf8(&line[BEGIN.len()..BEGIN.len() + SECRET_LETTERS]) {
        Ok(secret) => Reading::Done(secret),
        Err(_) => Reading::Other,
    }
}

/// Where the body of a request is, once it is whole. What a sensible client would not send is `Other`.
pub fn read_request(bytes: &[u8]) -> Reading<Range<usize>> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let head = match request.parse(&bytes[..bytes.len().min(MAX_HEAD_BYTES)]) {
        Ok(httparse::Status::Complete(head)) => head,
        Ok(httparse::Status::Partial) if bytes.len() < MAX_HEAD_BYTES => return Reading::More,
        Ok(httparse::Status::Partial) | Err(_) => return Reading::Other,
    };
    let length = match length(request.headers) {
        Length::Known(length) if length <= MAX_BODY_BYTES => length,
        Length::Known(_) | Length::Unknown | Length::Strange => return Reading::Other,
    };
    if bytes.len() - head < length { Reading::More } else { Reading::Done(head..head + length) }
}

/// A request to the service's path, to be sent as it is.
pub fn write_request(address: &HsId, secret: &JoinSecret, body: &[u8]) -> Zeroizing<Vec<u8>> {
    let (path, length) = (secret.to_text(), body.len());
    // All room at once: a vector that grows leaves copies of the secret behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_HEAD_BYTES + length));
    for part in [BEGIN, path.as_bytes(), END] {
        bytes.extend_from_slice(part);
    }
    let headers = format!(
        "Host: {address}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    bytes.extend_from_slice(headers.as_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// An answer, to be sent as it is; the connection is to be closed behind it.
pub fn write_answer(answer: &HttpAnswer) -> Vec<u8> {
    let HttpAnswer { status, retry_after_secs, body } = answer;
    let reason = match status {
        200 => "OK",
        403 => "Forbidden",
        409 => "Conflict",
        410 => "Gone",
        429 => "Too Many Requests",
        _ => "Error",
    };
    let retry = retry_after_secs.map_or_else(String::new, |secs| format!("Retry-After: {secs}\r\n"));
    let head = format!(
        "HTTP/1.1 {status} {reason}\r\nContent-Type: application/json\r\n{retry}Content-Length: {}\r\nConnection: \
         close\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// An answer that has arrived, `ended` if nothing more will.
pub fn read_answer(bytes: &[u8], ended: bool) -> Reading<HttpAnswer> {
    let incomplete = || if ended { Reading::Other } else { Reading::More };
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let head = match response.parse(&bytes[..bytes.len().min(MAX_HEAD_BYTES)]) {
        Ok(httparse::Status::Complete(head)) => head,
        Ok(httparse::Status::Partial) if bytes.len() < MAX_HEAD_BYTES => return incomplete(),
        Ok(httparse::Status::Partial) | Err(_) => return Reading::Other,
    };
    let Some(status) = response.code else { return Reading::Other };
    let after = |header: &httparse::Header<'_>| str::from_utf8(header.value).ok()?.trim().parse().ok();
    let retry_after_secs = response
        .headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("retry-after"))
        .and_then(after);
    let rest = &bytes[head..];
    let body = match length(response.headers) {
        Length::Known(length) if length > MAX_ANSWER_BYTES => return Reading::Other,
        Length::Known(length) if rest.len() >= length => rest[..length].to_vec(),
        Length::Known(_) => return incomplete(),
        // An answer of ours always says how long it is.
        Length::Unknown | Length::Strange => Vec::new(),
    };
    Reading::Done(HttpAnswer { status, retry_after_secs, body })
}

/// What the headers say about the length of a body.
enum Length {
    Known(usize),
    Unknown,
    /// Twice, in pieces, or not a number.
    Strange,
}

fn length(headers: &[httparse::Header<'_>]) -> Length {
    let mut length = Length::Unknown;
    for header in headers {
        if header.name.eq_ignore_ascii_case("transfer-encoding") {
            return Length::Strange;
        }
        if header.name.eq_ignore_ascii_case("content-length") {
            let digits = header.value.iter().all(u8::is_ascii_digit);
            let number =
                str::from_utf8(header.value).ok().filter(|_| digits).and_then(|text| text.parse().ok());
            length = match (length, number) {
                (Length::Unknown, Some(number)) => Length::Known(number),
                _ => return Length::Strange,
            };
        }
    }
    length
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret() -> JoinSecret {
        JoinSecret::from_text(&format!("-_09azAZ{}", "A".repeat(SECRET_LETTERS - 8))).unwrap()
    }

    fn request(body: &[u8]) -> Vec<u8> {
        let address = HsId::from_address("25njqamcweflpvkl73j4szahhihoc4xt3ktcgjnpaingr5yhkenl5sid").unwrap();
        write_request(&address, &secret(), body).to_vec()
    }

    #[test]
    fn a_join_request_is_known_by_its_line_and_by_nothing_less() {
        let bytes = request(b"{}");
        for cut in 0..LINE_BYTES {
            assert_eq!(recognise(&bytes[..cut]), Reading::More, "{cut}");
        }
        assert_eq!(recognise(&bytes), Reading::Done(secret().to_text().as_str()));
        for at in 0..LINE_BYTES {
            let mut other = bytes.clone();
            other[at] = b'!';
            assert_eq!(recognise(&other), Reading::Other, "{at}");
            // Known at the first byte that differs, not only at the end.
            assert_eq!(recognise(&other[..=at]), Reading::Other, "{at}");
        }
        for line in ["post /.rb/", "GET /.rb/", "POST /.rc/", "POST //.rb/", "POST http://x/.rb/"] {
            assert_eq!(recognise(line.as_bytes()), Reading::Other, "{line}");
        }
    }

    #[test]
    fn a_request_is_read_once_it_is_whole() {
        let mut bytes = request(b"{\"a\":1}");
        let whole = bytes.len();
        for cut in LINE_BYTES..whole {
            assert_eq!(read_request(&bytes[..cut]), Reading::More, "{cut}");
        }
        assert_eq!(read_request(&bytes), Reading::Done(whole - 7..whole));
        bytes.extend_from_slice(b"GET / HTTP/1.1\r\n\r\n");
        assert_eq!(read_request(&bytes), Reading::Done(whole - 7..whole));
    }

    #[test]
    fn strange_requests_are_somebody_elses() {
        let line = String::from_utf8(request(b"")[..LINE_BYTES].to_vec()).unwrap();
        for rest in [
            "\r\n",
            "Content-Length: 1\r\nContent-Length: 1\r\n\r\nx",
            "Content-Length: +1\r\n\r\nx",
            "Content-Length: x\r\n\r\n",
            "Content-Length: 8193\r\n\r\n",
            "Content-Length: 99999999999999999999\r\n\r\n",
            "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\nx",
            "no header\r\n\r\n",
            &"x: y\r\n".repeat(MAX_HEADERS + 1),
            &format!("x: {}", "y".repeat(MAX_HEAD_BYTES)),
        ] {
            let bytes = format!("{line}{rest}");
            assert_eq!(read_request(bytes.as_bytes()), Reading::Other, "{rest}");
        }
        let most = format!("{line}Content-Length: 8192\r\n\r\n{}", "x".repeat(8192));
        assert!(matches!(read_request(most.as_bytes()), Reading::Done(body) if body.len() == MAX_BODY_BYTES));
    }

    #[test]
    fn an_answer_survives_the_wire() {
        for (status, retry_after_secs) in
            [(200, None), (403, None), (409, None), (410, None), (429, Some(17))]
        {
            let answer = HttpAnswer { status, retry_after_secs, body: b"{}".to_vec() };
            let bytes = write_answer(&answer);
            assert_eq!(read_answer(&bytes, false), Reading::Done(answer));
            for cut in 0..bytes.len() {
                assert_eq!(read_answer(&bytes[..cut], false), Reading::More, "{cut}");
                assert_eq!(read_answer(&bytes[..cut], true), Reading::Other, "{cut}");
            }
        }
    }

    #[test]
    fn a_targets_answer_is_read_as_far_as_it_matters() {
        let status = |text: &str| match read_answer(text.as_bytes(), false) {
            Reading::Done(answer) => Some((answer.status, answer.body.len())),
            Reading::More | Reading::Other => None,
        };
        assert_eq!(
            status("HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n"),
            Some((404, 0))
        );
        assert_eq!(status("HTTP/1.0 404 Not Found\r\n\r\n<html>"), Some((404, 0)));
        assert_eq!(status("HTTP/1.1 404 Not Found\r\nContent-Length: 9999999\r\n\r\n"), None);
        assert_eq!(status("SSH-2.0-OpenSSH\r\n"), None);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
            let _ = (recognise(&bytes), read_request(&bytes), read_answer(&bytes, false), read_answer(&bytes, true));
        }
    }
}
