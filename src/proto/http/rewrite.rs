//! What changes in the headers on their way: the names of both sides, and what would be wrong on the other one.
//!
//! | header | what becomes of it |
//! |---|---|
//! | request: `Host` | the target's name |
//! | request: `Origin`, `Referer`, `Destination` | the target's name where the onion service's stands |
//! | request: `Expect`, `Forwarded`, `X-Forwarded-*`, `X-Real-IP` and the like, `Proxy` | removed: answered here; made up by the client |
//! | response: `Set-Cookie` | see [`super::cookie`] |
//! | response: `Strict-Transport-Security`, `Public-Key-Pins`, `Expect-CT`, `Alt-Svc`, `Onion-Location` | removed: not true, or not wanted, of an onion service |
//! | response: `Content-Security-Policy` | without `upgrade-insecure-requests`, and as every other header |
//! | response: `Location`, `Content-Location`, `Refresh`, `Link`, `Access-Control-Allow-Origin`, and every other header but `ETag` | the onion service's name where the target's stands |
//!
//! The target's name is any that any of the targets has: one may tell of another.
//!
//! There is no `Via` (RFC 9110 section 7.6.3 asks for one): it would tell the onion service apart from its target.

use std::sync::Arc;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::authority::{Authority, Scheme, TooLong, exchange};
use super::cookie;
use super::hop::{clean_trailers, remove_forwarded, remove_hop};

/// Headers of a request that hold URLs of the service.
const REQUEST_URLS: [HeaderName; 3] =
    [header::ORIGIN, header::REFERER, HeaderName::from_static("destination")];
/// Headers of a response that say something about the target that is not so of the onion service.
const TARGET_ONLY: [HeaderName; 6] = [
    header::STRICT_TRANSPORT_SECURITY,
    header::PUBLIC_KEY_PINS,
    header::PUBLIC_KEY_PINS_REPORT_ONLY,
    header::ALT_SVC,
    HeaderName::from_static("expect-ct"),
    HeaderName::from_static("onion-location"),
];
/// Headers of a response that a client gives back as they were.
const OPAQUE: [HeaderName; 2] = [header::ETAG, header::SET_COOKIE];
/// The directive that has a browser ask for everything over TLS, which an onion service does not need to speak.
const UPGRADE: &[u8] = b"upgrade-insecure-requests";

/// What one request and its response call both sides.
#[derive(Debug, Clone)]
pub struct Names {
    /// `None`: it has no name of its own, and is called as the client calls the onion service.
    target: Option<Authority>,
    /// All targets' names, which a response may not tell either.
    targets: Arc<[Authority]>,
    /// `None`: nobody said, so the targets' names can only be left out.
    public: Option<Public>,
    /// The `Host` of the request to the target, if it is another than the client's.
    host: Option<HeaderValue>,
}

/// What the onion service is called.
#[derive(Debug, Clone)]
struct Public {
    /// In the place of a name in front of which labels mean the same service, and stay.
    base: Authority,
    /// In the place of any other: with the labels that this client has.
    whole: Authority,
}

impl Public {
    fn in_place_of(&self, target: &Authority) -> &Authority {
        if target.has_subdomains() { &self.base } else { &self.whole }
    }
}

impl Names {
    /// `host` is what the request calls the onion service, or else what is known of it; `targets` are all names of all
    /// targets.
    pub fn new(target: Option<&Authority>, targets: &Arc<[Authority]>, host: Option<&str>) -> Self {
        let public = host.and_then(|host| Authority::new(Scheme::Http, host));
        let (base, labels) = public.map(Authority::split_subdomain).unzip();
        let labels: String = labels.unwrap_or_default();
        let public = base.map(|base| Public { whole: base.with_subdomain(&labels), base });
        let host = target.map(|target| target.with_subdomain(&labels).text());
        let host = host.and_then(|host| HeaderValue::try_from(host).ok());
        Self { target: target.cloned(), targets: Arc::clone(targets), public, host }
    }

