//! The grammar all three layers share (`dir-spec` 1.2): keyword lines, each perhaps followed by a base64 object.
//!
//! Nothing is copied while reading: an `Item` borrows from the text, and an object is decoded only when asked for,
//! so memory never exceeds the input.

use data_encoding::{BASE64, BASE64_NOPAD};
use thiserror::Error;

/// Tor breaks base64 inside objects after this many characters.
const OBJECT_LINE_LEN: usize = 64;

/// Why a text is not a document of keyword lines. The document is refused as a whole; nothing was taken from it.
///
/// Lines are counted from 1 inside the layer at hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum GrammarError {
    /// A line begins neither with a keyword nor, after a keyword line, with `-----BEGIN`.
    #[error("line {0}: no keyword")]
    NoKeyword(usize),
    /// A control character inside a line; tor writes none.
    #[error("line {0}: control character")]
    ControlCharacter(usize),
    /// `-----BEGIN` without its five dashes, or without the matching `-----END`.
    #[error("line {0}: object without a proper begin and end line")]
    BadObject(usize),
    /// A required keyword does not occur.
    #[error("no \"{0}\" line")]
    Missing(&'static str),
    /// A keyword that may occur once occurs again.
    #[error("line {0}: keyword given a second time")]
    Duplicate(usize),
    /// The document does not begin with the keyword that it must begin with.
    #[error("line {0}: \"{1}\" expected first")]
    NotFirst(usize, &'static str),
    /// Something follows the keyword that must be last.
    #[error("line {0}: lines after \"{1}\"")]
    NotLast(usize, &'static str),
    /// Fewer or more arguments than the keyword takes.
    #[error("line {0}: wrong number of arguments")]
    Arguments(usize),
    /// An argument is not the number it should be, or is out of range.
    #[error("line {0}: not a number in range")]
    Number(usize),
    /// A keyword lacks its object, has one it should not have, or one of another kind.
    #[error("line {0}: object missing, unexpected or of another kind")]
    Object(usize),
    /// Base64 that does not decode, or decodes to another length than wanted.
    #[error("line {0}: bad base64, or of the wrong length")]
    Base64(usize),
}

/// One keyword line with its object, if one follows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Item<'a> {
    pub(super) keyword: &'a str,
    /// Everything after the keyword, surrounding blanks removed.
    pub(super) arguments: &'a str,
    object: Option<Object<'a>>,
    /// The line of the keyword, counted from 1.
    pub(super) line: usize,
    /// Where in the text the keyword stands, in bytes.
    pub(super) offset: usize,
}

#[derive(Debug, Clone, Copy)]
struct Object<'a> {
    tag: &'a str,
    body: &'a str,
}

impl<'a> Item<'a> {
    /// The only argument.
    pub(super) fn only_argument(&self) -> Result<&'a str, GrammarError> {
        let [argument] = self.leading_arguments()?;
        if argument.len() == self.arguments.len() {
            Ok(argument)
        } else {
            Err(GrammarError::Arguments(self.line))
        }
    }

    /// The first `N` arguments; more may follow (forward compatibility). No object may follow.
    pub(super) fn leading_arguments<const N: usize>(&self) -> Result<[&'a str; N], GrammarError> {
        self.without_object()?;
        let mut words = self.arguments.split_ascii_whitespace();
        let mut found = [""; N];
        for slot in &mut found {
            *slot = words.next().ok_or(GrammarError::Arguments(self.line))?;
        }
        Ok(found)
    }

    /// The only argument, a decimal number without sign.
    pub(super) fn number(&self) -> Result<u64, GrammarError> {
        let argument = self.only_argument()?;
        // `parse` alone would also take "+3".
        if !argument.bytes().all(|b| b.is_ascii_digit()) {
            return Err(GrammarError::Number(self.line));
        }
        argument.parse().map_err(|_| GrammarError::Number(self.line))
    }

    /// Refuses arguments after a keyword that takes only an object.
    pub(super) fn only_keyword(&self) -> Result<(), GrammarError> {
        if self.arguments.is_empty() { Ok(()) } else { Err(GrammarError::Arguments(self.line)) }
    }

    /// Refuses an object after a keyword that takes none.
    pub(super) fn without_object(&self) -> Result<(), GrammarError> {
        self.object.map_or(Ok(()), |_| Err(GrammarError::Object(self.line)))
    }

    /// The object's bytes; it must be of the kind `tag`.
    pub(super) fn object(&self, tag: &str) -> Result<Vec<u8>, GrammarError> {
        let object = self.object.filter(|object| object.tag == tag).ok_or(GrammarError::Object(self.line))?;
        let joined: Vec<u8> = object.body.bytes().filter(|b| *b != b'\n').collect();
        BASE64.decode(&joined).map_err(|_| GrammarError::Base64(self.line))
    }

    /// Decodes an argument of exactly `N` bytes, with or without padding (tor accepts and writes both).
    pub(super) fn bytes<const N: usize>(&self, argument: &str) -> Result<[u8; N], GrammarError> {
        let bad = GrammarError::Base64(self.line);
        let decoded = self.base64(argument)?;
        decoded.try_into().map_err(|_| bad)
    }

    /// Decodes an argument of any length, with or without padding.
    pub(super) fn base64(&self, argument: &str) -> Result<Vec<u8>, GrammarError> {
        let encoding = if argument.len().is_multiple_of(4) { BASE64 } else { BASE64_NOPAD };
        encoding.decode(argument.as_bytes()).map_err(|_| GrammarError::Base64(self.line))
    }
}

