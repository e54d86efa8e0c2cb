//! Leaving out the introduction points whose circuit is gone, whatever tor says of them.
//!
//! tor reports the descriptor that it made last, and makes no other before each of its points has a circuit again. When a
//! relay dies, it tries that relay a few times and then takes another one; where that fails as well (a guard that
//! hangs, 28 circuits launched in five minutes already), it reports the dead point for minutes. Clients that pick it wait
//! in vain, and some remember the failure for two minutes.
//!
//! tor does tell at once when an introduction circuit closes, and when one is established. So a point lapses some time
//! after the last circuit to its relay was seen to close, and is back with the next one to be established. What was
//! not seen to close is believed in: a point is never left out because nothing is known of its circuit.
//!
//! The events are about two descriptors, as tor has circuits for the next one, too, and reports that one only when it has
//! become the present one. So a relay stays lapsed whether a reported point is at it or not.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crate::proto::onion::descriptor::intro_point::IntroPoint;
use crate::proto::publish::intro_circuit::IntroCircuit;

/// From the last circuit that closed until its point is left out. tor builds a circuit again within half a second on
/// loopback and within a few seconds on the real network; to withdraw a point for so short a time is worth no upload.
const LAPSE: Duration = Duration::from_secs(10);
/// How long a relay without a circuit is remembered: the next descriptor is the present one by then, and gone again.
const FORGOTTEN: Duration = Duration::from_hours(48);
/// How many closed circuits are remembered, so that a list that was made before they closed brings none of them
/// back: a service has twice three points, each with a circuit, and the answer takes milliseconds.
const REMEMBERED: usize = 32;

/// A relay by its RSA identity.
type Relay = [u8; 20];

/// Which relays no introduction circuit leads to any more.
#[derive(Debug, Default)]
pub struct Lapses {
    /// The established circuits that are known, and the relays they lead to.
    circuits: BTreeMap<String, Relay>,
    /// The circuits that closed last.
    closed: VecDeque<String>,
    /// Relays whose last circuit closed, and when.
    losing: BTreeMap<Relay, Instant>,
    /// Relays whose points are left out, and since when.
    lapsed: BTreeMap<Relay, Instant>,
}

impl Lapses {
    /// Circuits may have come and gone unseen; all must be listed, for [`Lapses::listed`]. What has lapsed stays so until
    /// a circuit is seen.
    pub fn lost_sight(&mut self) {
        self.circuits.clear();
        self.closed.clear();
    }

    /// The established circuits that there are.
    pub fn listed(&mut self, circuits: &[IntroCircuit]) {
        for circuit in circuits {
            if !self.closed.contains(&circuit.id) {
                self.established(circuit);
            }
        }
    }

    /// A circuit is established: the point at its end serves.
    pub fn established(&mut self, circuit: &IntroCircuit) {
        if let Some(relay) = circuit.relay() {
            self.circuits.insert(circuit.id.clone(), relay);
            self.losing.remove(&relay);
            self.lapsed.remove(&relay);
        }
    }

    /// An established circuit closed.
    pub fn closed(&mut self, now: Instant, circuit: &IntroCircuit) {
        self.closed.push_back(circuit.id.clone());
        if self.closed.len() > REMEMBERED {
            self.closed.pop_front();
        }
        let known = self.circuits.remove(&circuit.id);
        // At a rotation the points of two descriptors may be at the same relay for a moment.
        if let Some(relay) = known.or_else(|| circuit.relay())
            && !self.circuits.values().any(|other| *other == relay)
        {
            self.losing.entry(relay).or_insert(now);
        }
    }

    /// Lets lapse what has been without a circuit for long enough.
    pub fn pass(&mut self, now: Instant) {
        let is_due = |at: &Instant| now.saturating_duration_since(*at) >= LAPSE;
        self.lapsed.retain(|_, since| now.saturating_duration_since(*since) < FORGOTTEN);
        self.lapsed.extend(self.losing.iter().filter(|(_, at)| is_due(at)).map(|(relay, _)| (*relay, now)));
        self.losing.retain(|_, at| !is_due(at));
    }

