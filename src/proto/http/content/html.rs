//! A page on its way through: the places in which a page has URLs.
//!
//! | where | what becomes of it |
//! |---|---|
//! | every attribute but `value`, `integrity`, `nonce`, `xmlns` and event handlers (`on...`) | URLs are exchanged: `href`, `src`, `srcset`, `action`, `style`, `content` of a `<meta>`, and also the `data-src` of a script, of which there is no list |
//! | `<style>`, `<noscript>`, `<noframes>`, `<noembed>` | URLs are exchanged in their text |
//! | `integrity` of a style sheet that is not another site's | removed: the sheet may have been changed |
//! | `<meta http-equiv="Content-Security-Policy">` | without `upgrade-insecure-requests`, as the header |
//! | `<script>`, text, comments, processing instructions | stay |
//!
//! `value` stays since forms send it back: what the target stores would name the onion service. A style that a policy
//! allows by its digest and that names the target is changed, and then not allowed; such a policy has to name another.
//!
//! A tag is held until it is whole. One longer than [`MAX_HELD_BYTES`] ends the distinction: from there on the page is
//! looked through for URLs as a whole, scripts among it, so nothing of the target gets out, and nothing is lost.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use encoding_rs::Encoding;
use lol_html::html_content::{ContentType, TextChunk};
use lol_html::send::{Element, HtmlRewriter, Settings};
use lol_html::{AsciiCompatibleEncoding, MemorySettings, bail_out, element, text};

use super::super::rewrite::{Names, without_upgrade};
use super::urls::Urls;

/// Most that a page makes us hold: a tag, with a picture inside it, and what is open around it.
pub const MAX_HELD_BYTES: usize = 256 * 1024;
/// Held from the beginning.
const HELD_BYTES: usize = 1024;
/// Attributes that hold no URL of the page: what forms send back, digests, and names that only look like URLs.
const OTHER_ATTRIBUTES: [&str; 4] = ["value", "integrity", "nonce", "xmlns"];
/// Stands for the page's encoding, whatever that is: each byte is a character and becomes the same byte again, and ASCII,
/// of which all tags and URLs are, is ASCII.
const BYTES: &Encoding = encoding_rs::WINDOWS_1252;

/// A page whose URLs are exchanged.
pub struct Html {
    /// `None` when there are no tags to be told apart any more.
    tags: Option<HtmlRewriter<'static, Sink>>,
    page: Arc<Mutex<Page>>,
}

/// Takes what the parser gives out.
type Sink = Box<dyn FnMut(&[u8]) + Send>;

/// What the parser's handlers share.
struct Page {
    names: Arc<Names>,
    /// In the text that is being read.
    urls: Urls,
    /// There are no tags any more.
    plain: bool,
    out: Vec<u8>,
}

impl Html {
    /// A page that begins.
    pub fn new(names: Arc<Names>) -> Self {
        let urls = Urls::new(Arc::clone(&names));
        let page = Arc::new(Mutex::new(Page { names, urls, plain: false, out: Vec::new() }));
        Self { tags: Some(HtmlRewriter::new(settings(&page), sink(&page))), page }
    }

    /// Takes the next bytes, and gives out what is settled.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let Some(tags) = &mut self.tags else {
            return lock(&self.page).urls.push(bytes, out);
        };
        let held_too_much = tags.write(bytes).is_err();
        if held_too_much {
            self.tags = None;
        }
        out.append(&mut lock(&self.page).out);
    }

    /// The page has ended.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if let Some(tags) = self.tags.take() {
            // Where that holds too much, it gives out all the same.
            let _ = tags.end();
        }
        let mut page = lock(&self.page);
        out.append(&mut page.out);
        page.urls.finish(out);
    }
}

fn lock(page: &Mutex<Page>) -> MutexGuard<'_, Page> {
    page.lock().unwrap_or_else(PoisonError::into_inner)
}