/// Puts an item in the place kept for its keyword, which may be filled once.
pub(super) fn once<'a>(place: &mut Option<Item<'a>>, item: Item<'a>) -> Result<(), GrammarError> {
    match place.replace(item) {
        None => Ok(()),
        Some(_) => Err(GrammarError::Duplicate(item.line)),
    }
}

/// The items of a text, in order. After an error nothing more is returned.
pub(super) struct Items<'a> {
    text: &'a str,
    offset: usize,
    line: usize,
}

impl<'a> Items<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, offset: 0, line: 0 }
    }

    /// The next line without its newline, which is consumed.
    fn next_line(&mut self) -> Option<&'a str> {
        let rest = self.text.get(self.offset..).filter(|rest| !rest.is_empty())?;
        let line = rest.split_once('\n').map_or(rest, |(line, _)| line);
        self.offset = self.text.len().min(self.offset + line.len() + 1);
        self.line += 1;
        Some(line)
    }

    fn next_item(&mut self) -> Option<Result<Item<'a>, GrammarError>> {
        let offset = self.offset;
        let text = self.next_line()?;
        let line = self.line;
        if text.bytes().any(|b| b.is_ascii_control() && b != b'\t') {
            return Some(Err(GrammarError::ControlCharacter(line)));
        }
        let (keyword, arguments) = text.split_once([' ', '\t']).unwrap_or((text, ""));
        if !is_keyword(keyword) {
            return Some(Err(GrammarError::NoKeyword(line)));
        }
        let arguments = arguments.trim_matches([' ', '\t']);
        Some(self.next_object().map(|object| Item { keyword, arguments, object, line, offset }))
    }

    /// The object that begins on the next line, if one does.
    fn next_object(&mut self) -> Result<Option<Object<'a>>, GrammarError> {
        if !self.text.get(self.offset..).is_some_and(|rest| rest.starts_with("-----BEGIN ")) {
            return Ok(None);
        }
        let begin = self.next_line().unwrap_or_default();
        let bad = GrammarError::BadObject(self.line);
        let tag = begin.strip_prefix("-----BEGIN ").and_then(|tag| tag.strip_suffix("-----")).ok_or(bad)?;
        let rest = self.text.get(self.offset..).unwrap_or_default();
        // Base64 has no dash, so the first one must begin the end line.
        let body_len = rest.find('-').ok_or(bad)?;
        let (body, _) = rest.split_at_checked(body_len).ok_or(bad)?;
        if !(body.is_empty() || body.ends_with('\n')) {
            return Err(bad);
        }
        self.offset += body_len;
        self.line += body.bytes().filter(|b| *b == b'\n').count();
        let end = self.next_line().unwrap_or_default();
        let end_tag = end.strip_prefix("-----END ").and_then(|tag| tag.strip_suffix("-----"));
        if end_tag == Some(tag) { Ok(Some(Object { tag, body })) } else { Err(bad) }
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = Result<Item<'a>, GrammarError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.next_item();
        if matches!(next, Some(Err(_))) {
            self.offset = self.text.len();
        }
        next
    }
}

