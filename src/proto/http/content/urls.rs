//! Finds the URLs of the targets in a stream of bytes, and puts the onion service's in their place.
//!
//! A URL begins with `//`, percent-encoded or with JSON's backslashes or not, and what stands before it in the way of
//! `https:`. No more is held back than one scheme and one host, so the stream may be cut anywhere and be of any length.
//! All that is looked for is ASCII, so any encoding will do in which ASCII is ASCII.
//!
//! A style sheet is read in the same way, without its grammar: what looks like a URL in `url()`, `@import`, `image-set()`
//! or a selector is one, and one in a comment may be changed, too (`sourceMappingURL` is meant to be followed). There is
//! no longest token: a picture of megabytes inside `url(data:...)` passes in pieces.

use std::sync::Arc;

use super::super::head::{MAX_HOST_BYTES, is_name_byte};
use super::super::rewrite::Names;

/// What stands in front of a host, in all spellings that are recognised.
const SLASHES: [&[u8]; 3] = [b"//", b"%2F%2F", br"\/\/"];
const COLONS: [&[u8]; 2] = [b":", b"%3A"];
const SCHEMES: [&[u8]; 4] = [b"https", b"http", b"wss", b"ws"];
/// The longest of each together.
const MAX_SCHEME_BYTES: usize = 14;
/// The onion service's port, which is not written as a rule.
const DEFAULT_PORT: &[u8] = b":80";
/// Digits of a port.
const MAX_PORT_DIGITS: usize = 5;

/// A stream in which URLs are exchanged.
#[derive(Debug)]
pub struct Urls {
    names: Arc<Names>,
    /// Read and not given out: what may become a URL's beginning, or is one.
    held: Vec<u8>,
    place: Place,
}

/// Where in a URL the end of what is held stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In none, as far as one knows.
    Outside,
    /// In its host, which begins at this place of what is held.
    Host(usize),
    /// In its port, with so many digits so far.
    Port(usize),
}

impl Urls {
    /// A stream in which the targets' names become the onion service's.
    pub fn new(names: Arc<Names>) -> Self {
        Self { names, held: Vec::new(), place: Place::Outside }
    }

    /// Takes the next bytes, and gives out what is settled.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        for byte in bytes {
            self.take(*byte, out);
        }
        if self.place == Place::Outside {
            // All of what may become a scheme is ASCII, so no character is given out in two pieces.
            let end = self.held.iter().rev().take(MAX_SCHEME_BYTES);
            let scheme = end.take_while(|byte| byte.is_ascii_graphic()).count();
            self.release(self.held.len() - scheme, out);
        }
    }

    /// The stream has ended; another one may begin.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if self.place != Place::Outside {
            self.exchange(out);
        }
        self.release(self.held.len(), out);
    }

    /// A text as a whole; `None` if it stays as it is.
    pub fn text(names: &Arc<Names>, text: &str) -> Option<String> {
        let (mut urls, mut out) = (Self::new(Arc::clone(names)), Vec::new());
        urls.push(text.as_bytes(), &mut out);
        urls.finish(&mut out);
        String::from_utf8(out).ok().filter(|out| out != text)
    }

    fn take(&mut self, byte: u8, out: &mut Vec<u8>) {
        match self.place {
            Place::Outside => {}
            Place::Host(begin) => {
                let host = &self.held[begin..];
                match byte {
                    b'@' => return self.pass_user(out),
                    b':' if !host.is_empty() && !is_open(host) => {
                        self.held.push(byte);
                        self.place = Place::Port(0);
                        return;
                    }
                    _ if belongs(byte, host) && host.len() < MAX_HOST_BYTES => return self.held.push(byte),
                    // Of no host: another slash, perhaps.
                    _ if host.is_empty() => self.place = Place::Outside,
                    _ => _ = self.exchange(out),
                }
            }
            Place::Port(digits) if byte.is_ascii_digit() && digits < MAX_PORT_DIGITS => {
                self.held.push(byte);
                self.place = Place::Port(digits + 1);
                return;
            }
            Place::Port(_) if byte == b'@' => return self.pass_user(out),
            // The port goes with the name; what is glued to it must not become a part of the new name.
            Place::Port(_) => {
                if self.exchange(out) && is_name_byte(byte) {
                    out.extend_from_slice(DEFAULT_PORT);
                }
            }
        }
        self.held.push(byte);
        if matches!(byte, b'/' | b'F' | b'f')
            && let Some(length) = scheme_length(&self.held)
        {
            self.release(self.held.len() - length, out);
            self.place = Place::Host(length);
        }
    }

    /// What looked like a host was a user's name, before an `@`, and the host comes now.
    fn pass_user(&mut self, out: &mut Vec<u8>) {
        self.held.push(b'@');
        self.release(self.held.len(), out);
        self.place = Place::Host(0);
    }

    /// What is held is a URL's beginning and no more comes to it. Whether the onion service's name stands there now.
    fn exchange(&mut self, out: &mut Vec<u8>) -> bool {
        let other = self.names.for_client(&self.held);
        let exchanged = matches!(other, Ok(Some(_)));
        match other {
            Ok(None) => out.append(&mut self.held),
            Ok(Some(other)) => out.extend(other),
            // Without a name for the onion service: what is left is a path, which says the same.
            Err(_) => {}
        }
        self.held.clear();
        self.place = Place::Outside;
        exchanged
    }

    /// Gives out the first of what is held.
    fn release(&mut self, count: usize, out: &mut Vec<u8>) {
        out.extend(self.held.drain(..count));
    }
}

