//! `[publisher]`: when descriptors are collected and published besides on change.

use std::time::Duration;

use serde::Deserialize;

use super::seconds;

/// `[publisher]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Publisher {
    /// How often the descriptor is published although nothing changed.
    #[serde(
        default = "Publisher::default_refresh",
        deserialize_with = "seconds::between::<_, 5_000, 10_800_000>"
    )]
    pub refresh_interval_secs: Duration,
    /// How often tor is asked for its introduction points although no event came (the safety net behind events).
    #[serde(default = "Publisher::default_poll", deserialize_with = "seconds::between::<_, 1_000, 600_000>")]
    pub poll_interval_secs: Duration,
}

impl Publisher {
    fn default_refresh() -> Duration {
        Duration::from_mins(10)
    }

    fn default_poll() -> Duration {
        Duration::from_secs(30)
    }
}

impl Default for Publisher {
    fn default() -> Self {
        Self { refresh_interval_secs: Self::default_refresh(), poll_interval_secs: Self::default_poll() }
    }
}
