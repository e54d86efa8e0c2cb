//! Pages and style sheets on their way: however they are cut, the same comes out; in a sheet there is nothing left to do a
//! second time; nothing grows without bound; and what names no target stays.
// max_len=1024
#![no_main]

use std::sync::Arc;

use rustbalance::proto::http::authority::{Authority, Scheme};
use rustbalance::proto::http::content::html::Html;
use rustbalance::proto::http::content::urls::Urls;
use rustbalance::proto::http::rewrite::Names;

const TARGET: &str = "pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscryd.onion";
const PUBLIC: &str = "25njqamcweflpvkl73j4szahhihoc4xt3ktcgjnpaingr5yhkenl5sid.onion";

/// Names that are put in; more would take more memory than the input warrants.
const NAMES: usize = 12;
/// `//a` becomes `//` and the name of an onion service; a quotation mark a reference.
const MOST_GROWTH: usize = 32;

/// `T` stands for the target's name and `P` for the public one.
fn named(data: &[u8]) -> Vec<u8> {
    let mut names = 0;
    let put_in = data.iter().flat_map(|byte| {
        names += usize::from(matches!(byte, b'T' | b'P'));
        match byte {
            b'T' if names <= NAMES => TARGET.as_bytes(),
            b'P' if names <= NAMES => PUBLIC.as_bytes(),
            other => std::slice::from_ref(other),
        }
    });
    put_in.copied().collect()
}

/// A page that comes in pieces of that size.
fn page(names: &Arc<Names>, text: &[u8], size: usize) -> Vec<u8> {
    let (mut html, mut out) = (Html::new(Arc::clone(names)), Vec::new());
    text.chunks(size).for_each(|piece| html.push(piece, &mut out));
    html.finish(&mut out);
    out
}

/// A style sheet that comes so.
fn sheet(names: &Arc<Names>, text: &[u8], size: usize) -> Vec<u8> {
    let (mut urls, mut out) = (Urls::new(Arc::clone(names)), Vec::new());
    text.chunks(size).for_each(|piece| urls.push(piece, &mut out));
    urls.finish(&mut out);
    out
}

fn contains(text: &[u8], name: &str) -> bool {
    text.windows(name.len()).any(|window| window.eq_ignore_ascii_case(name.as_bytes()))
}

rustbalance_fuzz::target!(|data: &[u8]| {
    let [way, cut, data @ ..] = data else { return };
    let (scheme, name) = if way & 1 == 0 { (Scheme::Https, TARGET) } else { (Scheme::Http, "a") };
    let Some(target) = Authority::new(scheme, name) else { panic!("{name}") };
    let names = Arc::new(Names::new(Some(&target), &Arc::default(), Some(PUBLIC)));
    let text = named(data);
    let size = usize::from(*cut).max(1);
    for change in [page, sheet] {
        let whole = change(&names, &text, usize::MAX);
        assert_eq!(change(&names, &text, size), whole, "cut into {size}");
        assert!(whole.len() <= MOST_GROWTH * (text.len() + 1));
        // A policy and a digest are the exceptions.
        let plain = !contains(&text, "upgrade-insecure") && !contains(&text, "integrity");
        assert!(contains(&text, name) || !plain || whole == text);
    }
    // Of sheets alone: an attribute that begins with `=` is written by the parser so that it is read as another one's value.
    let whole = sheet(&names, &text, size);
    assert_eq!(sheet(&names, &whole, size), whole, "a second time");
    assert!(!contains(&sheet(&names, &text, size), &format!("://{TARGET}/")) || name != TARGET);
});
