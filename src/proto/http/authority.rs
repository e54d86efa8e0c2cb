//! The two names of one service, the target's own and the onion service's, and exchanging them in text.
//!
//! A name is found wherever it stands as a whole host: in a URL, behind `//`, alone, or percent-encoded in a query. The
//! scheme before it and the port behind it belong to it and are exchanged with it. Below an onion address any number of
//! labels may stand (`www.….onion`); they are the same for both and stay.

use memchr::memchr2_iter;

use super::head::{MAX_HOST_BYTES, is_host, is_name_byte};

/// Longest text that an exchange may lead to, twice the longest head: a text in which one name stands hundreds of times
/// is an attempt to make us hold more than we were sent.
pub const MAX_TEXT_BYTES: usize = 64 * 1024;

/// How a side is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// In the clear, as inside an onion connection.
    Http,
    /// Over TLS.
    Https,
}

/// One side's name: a host, and the port if it is not the scheme's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    scheme: Scheme,
    /// In lower case.
    host: String,
    port: Option<u16>,
}

/// An exchange would have led to more than [`MAX_TEXT_BYTES`]. Nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong;

impl Authority {
    /// Takes a `host` or `host:port`; `None` if it is neither.
    pub fn new(scheme: Scheme, text: &str) -> Option<Self> {
        if !is_host(text) {
            return None;
        }
        let (host, port) = match text.rfind(':') {
            Some(colon) if !text[colon..].contains(']') => (&text[..colon], text[colon + 1..].parse().ok()),
            _ => (text, None),
        };
        let own = match scheme {
            Scheme::Http => 80,
            Scheme::Https => 443,
        };
        Some(Self { scheme, host: host.to_ascii_lowercase(), port: port.filter(|port| *port != own) })
    }

    /// The host alone.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether it is spoken to over TLS.
    pub fn is_https(&self) -> bool {
        self.scheme == Scheme::Https
    }

    /// As a `Host` header has it.
    pub fn text(&self) -> String {
        match self.port {
            Some(port) => format!("{}:{port}", self.host),
            None => self.host.clone(),
        }
    }

    /// Whether labels in front of it mean the same service.
    pub fn has_subdomains(&self) -> bool {
        self.host.len() > ONION.len() && self.host.ends_with(ONION)
    }

    /// For an onion address with labels in front of it: the address alone, and the labels with their last dot.
    pub fn split_subdomain(self) -> (Self, String) {
        let Some(letters) = self.host.strip_suffix(ONION) else { return (self, String::new()) };
        let (labels, base) = self.host.split_at(letters.rfind('.').map_or(0, |dot| dot + 1));
        let (labels, host) = (labels.to_owned(), base.to_owned());
        (Self { host, ..self }, labels)
    }

    /// The same with labels in front of it, as far as there can be any.
    #[must_use]
    pub fn with_subdomain(&self, labels: &str) -> Self {
        let host = format!("{labels}{}", self.host);
        let fits = self.has_subdomains() && host.len() < MAX_HOST_BYTES;
        if fits { Self { host, ..self.clone() } } else { self.clone() }
    }
}

/// What the host of every onion service ends with.
const ONION: &str = ".onion";

/// Exchanges the name `from` for the name `to` wherever it stands in a text; `None` if it does not.
pub fn exchange(text: &[u8], from: &Authority, to: &Authority) -> Result<Option<Vec<u8>>, TooLong> {
    let mut out = Vec::new();
    let mut kept = 0;
    let mut at = 0;
    while let Some(found) = find(text, at, from) {
        let place = Place::around(text, kept, found, from);
        out.extend_from_slice(&text[kept..place.begin]);
        place.write(text, to, &mut out);
        if out.len() > MAX_TEXT_BYTES {
            return Err(TooLong);
        }
        (kept, at) = (place.end, place.end);
    }
    if kept == 0 {
        return Ok(None);
    }
    out.extend_from_slice(&text[kept..]);
    if out.len() > MAX_TEXT_BYTES { Err(TooLong) } else { Ok(Some(out)) }
}

/// Where the host next stands as a whole, from `from` on.
fn find(text: &[u8], from: usize, name: &Authority) -> Option<usize> {
    let host = name.host.as_bytes();
    let last = text.len().checked_sub(host.len())?;
    let first = *host.first()?;
    // Nearly no byte is a host's first one, and nearly no text has the host: others are passed over many at a time.
    let places = memchr2_iter(first, first.to_ascii_uppercase(), text.get(from..=last)?);
    places.map(|place| from + place).find(|&at| {
        text[at..at + host.len()].eq_ignore_ascii_case(host)
            && begins(&text[..at], name)
            && ends(&text[at + host.len()..])
    })
}

