//! Time periods: how long one blinded key lives (rend-spec-v3, section 2.2.1).

use std::fmt;

use serde::{Deserialize, Serialize};

/// One time period: its number and the length that all periods of the network have.
///
/// Where a period starts also depends on the network's rotation offset (twelve voting intervals, 12:00 UTC on the
/// public network), which the view of the network holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TimePeriod {
    /// `period_num`: periods since the epoch.
    pub num: u64,
    /// `period_length`, in minutes: 1440 on the public network.
    pub length_minutes: u64,
}

impl TimePeriod {
    /// The period in which the time `unix_secs` falls. Tor rounds the time and the offset down to whole minutes
    /// before it divides, and so does this. A length of zero has no meaning and is read as one minute.
    pub fn at(unix_secs: u64, length_minutes: u64, rotation_offset_secs: u64) -> Self {
        let length_minutes = length_minutes.max(1);
        let minutes = (unix_secs / 60).saturating_sub(rotation_offset_secs / 60);
        Self { num: minutes / length_minutes, length_minutes }
    }

    /// The period after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self { num: self.num.saturating_add(1), ..self }
    }

    /// The period before this one.
    #[must_use]
    pub fn previous(self) -> Self {
        Self { num: self.num.saturating_sub(1), ..self }
    }

    /// When the period starts, in Unix seconds.
    pub fn start(self, rotation_offset_secs: u64) -> u64 {
        self.num.saturating_mul(self.length_minutes).saturating_mul(60).saturating_add(rotation_offset_secs)
    }

    /// When the period ends and the next one starts, in Unix seconds.
    pub fn end(self, rotation_offset_secs: u64) -> u64 {
        self.next().start(rotation_offset_secs)
    }
}

impl fmt::Display for TimePeriod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} min)", self.num, self.length_minutes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_period_holds_the_times_between_its_start_and_end(
            time in 1_000_000u64..1 << 40,
            length in 1u64..20_000,
            offset_minutes in 0u64..10_000,
        ) {
            let offset = offset_minutes * 60;
            let period = TimePeriod::at(time, length, offset);
            prop_assert!(period.start(offset) <= time.max(offset));
            prop_assert!(time < period.end(offset));
            prop_assert_eq!(period.end(offset) - period.start(offset), length * 60);
            prop_assert_eq!(TimePeriod::at(period.start(offset), length, offset), period);
            prop_assert_eq!(TimePeriod::at(period.end(offset), length, offset), period.next());
            prop_assert_eq!(period.next().previous(), period);
        }

        #[test]
        fn no_numbers_make_it_panic(time: u64, length: u64, offset: u64, num: u64) {
            let _ = TimePeriod::at(time, length, offset).end(offset);
            let _ = TimePeriod { num, length_minutes: length }.end(offset);
        }
    }
}
