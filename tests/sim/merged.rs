//! The descriptor as clients should find it.

use std::collections::BTreeSet;
use std::time::Duration;

use rustbalance::proto::onion::descriptor::intro_point::IntroPoint;
use rustbalance::proto::publish::order::Candidate;
use rustbalance::proto::publish::select::select;

use crate::hsdirs::{blinded, relays};
use crate::node::Node;
use crate::world::World;

/// An HSDir that was ill, or has lost what it had, has it again after so long: the promise of the failure matrix.
const SUPPLIED_AGAIN: Duration = Duration::from_mins(1);

type Keys = BTreeSet<[u8; 32]>;

/// What these nodes together should have published. Choosing takes a while, so the last choice is kept.
#[derive(Default)]
pub struct Merged {
    of: (u64, Vec<Candidate>),
    keys: Keys,
}

impl Merged {
    /// Whether every HSDir that clients ask, and that is well, has exactly the points chosen from these nodes'.
    pub fn is_everywhere(&mut self, world: &World, nodes: &[&Node]) -> Result<(), String> {
        let candidate =
            |node: &&Node| Candidate { node: node.id.clone(), points: node.shown_points().to_vec() };
        let of = (world.hsdirs.period, nodes.iter().map(candidate).collect());
        if self.of != of {
            self.keys = keys(&select(&of.1, &relays(), &blinded(of.0).0));
            self.of = of;
        }
        for (hsdir, stored) in world.hsdirs.fetched(world.now, SUPPLIED_AGAIN) {
            let found = stored.map(|stored| keys(&stored.points)).unwrap_or_default();
            if found != self.keys {
                let dead = found.difference(&self.keys).count();
                let missing = self.keys.difference(&found).count();
                return Err(format!("HSDir {hsdir}: {dead} points too many, {missing} are missing"));
            }
        }
        Ok(())
    }
}

fn keys(points: &[IntroPoint]) -> Keys {
    points.iter().map(|point| point.auth_key).collect()
}