fn settings(page: &Arc<Mutex<Page>>) -> Settings<'static, 'static> {
    let (elements, texts, bailed) = (Arc::clone(page), Arc::clone(page), Arc::clone(page));
    let memory = MemorySettings::new()
        .with_preallocated_parsing_buffer_size(HELD_BYTES)
        .with_max_allowed_memory_usage(MAX_HELD_BYTES)
        .with_graceful_bail_out_on_memory_limit_exceeded(true);
    Settings::new_send()
        .with_encoding(AsciiCompatibleEncoding::new(BYTES).unwrap_or_else(AsciiCompatibleEncoding::utf_8))
        .with_memory_settings(memory)
        .with_strict(false)
        .append_element_content_handler(element!("*", move |element: &mut Element<'_, '_>| {
            change_element(element, &lock(&elements).names);
            Ok(())
        }))
        .append_element_content_handler(text!(
            "style, noscript, noframes, noembed",
            move |chunk: &mut TextChunk<'_>| {
                change_text(chunk, &mut lock(&texts).urls);
                Ok(())
            }
        ))
        .append_bail_out_handler(bail_out!(move |_, _| lock(&bailed).plain = true))
}

fn sink(page: &Arc<Mutex<Page>>) -> Sink {
    let page = Arc::clone(page);
    Box::new(move |bytes| {
        let Page { urls, plain, out, .. } = &mut *lock(&page);
        if *plain {
            urls.push(bytes, out);
        } else {
            out.extend_from_slice(bytes);
        }
    })
}

fn change_text(chunk: &mut TextChunk<'_>, urls: &mut Urls) {
    let mut out = Vec::new();
    urls.push(chunk.as_str().as_bytes(), &mut out);
    if chunk.last_in_text_node() {
        urls.finish(&mut out);
    }
    if out != chunk.as_str().as_bytes()
        && let Ok(out) = String::from_utf8(out)
    {
        chunk.replace(&out, ContentType::Html);
    }
}

fn change_element(element: &mut Element<'_, '_>, names: &Arc<Names>) {
    let mut changed = Vec::new();
    for attribute in element.attributes() {
        let (name, value) = (attribute.name(), attribute.value());
        // Of two with the same name the first one counts.
        if has_urls(&name)
            && let Some(other) = exchanged(names, &value)
            && element.get_attribute(&name) == Some(value)
        {
            changed.push((name, other));
        }
    }
    let own_sheet = element.has_attribute("integrity") && is_own_sheet(element, &changed);
    for (name, value) in changed {
        // Fails for names that are none; these stay.
        let _ = element.set_attribute(&name, &value);
    }
    if own_sheet {
        element.remove_attribute("integrity");
    }
    if element.tag_name() == "meta" {
        change_policy(element);
    }
}

/// An attribute's value with the URLs exchanged; `None` if it stays.
fn exchanged(names: &Arc<Names>, value: &str) -> Option<String> {
    Urls::text(names, &without_references(value))
}

fn has_urls(attribute: &str) -> bool {
    !OTHER_ATTRIBUTES.contains(&attribute) && !attribute.starts_with("on") && !attribute.starts_with("xmlns:")
}

/// Whether this is a link to a style sheet that comes through here.
fn is_own_sheet(element: &Element<'_, '_>, changed: &[(String, String)]) -> bool {
    let says = |attribute: &str, word: &str| {
        let value = element.get_attribute(attribute).unwrap_or_default();
        value.split_ascii_whitespace().any(|found| found.eq_ignore_ascii_case(word))
    };
    let sheet = element.tag_name() == "link" && (says("rel", "stylesheet") || says("as", "style"));
    let exchanged = changed.iter().any(|(name, _)| name == "href");
    sheet && (exchanged || element.get_attribute("href").is_none_or(|href| !is_absolute(&href)))
}

/// Whether a URL says where it leads to without the page's own address.
fn is_absolute(url: &str) -> bool {
    let scheme = url.split(['/', '?', '#']).next().unwrap_or_default();
    scheme.contains(':') || url.trim_start().starts_with("//")
}

