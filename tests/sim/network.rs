//! The network between the nodes: what is sent may arrive, once, twice, late, or not.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;

/// How the network treats datagrams.
#[derive(Debug, Clone)]
pub struct Network {
    /// Of a thousand datagrams, so many are lost.
    pub loss_per_mille: u32,
    /// Of a thousand, so many arrive twice.
    pub duplicates_per_mille: u32,
    /// The least time a datagram takes.
    pub delay: Duration,
    /// The most it takes on top of that; below a second; what is sent later may so arrive earlier.
    pub jitter: Duration,
    /// Which nodes are in which part, while the network is parted. Nodes not named are in part 0.
    pub parts: BTreeMap<usize, u8>,
    /// Links that are down in one direction: from, to.
    pub cut: BTreeSet<(usize, usize)>,
}

impl Network {
    /// A good network: everything arrives within a few milliseconds.
    pub fn good() -> Self {
        Self {
            loss_per_mille: 0,
            duplicates_per_mille: 0,
            delay: Duration::from_millis(1),
            jitter: Duration::from_millis(4),
            parts: BTreeMap::new(),
            cut: BTreeSet::new(),
        }
    }

    /// A network as seeds like it: some loss, some delay, some repetition.
    pub fn random(rng: &mut StdRng) -> Self {
        Self {
            loss_per_mille: rng.random_range(0..=20),
            duplicates_per_mille: rng.random_range(0..=20),
            delay: Duration::from_millis(rng.random_range(0..=60)),
            jitter: Duration::from_millis(rng.random_range(1..=60)),
            ..Self::good()
        }
    }

    fn part(&self, node: usize) -> u8 {
        self.parts.get(&node).copied().unwrap_or(0)
    }

    /// Whether datagrams can get from one to the other at all.
    pub fn connects(&self, from: usize, to: usize) -> bool {
        self.part(from) == self.part(to) && !self.cut.contains(&(from, to))
    }

    /// Whether the two can talk, both ways.
    pub fn links(&self, a: usize, b: usize) -> bool {
        self.connects(a, b) && self.connects(b, a)
    }

    /// When a datagram sent now arrives: not at all, once, or more often.
    pub fn deliver(&self, rng: &mut StdRng, from: usize, to: usize) -> [Option<Duration>; 2] {
        let connected = self.connects(from, to);
        let arrival = |dice: u64| {
            let lost = per_mille(dice >> 16) < self.loss_per_mille;
            let late = (u64::from(self.jitter.subsec_nanos()) * (dice >> 32)) >> 32;
            (!lost && connected).then(|| self.delay + Duration::from_nanos(late))
        };
        // Dice are thrown also where nothing can arrive, so that a link's state does not shift all later ones.
        let dice: u64 = rng.random();
        let again = per_mille(dice) < self.duplicates_per_mille;
        [arrival(dice), if again { arrival(rng.random()) } else { None }]
    }
}

/// A number below a thousand, from the last 16 bits.
fn per_mille(dice: u64) -> u32 {
    u32::try_from(((dice & 0xffff) * 1000) >> 16).unwrap()
}