/// Whether a host can begin behind this.
fn begins(before: &[u8], name: &Authority) -> bool {
    match before {
        [.., b'.'] => name.has_subdomains(),
        // The end of a percent-encoded byte, which looks like letters.
        [.., b'%', high, low] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => true,
        [.., byte] => !is_name_byte(*byte),
        [] => true,
    }
}

/// Whether a host can end before this.
fn ends(after: &[u8]) -> bool {
    match after {
        [] | [b'.'] => true,
        // Behind the root's dot, if there is one.
        [b'.', byte, ..] | [byte, ..] => !is_name_byte(*byte),
    }
}

/// Where a name stands in a text, with all that belongs to it.
struct Place {
    begin: usize,
    /// The end of the scheme's word; `begin` if there is none.
    scheme_end: usize,
    /// Whether the scheme is one of a WebSocket.
    socket: bool,
    /// Where the host begins, behind the labels.
    host: usize,
    /// Where the labels begin.
    labels: usize,
    end: usize,
}

impl Place {
    /// Around the host that stands there; what lies before `kept` belongs to the name before.
    fn around(text: &[u8], kept: usize, host: usize, name: &Authority) -> Self {
        let labels = if name.has_subdomains() { labels_begin(text, host).max(kept) } else { host };
        let (begin, scheme_end, socket) = scheme_before(text, labels);
        let end = host + name.host.len();
        // The root's dot says nothing (RFC 3986 section 3.2.2).
        let end = end + usize::from(text[end..].starts_with(b"."));
        Self { begin, scheme_end, socket, host, labels, end: end + port_length(&text[end..]) }
    }

    /// The other name, in the same form.
    fn write(&self, text: &[u8], to: &Authority, out: &mut Vec<u8>) {
        if self.begin < self.scheme_end {
            out.extend_from_slice(match (self.socket, to.is_https()) {
                (false, false) => b"http",
                (false, true) => b"https",
                (true, false) => b"ws",
                (true, true) => b"wss",
            });
        }
        out.extend_from_slice(&text[self.scheme_end..self.labels]);
        if to.has_subdomains() {
            out.extend_from_slice(&text[self.labels..self.host]);
        }
        out.extend_from_slice(to.text().as_bytes());
    }
}

/// Where the labels in front of a host begin: `*.` and names, and nothing that is percent-encoded.
fn labels_begin(text: &[u8], host: usize) -> usize {
    if host == 0 || text[host - 1] != b'.' {
        return host;
    }
    let part = |byte: u8| is_name_byte(byte) || byte == b'*';
    let begin = text[..host].iter().rposition(|byte| !part(*byte)).map_or(0, |at| at + 1);
    match &text[..begin] {
        // `%2F` before a name: two of what look like its letters are the encoding's.
        [.., b'%'] if host - begin > 2 => begin + 2,
        _ => begin,
    }
}

/// The beginning and end of the scheme's word in front of a host, and whether it is a WebSocket's.
fn scheme_before(text: &[u8], host: usize) -> (usize, usize, bool) {
    // The last one is JSON's.
    for slashes in [&b"://"[..], b"%3A%2F%2F", b":%2F%2F", b"%3A//", br":\/\/"] {
        let Some(end) = host.checked_sub(slashes.len()) else { continue };
        if !text[end..host].eq_ignore_ascii_case(slashes) {
            continue;
        }
        for (word, socket) in [(&b"https"[..], false), (b"http", false), (b"wss", true), (b"ws", true)] {
            if let Some(begin) = end.checked_sub(word.len())
                && text[begin..end].eq_ignore_ascii_case(word)
            {
                return (begin, end, socket);
            }
        }
    }
    (host, host, false)
}