    /// This target's name, and then the others.
    fn targets(&self) -> impl Iterator<Item = &Authority> {
        let own = self.target.as_ref();
        let others =
            self.targets.iter().filter(move |other| own.is_none_or(|own| own.host() != other.host()));
        own.into_iter().chain(others)
    }

    fn for_target(&self, text: &[u8]) -> Result<Option<Vec<u8>>, TooLong> {
        let (Some(public), Some(target)) = (&self.public, &self.target) else { return Ok(None) };
        exchange(text, public.in_place_of(target), target)
    }

    /// A text with all targets' names exchanged; `None` if it stays as it is.
    pub(super) fn for_client(&self, text: &[u8]) -> Result<Option<Vec<u8>>, TooLong> {
        let mut out = None;
        for target in self.targets() {
            let public = self.public.as_ref().map(|public| public.in_place_of(target));
            let before = out.as_deref().unwrap_or(text);
            match (exchange(before, target, public.unwrap_or(target))?, public) {
                (None, _) => {}
                (after, Some(_)) => out = after,
                // What has to be exchanged, and cannot be, is left out.
                (Some(_), None) => return Err(TooLong),
            }
        }
        Ok(out)
    }

    fn cookie(&self, cookie: &[u8]) -> Option<Vec<u8>> {
        let public = self.public.as_ref()?;
        let tls = self.target.as_ref().is_some_and(Authority::is_https);
        let loses_tls = tls && !public.base.is_https();
        cookie::for_client(cookie, loses_tls, |domain| {
            self.targets()
                .find_map(|target| cookie::public_domain(domain, target, public.in_place_of(target)))
        })
    }
}

/// Makes a client's headers those of a request to the target. Without names they stay what they are, but for those that
/// concern one hop only.
pub fn request(headers: &mut HeaderMap, names: Option<&Names>) {
    remove_hop(headers);
    remove_forwarded(headers);
    headers.remove(header::EXPECT);
    let Some(names) = names else { return };
    change(
        headers,
        |name, value| {
            if REQUEST_URLS.contains(name) { names.for_target(value) } else { Ok(None) }
        },
    );
    if let Some(host) = &names.host {
        headers.insert(header::HOST, host.clone());
    }
}

/// Makes a target's headers those of a response to the client.
pub fn response(headers: &mut HeaderMap, names: Option<&Names>) {
    remove_hop(headers);
    for name in TARGET_ONLY {
        headers.remove(name);
    }
    change(headers, |name, value| policy(name, value).map_or(Ok(None), |policy| Ok(Some(policy))));
    if let Some(names) = names {
        change(headers, |name, value| match name {
            name if *name == header::SET_COOKIE => Ok(names.cookie(value)),
            name if OPAQUE.contains(name) => Ok(None),
            _ => names.for_client(value),
        });
    }
}

/// Changes trailers as the headers of the same response.
pub fn response_trailers(trailers: &mut HeaderMap, names: Option<&Names>) {
    clean_trailers(trailers);
    if let Some(names) = names {
        change(trailers, |_, value| names.for_client(value));
    }
}

/// A policy without the directive that asks for TLS; `None` if it stays as it is.
fn policy(name: &HeaderName, value: &[u8]) -> Option<Vec<u8>> {
    let policies = [header::CONTENT_SECURITY_POLICY, header::CONTENT_SECURITY_POLICY_REPORT_ONLY];
    if policies.contains(name) { without_upgrade(value) } else { None }
}

/// The text of a policy without that directive; `None` if it does not have it.
pub(super) fn without_upgrade(value: &[u8]) -> Option<Vec<u8>> {
    let asks = |directive: &&[u8]| directive.trim_ascii().eq_ignore_ascii_case(UPGRADE);
    let directives = || value.split(|byte| *byte == b';');
    directives().any(|directive| asks(&directive)).then(|| {
        let left: Vec<&[u8]> = directives().filter(|directive| !asks(directive)).collect();
        left.join(&b';').trim_ascii().to_vec()
    })
}

