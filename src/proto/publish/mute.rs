//! Sending new clients elsewhere while those that are there stay: a drained node gives its introduction points up.
//!
//! ```text
//! open ──muted──► closing ──as many attempts as tor makes, or 10 s──► closed ──unmuted──► open
//!                 every introduction circuit, one after the other,
//!                 and as soon as tor builds it again
//! ```
//!
//! Clients keep a descriptor for up to a day, so points that have left it are asked for a long time. A relay without a
//! circuit to the service refuses at once, and the client goes on to another point; a circuit that is built and closed
//! in turns would swallow requests instead. So the circuits are closed once, and every attempt to build them again
//! before it succeeds. After the third attempt, which takes it four seconds, tor gives such a point up and takes another
//! relay (`MAX_INTRO_POINT_CIRCUIT_RETRIES`), under a key that no client has ever seen: that one stays, and is the one
//! to come back with. Rendezvous circuits, and so all connections of clients, are left alone. Only an
//! introduction that is on its way through such a circuit at that moment is lost; its client asks another point when
//! it has waited for an answer.
//!
//! No attempt more is hindered, because tor builds only 28 introduction circuits of a service in five minutes
//! (`can_service_launch_intro_circuit`: twice 3 points, 2 to choose from and 9 attempts), and then none until the five
//! minutes are over: six points given up and replaced take 28.
//!
//! What tor says about its points is as old as its last refresh. So the points that were given up are not believed when
//! the node comes back: only those that are new, or whose circuit tor had in fact built again.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::proto::onion::descriptor::intro_point::IntroPoint;
use crate::proto::publish::intro_circuit::IntroCircuit;

/// How often tor builds the circuit of an introduction point again before it gives the point up.
const ATTEMPTS: usize = 3;
/// How long attempts are hindered at most, and how long circuits to relays whose points were given up. tor looks once a
/// second whether a circuit is missing; this is twice as long as it takes.
const CLOSING: Duration = Duration::from_secs(10);

/// Whether the node takes new clients.
#[derive(Debug, Default)]
pub struct Mute {
    muted: bool,
    /// Until then circuits are closed.
    closing_until: Option<Instant>,
    /// The circuits that there are have not been listed yet.
    awaits_list: bool,
    /// Attempts to build circuits again that tor will still make.
    attempts: usize,
    /// The circuits that were closed: what tor still says about them is no new attempt.
    closed: BTreeSet<String>,
    /// The relays of the circuits that there were at first, which clients may know.
    relays: BTreeSet<[u8; 20]>,
    /// The points that were given up, by their keys.
    given_up: BTreeSet<[u8; 32]>,
}

impl Mute {
    /// Whether the node's points are withdrawn.
    pub fn is_muted(&self) -> bool {
        self.muted
    }

    /// Withdraws the node's points, or takes that back. Whether the circuits that are there must be listed, for
    /// [`Mute::listed`]. That is not so when the node has no points yet: those of a tor that has just been started were
    /// never told to anybody.
    pub fn set(&mut self, now: Instant, muted: bool, points: &[IntroPoint]) -> bool {
        if muted == self.muted {
            return false;
        }
        self.muted = muted;
        if self.closed.is_empty() {
            // Taken back before a circuit was closed, so all points are as good as they were.
            self.given_up.clear();
        }
        self.attempts = 0;
        self.closed.clear();
        self.relays.clear();
        (self.closing_until, self.awaits_list) = (None, false);
        if muted && !points.is_empty() {
            (self.closing_until, self.awaits_list) = (Some(now + CLOSING), true);
            self.given_up = points.iter().map(|point| point.auth_key).collect();
        }
        self.awaits_list
    }

    /// All circuits that there are; which of them must be closed: those that there were when the node was muted. What a later
    /// list shows is what tor has built since, and was left.
    pub fn listed(&mut self, now: Instant, circuits: Vec<IntroCircuit>) -> Vec<String> {
        if !std::mem::take(&mut self.awaits_list) || !self.is_closing(now) {
            return Vec::new();
        }
        self.attempts = circuits.len() * ATTEMPTS;
        self.relays.extend(circuits.iter().filter_map(IntroCircuit::relay));
        let ids: Vec<_> = circuits.into_iter().map(|circuit| circuit.id).collect();
        self.closed.extend(ids.iter().cloned());
        ids
    }

    /// Whether this circuit, of which tor has just told, must be closed.
    pub fn closes(&mut self, now: Instant, circuit: &IntroCircuit) -> bool {
        if !self.is_closing(now) || self.closed.contains(&circuit.id) {
            return false;
        }
        let known = circuit.relay().is_some_and(|relay| self.relays.contains(&relay));
        if self.attempts == 0 && !known {
            return false;
        }
        self.attempts = self.attempts.saturating_sub(1);
        self.closed.insert(circuit.id.clone());
        true
    }

    /// This circuit is there and stays: the point at its end is believed in when the node is not muted, though it was to be
    /// given up.
    pub fn established(&mut self, circuit: &IntroCircuit, points: &[IntroPoint]) {
        let relay = circuit.relay();
        for point in points.iter().filter(|point| relay.is_some() && point.relay_id() == relay) {
            self.given_up.remove(&point.auth_key);
        }
    }

