//! Spans of time as operators write them.

use std::time::Duration;

/// Reads a span with its unit; otherwise says how one is written.
pub fn parse(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|_| "write it with its unit, for example 90s, 15m or 1h30m".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_has_a_unit_and_what_is_none_comes_with_examples() {
        for (text, secs) in [("90s", 90), ("15m", 900), ("1h30m", 5400), ("1h 30m", 5400), ("2days", 172_800)]
        {
            assert_eq!(parse(text), Ok(Duration::from_secs(secs)), "{text}");
        }
        for text in ["", "banana", "3", "-3s", "3 parsecs", "99999999999999999999s"] {
            assert!(parse(text).unwrap_err().contains("90s"), "{text}");
        }
    }
}
