//! Random inputs that can be had again: each test prints its seed when it fails, and `ORACLE_SEED` brings it back.
//!
//! The tests are in `tests/`. They check that rustbalance and arti, two implementations that share no code but the
//! primitives, agree: what one computes the other computes, what one builds the other reads.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// A generator with a fresh seed, or that of `ORACLE_SEED`. The seed is printed; the test harness shows it on failure.
pub fn random() -> StdRng {
    let seed = std::env::var("ORACLE_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(rand::random::<u64>);
    println!("to run this again: ORACLE_SEED={seed}");
    StdRng::seed_from_u64(seed)
}

/// Random bytes.
pub fn bytes<const N: usize>(rng: &mut StdRng) -> [u8; N] {
    let mut bytes = [0; N];
    rng.fill_bytes(&mut bytes);
    bytes
}
