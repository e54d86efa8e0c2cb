//! Words, keyword arguments and quoted strings of control protocol lines (control-spec, sections 2.1 and 2.4).

/// Splits a line at its spaces, but not inside quotation marks: `650 X A="b c" D` has the words `650`, `X`,
/// `A="b c"` and `D`. A quotation that never ends takes the rest of the line.
pub fn words(line: &str) -> impl Iterator<Item = &str> {
    let mut rest = line;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches(' ');
        if rest.is_empty() {
            return None;
        }
        let (word, after) = rest.split_at(word_end(rest));
        rest = after;
        Some(word)
    })
}

/// Where the first word of a line ends, in bytes.
fn word_end(line: &str) -> usize {
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in line.bytes().enumerate() {
        match byte {
            b' ' if !quoted => return at,
            b'"' if !escaped => quoted = !quoted,
            _ => {}
        }
        escaped = quoted && byte == b'\\' && !escaped;
    }
    line.len()
}

/// The keyword argument in a word: `REASON=FINISHED` gives both parts, anything else gives `None`.
/// Keywords have only capitals, digits and `_`, so the old router name `$FINGERPRINT=nickname` is none.
pub fn keyword_argument(word: &str) -> Option<(&str, &str)> {
    let (key, value) = word.split_once('=')?;
    let is_keyword = key.starts_with(|first: char| first.is_ascii_alphabetic())
        && key.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
    is_keyword.then_some((key, value))
}

/// The bytes of a quoted string as tor writes it: `\n`, `\t`, `\r` and octal escapes are C escapes, a backslash
/// before anything else is dropped (control-spec 2.1.1). `None` unless `quoted` is one whole quoted string.
pub fn unquote(quoted: &str) -> Option<Vec<u8>> {
    let inner = quoted.strip_prefix('"')?.strip_suffix('"')?;
    let mut bytes = inner.bytes().peekable();
    let mut plain = Vec::with_capacity(inner.len());
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => return None,
            b'\\' => plain.push(match bytes.next()? {
                b'n' => b'\n',
                b't' => b'\t',
                b'r' => b'\r',
                first @ b'0'..=b'7' => {
                    let mut value = u32::from(first - b'0');
                    for _ in 0..2 {
                        let Some(digit) = bytes.next_if(|b| (b'0'..=b'7').contains(b)) else { break };
                        value = value * 8 + u32::from(digit - b'0');
                    }
                    u8::try_from(value).ok()?
                }
                other => other,
            }),
            other => plain.push(other),
        }
    }
    Some(plain)
}

/// Writes a text as a quoted string. `None` if it has a control character: tor's commands end at line ends,
/// and no option we set needs one.
pub fn quote(text: &str) -> Option<String> {
    if text.chars().any(char::is_control) {
        return None;
    }
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for letter in text.chars() {
        if matches!(letter, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(letter);
    }
    quoted.push('"');
    Some(quoted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_keep_quotations_whole() {
        let cases: [(&str, &[&str]); 6] = [
            ("", &[]),
            ("   ", &[]),
            (" a  b ", &["a", "b"]),
            (r#"X A="b c" D"#, &["X", r#"A="b c""#, "D"]),
            (r#"A="b\" c" D"#, &[r#"A="b\" c""#, "D"]),
            (r#"A="never ends D"#, &[r#"A="never ends D"#]),
        ];
        for (line, expected) in cases {
            assert_eq!(words(line).collect::<Vec<_>>(), expected, "{line}");
        }
        assert_eq!(
            words(r#"A="b\\" D"#).count(),
            2,
            "an escaped backslash does not escape the quotation mark"
        );
    }

    #[test]
    fn only_capitals_make_a_keyword() {
        assert_eq!(keyword_argument("REASON=A=B"), Some(("REASON", "A=B")));
        assert_eq!(keyword_argument("HS_STATE="), Some(("HS_STATE", "")));
        for word in ["$FP=nick", "=x", "REASON", "lower=1", "9=1"] {
            assert_eq!(keyword_argument(word), None, "{word}");
        }
    }

    #[test]
    fn escapes_are_read_as_tor_writes_them() {
        assert_eq!(unquote(r#""/run/tor/\"a\"\\b""#).unwrap(), br#"/run/tor/"a"\b"#);
        assert_eq!(unquote(r#""\n\t\r\302\2479\0""#).unwrap(), b"\n\t\r\xc2\xa79\0");
        assert_eq!(unquote(r#""""#).unwrap(), b"");
        for bad in ["", "\"", "x", "\"x", "x\"", r#""a"b""#, r#""\"#, r#""\777""#, r#""x\""#] {
            assert_eq!(unquote(bad), None, "{bad}");
        }
    }

    #[test]
    fn quoting_and_unquoting_cancel() {
        for text in ["", "80 unix:/a b/c", r#"a"b\c"#, "é"] {
            assert_eq!(unquote(&quote(text).unwrap()).unwrap(), text.as_bytes());
        }
        for text in ["a\r\nSIGNAL HALT", "\0", "\n"] {
            assert_eq!(quote(text), None);
        }
    }
}
