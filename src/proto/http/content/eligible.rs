//! Which responses are looked through for URLs, and what their headers say then.
//!
//! | header | what becomes of it |
//! |---|---|
//! | request: `Accept-Encoding` | of what the client accepts, gzip is left: it is what we can read, and a brotli window would be 16 MiB for each response |
//! | response: `Content-Length`, `Accept-Ranges` | removed: the length is not known, and its parts are not the target's |
//! | response: `ETag` | weak: what was changed means the same, and is not the same bytes |
//! | response: `Content-MD5`, `Digest`, `Content-Digest`, `Repr-Digest`, also behind the body | removed: they are of the target's bytes |
//!
//! `no-transform` is respected in a response, where the target says it. A client may not say it: whoever asks for the
//! target's name would get it.

use http::StatusCode;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::super::hop::lists;

/// Of the target's bytes.
const DIGESTS: [HeaderName; 4] = [
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
];
const GZIP: [&str; 2] = ["gzip", "x-gzip"];
/// Beginnings of the names of encodings in which ASCII is not ASCII.
const OTHER_CHARSETS: [&str; 6] = ["utf-16", "utf-32", "utf-7", "ucs-2", "iso-2022", "hz-"];

/// A response that is looked through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Eligible {
    /// What it is.
    pub kind: Kind,
    /// Whether it is packed with gzip.
    pub gzip: bool,
}

/// What a response is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// HTML, or XML that is shown like it.
    Page,
    /// CSS.
    Sheet,
}

/// Whether, and how, a response with this head is looked through.
pub fn eligible(status: StatusCode, headers: &HeaderMap) -> Option<Eligible> {
    const WITHOUT: [StatusCode; 3] =
        [StatusCode::NO_CONTENT, StatusCode::PARTIAL_CONTENT, StatusCode::NOT_MODIFIED];
    if status.is_informational() || WITHOUT.contains(&status) {
        return None;
    }
    let kind = kind(headers)?;
    let gzip = match headers.get(header::CONTENT_ENCODING).map(HeaderValue::as_bytes) {
        None => false,
        Some(coding) if coding.eq_ignore_ascii_case(b"identity") => false,
        Some(coding) if GZIP.iter().any(|gzip| coding.eq_ignore_ascii_case(gzip.as_bytes())) => true,
        Some(_) => return None,
    };
    let one = headers.get_all(header::CONTENT_ENCODING).iter().count() <= 1;
    one.then_some(Eligible { kind, gzip })
}

/// Whether this is a part of what would be looked through as a whole. Where a part begins and ends cannot be known of what
/// is changed on the way: the whole has to be asked for.
pub fn is_part(status: StatusCode, headers: &HeaderMap) -> bool {
    let kind = kind(headers).is_some() || is_parts(headers);
    status == StatusCode::PARTIAL_CONTENT && kind
}

/// Several parts, of whatever it is.
fn is_parts(headers: &HeaderMap) -> bool {
    essence(headers).is_some_and(|(essence, _)| essence == "multipart/byteranges")
}

fn kind(headers: &HeaderMap) -> Option<Kind> {
    if lists(headers, header::CACHE_CONTROL, "no-transform") {
        return None;
    }
    let (essence, parameters) = essence(headers)?;
    let charset = parameters.split(';').find_map(|parameter| parameter.trim().strip_prefix("charset="));
    let charset = charset.unwrap_or_default().trim_matches('"');
    if OTHER_CHARSETS.iter().any(|other| charset.starts_with(other)) {
        return None;
    }
    match essence.as_str() {
        "text/html" | "application/xhtml+xml" | "image/svg+xml" => Some(Kind::Page),
        "text/css" => Some(Kind::Sheet),
        _ => None,
    }
}

/// The content type and its parameters, in lower case.
fn essence(headers: &HeaderMap) -> Option<(String, String)> {
    let said = headers.get(header::CONTENT_TYPE)?.to_str().ok()?.to_ascii_lowercase();
    let (essence, parameters) = said.split_once(';').unwrap_or((&said, ""));
    Some((essence.trim().to_owned(), parameters.to_owned()))
}

/// Asks the target for what can be looked through.
pub fn request(headers: &mut HeaderMap) {
    let accepted: Vec<_> = headers
        .get_all(header::ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|item| {
            let coding = item.split(';').next().unwrap_or_default().trim();
            GZIP.iter().any(|gzip| coding.eq_ignore_ascii_case(gzip))
        })
        .collect();
    let accepted = if accepted.is_empty() { "identity".to_owned() } else { accepted.join(", ") };
    if let Ok(accepted) = HeaderValue::try_from(accepted) {
        headers.insert(header::ACCEPT_ENCODING, accepted);
    }
}