fn change_policy(element: &mut Element<'_, '_>) {
    let is_policy = element
        .get_attribute("http-equiv")
        .is_some_and(|equivalent| equivalent.trim_ascii().eq_ignore_ascii_case("content-security-policy"));
    if is_policy
        && let Some(policy) = element.get_attribute("content")
        && let Some(policy) = without_upgrade(policy.as_bytes())
        && let Ok(policy) = String::from_utf8(policy)
    {
        let _ = element.set_attribute("content", &policy);
    }
}

/// An attribute with the character references resolved that a URL's beginning can be written with. It says the same: none
/// of these characters can be part of another reference.
fn without_references(value: &str) -> Cow<'_, str> {
    const REFERENCES: [(&str, char); 4] = [("sol", '/'), ("colon", ':'), ("period", '.'), ("bsol", '\\')];
    if !value.contains('&') {
        return Cow::Borrowed(value);
    }
    let mut parts = value.split('&');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let resolved = part.split_once(';').and_then(|(reference, rest)| {
            let named = REFERENCES.iter().find(|(name, _)| *name == reference);
            let found = named.map(|(_, found)| *found).or_else(|| numbered(reference))?;
            Some((found, rest))
        });
        let (found, rest) = resolved.unwrap_or(('&', part));
        out.push(found);
        out.push_str(rest);
    }
    Cow::Owned(out)
}