    /// When [`Lapses::pass`] is due.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.losing.values().min().map(|at| *at + LAPSE)
    }

    /// The reported points that can be reached, as far as is known.
    pub fn reachable<'a>(&self, points: &'a [IntroPoint]) -> impl Iterator<Item = &'a IntroPoint> {
        points.iter().filter(|point| !point.relay_id().is_some_and(|relay| self.lapsed.contains_key(&relay)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn points(relays: &[u8]) -> Vec<IntroPoint> {
        let point = |&relay: &u8| IntroPoint {
            link_specifiers: [&[1, 2, 20][..], &[relay; 20]].concat(),
            onion_key: [0; 32],
            auth_key: [relay; 32],
            enc_key: [0; 32],
        };
        relays.iter().map(point).collect()
    }

    fn circuit(id: u32, relay: u8) -> IntroCircuit {
        IntroCircuit { id: id.to_string(), path: vec![[9; 20], [relay; 20]] }
    }

    /// The relays of the points at 1, 2 and 3 that can be reached.
    fn reachable(lapses: &Lapses) -> Vec<u8> {
        let points = points(&[1, 2, 3]);
        lapses.reachable(&points).map(|point| point.auth_key[0]).collect()
    }

    #[test]
    fn a_point_lapses_some_time_after_its_circuit_closed_and_comes_back_with_the_next() {
        let now = Instant::now();
        let mut lapses = Lapses::default();
        lapses.listed(&[circuit(1, 1), circuit(2, 2), circuit(3, 3)]);
        assert_eq!(lapses.next_timeout(), None);
        lapses.closed(now, &circuit(2, 2));
        assert_eq!(lapses.next_timeout(), Some(now + LAPSE));
        lapses.pass(now + SECOND * 9);
        assert_eq!(reachable(&lapses), [1, 2, 3], "tor may build it again");
        lapses.pass(now + LAPSE);
        assert_eq!((reachable(&lapses), lapses.next_timeout()), (vec![1, 3], None));
        lapses.established(&circuit(4, 2));
        assert_eq!(reachable(&lapses), [1, 2, 3]);
    }

    #[test]
    fn a_circuit_that_is_built_again_in_time_changes_nothing() {
        let now = Instant::now();
        let mut lapses = Lapses::default();
        lapses.closed(now, &circuit(1, 1));
        lapses.established(&circuit(2, 1));
        assert_eq!(lapses.next_timeout(), None);
        lapses.pass(now + LAPSE);
        assert_eq!(reachable(&lapses), [1, 2, 3]);
        // What is heard twice does not put it off.
        for id in 2..5 {
            lapses.closed(now + SECOND * id, &circuit(id, 1));
        }
        assert_eq!(lapses.next_timeout(), Some(now + SECOND * 2 + LAPSE));
    }

    #[test]
    fn a_relay_with_another_circuit_keeps_its_point() {
        let now = Instant::now();
        let mut lapses = Lapses::default();
        lapses.established(&circuit(1, 1));
        lapses.established(&circuit(2, 1));
        lapses.closed(now, &circuit(1, 1));
        assert_eq!(lapses.next_timeout(), None);
        lapses.closed(now, &circuit(2, 1));
        lapses.pass(now + LAPSE);
        assert_eq!(reachable(&lapses), [2, 3]);
    }

    #[test]
    fn a_list_from_before_a_circuit_closed_does_not_bring_it_back() {
        let now = Instant::now();
        let mut lapses = Lapses::default();
        lapses.lost_sight();
        lapses.closed(now, &circuit(1, 1));
        lapses.listed(&[circuit(1, 1), circuit(2, 2)]);
        lapses.pass(now + LAPSE);
        assert_eq!(reachable(&lapses), [2, 3], "and what was not listed is believed in");
        // A new connection: the same tor, or another one with the same numbers.
        lapses.lost_sight();
        assert_eq!(reachable(&lapses), [2, 3], "nothing is known that says otherwise");
        lapses.listed(&[circuit(1, 1)]);
        assert_eq!(reachable(&lapses), [1, 2, 3]);
    }

    #[test]
    fn a_relay_is_remembered_until_both_descriptors_of_its_time_are_gone() {
        let now = Instant::now();
        let mut lapses = Lapses::default();
        // A point of the next descriptor.
        lapses.closed(now, &circuit(1, 1));
        lapses.pass(now + LAPSE);
        lapses.pass(now + FORGOTTEN);
        assert_eq!(reachable(&lapses), [2, 3], "it has become the present one");
        lapses.closed(now + FORGOTTEN, &circuit(2, 7));
        lapses.pass(now + FORGOTTEN + LAPSE);
        assert_eq!((reachable(&lapses), lapses.lapsed.len()), (vec![1, 2, 3], 1));
    }

    #[test]
    fn no_more_circuits_are_remembered_than_a_list_may_hold() {
        let mut lapses = Lapses::default();
        for id in 0..1000 {
            lapses.closed(Instant::now(), &circuit(id, 1));
        }
        assert_eq!((lapses.closed.len(), lapses.losing.len()), (REMEMBERED, 1));
    }
}
