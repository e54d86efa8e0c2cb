//! Headers of both directions: no name of the target is left where names are exchanged, nothing grows beyond its bound,
//! and a second time there is nothing left to do.
// max_len=2048
#![no_main]

use std::sync::Arc;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use rustbalance::proto::http::authority::{Authority, MAX_TEXT_BYTES, Scheme};
use rustbalance::proto::http::rewrite::{Names, request, response, response_trailers};

const TARGET: &str = "pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscryd.onion";
const PUBLIC: &str = "25njqamcweflpvkl73j4szahhihoc4xt3ktcgjnpaingr5yhkenl5sid.onion";
/// Another target.
const LOCAL: &str = "127.0.0.1:8080";

/// Names that are put in; more would take more memory than the input warrants.
const NAMES: usize = 12;

/// Lines of `name: value`; `T` stands for the target's name and `P` for the public one.
fn headers(data: &[u8]) -> HeaderMap {
    let (mut headers, mut names) = (HeaderMap::new(), 0);
    for line in data.split(|byte| *byte == b'\n').take(32) {
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let (Some(name), Some(value)) = (parts.next(), parts.next()) else { continue };
        let value: Vec<u8> = value
            .iter()
            .flat_map(|byte| {
                names += usize::from(matches!(byte, b'T' | b'P'));
                match byte {
                    b'T' if names <= NAMES => TARGET.as_bytes(),
                    b'P' if names <= NAMES => PUBLIC.as_bytes(),
                    other => std::slice::from_ref(other),
                }
            })
            .copied()
            .collect();
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(&value)) {
            headers.append(name, value);
        }
    }
    headers
}

fn check(headers: &HeaderMap) {
    for (name, value) in headers {
        assert!(value.len() <= MAX_TEXT_BYTES + 70 * 2048, "{name}");
        let text = String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase();
        let url = format!("://{TARGET}/");
        assert!(!text.contains(&url) || matches!(name.as_str(), "etag" | "set-cookie"), "{name}: {text}");
    }
}

rustbalance_fuzz::target!(|data: &[u8]| {
    let Some((way, data)) = data.split_first() else { return };
    let scheme = if way & 1 == 0 { Scheme::Http } else { Scheme::Https };
    let host = (way & 2 == 0).then_some(PUBLIC);
    let name = if way & 4 == 0 { TARGET } else { LOCAL };
    let Some(target) = Authority::new(scheme, name) else { panic!("{name}") };
    let targets: Arc<[_]> =
        [TARGET, LOCAL].into_iter().filter_map(|name| Authority::new(scheme, name)).collect();
    let names = Names::new(Some(&target), &targets, host);
    let original = headers(data);
    let mut sent = original.clone();
    request(&mut sent, Some(&names));
    let mut told = original.clone();
    response(&mut told, Some(&names));
    check(&told);
    let mut again = told.clone();
    response(&mut again, Some(&names));
    assert_eq!(again, told);
    let mut trailers = original;
    response_trailers(&mut trailers, Some(&names));
});
