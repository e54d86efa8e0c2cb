//! The network's shared random value, and what stands in for it on days without one (rend-spec-v3, 2.2.4).

use std::fmt;

use data_encoding::BASE64;
use serde::{Deserialize, Serialize};
use sha3::{Digest, Sha3_256};

use crate::proto::onion::period::TimePeriod;

/// A shared random value (SRV): makes next day's hash ring unpredictable.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SharedRandom(pub [u8; 32]);

impl SharedRandom {
    /// The value all use for `period` when the consensus has none:
    /// `H("shared-random-disaster" | INT_8(period_length) | INT_8(period_num))`.
    pub fn disaster(period: TimePeriod) -> Self {
        let hash = Sha3_256::new()
            .chain_update(b"shared-random-disaster")
            .chain_update(period.length_minutes.to_be_bytes())
            .chain_update(period.num.to_be_bytes())
            .finalize();
        Self(hash.into())
    }
}

impl fmt::Debug for SharedRandom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SharedRandom({self})")
    }
}

/// Base 64, as in the consensus and in the control port's `sr/current`.
impl fmt::Display for SharedRandom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64.encode(&self.0))
    }
}
