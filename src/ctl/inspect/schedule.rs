//! The periods of a network whose consensus is not at hand.

use std::collections::BTreeSet;

use clap::Args;

use crate::ctl::moment::Moment;
use crate::proto::onion::network::{
    DEFAULT_PERIOD_LENGTH_MINUTES, HsDirParams, NetworkView, rotation_offset_secs,
};

/// The shortest period: tor's authorities vote every ten seconds at the most.
const MIN_PERIOD_LENGTH_MINUTES: u64 = 4;
/// The longest period a consensus can ask for: `HS_TIME_PERIOD_LENGTH_MAX`, ten days.
const MAX_PERIOD_LENGTH_MINUTES: u64 = 14_400;
/// Votes in a run of the shared-random protocol, which is as long as a period.
const VOTES_PER_PERIOD: u64 = 24;

/// When it is, and on what network.
#[derive(Debug, Args)]
pub struct Schedule {
    /// The time, as 2026-11-24T12:00:00Z or in Unix seconds; now, if not given
    #[arg(long, value_name = "TIME")]
    pub at: Option<Moment>,
    /// How long a time period is; a testing network has shorter ones, of 24 voting intervals
    #[arg(long, value_name = "MINUTES", default_value_t = DEFAULT_PERIOD_LENGTH_MINUTES,
          value_parser = clap::value_parser!(u64).range(MIN_PERIOD_LENGTH_MINUTES..=MAX_PERIOD_LENGTH_MINUTES))]
    length: u64,
}

impl Schedule {
    /// The moment asked about.
    pub fn moment(&self) -> Moment {
        self.at.unwrap_or_else(Moment::now)
    }

    /// What a consensus of that moment says about periods. Relays and shared random values are unknown.
    pub fn network(&self) -> NetworkView {
        let voting_interval_secs = self.length * 60 / VOTES_PER_PERIOD;
        let at = self.moment().unix_secs();
        let valid_after = at - at % voting_interval_secs;
        NetworkView {
            valid_after,
            fresh_until: valid_after.saturating_add(voting_interval_secs),
            valid_until: valid_after.saturating_add(3 * voting_interval_secs),
            voting_interval_secs,
            period_length_minutes: self.length,
            rotation_offset_secs: rotation_offset_secs(voting_interval_secs),
            srv_current: None,
            srv_previous: None,
            params: HsDirParams::default(),
            hsdirs: Vec::new(),
            relays: BTreeSet::new(),
        }
    }
}
