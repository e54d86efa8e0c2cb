//! Times that have passed, short enough for a column.

use std::time::Duration;

/// `0.4 s`, `35 s`, `12 min`, `5 h`, `3 d`: the unit in which the number is small and still says something.
pub fn age(age: Duration) -> String {
    let secs = age.as_secs();
    match secs {
        0..10 => format!("{:.1} s", age.as_secs_f64()),
        10..120 => format!("{secs} s"),
        120..7_200 => format!("{} min", secs / 60),
        7_200..172_800 => format!("{} h", secs / 3_600),
        _ => format!("{} d", secs / 86_400),
    }
}

/// The same for a moment in Unix seconds, as seen at `now`.
pub fn since(then_secs: u64, now_secs: u64) -> String {
    age(Duration::from_secs(now_secs.saturating_sub(then_secs)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_age_has_its_unit() {
        let shown = [
            (400, "0.4 s"),
            (35_000, "35 s"),
            (720_000, "12 min"),
            (18_000_000, "5 h"),
            (259_200_000, "3 d"),
        ];
        for (ms, expected) in shown {
            assert_eq!(age(Duration::from_millis(ms)), expected);
        }
        assert_eq!(since(100, 90), "0.0 s");
    }
}
