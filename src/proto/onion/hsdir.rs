//! The relays that store descriptors, and the places of relays and descriptors on the hash ring (rend-spec-v3,
//! section 2.2.3).

use std::fmt;

use data_encoding::HEXUPPER;
use serde::{Deserialize, Serialize};
use sha3::{Digest, Sha3_256};

use crate::proto::onion::blinding::HsBlindId;
use crate::proto::onion::period::TimePeriod;
use crate::proto::onion::shared_random::SharedRandom;

/// A relay that stores descriptors.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct HsDir {
    /// Its RSA identity, by which the control port names it.
    pub rsa_id: [u8; 20],
    /// Its Ed25519 identity, which decides its place on the ring.
    pub ed_id: [u8; 32],
}

impl HsDir {
    /// The RSA identity as 40 upper-case hexadecimal digits, for `SERVER=`.
    pub fn fingerprint(&self) -> String {
        HEXUPPER.encode(&self.rsa_id)
    }
}

impl fmt::Debug for HsDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HsDir({})", self.fingerprint())
    }
}

/// Where a descriptor lies on the ring:
/// `H("store-at-idx" | blinded | INT_8(replica) | INT_8(period_length) | INT_8(period_num))`; replicas count from 1.
pub fn hs_index(blinded: &HsBlindId, replica: u64, period: TimePeriod) -> [u8; 32] {
    Sha3_256::new()
        .chain_update(b"store-at-idx")
        .chain_update(blinded.0)
        .chain_update(replica.to_be_bytes())
        .chain_update(period.length_minutes.to_be_bytes())
        .chain_update(period.num.to_be_bytes())
        .finalize()
        .into()
}

/// Where a relay lies on the ring:
/// `H("node-idx" | ed25519 identity | SRV | INT_8(period_num) | INT_8(period_length))`.
/// The last two stand in the other order than in [`hs_index`].
pub fn hsdir_index(ed_id: &[u8; 32], srv: &SharedRandom, period: TimePeriod) -> [u8; 32] {
    Sha3_256::new()
        .chain_update(b"node-idx")
        .chain_update(ed_id)
        .chain_update(srv.0)
        .chain_update(period.num.to_be_bytes())
        .chain_update(period.length_minutes.to_be_bytes())
        .finalize()
        .into()
}
