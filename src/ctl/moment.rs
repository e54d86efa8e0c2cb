//! Times as operators write and read them.

use std::fmt;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use serde::{Serialize, Serializer};

/// A moment since 1970, to the second. Read from RFC 3339 or Unix seconds, shown as RFC 3339 in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(u64);

/// The text is no time. Nothing was computed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("write the time as 2026-11-24T12:00:00Z or as Unix seconds, not before 1970")]
pub struct MomentError;

impl Moment {
    /// The moment `secs` seconds after the epoch.
    pub fn from_unix_secs(secs: u64) -> Self {
        Self(secs)
    }

    /// The present, by this machine's clock.
    pub fn now() -> Self {
        Self(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
    }

    /// Seconds since the epoch.
    pub fn unix_secs(self) -> u64 {
        self.0
    }
}

impl FromStr for Moment {
    type Err = MomentError;

    fn from_str(text: &str) -> Result<Self, MomentError> {
        let seconds = match text.parse::<i64>() {
            Ok(seconds) => Timestamp::from_second(seconds).map_err(|_| MomentError)?.as_second(),
            Err(_) => text.parse::<Timestamp>().map_err(|_| MomentError)?.as_second(),
        };
        seconds.try_into().map(Self).map_err(|_| MomentError)
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match i64::try_from(self.0).ok().and_then(|secs| Timestamp::from_second(secs).ok()) {
            Some(timestamp) => timestamp.fmt(f),
            // Beyond the year 9999: a certificate or a period number can say so.
            None => write!(f, "{} s after 1970", self.0),
        }
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_forms_and_shows_one() {
        for text in
            ["1675944000", "2023-02-09T12:00:00Z", "2023-02-09T13:00:00+01:00", "2023-02-09 12:00:00Z"]
        {
            let moment: Moment = text.parse().unwrap();
            assert_eq!(moment, Moment::from_unix_secs(1_675_944_000), "{text}");
            assert_eq!(moment.to_string(), "2023-02-09T12:00:00Z");
        }
    }

    #[test]
    fn refuses_what_names_no_moment() {
        for text in
            ["", "noon", "2023-02-09", "2023-02-09T12:00:00", "-1", "1969-12-31T23:59:59Z", "99999999999999"]
        {
            assert_eq!(text.parse::<Moment>(), Err(MomentError), "{text}");
        }
        assert_eq!(Moment::from_unix_secs(u64::MAX).to_string(), "18446744073709551615 s after 1970");
    }
}