    /// Whether others may be told of this point, of which tor tells.
    pub fn is_open(&self, point: &IntroPoint) -> bool {
        !self.muted && !self.given_up.contains(&point.auth_key)
    }

    fn is_closing(&self, now: Instant) -> bool {
        self.closing_until.is_some_and(|until| now < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(relay: u8, key: u8) -> IntroPoint {
        let mut link_specifiers = vec![1, 2, 20];
        link_specifiers.extend([relay; 20]);
        IntroPoint { link_specifiers, onion_key: [0; 32], auth_key: [key; 32], enc_key: [0; 32] }
    }

    fn circuit(id: u32, path: &[u8]) -> IntroCircuit {
        IntroCircuit { id: id.to_string(), path: path.iter().map(|relay| [*relay; 20]).collect() }
    }

    /// Those of the points that others may be told of.
    fn open(mute: &Mute, points: &[IntroPoint]) -> Vec<IntroPoint> {
        points.iter().filter(|point| mute.is_open(point)).cloned().collect()
    }

    #[test]
    fn circuits_are_closed_and_as_many_attempts_as_tor_makes_and_no_more() {
        let now = Instant::now();
        let mut mute = Mute::default();
        assert!(!mute.closes(now, &circuit(1, &[9, 8, 1])), "nobody asked for it");
        assert!(mute.set(now, true, &[point(1, 1)]));
        assert!(!mute.set(now, true, &[]), "it is already so");
        assert_eq!(mute.listed(now, vec![circuit(1, &[9, 8, 1]), circuit(2, &[9, 8, 2])]), ["1", "2"]);
        assert!(!mute.closes(now, &circuit(1, &[9, 8, 1])), "it is closed already");
        for attempt in 3..9 {
            assert!(mute.closes(now, &circuit(attempt, &[])), "{attempt}");
            assert!(!mute.closes(now, &circuit(attempt, &[9])), "{attempt}, which is closed already");
        }
        assert!(!mute.closes(now, &circuit(9, &[9, 8, 5])), "a new point, which nobody knows");
        assert!(
            mute.listed(now, vec![circuit(9, &[9, 8, 5])]).is_empty(),
            "nor because others ask for a list"
        );
        assert!(mute.closes(now, &circuit(10, &[9, 8, 2])), "not counted, but clients may know it");
        let after = now + CLOSING;
        assert!(!mute.closes(after, &circuit(11, &[9, 8, 2])), "tor has given the old one up");
    }

    #[test]
    fn a_tor_that_has_told_of_no_points_yet_is_left_alone() {
        let now = Instant::now();
        let mut mute = Mute::default();
        assert!(!mute.set(now, true, &[]));
        assert!(mute.listed(now, vec![circuit(1, &[9, 8, 1])]).is_empty());
        assert!(!mute.closes(now, &circuit(2, &[])));
        assert!(open(&mute, &[point(1, 1)]).is_empty(), "but its points are told to nobody");
        assert!(!mute.set(now, false, &[point(1, 1)]));
        assert_eq!(open(&mute, &[point(1, 1)]), [point(1, 1)]);
    }

    #[test]
    fn points_whose_circuits_were_not_closed_yet_come_back_at_once() {
        let now = Instant::now();
        let mut mute = Mute::default();
        assert!(mute.set(now, true, &[point(1, 1)]));
        mute.set(now, false, &[point(1, 1)]);
        assert_eq!(open(&mute, &[point(1, 1)]), [point(1, 1)]);
        assert!(mute.listed(now, vec![circuit(1, &[9, 8, 1])]).is_empty(), "the list comes late");
    }

    #[test]
    fn points_that_were_given_up_come_back_only_if_tor_has_built_them_again() {
        let now = Instant::now();
        let (old, new) = ([point(1, 1), point(2, 2)], [point(3, 3), point(4, 4)]);
        let mut mute = Mute::default();
        mute.set(now, true, &old);
        mute.listed(now, vec![circuit(1, &[9, 8, 1]), circuit(2, &[9, 8, 2])]);
        assert!(open(&mute, &old).is_empty());
        mute.set(now, false, &old);
        assert!(open(&mute, &old).is_empty(), "tor has not refreshed what it says");
        mute.established(&circuit(5, &[9, 8, 2]), &old);
        assert_eq!(open(&mute, &old), old[1..], "its circuit was built again in time");
        assert_eq!(open(&mute, &new), new);
    }

    #[test]
    fn a_point_that_was_built_again_while_the_node_is_muted_comes_back_with_it() {
        let now = Instant::now();
        let old = [point(1, 1), point(2, 2)];
        let mut mute = Mute::default();
        mute.set(now, true, &old);
        mute.listed(now, vec![circuit(1, &[9, 8, 1]), circuit(2, &[9, 8, 2])]);
        let late = circuit(3, &[9, 8, 2]);
        assert!(!mute.closes(now + CLOSING, &late), "tor was slow, and has not given the point up");
        mute.established(&late, &old);
        assert!(open(&mute, &old).is_empty(), "it is muted");
        mute.set(now + CLOSING, false, &old);
        assert_eq!(open(&mute, &old), old[1..]);
    }
}
