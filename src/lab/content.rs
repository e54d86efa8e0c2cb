//! What a long download consists of: every byte follows from its place, so that a client knows each of them
//! beforehand.

use std::fmt;
use std::time::Duration;

/// Spreads neighbouring numbers over all of 64 bits (the golden ratio as a fraction of 2⁶⁴).
const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;
/// What asks the target for one.
const PATH: &str = "/long";

/// A long answer: how much, and over how long the target spreads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Length {
    /// Bytes.
    pub(super) bytes: u64,
    /// From the first byte to the last, when nothing on the way is slower.
    pub(super) duration: Duration,
}

impl Length {
    /// How many bytes are due so long after the beginning.
    pub(super) fn due(&self, elapsed: Duration) -> u64 {
        if elapsed >= self.duration {
            return self.bytes;
        }
        let part = u128::from(self.bytes) * elapsed.as_millis() / self.duration.as_millis().max(1);
        u64::try_from(part).unwrap_or(self.bytes)
    }

    /// From the first line of a request; None if it asks for something else.
    pub(super) fn of_request(line: &str) -> Option<Self> {
        let query = line.strip_prefix("GET ")?.strip_prefix(PATH)?.strip_prefix("?bytes=")?;
        let (bytes, rest) = query.split_once("&seconds=")?;
        let seconds = rest.split(' ').next()?.parse().ok()?;
        Some(Self { bytes: bytes.parse().ok()?, duration: Duration::from_secs(seconds) })
    }
}

impl fmt::Display for Length {
    /// The target of a request for it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PATH}?bytes={}&seconds={}", self.bytes, self.duration.as_secs())
    }
}

/// The byte at that place.
fn byte(place: u64) -> u8 {
    place.wrapping_mul(SPREAD).to_be_bytes()[0]
}

/// The bytes from one place to another.
pub(super) fn between(from: u64, to: u64) -> Vec<u8> {
    (from..to).map(byte).collect()
}

/// Where, counted from the beginning of the download, the first byte is that should be another one. `place` is that
/// of the first of `bytes`.
pub(super) fn first_wrong(place: u64, bytes: &[u8]) -> Option<u64> {
    (place..).zip(bytes).find(|(place, found)| byte(*place) != **found).map(|(place, _)| place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_repeated_or_changed_byte_is_found() {
        let whole = between(0, 5000);
        assert_eq!(first_wrong(0, &whole), None);
        assert_eq!(first_wrong(1000, &whole[1000..3000]), None);
        let mut changed = whole.clone();
        changed[4321] ^= 1;
        assert_eq!(first_wrong(0, &changed), Some(4321));
        for shift in 1..1000 {
            // Neighbours may be the same by chance; a stretch of them is not.
            assert!(first_wrong(0, &whole[shift..shift + 16]).is_some(), "{shift} bytes missing");
            assert!(first_wrong(shift as u64, &whole[..16]).is_some(), "{shift} bytes twice");
        }
    }

    #[test]
    fn a_length_is_asked_for_and_understood_and_paced() {
        let length = Length { bytes: 1_000_000, duration: Duration::from_secs(50) };
        assert_eq!(Length::of_request(&format!("GET {length} HTTP/1.1")), Some(length));
        for other in ["GET / HTTP/1.1", "GET /long HTTP/1.1", "GET /long?bytes=x&seconds=1 HTTP/1.1", ""] {
            assert_eq!(Length::of_request(other), None, "{other}");
        }
        assert_eq!(length.due(Duration::ZERO), 0);
        assert_eq!(length.due(Duration::from_secs(25)), 500_000);
        assert_eq!(length.due(Duration::from_secs(51)), 1_000_000);
        assert_eq!(Length { bytes: 7, duration: Duration::ZERO }.due(Duration::ZERO), 7);
    }
}
