//! `Set-Cookie` of a target as a client of the onion service can keep it (RFC 6265, and its successor's `SameSite`).
//!
//! A cookie's name and value are the application's and stay as they are.

use super::authority::Authority;

/// A cookie for the target made one for the onion service; `None` if it stays as it is.
///
/// The domain follows the name: `public` gives the one that takes its place, if it is a target's. Where the target is
/// spoken to over TLS and the onion service is not (`loses_tls`), `Secure` would make a client drop the cookie, so it goes, and with it what is only taken together with it: `SameSite=None` and
/// `Partitioned`. A cookie whose name promises that it is secure keeps all of it: only a browser that takes onion
/// services for secure can keep that one anyway.
pub fn for_client(
    cookie: &[u8],
    loses_tls: bool,
    public: impl Fn(&str) -> Option<String>,
) -> Option<Vec<u8>> {
    let mut parts = cookie.split(|byte| *byte == b';');
    let pair = parts.next()?;
    let in_clear = loses_tls && !promises_security(pair);
    let mut out = pair.to_vec();
    let mut changed = false;
    for part in parts {
        match attribute(part, in_clear, &public) {
            Attribute::Stays => out.extend([b";", part].concat()),
            Attribute::Goes => changed = true,
            Attribute::Becomes(domain) => {
                out.extend([b"; Domain=", domain.as_bytes()].concat());
                changed = true;
            }
        }
    }
    changed.then_some(out)
}

/// What becomes of an attribute.
enum Attribute {
    Stays,
    Goes,
    /// A domain, which becomes this one.
    Becomes(String),
}

fn attribute(part: &[u8], in_clear: bool, public: impl Fn(&str) -> Option<String>) -> Attribute {
    let (name, value) = match part.iter().position(|byte| *byte == b'=') {
        Some(equals) => (part[..equals].trim_ascii(), part[equals + 1..].trim_ascii()),
        None => (part.trim_ascii(), &b""[..]),
    };
    let is = |word: &str| name.eq_ignore_ascii_case(word.as_bytes());
    if in_clear
        && (is("secure") || is("partitioned") || (is("samesite") && value.eq_ignore_ascii_case(b"none")))
    {
        return Attribute::Goes;
    }
    if !is("domain") {
        return Attribute::Stays;
    }
    let domain = str::from_utf8(value).unwrap_or_default().to_ascii_lowercase();
    let domain = domain.strip_prefix('.').unwrap_or(&domain);
    public(domain).map_or(Attribute::Stays, Attribute::Becomes)
}

/// The public domain in the place of the target's, or of one below it.
pub fn public_domain(domain: &str, target: &Authority, public: &Authority) -> Option<String> {
    let labels = domain.strip_suffix(target.host())?;
    let below = labels.is_empty() || (labels.ends_with('.') && target.has_subdomains());
    below.then(|| public.with_subdomain(labels).host().to_owned())
}

/// Whether the name of a cookie promises that it is secure (RFC 6265bis section 4.1.3).
fn promises_security(pair: &[u8]) -> bool {
    let name = pair.trim_ascii_start();
    [&b"__Secure-"[..], b"__Host-"]
        .iter()
        .any(|prefix| name.get(..prefix.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(prefix)))
}

#[cfg(test)]
mod tests {
    use super::super::authority::tests::{PUBLIC, TARGET, http, https, named};
    use super::*;

    fn made(cookie: &str, target: &Authority) -> String {
        let cookie = named(cookie);
        let public = http(&format!("{PUBLIC}:8080"));
        let domain = |domain: &str| public_domain(domain, target, &public);
        let made = for_client(cookie.as_bytes(), target.is_https(), domain);
        made.map_or(cookie, |made| String::from_utf8(made).unwrap())
    }

    #[test]
    fn cookies_of_a_target_over_tls() {
        for (cookie, expected) in [
            ("a=b", "a=b"),
            ("a=b; Path=/; HttpOnly", "a=b; Path=/; HttpOnly"),
            ("a=b; Secure; Path=/", "a=b; Path=/"),
            ("a=b;secure", "a=b"),
            ("a=b; Domain=§; Secure", "a=b; Domain=¶"),
            ("a=b; domain=.§", "a=b; Domain=¶"),
            ("a=b; Domain=www.§", "a=b; Domain=www.¶"),
            ("a=b; Domain=other.onion", "a=b; Domain=other.onion"),
            ("a=b; Domain=x§", "a=b; Domain=x§"),
            ("a=b; SameSite=None; Secure", "a=b"),
            ("a=b; SameSite=Lax; Secure", "a=b; SameSite=Lax"),
            ("a=b; Secure; SameSite=Strict; Partitioned", "a=b; SameSite=Strict"),
            ("__Host-a=b; Secure; Path=/", "__Host-a=b; Secure; Path=/"),
            (
                "__secure-a=b; Secure; SameSite=None; Domain=§",
                "__secure-a=b; Secure; SameSite=None; Domain=¶",
            ),
            ("secure=domain; Max-Age=1", "secure=domain; Max-Age=1"),
            ("a=https://§/; Secure", "a=https://§/"),
            ("", ""),
            (";;", ";;"),
            ("a; Domain", "a; Domain"),
        ] {
            assert_eq!(made(cookie, &https(TARGET)), named(expected), "{cookie}");
        }
    }

    #[test]
    fn cookies_of_a_target_in_the_clear_only_change_their_domain() {
        for (cookie, expected) in [
            ("a=b; Secure; SameSite=None", "a=b; Secure; SameSite=None"),
            ("a=b; Secure; Domain=§", "a=b; Secure; Domain=¶"),
        ] {
            assert_eq!(made(cookie, &http(TARGET)), named(expected), "{cookie}");
        }
        let address = http("127.0.0.1:8080");
        assert_eq!(made("a=b; Domain=127.0.0.1", &address), named("a=b; Domain=¶"));
        assert_eq!(made("a=b; Domain=x.127.0.0.1", &address), "a=b; Domain=x.127.0.0.1");
    }
}
