//! What a guess at a passphrase costs: Argon2id (RFC 9106) and its bounds.

use argon2::{Algorithm, Argon2, Block, Params, Version};
use zeroize::Zeroizing;

use super::passphrase::Passphrase;

/// Bytes of the salt: RFC 9106 section 3.1 recommends 16.
pub(super) const SALT_LEN: usize = 16;
/// The cheapest that is opened: below RFC 9106's second recommendation by a factor of eight. A sealed file that asks
/// for less was made by somebody who wants the passphrase to be guessed, or by no version of ours.
const LEAST: Cost = Cost { memory_kib: 8 * 1024, passes: 1, lanes: 1 };
/// The dearest that is opened. A hostile file must not make us allocate gigabytes or compute for an hour: this takes
/// 256 MiB and some seconds.
const MOST: Cost = Cost { memory_kib: 256 * 1024, passes: 10, lanes: 4 };

/// How much memory and work turning a passphrase into a key takes. It stands in the sealed file, so that raising the
/// default does not lock anybody out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over that memory.
    pub passes: u32,
    /// Lanes, computed one after the other here, at once by who has the machines.
    pub lanes: u8,
}

/// Why no key was derived. Nothing was allocated, or all of it has been wiped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CostError {
    /// Outside of what is sane.
    #[error(
        "it asks for {} KiB of memory, {} passes and {} lanes to try a passphrase, expected {} to {} KiB, {} to {} \
         passes and at most {} lanes; it was altered, or made by something else", cost.memory_kib, cost.passes,
         cost.lanes, LEAST.memory_kib, MOST.memory_kib, LEAST.passes, MOST.passes, MOST.lanes
    )]
    OutOfBounds {
        /// What was asked for.
        cost: Cost,
    },
    /// This machine cannot give so much memory now.
    #[error("trying a passphrase takes {0} KiB of memory, which this machine does not have now; free some")]
    NoMemory(u32),
    /// Argon2 refused what the bounds allow.
    #[error("Argon2 refused parameters within bounds; this is a mistake in rustbalance")]
    Refused,
}

impl Cost {
    /// The memory of RFC 9106's second recommendation, and twice its passes, because there is one lane where that has
    /// four: a quarter of a second on a fast machine of 2025, about a second and a half on the smallest.
    pub const DEFAULT: Self = Self { memory_kib: 64 * 1024, passes: 6, lanes: 1 };
    /// For tests that derive a hundred thousand keys. No build that is not a test opens what was sealed so.
    #[cfg(test)]
    pub(super) const TEST: Self = Self { memory_kib: 8, passes: 1, lanes: 1 };

    /// Whether something that asks for this may be opened.
    pub(super) fn check(self) -> Result<Self, CostError> {
        #[cfg(test)]
        if self == Self::TEST {
            return Ok(self);
        }
        let sane = (LEAST.memory_kib..=MOST.memory_kib).contains(&self.memory_kib)
            && (LEAST.passes..=MOST.passes).contains(&self.passes)
            && (LEAST.lanes..=MOST.lanes).contains(&self.lanes);
        if sane { Ok(self) } else { Err(CostError::OutOfBounds { cost: self }) }
    }

    /// The key that a passphrase makes with this salt. Takes as long as it costs: not for an async task.
    pub(super) fn derive(
        self,
        passphrase: &Passphrase,
        salt: &[u8; SALT_LEN],
    ) -> Result<Zeroizing<[u8; 32]>, CostError> {
        let Self { memory_kib, passes, lanes } = self.check()?;
        let params =
            Params::new(memory_kib, passes, u32::from(lanes), None).map_err(|_| CostError::Refused)?;
        // Our own memory, because the crate does not wipe the one it would allocate.
        let mut memory = Zeroizing::new(Vec::new());
        memory.try_reserve_exact(params.block_count()).map_err(|_| CostError::NoMemory(memory_kib))?;
        memory.resize(params.block_count(), Block::new());
        let mut key = Zeroizing::new([0; 32]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into_with_memory(passphrase.bytes(), salt, &mut *key, memory.as_mut_slice())
            .map_err(|_| CostError::Refused)?;
        Ok(key)
    }
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;

    use super::*;

    #[test]
    fn keys_are_those_of_the_reference_implementation() {
        // printf 'correct horse battery' | argon2 somesaltsomesalt -id -k 8192 -t 2 -p 1 -l 32 -r
        let passphrase = Passphrase::new("correct horse battery").unwrap();
        let cost = Cost { memory_kib: 8192, passes: 2, lanes: 1 };
        let key = cost.derive(&passphrase, b"somesaltsomesalt").unwrap();
        assert_eq!(
            HEXLOWER.encode(&*key),
            "e6d17584dd2c4f2e3b778d3a8ae9719b6f51cb1df5b27804b8fcd47468ce7e49"
        );
    }

    #[test]
    fn neither_too_little_nor_too_much() {
        for good in [LEAST, MOST, Cost::DEFAULT] {
            assert_eq!(good.check(), Ok(good));
        }
        for (memory_kib, passes, lanes) in [
            (8 * 1024 - 1, 3, 1),
            (256 * 1024 + 1, 3, 1),
            (u32::MAX, 1, 1),
            (65536, 0, 1),
            (65536, 11, 1),
            (65536, u32::MAX, 1),
            (65536, 3, 0),
            (65536, 3, 5),
        ] {
            let cost = Cost { memory_kib, passes, lanes };
            assert_eq!(cost.check(), Err(CostError::OutOfBounds { cost }));
        }
    }
}