fn is_keyword(word: &str) -> bool {
    !word.is_empty() && !word.starts_with('-') && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// Writes a document, line by line.
pub(super) struct Writer(String);

impl Writer {
    pub(super) fn new() -> Self {
        Self(String::new())
    }

    /// Writes a keyword with its arguments.
    pub(super) fn line(&mut self, keyword: &str, arguments: &[&str]) {
        self.0.push_str(keyword);
        for argument in arguments {
            self.0.push(' ');
            self.0.push_str(argument);
        }
        self.0.push('\n');
    }

    /// Writes a keyword with an object as tor does: base64 in lines of 64 characters.
    pub(super) fn object(&mut self, keyword: &str, tag: &str, bytes: &[u8]) {
        self.line(keyword, &[]);
        self.line("-----BEGIN", &[&format!("{tag}-----")]);
        let encoded = BASE64.encode(bytes);
        let mut rest = encoded.as_str();
        while !rest.is_empty() {
            let (line, after) = rest.split_at_checked(OBJECT_LINE_LEN).unwrap_or((rest, ""));
            self.line(line, &[]);
            rest = after;
        }
        self.line("-----END", &[&format!("{tag}-----")]);
    }

    /// What was written so far.
    pub(super) fn text(&self) -> &str {
        &self.0
    }

    pub(super) fn finish(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Result<Vec<Item<'_>>, GrammarError> {
        Items::new(text).collect()
    }

    #[test]
    fn reads_keywords_arguments_and_objects() {
        let text = "first 1  2\t3 \nsecond\n-----BEGIN A B-----\nAAEC\n-----END A B-----\nthird x";
        let items = all(text).unwrap();
        assert_eq!(items.len(), 3);
        assert_eq!((items[0].keyword, items[0].arguments), ("first", "1  2\t3"));
        assert_eq!(items[0].leading_arguments::<2>(), Ok(["1", "2"]));
        assert_eq!(items[0].only_argument(), Err(GrammarError::Arguments(1)));
        assert_eq!(items[1].object("A B"), Ok(vec![0, 1, 2]));
        assert_eq!(items[1].object("A"), Err(GrammarError::Object(2)));
        assert_eq!(items[1].without_object(), Err(GrammarError::Object(2)));
        assert_eq!((items[2].line, items[2].only_argument()), (6, Ok("x")));
        assert_eq!(&text[items[2].offset..], "third x");
    }

    #[test]
    fn numbers_are_plain_decimals() {
        let number = |text: &str| all(text).unwrap()[0].number();
        assert_eq!(number("n 18446744073709551615"), Ok(u64::MAX));
        for text in ["n 18446744073709551616", "n +1", "n -1", "n 0x1"] {
            assert_eq!(number(text), Err(GrammarError::Number(1)), "{text}");
        }
        assert_eq!(number("n"), Err(GrammarError::Arguments(1)));
        assert_eq!(number("n 1 2"), Err(GrammarError::Arguments(1)));
    }

    #[test]
    fn refuses_what_is_no_document() {
        for (text, error) in [
            ("\n", GrammarError::NoKeyword(1)),
            ("a\n\nb", GrammarError::NoKeyword(2)),
            (" a", GrammarError::NoKeyword(1)),
            ("-a", GrammarError::NoKeyword(1)),
            ("-----BEGIN X-----", GrammarError::NoKeyword(1)),
            ("a\u{e4}", GrammarError::NoKeyword(1)),
            ("a b\0", GrammarError::ControlCharacter(1)),
            ("a b\r\n", GrammarError::ControlCharacter(1)),
            ("a\n-----BEGIN X----\nAA==\n-----END X-----", GrammarError::BadObject(2)),
            ("a\n-----BEGIN X-----\nAA==\n-----END Y-----", GrammarError::BadObject(2)),
            ("a\n-----BEGIN X-----\nAA==", GrammarError::BadObject(2)),
            ("a\n-----BEGIN X-----\nAA==-----END X-----", GrammarError::BadObject(2)),
            ("a\n-----BEGIN X-----", GrammarError::BadObject(2)),
        ] {
            assert_eq!(all(text).unwrap_err(), error, "{text:?}");
        }
        assert!(all("").unwrap().is_empty());
    }

    #[test]
    fn writes_objects_in_lines_of_64() {
        let mut writer = Writer::new();
        writer.object("k", "T", &[7; 49]);
        let text = writer.finish();
        assert_eq!(text.lines().map(str::len).collect::<Vec<_>>(), [1, 17, 64, 4, 15]);
        assert_eq!(all(&text).unwrap()[0].object("T"), Ok(vec![7; 49]));
    }

    #[test]
    fn base64_arguments_come_padded_or_not() {
        let item = all("k x").unwrap()[0];
        assert_eq!(item.bytes::<1>("AA=="), Ok([0]));
        assert_eq!(item.bytes::<1>("AA"), Ok([0]));
        for text in ["AA=", "A", "AAA=", "A_==", ""] {
            assert_eq!(item.bytes::<1>(text), Err(GrammarError::Base64(1)), "{text}");
        }
    }
}
