//! The head of a request, which can be read in one way only, or is refused (RFC 9112, sections 2 to 6).
//!
//! Stricter than the specification asks for where programs are known to differ: no bare line feed ends a line, a length
//! is digits and stands there once, and the only transfer coding is `chunked`.

use std::fmt;

/// Most bytes of a head, its request line included. Cookies of 4 KiB and a long path fit several times; it is what one
/// client can make us hold before anything is known about it.
pub const MAX_HEAD_BYTES: usize = 32 * 1024;
/// Most bytes of a request's target, as the usual servers have it.
pub const MAX_TARGET_BYTES: usize = 8 * 1024;
/// Most headers. Browsers send about twenty. As many as the library that reads them after us has room for on its stack.
pub const MAX_HEADERS: usize = 100;
/// Most bytes of a host with its port: a domain name has 253, a port five.
pub const MAX_HOST_BYTES: usize = 260;
/// Digits of the largest length that fits 64 bits for certain: 19 nines do.
const MAX_LENGTH_DIGITS: usize = 19;

/// Why a request is refused. Nothing of it has gone to the target, except the body so far where that is what is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It is not HTTP/1, or can be read in more than one way.
    Malformed,
    /// The method is not for a reverse proxy: CONNECT, TRACE.
    Method,
    /// Its head took too long to arrive.
    Slow,
    /// The target is longer than [`MAX_TARGET_BYTES`].
    LongTarget,
    /// It expects something other than `100-continue`.
    Expectation,
    /// The head is longer than [`MAX_HEAD_BYTES`], or has more than [`MAX_HEADERS`].
    LargeHead,
    /// A transfer coding other than `chunked`.
    Coding,
    /// A version other than 1.0 and 1.1.
    Version,
}

impl Refusal {
    /// The status that says so (RFC 9110 section 15.5, RFC 6585 section 5).
    pub fn status(self) -> u16 {
        match self {
            Self::Malformed => 400,
            Self::Method => 405,
            Self::Slow => 408,
            Self::LongTarget => 414,
            Self::Expectation => 417,
            Self::LargeHead => 431,
            Self::Coding => 501,
            Self::Version => 505,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "the request is malformed or can be read in two ways",
            Self::Method => "the method is not allowed",
            Self::Slow => "the request took too long to arrive",
            Self::LongTarget => "the request's target is too long",
            Self::Expectation => "the expectation cannot be met",
            Self::LargeHead => "the request's head is too large",
            Self::Coding => "the transfer coding is unknown",
            Self::Version => "the version of HTTP is unknown",
        })
    }
}

impl std::error::Error for Refusal {}

/// What follows a head (RFC 9112 section 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// So many bytes of body, often none.
    Length(u64),
    /// Chunks.
    Chunked,
}

/// Looks for the end of the head that begins these bytes, of which the first `seen` have been looked at before: its
/// length with the empty line, or `None` if it has not all arrived.
pub fn find_end(bytes: &[u8], seen: usize) -> Result<Option<usize>, Refusal> {
    for at in seen..bytes.len().min(MAX_HEAD_BYTES) {
        let after_return = at > 0 && bytes[at - 1] == b'\r';
        match bytes[at] {
            b'\n' if !after_return => return Err(Refusal::Malformed),
            b'\n' if bytes[..at - 1].ends_with(b"\r\n") => return Ok(Some(at + 1)),
            b'\n' => {}
            _ if after_return => return Err(Refusal::Malformed),
            b'\r' | b'\t' => {}
            0..0x20 | 0x7f => return Err(Refusal::Malformed),
            _ => {}
        }
    }
    if bytes.len() >= MAX_HEAD_BYTES { Err(too_large(bytes)) } else { Ok(None) }
}

/// What of a head is too large: the target, if the first line has not even ended.
fn too_large(bytes: &[u8]) -> Refusal {
    let begin = &bytes[..bytes.len().min(MAX_TARGET_BYTES)];
    if begin.contains(&b'\n') { Refusal::LargeHead } else { Refusal::LongTarget }
}

