//! The wall clock, read in one place and handed to the pure cores as an argument.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970-01-01 UTC by the wall clock; 0 when the clock stands before that date.
pub fn unix_ms() -> u64 {
    // A clock before 1970 is a broken clock; 0 makes every comparison with peers and consensus fail loudly.
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Seconds since 1970-01-01 UTC by the wall clock.
pub fn unix_secs() -> u64 {
    unix_ms() / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_is_after_this_code_was_written_and_in_milliseconds() {
        let now = unix_ms();
        assert!(now > 1_760_000_000_000, "{now}");
        assert!(now < 10_000_000_000_000, "{now}");
        assert!(unix_secs().abs_diff(now / 1000) <= 1);
    }
}
