//! Text and times, as they stand in HTML.

use jiff::Timestamp;

/// Text that cannot become anything else: names and reasons come from other programs. Line ends and their like become
/// spaces, since they would also end a line of an event stream.
pub(super) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            _ if letter.is_control() => safe.push(' '),
            _ => safe.push(letter),
        }
    }
    safe
}

/// A moment in UTC, to the second, with the day or without. A page that is sent anew with every change tells no ages, or it
/// would change all the time.
pub(super) fn time(unix_secs: u64, with_day: bool) -> String {
    let moment = i64::try_from(unix_secs).ok().and_then(|secs| Timestamp::from_second(secs).ok());
    let Some(moment) = moment else { return "after the year 9999".to_owned() };
    let shown = moment.strftime(if with_day { "%F %T" } else { "%T" });
    format!("<time datetime={moment}>{shown}</time>")
}

/// How long something lasts: coarser, the longer it is.
pub(super) fn span(secs: u64) -> String {
    match secs {
        0..120 => format!("{secs} s"),
        120..7200 => format!("{} min", secs / 60),
        _ => format!("{} h", secs / 3600),
    }
}

/// The beginning of a relay's fingerprint: enough to tell relays apart, the whole is shown to who points at it.
pub(super) fn short(fingerprint: &str) -> String {
    let beginning: String = fingerprint.chars().take(8).collect();
    escaped(&beginning)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_can_become_markup_an_attributes_end_or_another_line() {
        assert_eq!(escaped("<a href='x\" & y>"), "&lt;a href=&#39;x&quot; &amp; y&gt;");
        assert_eq!(escaped("one\r\ntwo\nthree\rfour\0"), "one  two three four ");
        assert_eq!(escaped("plain – ü"), "plain – ü");
    }

    #[test]
    fn times_are_utc_and_spans_get_coarser() {
        assert_eq!(time(1_790_000_000, false), "<time datetime=2026-09-21T14:13:20Z>14:13:20</time>");
        assert_eq!(
            time(1_790_000_000, true),
            "<time datetime=2026-09-21T14:13:20Z>2026-09-21 14:13:20</time>"
        );
        assert_eq!(time(u64::MAX, true), "after the year 9999");
        assert_eq!([119, 120, 7199, 7200].map(span), ["119 s", "2 min", "119 min", "2 h"]);
    }
}