/// Checks a whole head, as [`find_end`] found it.
pub fn check(head: &[u8]) -> Result<Framing, Refusal> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(head) {
        // The parser and we must agree where it ends.
        Ok(httparse::Status::Complete(length)) if length == head.len() => {}
        Err(httparse::Error::TooManyHeaders) => return Err(Refusal::LargeHead),
        Err(httparse::Error::Version) => return Err(other_version(head)),
        Ok(_) | Err(_) => return Err(Refusal::Malformed),
    }
    let (Some(method), Some(target), Some(minor)) = (request.method, request.path, request.version) else {
        return Err(Refusal::Malformed);
    };
    if matches!(method, "CONNECT" | "TRACE") {
        return Err(Refusal::Method);
    }
    let fields = Fields::of(request.headers)?;
    check_host(minor, fields.host)?;
    check_target(method, target, fields.host)?;
    fields.framing(minor)
}

/// Whether a first line is right but for its version.
fn other_version(head: &[u8]) -> Refusal {
    let line =
        head.split(|byte| *byte == b'\r').find(|line| !line.is_empty() && *line != b"\n").unwrap_or(head);
    let mut words = line.split(|byte| *byte == b' ');
    match (words.next(), words.next(), words.next(), words.next()) {
        (Some(_), Some([_, ..]), Some([b'H', b'T', b'T', b'P', b'/', ..]), None) => Refusal::Version,
        _ => Refusal::Malformed,
    }
}

/// The headers that decide how a request is read, each of which may stand there once.
#[derive(Default)]
struct Fields<'a> {
    host: Option<&'a str>,
    length: Option<u64>,
    chunked: bool,
}

impl<'a> Fields<'a> {
    fn of(headers: &[httparse::Header<'a>]) -> Result<Self, Refusal> {
        let mut fields = Self::default();
        for header in headers {
            fields.add(header)?;
        }
        Ok(fields)
    }

    fn add(&mut self, header: &httparse::Header<'a>) -> Result<(), Refusal> {
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        if is("host") {
            let host = str::from_utf8(header.value).map_err(|_| Refusal::Malformed)?;
            return once(self.host.replace(host).is_none());
        }
        if is("content-length") {
            return once(self.length.replace(length(header.value)?).is_none());
        }
        if is("transfer-encoding") {
            if !header.value.eq_ignore_ascii_case(b"chunked") {
                return Err(Refusal::Coding);
            }
            return once(!std::mem::replace(&mut self.chunked, true));
        }
        if is("expect") && !header.value.eq_ignore_ascii_case(b"100-continue") {
            return Err(Refusal::Expectation);
        }
        // Programs behind a gateway interface cannot tell an underscore from a hyphen.
        once(!is("content_length") && !is("transfer_encoding"))
    }

    fn framing(&self, minor: u8) -> Result<Framing, Refusal> {
        match (self.length, self.chunked) {
            (Some(_), true) => Err(Refusal::Malformed),
            // HTTP/1.0 knows no chunks: what is between us could take them for the body itself.
            (None, true) if minor == 0 => Err(Refusal::Malformed),
            (None, true) => Ok(Framing::Chunked),
            (length, false) => Ok(Framing::Length(length.unwrap_or(0))),
        }
    }
}

fn once(so: bool) -> Result<(), Refusal> {
    if so { Ok(()) } else { Err(Refusal::Malformed) }
}

/// A length: digits and nothing else (RFC 9110 section 8.6).
fn length(value: &[u8]) -> Result<u64, Refusal> {
    let digits = (1..=MAX_LENGTH_DIGITS).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
    let text = str::from_utf8(value).ok().filter(|_| digits);
    text.and_then(|text| text.parse().ok()).ok_or(Refusal::Malformed)
}

/// HTTP/1.1 wants exactly one host, in a form that is nothing else (RFC 9112 section 3.2).
fn check_host(minor: u8, host: Option<&str>) -> Result<(), Refusal> {
    match host {
        Some(host) => once(is_host(host)),
        None => once(minor == 0),
    }
}

/// Whether this is `host` or `host:port`, with a name, an IPv4 address, or an IPv6 address in brackets.
pub fn is_host(text: &str) -> bool {
    let (host, port) = match text.rfind(':') {
        Some(colon) if !text[colon..].contains(']') => (&text[..colon], Some(&text[colon + 1..])),
        _ => (text, None),
    };
    let port = port.is_none_or(|port| !port.is_empty() && port.parse::<u16>().is_ok_and(|port| port != 0));
    let literal = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let host = match literal {
        Some(inner) => inner.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(is_name_byte),
    };
    port && host && text.len() <= MAX_HOST_BYTES && !text.contains('+')
}

/// Whether a byte can stand in a host's name as browsers write it.
pub fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_')
}