/// The character that `#47` or `#x2f` stands for, if it is one of those.
fn numbered(reference: &str) -> Option<char> {
    let digits = reference.strip_prefix('#')?;
    let number = match digits.strip_prefix(['x', 'X']) {
        Some(digits) => u32::from_str_radix(digits, 16).ok()?,
        None => digits.parse().ok()?,
    };
    char::from_u32(number).filter(|found| matches!(found, '/' | ':' | '.' | '-' | '\\'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::super::authority::tests::{PUBLIC, TARGET, https, named};
    use super::*;

    fn names() -> Arc<Names> {
        Arc::new(Names::new(Some(&https(TARGET)), &Arc::default(), Some(PUBLIC)))
    }

    fn pushed<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
        let (mut html, mut out) = (Html::new(names()), Vec::new());
        for piece in pieces {
            html.push(piece, &mut out);
        }
        html.finish(&mut out);
        out
    }

    fn changed(page: &str) -> String {
        String::from_utf8(pushed([page.as_bytes()])).unwrap()
    }

    #[test]
    fn urls_are_exchanged_where_a_page_has_them() {
        for (page, expected) in [
            ("<a href=\"https://§/a\">", "<a href=\"http://¶/a\">"),
            ("<A HREF = 'https://§'  class=x>", "<A HREF=\"http://¶\" class=x>"),
            ("<a href=https://§/a>", "<a href=\"http://¶/a\">"),
            ("<a href=\"&#x2f;&sol;§&#47;\">", "<a href=\"//¶/\">"),
            ("<a href='https&colon;//§/?a=1&amp;b=\"2\"'>", "<a href=\"http://¶/?a=1&amp;b=&quot;2&quot;\">"),
            (
                "<img src=//§/a.png srcset='//§/b 1x, //§/c 2x'/>",
                "<img src=\"//¶/a.png\" srcset=\"//¶/b 1x, //¶/c 2x\" />",
            ),
            (
                "<form action=\"https://§/\"><button formaction=\"https://§/b\">",
                "<form action=\"http://¶/\"><button formaction=\"http://¶/b\">",
            ),
            (
                "<video poster=\"//§/p\"><object data=\"//§/o\"><q cite=\"//§/q\">",
                "<video poster=\"//¶/p\"><object data=\"//¶/o\"><q cite=\"//¶/q\">",
            ),
            (
                "<a ping=\"//§/p\"><body background=\"//§/b\"><html manifest=\"//§/m\">",
                "<a ping=\"//¶/p\"><body background=\"//¶/b\"><html manifest=\"//¶/m\">",
            ),
            ("<base href=\"https://§/\">", "<base href=\"http://¶/\">"),
            ("<link rel=canonical href=\"https://§/\">", "<link rel=canonical href=\"http://¶/\">"),
            (
                "<link rel=preload imagesrcset=\"https://§/a 1x\">",
                "<link rel=preload imagesrcset=\"http://¶/a 1x\">",
            ),
            (
                "<meta http-equiv=refresh content=\"5; url=https://§/\">",
                "<meta http-equiv=refresh content=\"5; url=http://¶/\">",
            ),
            (
                "<meta property=\"og:url\" content=\"https://§/\">",
                "<meta property=\"og:url\" content=\"http://¶/\">",
            ),
            (
                "<meta http-equiv=onion-location content=\"http://§/\">",
                "<meta http-equiv=onion-location content=\"http://¶/\">",
            ),
            (
                "<svg><use xlink:href=\"https://§/i.svg#a\"/></svg>",
                "<svg><use xlink:href=\"http://¶/i.svg#a\" /></svg>",
            ),
            ("<p style=\"background:url(https://§/b)\">", "<p style=\"background:url(http://¶/b)\">"),
            (
                "<style>@import 'https://§/a.css'; /* § */</style>§",
                "<style>@import 'http://¶/a.css'; /* § */</style>§",
            ),
            ("<style>a{}", "<style>a{}"),
            ("<style>url(//§", "<style>url(//¶"),
            ("<noscript><img src='https://§/n'></noscript>", "<noscript><img src='http://¶/n'></noscript>"),
            ("<img data-src=\"https://§/lazy\">", "<img data-src=\"http://¶/lazy\">"),
            (
                "<p data-x='{\"u\":\"https:\\/\\/§\\/\"}'>",
                "<p data-x=\"{&quot;u&quot;:&quot;http:\\/\\/¶\\/&quot;}\">",
            ),
            ("<iframe srcdoc=\"<a href='https://§/'>\">", "<iframe srcdoc=\"<a href='http://¶/'>\">"),
        ] {
            assert_eq!(changed(&named(page)), named(expected), "{page}");
            assert_eq!(changed(&named(expected)), named(expected), "a second time: {page}");
        }
    }

    #[test]
    fn everything_else_stays_byte_for_byte() {
        for page in [
            "",
            "<",
            "<!doctype html><!-- https://§/ --><p  Class = x>https://§/</p >",
            "<script>let a = 'https://§/';</script>",
            "<script type=\"application/ld+json\">{\"url\":\"https://§/\"}</script>",
            "<textarea>https://§/</textarea><title>https://§/</title>",
            "<input value=\"https://§/\"><p onclick=\"go('https://§/')\">",
            "<svg xmlns=\"https://§/ns\" xmlns:a=\"//§/\">",
            "<a href=\"https://other.example/?§\" href=\"https://§/\">",
            "<a href=\"mailto:a@§\"><a href=\"§/a\">",
            "<a href=\"&amp;&#x2f;&lt\">",
            "<img src=\"data:image/png;base64,AAAA//§AA==",
            "<a href=\"https://§",
            "\u{fc}<p title=\"\u{fc}&uuml;\">\u{1f9c5}</p>\0",
        ] {
            assert_eq!(changed(&named(page)), named(page), "{page}");
        }
        let bytes: Vec<u8> =
            b"<p title=\"".iter().copied().chain(1..=255).chain(*b"\">").chain(0..=255).collect();
        assert_eq!(pushed([&bytes[..]]), bytes, "any encoding");
    }

    #[test]
    fn what_is_not_ascii_survives_beside_what_is_changed() {
        let page = [&b"<p title=\"\xfc\x81\xff\" href=\"//"[..], TARGET.as_bytes(), b"/\xe4\x9d\">\xf0\x9f"]
            .concat();
        let expected =
            [&b"<p title=\"\xfc\x81\xff\" href=\"//"[..], PUBLIC.as_bytes(), b"/\xe4\x9d\">\xf0\x9f"]
                .concat();
        assert_eq!(pushed([&page[..]]), expected);
    }

    #[test]
    fn policies_and_digests_that_would_not_fit_any_more() {
        for (page, expected) in [
            (
                "<meta http-equiv=content-security-policy content=\"upgrade-insecure-requests; img-src *\">",
                "<meta http-equiv=content-security-policy content=\"img-src *\">",
            ),
            ("<link rel=stylesheet href=/a.css integrity=sha256-x>", "<link rel=stylesheet href=/a.css>"),
            (
                "<link rel=\"x Stylesheet\" href=https://§/a.css integrity=sha256-x>",
                "<link rel=\"x Stylesheet\" href=\"http://¶/a.css\">",
            ),
            ("<link rel=preload as=style href=a.css integrity=x>", "<link rel=preload as=style href=a.css>"),
        ] {
            assert_eq!(changed(&named(page)), named(expected), "{page}");
        }
        for page in [
            "<link rel=stylesheet href=https://other.example/a.css integrity=sha256-x>",
            "<link rel=stylesheet href=//other.example/a.css integrity=sha256-x>",
            "<script src=/a.js integrity=sha256-x>",
            "<link rel=modulepreload href=/a.js integrity=sha256-x>",
            "<meta http-equiv=content-security-policy content=\"img-src *\">",
            "<meta name=x content=\"upgrade-insecure-requests\">",
        ] {
            assert_eq!(changed(page), page);
        }
    }

    #[test]
    fn a_tag_that_is_too_long_to_be_held_loses_nothing_and_tells_nothing() {
        let long = "x".repeat(2 * MAX_HELD_BYTES);
        let page = named(&format!("<p title=\"https://§/\"><img src=\"//§/{long}\"><script>'//§/'</script>"));
        let expected =
            named(&format!("<p title=\"http://¶/\"><img src=\"//¶/{long}\"><script>'//¶/'</script>"));
        let out = pushed(page.as_bytes().chunks(1000));
        assert!(String::from_utf8(out).unwrap() == expected);
        // Held until it is whole, and no longer.
        let page = page.replace(&long, &long[..MAX_HELD_BYTES / 4]);
        let out = String::from_utf8(pushed(page.as_bytes().chunks(1000))).unwrap();
        assert!(out.contains(&named("<script>'//§/'</script>")) && !out.contains(&named("src=\"//§")));
    }

    proptest! {
        #[test]
        fn it_does_not_matter_how_a_page_is_cut(parts in proptest::collection::vec(part(), 0..40), cuts in proptest::collection::vec(1_usize..30, 1..10)) {
            let page = named(&parts.concat()).into_bytes();
            let whole = pushed([&page[..]]);
            let mut pieces = Vec::new();
            let (mut left, mut cuts) = (&page[..], cuts.iter().cycle());
            while !left.is_empty() {
                let (piece, rest) = left.split_at(left.len().min(*cuts.next().unwrap()));
                pieces.push(piece);
                left = rest;
            }
            prop_assert_eq!(&pushed(pieces), &whole);
            prop_assert_eq!(&pushed([&whole[..]]), &whole, "a second time");
            if !page.windows(TARGET.len()).any(|window| window == TARGET.as_bytes()) {
                prop_assert_eq!(whole, page);
            }
        }
    }

    /// What pages are made of.
    fn part() -> impl Strategy<Value = &'static str> {
        proptest::sample::select(
            &[
                "<a href=\"",
                "<p style='",
                "<img srcset=",
                "\">",
                "'>",
                ">",
                "/>",
                " ",
                "=",
                "\"",
                "'",
                "<style>",
                "</style>",
                "<noscript>",
                "</noscript>",
                "<script>",
                "</script>",
                "<svg>",
                "</svg>",
                "<!--",
                "-->",
                "<![CDATA[",
                "]]>",
                "<textarea>",
                "</textarea>",
                "<meta content=\"",
                "<select>",
                "<template>",
                "<math>",
                "<title>",
                "<x y=",
                "url(",
                ")",
                "https://",
                "http:",
                "//",
                "%2F%2F",
                "\\/\\/",
                "&#x2f;&sol;",
                "&amp;",
                "&",
                ";",
                "§",
                "¶",
                "www.",
                ".",
                ":",
                ":81",
                "/",
                "@",
                "[::1]",
                "text",
                "\u{fc}",
                "\0",
                "\n",
            ][..],
        )
    }
}
