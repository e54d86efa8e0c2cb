//! Which introduction points go into the merged descriptor.
//!
//! Three facts decide. A client refuses a descriptor with more than 20 points. A client that meets one relay
//! twice uses only the first of the two, so the second is unreachable. A client picks one of the points at
//! random, so a node's share of the traffic is its share of the points.
//!
//! Hence: nodes take turns, one point each, for as long as there is room. A node whose relay is taken tries
//! its other points, and if all are taken, another node is asked to move to a relay of its own that is still
//! free (an augmenting path, as in bipartite matching). A point once given to a node is moved but never lost
//! to another node, so no node is starved by bad luck in the choice of relays.

use std::collections::{BTreeMap, BTreeSet};

use sha3::{Digest, Sha3_256};

use crate::proto::node::NodeId;
use crate::proto::onion::descriptor::intro_point::IntroPoint;
use crate::proto::publish::order::Candidate;

/// Most points in one descriptor: with more, a client rejects all of it (`HS_CONFIG_V3_MAX_INTRO_POINTS`).
pub const MAX_POINTS: usize = 20;

/// Most points looked at per node: tor makes at most 20 for a service, whatever its record claims.
const MAX_POINTS_PER_NODE: usize = 20;

/// Chooses the points of the merged descriptor, in the order in which they are listed.
///
/// `running` holds the relays that the consensus calls running; points at others are left out, and so are
/// points that no descriptor can hold. The outcome depends on nothing but the arguments, and not on the order of the
/// candidates: `seed` settles who is first and how the list is shuffled.
pub fn select(candidates: &[Candidate], running: &BTreeSet<[u8; 20]>, seed: &[u8; 32]) -> Vec<IntroPoint> {
    let offers = offers(candidates, running, seed);
    let mut taken = Taken::default();
    let mut hungry: Vec<usize> = (0..offers.len()).collect();
    while !hungry.is_empty() && taken.by_relay.len() < MAX_POINTS {
        hungry.retain(|&node| {
            taken.by_relay.len() < MAX_POINTS && taken.give(&offers, node, &mut BTreeSet::new())
        });
    }
    let mut chosen: Vec<IntroPoint> = taken
        .by_relay
        .iter()
        .filter_map(|(relay, &node)| offers.get(node)?.iter().find(|(at, _)| at == relay))
        .map(|&(_, point)| point.clone())
        .collect();
    chosen.sort_by_cached_key(|point| place(seed, b"list", &point.auth_key));
    chosen
}

/// A node's usable points, each with its relay, at most one per relay.
type Offer<'a> = Vec<([u8; 20], &'a IntroPoint)>;

/// What every node offers, nodes and their points in the order of the seed.
fn offers<'a>(candidates: &'a [Candidate], running: &BTreeSet<[u8; 20]>, seed: &[u8; 32]) -> Vec<Offer<'a>> {
    let mut by_node: BTreeMap<&NodeId, Offer<'a>> = BTreeMap::new();
    for candidate in candidates {
        let offer = by_node.entry(&candidate.node).or_default();
        for point in candidate.points.iter().take(MAX_POINTS_PER_NODE) {
            let relay = point.relay_id().filter(|relay| running.contains(relay));
            // A key that cannot be certified would spoil the whole descriptor.
            if let Some(relay) = relay.filter(|_| point.enc_key_certified().is_some()) {
                offer.push((relay, point));
            }
        }
    }
    let mut nodes: Vec<_> = by_node.into_iter().collect();
    nodes.sort_by_cached_key(|(node, _)| place(seed, b"node", node.as_str().as_bytes()));
    for (_, offer) in &mut nodes {
        offer.sort_by_cached_key(|(_, point)| place(seed, b"point", &point.auth_key));
        let mut seen = BTreeSet::new();
        offer.retain(|(relay, _)| seen.insert(*relay));
    }
    nodes.into_iter().map(|(_, offer)| offer).collect()
}