/// The target in one of the forms a proxy for one service is asked in (RFC 9112 section 3.2): a path, a whole URL that
/// names the same host, or `*` for OPTIONS.
fn check_target(method: &str, target: &str, host: Option<&str>) -> Result<(), Refusal> {
    if target.len() > MAX_TARGET_BYTES {
        return Err(Refusal::LongTarget);
    }
    once(target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#'))?;
    if target.starts_with('/') || (target == "*" && method == "OPTIONS") {
        return Ok(());
    }
    let named = authority_of(target);
    once(
        named.is_some_and(|named| is_host(named) && host.is_none_or(|host| host.eq_ignore_ascii_case(named))),
    )
}

/// The authority of a whole URL.
fn authority_of(target: &str) -> Option<&str> {
    const SCHEME: &str = "http://";
    let (scheme, rest) = target.split_at_checked(SCHEME.len())?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    scheme.eq_ignore_ascii_case(SCHEME).then(|| &rest[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of a whole head.
    fn read(head: &str) -> Result<Framing, Refusal> {
        let end = find_end(head.as_bytes(), 0)?.unwrap_or_else(|| panic!("not whole: {head:?}"));
        assert_eq!(end, head.len(), "{head:?}");
        check(head.as_bytes())
    }

    #[test]
    fn requests_that_can_be_read_in_one_way() {
        let (none, five) = (Framing::Length(0), Framing::Length(5));
        for (head, framing) in [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", none),
            ("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", none),
            ("GET / HTTP/1.0\r\n\r\n", none),
            ("GET /a?b=%20c&d=~ HTTP/1.1\r\nhOST:\ta.onion:8080 \r\nX:\r\n\r\n", none),
            ("GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", none),
            ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", none),
            ("GET http://A/x HTTP/1.1\r\nHost: a\r\n\r\n", none),
            ("GET HTTP://a:80?x HTTP/1.1\r\nHost: a:80\r\n\r\n", none),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n", five),
            ("POST / HTTP/1.0\r\nContent-Length: 005\r\n\r\n", five),
            ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", Framing::Chunked),
            ("POST / HTTP/1.1\r\nHost: a\r\ntransfer-encoding:Chunked\r\n\r\n", Framing::Chunked),
            ("PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 5\r\n\r\n", five),
            ("BREW /pot HTTP/1.1\r\nHost: a\r\nX: \u{fc}\r\n\r\n", none),
            ("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n", none),
        ] {
            assert_eq!(read(head), Ok(framing), "{head:?}");
        }
    }

    #[test]
    fn requests_that_can_be_read_in_two_ways_are_refused() {
        let with = |headers: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{headers}\r\n");
        for headers in [
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
            "Content-Length: 5\r\nContent-Length: 5\r\n",
            "Content-Length: 5\r\nContent-Length: 6\r\n",
            "Content-Length: 5, 5\r\n",
            "Content-Length: +5\r\n",
            "Content-Length: -5\r\n",
            "Content-Length: 0x5\r\n",
            "Content-Length: 5 5\r\n",
            "Content-Length: \r\n",
            "Content-Length: 5;\r\n",
            "Content-Length: \u{665}\r\n",
            "Content-Length: 99999999999999999999\r\n",
            "Content-Length : 5\r\n",
            "Content_Length: 5\r\n",
            "Transfer_Encoding: chunked\r\n",
            "Transfer-Encoding : chunked\r\n",
            " Transfer-Encoding: chunked\r\n",
            "X: y\r\n Transfer-Encoding: chunked\r\n",
            "X: y\r\n\tz\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Host: b\r\n",
            "Host: a\r\n",
            "No colon\r\n",
            ": no name\r\n",
            "Na me: x\r\n",
            "N\u{e4}me: x\r\n",
            "X[]: y\r\n",
        ] {
            assert_eq!(read(&with(headers)), Err(Refusal::Malformed), "{headers:?}");
        }
        for coding in ["gzip", "gzip, chunked", "chunked, chunked", "chunked;x=y", "identity", "xchunked", ""]
        {
            let head = with(&format!("Transfer-Encoding: {coding}\r\n"));
            assert_eq!(read(&head), Err(Refusal::Coding), "{coding:?}");
        }
        assert_eq!(read(&with("Expect: 200-ok\r\n")), Err(Refusal::Expectation));
    }

    #[test]
    fn first_lines_and_hosts_that_are_refused() {
        let malformed = Refusal::Malformed;
        for (line, refusal) in [
            ("GET / HTTP/1.2", Refusal::Version),
            ("GET / HTTP/2.0", Refusal::Version),
            ("GET / http/1.1", malformed),
            ("\r\nGET / HTTP/3", Refusal::Version),
            ("GET /", malformed),
            ("GET  / HTTP/1.1", malformed),
            ("GET /  HTTP/1.1", malformed),
            (" GET / HTTP/1.1", malformed),
            ("GET\t/ HTTP/1.1", malformed),
            ("G(T / HTTP/1.1", malformed),
            ("GET x HTTP/1.1", malformed),
            ("GET * HTTP/1.1", malformed),
            ("GET /#x HTTP/1.1", malformed),
            ("GET /\u{e4} HTTP/1.1", malformed),
            ("GET http://b/ HTTP/1.1", malformed),
            ("GET http://u@a/ HTTP/1.1", malformed),
            ("GET https://a/ HTTP/1.1", malformed),
            ("GET http:///x HTTP/1.1", malformed),
            ("CONNECT a:80 HTTP/1.1", Refusal::Method),
            ("TRACE / HTTP/1.1", Refusal::Method),
        ] {
            assert_eq!(read(&format!("{line}\r\nHost: a\r\n\r\n")), Err(refusal), "{line:?}");
        }
        for host in
            ["", "a b", "a/b", "u@a", "a:", "a:x", "a:0", "a:+80", "a:70000", "[::1", "[x]", "a,b", "\u{e4}"]
        {
            assert_eq!(read(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")), Err(malformed), "{host:?}");
        }
        assert_eq!(read("GET / HTTP/1.1\r\nX: y\r\n\r\n"), Err(malformed), "no host");
        assert_eq!(read("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), Err(malformed));
        assert_eq!(read("\r\n\r\n"), Err(malformed), "two empty lines");
    }

    #[test]
    fn line_ends_and_control_bytes_are_refused_where_they_stand() {
        for bad in [
            &b"GET / HTTP/1.1\nHost: a\r\n\r\n"[..],
            b"\nGET / HTTP/1.1\r\n",
            b"GET / HTTP/1.1\r\nHost: a\n\n",
            b"GET / HTTP/1.1\rHost: a\r\n\r\n",
            b"GET / HTTP/1.1\r\r\n",
            b"GET / HTTP/1.1\r\nX: a\0b",
            b"GET / HTTP/1.1\r\nX: a\x0bb",
            b"GET / HTTP/1.1\r\nX: a\x7fb",
            b"GET /\0",
            b"\x16\x03\x01\x02\x00\x01\x00",
        ] {
            assert_eq!(find_end(bad, 0), Err(Refusal::Malformed), "{}", bad.escape_ascii());
        }
    }

    #[test]
    fn what_is_too_large_is_said() {
        let path = "x".repeat(MAX_TARGET_BYTES);
        assert_eq!(read(&format!("GET /{path} HTTP/1.1\r\nHost: a\r\n\r\n")), Err(Refusal::LongTarget));
        assert!(read(&format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", &path[1..])).is_ok());
        assert_eq!(find_end(path.repeat(4).as_bytes(), 0), Err(Refusal::LongTarget));
        let many = |count: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "x: y\r\n".repeat(count));
        assert_eq!(read(&many(MAX_HEADERS)), Err(Refusal::LargeHead));
        assert!(read(&many(MAX_HEADERS - 1)).is_ok());
        let long = format!("GET / HTTP/1.1\r\nX: {}", "y".repeat(MAX_HEAD_BYTES));
        assert_eq!(find_end(long.as_bytes(), 0), Err(Refusal::LargeHead));
        assert_eq!(find_end(&long.as_bytes()[..MAX_HEAD_BYTES - 1], 0), Ok(None));
    }

    #[test]
    fn a_head_is_found_in_whatever_pieces_it_comes() {
        let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        for cut in 0..head.len() {
            assert_eq!(find_end(&head[..cut], 0), Ok(None), "{cut}");
            assert_eq!(find_end(head, cut), Ok(Some(head.len())), "{cut}");
        }
        assert_eq!(find_end(&[&head[..], b"GET /"].concat(), 0), Ok(Some(head.len())));
    }
}