/// Gives each value to `by`: it stays, becomes another one, or its header is left out.
fn change(headers: &mut HeaderMap, by: impl Fn(&HeaderName, &[u8]) -> Result<Option<Vec<u8>>, TooLong>) {
    let mut left_out = Vec::new();
    for (name, value) in headers.iter_mut() {
        match by(name, value.as_bytes()) {
            Ok(None) => {}
            Ok(Some(other)) => match HeaderValue::try_from(other) {
                Ok(other) => *value = other,
                Err(_) => left_out.push(name.clone()),
            },
            Err(TooLong) => left_out.push(name.clone()),
        }
    }
    for name in left_out {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::super::authority::tests::{PUBLIC, TARGET, http, https, named};
    use super::*;

    fn one(name: &str, value: &str) -> HeaderMap {
        let name: HeaderName = name.parse().unwrap();
        HeaderMap::from_iter([(name, HeaderValue::from_bytes(named(value).as_bytes()).unwrap())])
    }

    fn only(headers: &HeaderMap) -> Option<String> {
        headers.values().next().map(|value| String::from_utf8(value.as_bytes().to_vec()).unwrap())
    }

    fn names(target: &Authority, host: &str) -> Names {
        Names::new(Some(target), &Arc::default(), Some(&named(host)))
    }

    #[test]
    fn responses() {
        for (name, value, expected) in [
            ("location", "https://§/a", Some("http://¶/a")),
            ("location", "/a", Some("/a")),
            (
                "location",
                "https://other.example/?back=https://§/",
                Some("https://other.example/?back=http://¶/"),
            ),
            ("content-location", "https://www.§/a", Some("http://www.¶/a")),
            ("refresh", "5; url=https://§/b", Some("5; url=http://¶/b")),
            ("link", "<https://§/a>; rel=preload, </b>", Some("<http://¶/a>; rel=preload, </b>")),
            ("access-control-allow-origin", "https://§", Some("http://¶")),
            ("access-control-allow-origin", "*", Some("*")),
            ("timing-allow-origin", "https://§", Some("http://¶")),
            ("reporting-endpoints", "main=\"https://§/r\"", Some("main=\"http://¶/r\"")),
            (
                "report-to",
                "{\"endpoints\":[{\"url\":\"https://§/r\"}]}",
                Some("{\"endpoints\":[{\"url\":\"http://¶/r\"}]}"),
            ),
            ("x-anything", "served by §", Some("served by ¶")),
            ("set-cookie", "a=https://§/; Secure; Domain=§", Some("a=https://§/; Domain=¶")),
            ("etag", "\"§\"", Some("\"§\"")),
            (
                "content-security-policy",
                "default-src 'self' https://§ *.§",
                Some("default-src 'self' http://¶ *.¶"),
            ),
            ("content-security-policy", "upgrade-insecure-requests; img-src *", Some("img-src *")),
            ("content-security-policy", "img-src *; Upgrade-Insecure-Requests", Some("img-src *")),
            ("content-security-policy-report-only", "report-uri https://§/c", Some("report-uri http://¶/c")),
            ("strict-transport-security", "max-age=1", None),
            ("alt-svc", "h3=\":443\"", None),
            ("onion-location", "http://§/", None),
            ("expect-ct", "max-age=1", None),
            ("public-key-pins", "x", None),
            ("connection", "close", None),
            ("server", "nginx", Some("nginx")),
        ] {
            let mut headers = one(name, value);
            response(&mut headers, Some(&names(&https(TARGET), "www.¶")));
            assert_eq!(only(&headers), expected.map(named), "{name}: {value}");
        }
    }

    #[test]
    fn requests() {
        for (name, value, expected) in [
            ("origin", "http://¶", Some("https://§")),
            ("origin", "null", Some("null")),
            ("referer", "http://www.¶/a?b", Some("https://www.§/a?b")),
            ("destination", "http://¶/b", Some("https://§/b")),
            ("x-anything", "http://¶", Some("http://¶")),
            ("cookie", "a=http://¶/", Some("a=http://¶/")),
            ("expect", "100-continue", None),
            ("x-forwarded-for", "1.2.3.4", None),
            ("te", "trailers", None),
        ] {
            let mut headers = one(name, value);
            request(&mut headers, Some(&names(&https(TARGET), "¶")));
            assert_eq!(headers.remove(header::HOST).unwrap(), TARGET);
            assert_eq!(only(&headers), expected.map(named), "{name}: {value}");
        }
    }

    #[test]
    fn hosts() {
        for (target, asked, sent) in [
            (http(TARGET), "¶", "§"),
            (http(&format!("{TARGET}:81")), "www.¶:8080", "www.§:81"),
            (http("127.0.0.1:8080"), "www.¶", "127.0.0.1:8080"),
            (http("www.example.org"), "¶", "www.example.org"),
        ] {
            let mut headers = one("host", asked);
            request(&mut headers, Some(&names(&target, asked)));
            assert_eq!(only(&headers), Some(named(sent)), "{asked}");
        }
        let mut headers = one("host", "¶");
        request(&mut headers, None);
        assert_eq!(only(&headers), Some(named("¶")), "without names it stays");
    }

    #[test]
    fn a_local_targets_name_never_comes_out_and_labels_stay_with_the_onion() {
        let names = names(&http("127.0.0.1:8080"), "www.¶:81");
        let mut headers = one("location", "http://127.0.0.1:8080/a");
        response(&mut headers, Some(&names));
        assert_eq!(only(&headers), Some(named("http://www.¶:81/a")));
    }

    #[test]
    fn no_name_of_any_target_comes_out() {
        let all = [https(TARGET), http("shop.example"), http("10.0.0.7:8080"), http("www.shop.example")];
        let all: Arc<[Authority]> = all.into();
        for target in all.iter().map(Some).chain([None]) {
            let names = Names::new(target, &all, Some(&named("www.¶:81")));
            for (name, value, expected) in [
                ("location", "http://10.0.0.7:8080/a", "http://www.¶:81/a"),
                (
                    "location",
                    "https://shop.example/a?b=http://10.0.0.7/",
                    "http://www.¶:81/a?b=http://www.¶:81/",
                ),
                ("x-served-by", "10.0.0.7:9090, www.shop.example", "www.¶:81, www.¶:81"),
                ("link", "<https://img.§/a>", "<http://img.¶:81/a>"),
                ("set-cookie", "a=b; Domain=.shop.example", "a=b; Domain=www.¶"),
                ("set-cookie", "a=b; Domain=§", "a=b; Domain=¶"),
            ] {
                let mut headers = one(name, value);
                response(&mut headers, Some(&names));
                assert_eq!(only(&headers), Some(named(expected)), "{value} from {target:?}");
            }
        }
        let mut headers = one("location", "http://10.0.0.7:8080/a");
        response(&mut headers, Some(&Names::new(Some(&http("shop.example")), &all, None)));
        assert_eq!(only(&headers), None, "without a public name it is left out");
    }

    #[test]
    fn without_a_public_name_the_targets_is_left_out() {
        let names = Names::new(Some(&http(TARGET)), &Arc::default(), None);
        for (value, expected) in [("http://§/a", None), ("/a", Some("/a"))] {
            let mut headers = one("location", value);
            response(&mut headers, Some(&names));
            assert_eq!(only(&headers), expected.map(str::to_owned), "{value}");
        }
    }

    #[test]
    fn a_value_that_would_grow_too_long_is_left_out() {
        let mut headers = one("x-list", &"a.b ".repeat(5_000));
        response(&mut headers, Some(&names(&http("a.b"), PUBLIC)));
        assert_eq!(only(&headers), None);
    }

    #[test]
    fn trailers_are_changed_like_headers() {
        let mut trailers = one("x-next", "https://§/2");
        response_trailers(&mut trailers, Some(&names(&https(TARGET), "¶")));
        assert_eq!(only(&trailers), Some(named("http://¶/2")));
    }
}