/// Who has which relay so far; nodes are named by their index among the offers.
#[derive(Default)]
struct Taken {
    by_relay: BTreeMap<[u8; 20], usize>,
}

impl Taken {
    /// Gives `node` one relay more, moving others to their free relays where that helps.
    ///
    /// `tried` keeps the search finite; only relays already given lead deeper, so it is at most
    /// [`MAX_POINTS`] calls deep.
    fn give(&mut self, offers: &[Offer<'_>], node: usize, tried: &mut BTreeSet<[u8; 20]>) -> bool {
        let Some(offer) = offers.get(node) else { return false };
        let free = offer.iter().map(|&(relay, _)| relay).find(|relay| !self.by_relay.contains_key(relay));
        if let Some(relay) = free {
            self.by_relay.insert(relay, node);
            return true;
        }
        for &(relay, _) in offer {
            let holder = self.by_relay.get(&relay).copied();
            if let Some(holder) = holder.filter(|&holder| holder != node)
                && tried.insert(relay)
                && self.give(offers, holder, tried)
            {
                self.by_relay.insert(relay, node);
                return true;
            }
        }
        false
    }
}

/// The place of an item in a shuffled order: items are sorted by the hash of the seed and their name, so a
/// point that comes or goes does not disturb the order of the others.
fn place(seed: &[u8; 32], what: &[u8], name: &[u8]) -> [u8; 32] {
    Sha3_256::new()
        .chain_update(b"rustbalance select")
        .chain_update(seed)
        .chain_update(what)
        .chain_update(name)
        .finalize()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SEED: [u8; 32] = [7; 32];
    /// x25519's base point: surely a key. Among arbitrary bytes every second one is not on the curve.
    const BASE_POINT: [u8; 32] =
        [9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    /// Two is the abscissa of no point of the curve, only of its twist.
    const NO_KEY: [u8; 32] =
        [2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

    fn point(relay: u8, auth: u8) -> IntroPoint {
        let mut link_specifiers = vec![1, 2, 20];
        link_specifiers.extend([relay; 20]);
        IntroPoint { link_specifiers, onion_key: [relay; 32], auth_key: [auth; 32], enc_key: BASE_POINT }
    }

    /// Nodes `n0`, `n1`, … with points at these relays; the auth key tells node and relay: 16 × node + nth.
    fn cluster(relays: &[&[u8]]) -> Vec<Candidate> {
        relays
            .iter()
            .zip(0u8..)
            .map(|(relays, node)| Candidate {
                node: format!("n{node}").parse().unwrap(),
                points: relays.iter().zip(0u8..).map(|(&r, nth)| point(r, 16 * node + nth)).collect(),
            })
            .collect()
    }

    fn running(relays: impl IntoIterator<Item = u8>) -> BTreeSet<[u8; 20]> {
        relays.into_iter().map(|relay| [relay; 20]).collect()
    }

    fn shares(chosen: &[IntroPoint], nodes: usize) -> Vec<usize> {
        (0..nodes).map(|n| chosen.iter().filter(|p| usize::from(p.auth_key[0] / 16) == n).count()).collect()
    }

    #[test]
    fn three_nodes_at_the_same_three_relays_get_one_each() {
        // Seen live: all points of C shared relays with A's, and C got no traffic at all.
        let chosen = select(&cluster(&[&[1, 2, 3], &[1, 2, 3], &[3, 2, 1]]), &running(0..9), &SEED);
        assert_eq!(shares(&chosen, 3), [1, 1, 1]);
    }

    #[test]
    fn a_node_moves_to_a_free_relay_so_that_another_gets_its_only_one() {
        for seed in 0..20 {
            let chosen = select(&cluster(&[&[1, 2], &[1], &[2, 3]]), &running(0..9), &[seed; 32]);
            assert_eq!(shares(&chosen, 3), [1, 1, 1], "seed {seed}");
        }
    }

    #[test]
    fn points_at_relays_that_do_not_run_and_points_that_cannot_be_published_are_left_out() {
        let mut nodes = cluster(&[&[1, 2, 3, 4]]);
        nodes[0].points[2].link_specifiers = vec![0];
        nodes[0].points[3].enc_key = NO_KEY;
        let chosen = select(&nodes, &running([1, 3, 4]), &SEED);
        assert_eq!(chosen, [point(1, 0)]);
        assert_eq!(select(&nodes, &running([]), &SEED), []);
    }

    #[test]
    fn one_node_listed_twice_takes_turns_as_one() {
        let mut nodes = cluster(&[&[1, 2, 3, 4], &[5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]]);
        let double: Vec<u8> = (20..36).collect();
        nodes.extend(cluster(&[&double]));
        let chosen = select(&nodes, &running(0..40), &SEED);
        assert_eq!(shares(&chosen, 2), [10, 10]);
    }

    #[test]
    fn the_seed_decides_who_is_left_out_of_a_large_cluster() {
        let relays: Vec<[u8; 1]> = (0..15).map(|relay| [relay]).collect();
        let mut nodes = cluster(&relays.iter().map(<[u8; 1]>::as_slice).collect::<Vec<_>>());
        for extra in 0..15u8 {
            let points = vec![point(100 + extra, 240 + extra % 16)];
            nodes.push(Candidate { node: format!("m{extra}").parse().unwrap(), points });
        }
        let pick = |seed: u8| select(&nodes, &running(0..=255), &[seed; 32]);
        assert_eq!(pick(1).len(), MAX_POINTS);
        assert_eq!(pick(1), pick(1));
        assert_ne!(pick(1), pick(2));
    }

    /// Every relay that could help node `hungry`: its own, those of the nodes that hold them, and so on.
    fn reachable(nodes: &[Candidate], chosen: &[IntroPoint], hungry: usize) -> BTreeSet<u8> {
        let mut relays = BTreeSet::new();
        let mut ask = vec![hungry];
        while let Some(node) = ask.pop() {
            for point in &nodes[node].points {
                let relay = point.onion_key[0];
                if relays.insert(relay) {
                    let holder = chosen.iter().find(|p| p.onion_key[0] == relay);
                    ask.extend(holder.map(|p| usize::from(p.auth_key[0] / 16)));
                }
            }
        }
        relays
    }

    proptest! {
        #[test]
        fn laws(offered in prop::collection::vec(prop::collection::vec(0u8..24, 0..12), 0..12),
                dead in prop::collection::vec(0u8..24, 0..4), seed: [u8; 32]) {
            let offered: Vec<Vec<u8>> = offered.into_iter()
                .map(|relays| relays.into_iter().filter(|r| !dead.contains(r)).collect()).collect();
            let nodes = cluster(&offered.iter().map(Vec::as_slice).collect::<Vec<_>>());
            let alive = running(0..24);
            let chosen = select(&nodes, &alive, &seed);

            prop_assert!(chosen.len() <= MAX_POINTS);
            let relays: BTreeSet<u8> = chosen.iter().map(|p| p.onion_key[0]).collect();
            prop_assert_eq!(relays.len(), chosen.len(), "one relay twice");
            for point in &chosen {
                prop_assert!(nodes[usize::from(point.auth_key[0] / 16)].points.contains(point));
            }
            let mut reversed = nodes.clone();
            reversed.reverse();
            prop_assert_eq!(&select(&reversed, &alive, &seed), &chosen);

            // Fair as far as the relays allow: nobody whose relay could pass to a node has two more than it,
            // and no relay that could help anybody is unused while there is room.
            let shares = shares(&chosen, nodes.len());
            for (node, &share) in shares.iter().enumerate() {
                for relay in reachable(&nodes, &chosen, node) {
                    let holder = chosen.iter().find(|p| p.onion_key[0] == relay);
                    let holders_share = holder.map(|p| shares[usize::from(p.auth_key[0] / 16)]);
                    prop_assert!(holders_share.map_or(chosen.len() == MAX_POINTS, |most| most <= share + 1));
                }
            }
        }
    }
}