/// The length of `:port` at the beginning of a text, or of `:*` as a policy may have it.
fn port_length(after: &[u8]) -> usize {
    /// Digits of a port.
    const MAX_DIGITS: usize = 5;
    let [b':', digits @ ..] = after else { return 0 };
    if digits.starts_with(b"*") {
        return 2;
    }
    let digits = digits.iter().take(MAX_DIGITS).take_while(|byte| byte.is_ascii_digit()).count();
    if digits == 0 { 0 } else { 1 + digits }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) const TARGET: &str =
        "pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscryd.onion";
    pub(in super::super) const PUBLIC: &str =
        "25njqamcweflpvkl73j4szahhihoc4xt3ktcgjnpaingr5yhkenl5sid.onion";

    pub(in super::super) fn http(text: &str) -> Authority {
        Authority::new(Scheme::Http, text).unwrap()
    }

    pub(in super::super) fn https(text: &str) -> Authority {
        Authority::new(Scheme::Https, text).unwrap()
    }

    fn exchanged(text: &str, from: &Authority, to: &Authority) -> String {
        let out = exchange(text.as_bytes(), from, to).unwrap().unwrap_or_else(|| text.as_bytes().to_vec());
        String::from_utf8(out).unwrap()
    }

    /// Replaces § by the target's address and ¶ by the public one.
    pub(in super::super) fn named(text: &str) -> String {
        text.replace('§', TARGET).replace('¶', PUBLIC)
    }

    #[test]
    fn a_name_is_exchanged_wherever_it_stands_as_a_whole() {
        for (text, expected) in [
            ("https://§/a?b", "http://¶:8080/a?b"),
            ("http://§:81", "http://¶:8080"),
            ("HTTPS://§", "http://¶:8080"),
            ("wss://§/x", "ws://¶:8080/x"),
            ("//§/x", "//¶:8080/x"),
            ("§", "¶:8080"),
            ("§.", "¶:8080"),
            ("http://§./a", "http://¶:8080/a"),
            ("https://www.§/", "http://www.¶:8080/"),
            ("*.§", "*.¶:8080"),
            ("https://*.a-b.§:*", "http://*.a-b.¶:8080"),
            ("0; url=https://§/", "0; url=http://¶:8080/"),
            ("<https://§/a>; rel=x, <//§/b>", "<http://¶:8080/a>; rel=x, <//¶:8080/b>"),
            ("/login?to=https%3A%2F%2F§%2Fx", "/login?to=http%3A%2F%2F¶:8080%2Fx"),
            ("/login?to=https%3a%2f%2fwww.§%2Fx", "/login?to=http%3a%2f%2fwww.¶:8080%2Fx"),
            (r#"{"url":"https:\/\/§\/x"}"#, r#"{"url":"http:\/\/¶:8080\/x"}"#),
            ("mailto:a@§", "mailto:a@¶:8080"),
            ("§:53.§", "¶:8080.¶:8080"),
            ("ftp://§/", "ftp://¶:8080/"),
            ("x§", "x§"),
            ("-§", "-§"),
            ("§x", "§x"),
            ("§.example", "§.example"),
            ("https://other.onion/", "https://other.onion/"),
            ("", ""),
        ] {
            let (from, to) = (https(TARGET), http(&named("¶:8080")));
            assert_eq!(exchanged(&named(text), &from, &to), named(expected), "{text}");
            let upper = named(text).replace(TARGET, &TARGET.to_ascii_uppercase());
            let kept = named(expected).replace(TARGET, &TARGET.to_ascii_uppercase());
            assert_eq!(exchanged(&upper, &from, &to), kept, "{text} in upper case");
        }
    }

    #[test]
    fn addresses_have_no_subdomains() {
        let (from, to) = (http("127.0.0.1:8080"), http(PUBLIC));
        for (text, expected) in [
            ("http://127.0.0.1:8080/a", "http://¶/a"),
            ("http://127.0.0.1/a", "http://¶/a"),
            ("7.127.0.0.1", "7.127.0.0.1"),
            ("127.0.0.11", "127.0.0.11"),
            ("127.0.0.1.example", "127.0.0.1.example"),
        ] {
            assert_eq!(exchanged(text, &from, &to), named(expected), "{text}");
        }
        assert_eq!(exchanged(&named("http://www.¶/x"), &to, &from), "http://127.0.0.1:8080/x");
        assert_eq!(exchanged("http://[::1]:80/", &http("[::1]"), &to), named("http://¶/"));
    }

    #[test]
    fn a_text_does_not_grow_without_bound() {
        let (from, to) = (http("a"), http(PUBLIC));
        assert_eq!(exchange("a ".repeat(20_000).as_bytes(), &from, &to), Err(TooLong));
        assert_eq!(exchange(&vec![b'x'; MAX_TEXT_BYTES + 1], &from, &to), Ok(None));
        assert_eq!(exchange(&[b"a ", &vec![b'x'; MAX_TEXT_BYTES][..]].concat(), &from, &to), Err(TooLong));
    }

    #[test]
    fn names_are_split_and_put_together() {
        let (base, labels) = http(&named("www.a.¶:81")).split_subdomain();
        assert_eq!((base.text(), labels.as_str()), (named("¶:81"), "www.a."));
        assert_eq!(https(TARGET).with_subdomain(&labels).text(), named("www.a.§"));
        assert_eq!(http("127.0.0.1").with_subdomain(&labels).text(), "127.0.0.1");
        assert_eq!(http("www.example.org").split_subdomain(), (http("www.example.org"), String::new()));
        assert_eq!((http("A:80").text(), https("a:80").text()), ("a".to_owned(), "a:80".to_owned()));
        assert_eq!(Authority::new(Scheme::Http, "a/b"), None);
    }
}