/// Makes the head that of a response that is looked through.
pub fn response(headers: &mut HeaderMap) {
    headers.remove(header::CONTENT_LENGTH);
    headers.remove(header::ACCEPT_RANGES);
    trailers(headers);
    weaken(headers);
}

/// Removes what is not true any more behind such a response.
pub fn trailers(trailers: &mut HeaderMap) {
    for digest in DIGESTS {
        trailers.remove(digest);
    }
}

/// Makes the `ETag` one that promises the same meaning, and not the same bytes. Also that of a response that says that
/// nothing has changed: it does not say what it is about.
pub fn weaken(headers: &mut HeaderMap) {
    let weak = headers.get(header::ETAG).map(HeaderValue::as_bytes).filter(|tag| tag.starts_with(b"\""));
    let weak = weak.and_then(|tag| HeaderValue::from_bytes(&[b"W/", tag].concat()).ok());
    if let Some(weak) = weak {
        headers.insert(header::ETAG, weak);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn pages_and_sheets_that_can_be_read() {
        let page = |gzip| Some(Eligible { kind: Kind::Page, gzip });
        for (lines, expected) in [
            (&[("content-type", "text/html")][..], page(false)),
            (&[("content-type", "Text/HTML; charset=UTF-8")], page(false)),
            (&[("content-type", "text/html;charset=\"shift_jis\"")], page(false)),
            (&[("content-type", "application/xhtml+xml")], page(false)),
            (&[("content-type", "image/svg+xml")], page(false)),
            (&[("content-type", "text/css")], Some(Eligible { kind: Kind::Sheet, gzip: false })),
            (&[("content-type", "text/html"), ("content-encoding", "GZIP")], page(true)),
            (&[("content-type", "text/html"), ("content-encoding", "x-gzip")], page(true)),
            (&[("content-type", "text/html"), ("content-encoding", "identity")], page(false)),
            (&[("content-type", "text/html"), ("cache-control", "no-store")], page(false)),
            (&[("content-type", "text/html"), ("content-encoding", "br")], None),
            (&[("content-type", "text/html"), ("content-encoding", "gzip, gzip")], None),
            (
                &[("content-type", "text/html"), ("content-encoding", "gzip"), ("content-encoding", "gzip")],
                None,
            ),
            (&[("content-type", "text/html"), ("cache-control", "max-age=1, No-Transform")], None),
            (&[("content-type", "text/html; charset=utf-16le")], None),
            (&[("content-type", "text/html; charset=ISO-2022-JP")], None),
            (&[("content-type", "application/json")], None),
            (&[("content-type", "text/javascript")], None),
            (&[("content-type", "text/plain")], None),
            (&[], None),
        ] {
            assert_eq!(eligible(StatusCode::OK, &headers(lines)), expected, "{lines:?}");
        }
        let page = headers(&[("content-type", "text/html")]);
        assert!(eligible(StatusCode::NOT_FOUND, &page).is_some());
        for status in [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED, StatusCode::PARTIAL_CONTENT] {
            assert_eq!(eligible(status, &page), None);
            assert_eq!(is_part(status, &page), status == StatusCode::PARTIAL_CONTENT);
        }
        assert!(is_part(
            StatusCode::PARTIAL_CONTENT,
            &headers(&[("content-type", "multipart/byteranges; boundary=x")])
        ));
        assert!(!is_part(StatusCode::PARTIAL_CONTENT, &headers(&[("content-type", "video/mp4")])));
    }

    #[test]
    fn only_what_can_be_read_is_asked_for() {
        for (accepted, asked) in [
            (&["gzip, deflate, br, zstd"][..], "gzip"),
            (&["br", "x-gzip;q=0.5"], "x-gzip;q=0.5"),
            (&["br, *"], "identity"),
            (&[], "identity"),
        ] {
            let lines: Vec<_> = accepted.iter().map(|value| ("accept-encoding", *value)).collect();
            let mut headers = headers(&lines);
            request(&mut headers);
            let values: Vec<_> = headers.get_all(header::ACCEPT_ENCODING).iter().collect();
            assert_eq!(values, [asked], "{accepted:?}");
        }
    }

    #[test]
    fn headers_say_nothing_about_the_targets_bytes() {
        let mut all = headers(&[
            ("content-length", "5"),
            ("accept-ranges", "bytes"),
            ("etag", "\"x\""),
            ("digest", "sha-256=x"),
            ("repr-digest", "x"),
            ("content-digest", "x"),
            ("content-md5", "x"),
            ("last-modified", "x"),
        ]);
        response(&mut all);
        assert_eq!(all, headers(&[("etag", "W/\"x\""), ("last-modified", "x")]));
        weaken(&mut all);
        assert_eq!(all[header::ETAG], "W/\"x\"", "once");
    }
}
