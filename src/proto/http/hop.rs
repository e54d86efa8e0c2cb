//! Headers for one hop only, which a proxy does not pass on (RFC 9110 section 7.6.1).

use std::borrow::Cow;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// Always for one hop, whether `Connection` says so or not.
const HOP: [HeaderName; 9] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("http2-settings"),
];
/// Never for one hop: a client that says so wants the target to get its request without them.
const END_TO_END: [HeaderName; 8] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::AUTHORIZATION,
    header::COOKIE,
    header::ORIGIN,
    header::REFERER,
    header::SET_COOKIE,
];
/// What only a proxy in front of us could tell, and there is none: clients that send it make it up. The last one becomes
/// the variable of a program's own proxy where requests become CGI's variables (httpoxy).
const FORWARDED: [&str; 11] = [
    "forwarded",
    "x-forwarded",
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "true-client-ip",
    "x-original-forwarded-for",
    "x-scheme",
    "x-url-scheme",
    "front-end-https",
    "proxy",
];
/// The same, whatever follows.
const FORWARDED_WHAT: &str = "x-forwarded-";
/// What may not stand behind a body, as it is needed before it (RFC 9110 section 6.5.1).
const NO_TRAILERS: [HeaderName; 9] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::AUTHORIZATION,
    header::COOKIE,
    header::SET_COOKIE,
    header::LOCATION,
    header::TRAILER,
];

/// Removes what is for one hop only.
pub fn remove_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .filter(|name| !END_TO_END.contains(name))
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in HOP {
        headers.remove(name);
    }
}

/// Removes what a client says about proxies before us.
pub fn remove_forwarded(headers: &mut HeaderMap) {
    let made_up: Vec<_> = headers.keys().filter(|name| is_forwarded(name)).cloned().collect();
    for name in made_up {
        headers.remove(name);
    }
}

/// Programs that get headers as variables take both strokes for the same.
fn is_forwarded(name: &HeaderName) -> bool {
    let name = name.as_str();
    let name = if name.contains('_') { Cow::Owned(name.replace('_', "-")) } else { Cow::Borrowed(name) };
    name.starts_with(FORWARDED_WHAT) || FORWARDED.contains(&&*name)
}

/// Removes from trailers what may not be there.
pub fn clean_trailers(trailers: &mut HeaderMap) {
    remove_hop(trailers);
    remove_forwarded(trailers);
    for name in NO_TRAILERS {
        trailers.remove(name);
    }
}

/// Whether a list header (`Connection: a, b`) has this word.
pub fn lists(headers: &HeaderMap, name: HeaderName, word: &str) -> bool {
    let mut words =
        headers.get_all(name).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    words.any(|found| found.trim_ascii().eq_ignore_ascii_case(word.as_bytes()))
}

/// The protocol that a request, or the response to it, changes to (RFC 9110 section 7.8). HTTP/2 in the clear is none: it
/// would carry requests that nobody has looked at.
pub fn upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let protocol = headers.get(header::UPGRADE)?;
    let wanted = lists(headers, header::CONNECTION, "upgrade") && !protocol.is_empty();
    let http = protocol.as_bytes().to_ascii_lowercase().split(|byte| *byte == b',').any(|protocol| {
        let protocol = protocol.trim_ascii();
        protocol.starts_with(b"h2") || protocol.starts_with(b"http")
    });
    (wanted && !http && headers.get_all(header::UPGRADE).iter().count() == 1).then(|| protocol.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[&str]) -> HeaderMap {
        lines
            .iter()
            .map(|line| line.split_once(": ").unwrap())
            .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn what_is_for_one_hop_goes_and_the_rest_stays() {
        let mut all = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, X-Hop"),
            ("connection", "x-other,, host , cookie,content-length,\u{fc}"),
            ("keep-alive", "timeout=5"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("proxy-authorization", "x"),
            ("x-hop", "1"),
            ("x-hop", "2"),
            ("x-other", "3"),
            ("host", "a"),
            ("cookie", "b"),
            ("content-length", "3"),
            ("x-end", "4"),
        ] {
            all.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        remove_hop(&mut all);
        let mut left: Vec<_> = all.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["content-length", "cookie", "host", "x-end"]);
    }

    #[test]
    fn what_clients_make_up_goes() {
        let stays = ["accept: */*", "x-forward: 1", "proxy-x: 1", "x_app: 1"];
        let mut all = headers(&stays);
        all.extend(headers(&[
            "x-forwarded-for: 127.0.0.1",
            "X_Forwarded_For: 127.0.0.1",
            "x-forwarded_proto: https",
            "x-forwarded-ssl: on",
            "x-forwarded-scheme: https",
            "x-forwarded-port: 443",
            "x-forwarded-server: a",
            "x-forwarded-prefix: /a",
            "x-forwarded-anything: b",
            "x-forwarded: c",
            "forwarded: for=x",
            "x-real-ip: 1",
            "x_real_ip: 1",
            "true-client-ip: 1",
            "front-end-https: on",
            "proxy: http://evil",
        ]));
        let mut trailers = all.clone();
        remove_forwarded(&mut all);
        assert_eq!(all, headers(&stays));
        clean_trailers(&mut trailers);
        assert_eq!(trailers, headers(&stays));
    }

    #[test]
    fn trailers_say_nothing_that_had_to_be_known_before() {
        let mut all =
            headers(&["host: a", "content-length: 1", "x-sum: 2", "connection: x-sum2", "x-sum2: 3"]);
        clean_trailers(&mut all);
        assert_eq!(all, headers(&["x-sum: 2"]));
    }

    #[test]
    fn a_list_is_searched_by_words() {
        let all = headers(&["connection: keep-alive, Upgrade"]);
        assert!(lists(&all, header::CONNECTION, "upgrade"));
        assert!(!lists(&all, header::CONNECTION, "grade") && !lists(&all, header::UPGRADE, "upgrade"));
    }

    #[test]
    fn only_protocols_that_are_not_http_are_changed_to() {
        for (lines, protocol) in [
            (&["connection: Upgrade", "upgrade: websocket"][..], Some("websocket")),
            (&["connection: keep-alive, upgrade", "upgrade: foo/1"], Some("foo/1")),
            (&["connection: close", "upgrade: websocket"], None),
            (&["upgrade: websocket"], None),
            (&["connection: upgrade"], None),
            (&["connection: upgrade, http2-settings", "upgrade: h2c"], None),
            (&["connection: upgrade", "upgrade: websocket, H2C"], None),
            (&["connection: upgrade", "upgrade: HTTP/2.0"], None),
        ] {
            let found = upgrade(&headers(lines));
            assert_eq!(found.as_ref().map(|value| value.to_str().unwrap()), protocol, "{lines:?}");
        }
    }
}