/// Whether a host in brackets has not ended.
fn is_open(host: &[u8]) -> bool {
    host.first() == Some(&b'[') && host.last() != Some(&b']')
}

/// Whether a byte continues a host.
fn belongs(byte: u8, host: &[u8]) -> bool {
    match host {
        [] => is_name_byte(byte) || byte == b'[',
        [b'[', .., b']'] => false,
        [b'[', ..] => byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.' | b']'),
        _ => is_name_byte(byte),
    }
}

/// The length of the slashes at the end of these bytes, with the scheme before them; `None` without slashes.
fn scheme_length(bytes: &[u8]) -> Option<usize> {
    let ending = |before: &[u8], words: &[&[u8]]| {
        words.iter().map(|word| word.len()).zip(words).find_map(|(length, word)| {
            let begin = before.len().checked_sub(length)?;
            before[begin..].eq_ignore_ascii_case(word).then_some(length)
        })
    };
    let slashes = ending(bytes, &SLASHES)?;
    let before = &bytes[..bytes.len() - slashes];
    let scheme = ending(before, &COLONS).and_then(|colon| {
        let word = ending(&before[..before.len() - colon], &SCHEMES)?;
        Some(colon + word)
    });
    Some(slashes + scheme.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::super::super::authority::Authority;
    use super::super::super::authority::tests::{PUBLIC, TARGET, http, https, named};
    use super::*;

    fn names(target: &Authority) -> Arc<Names> {
        Arc::new(Names::new(Some(target), &Arc::default(), Some(PUBLIC)))
    }

    fn exchanged(names: &Arc<Names>, text: &str) -> String {
        Urls::text(names, text).unwrap_or_else(|| text.to_owned())
    }

    #[test]
    fn urls_of_the_target_are_exchanged_and_nothing_else() {
        for (text, expected) in [
            ("https://§/a?b#c", "http://¶/a?b#c"),
            ("see https://§:443. And", "see http://¶:80. And"),
            ("https://www.§:8.§:81/", "http://www.¶:80.§:81/"),
            ("HTTPS://§", "http://¶"),
            ("//§/x", "//¶/x"),
            ("wss://www.§:81/x", "ws://www.¶/x"),
            ("https://§:", "http://¶:"),
            ("https://§:443443", "http://¶:803"),
            ("https:////§/x", "https:////¶/x"),
            ("/login?to=https%3a%2F%2f§%2Fx", "/login?to=http%3a%2F%2f¶%2Fx"),
            (r#"{"url":"https:\/\/§\/x"}"#, r#"{"url":"http:\/\/¶\/x"}"#),
            ("https://user@§/ //@§:81/ //a:1@§ //@@", "https://user@¶/ //@¶/ //a:1@¶ //@@"),
            ("https://§/a 1x, https://§/b 2x", "http://¶/a 1x, http://¶/b 2x"),
            ("https://§https://§//§", "https://§https://¶//¶"),
            ("url(https://§/a.png)", "url(http://¶/a.png)"),
            ("@import '//§/a.css' print;", "@import '//¶/a.css' print;"),
            ("a[href^=\"https://§/\"]{}", "a[href^=\"http://¶/\"]{}"),
            ("/*# sourceMappingURL=https://§/a.map */", "/*# sourceMappingURL=http://¶/a.map */"),
            ("§ and mailto:a@§", "§ and mailto:a@§"),
            ("§/a //other.example/§", "§/a //other.example/§"),
            ("https://§.example/", "https://§.example/"),
            ("https://x§/", "https://x§/"),
            ("http: / /§", "http: / /§"),
            ("//[::1]/ //[ //[::", "//[::1]/ //[ //[::"),
            ("% %2 %2F %2F%2F %2F%2", "% %2 %2F %2F%2F %2F%2"),
        ] {
            assert_eq!(exchanged(&names(&https(TARGET)), &named(text)), named(expected), "{text}");
        }
    }

    #[test]
    fn targets_that_are_addresses_or_names_of_the_clear_net() {
        for (target, text, expected) in [
            ("127.0.0.1:8080", "http://127.0.0.1:8080/ http://127.0.0.1/", "http://¶/ http://¶/"),
            ("127.0.0.1", "http://127.0.0.10/ http://7.127.0.0.1/", "http://127.0.0.10/ http://7.127.0.0.1/"),
            ("[::1]:8080", "http://[::1]:8080/ http://[::12]/", "http://¶/ http://[::12]/"),
            (
                "shop.example",
                "https://shop.example/ https://www.shop.example/",
                "http://¶/ https://www.shop.example/",
            ),
            ("a", "a //a /a", "a //¶ /a"),
        ] {
            assert_eq!(exchanged(&names(&http(target)), text), named(expected), "{text}");
        }
    }

    #[test]
    fn every_targets_name_is_exchanged() {
        let all = [https(TARGET), http("10.0.0.7:8080"), http("shop.example")];
        for target in all.iter().map(Some).chain([None]) {
            let names = Arc::new(Names::new(target, &all.clone().into(), Some(&named("www.¶:81"))));
            let text = named("http://10.0.0.7:8080/ //shop.example https://img.§/ //other.example");
            let expected = named("http://www.¶:81/ //www.¶:81 http://img.¶:81/ //other.example");
            assert_eq!(exchanged(&names, &text), expected, "{target:?}");
        }
    }

    #[test]
    fn without_a_public_name_a_path_is_left() {
        let names = Arc::new(Names::new(Some(&https(TARGET)), &Arc::default(), None));
        assert_eq!(exchanged(&names, &named("a https://§/b //c/d")), "a /b //c/d");
    }

    #[test]
    fn no_more_is_held_than_a_scheme_and_a_host() {
        let (mut urls, mut out) = (Urls::new(names(&https(TARGET))), Vec::new());
        for piece in ["//", &"a".repeat(100_000), "//[", &":".repeat(100_000), &"/".repeat(100_000)] {
            urls.push(piece.as_bytes(), &mut out);
            assert!(urls.held.len() <= MAX_SCHEME_BYTES + MAX_HOST_BYTES + 1 + MAX_PORT_DIGITS);
        }
    }
}
