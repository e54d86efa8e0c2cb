//! Durations as the configuration writes them: a number of seconds, whole or with a fraction.

use std::fmt;
use std::time::Duration;

use serde::de::{self, Deserializer, Visitor};

/// Deserializes seconds that must lie between `MIN_MS` and `MAX_MS` milliseconds, both included.
///
/// Use as `#[serde(deserialize_with = "seconds::between::<_, 100, 60_000>")]`.
pub fn between<'de, D: Deserializer<'de>, const MIN_MS: u64, const MAX_MS: u64>(
    deserializer: D,
) -> Result<Duration, D::Error> {
    deserializer.deserialize_any(Seconds { min_ms: MIN_MS, max_ms: MAX_MS })
}

struct Seconds {
    min_ms: u64,
    max_ms: u64,
}

impl Seconds {
    fn within<E: de::Error>(&self, duration: Duration, shown: impl fmt::Display) -> Result<Duration, E> {
        let range = Duration::from_millis(self.min_ms)..=Duration::from_millis(self.max_ms);
        if range.contains(&duration) { Ok(duration) } else { Err(self.refuse(shown)) }
    }

    fn refuse<E: de::Error>(&self, shown: impl fmt::Display) -> E {
        let (min, max) = (Duration::from_millis(self.min_ms), Duration::from_millis(self.max_ms));
        E::custom(format!(
            "{shown} is out of range, expected {} to {} seconds",
            min.as_secs_f64(),
            max.as_secs_f64()
        ))
    }
}

impl Visitor<'_> for Seconds {
    type Value = Duration;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of seconds")
    }

    fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<Duration, E> {
        self.within(Duration::from_secs(seconds), seconds)
    }

    fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<Duration, E> {
        match u64::try_from(seconds) {
            Ok(seconds) => self.visit_u64(seconds),
            Err(_) => Err(self.refuse(seconds)),
        }
    }

    fn visit_f64<E: de::Error>(self, seconds: f64) -> Result<Duration, E> {
        // Refuses negative, infinite and not-a-number values as well as overflow.
        match Duration::try_from_secs_f64(seconds) {
            Ok(duration) => self.within(duration, seconds),
            Err(_) => Err(self.refuse(seconds)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize, Debug)]
    struct Sample {
        #[serde(deserialize_with = "between::<_, 100, 60_000>")]
        wait: Duration,
    }

    fn parse(value: &str) -> Result<Duration, String> {
        toml::from_str::<Sample>(&format!("wait = {value}"))
            .map(|s| s.wait)
            .map_err(|e| e.message().to_owned())
    }

    #[test]
    fn whole_and_fractional_seconds_within_the_range() {
        assert_eq!(parse("30").unwrap(), Duration::from_secs(30));
        assert_eq!(parse("0.25").unwrap(), Duration::from_millis(250));
        assert_eq!(parse("0.1").unwrap(), Duration::from_millis(100));
        assert_eq!(parse("60").unwrap(), Duration::from_mins(1));
    }

    #[test]
    fn everything_else_says_what_would_be_right() {
        for bad in ["0", "0.0999", "60.001", "-1", "-0.5", "nan", "inf", "1e300", "9223372036854775807"] {
            let error = parse(bad).unwrap_err();
            assert!(error.contains("expected 0.1 to 60 seconds"), "{bad}: {error}");
        }
        assert!(parse("\"30s\"").unwrap_err().contains("a number of seconds"));
    }
}
