//! Sending new clients elsewhere while those that are there stay: a drained node gives its introduction points up.
//!
//! ```text
//! open ──muted──► closing ──10 s──► closed ──unmuted──► open
//!                 every introduction circuit,           those at relays that clients may know
//!                 at once and as soon as it is built
//! ```
//!
//! Clients keep a descriptor for up to a day, so points that have left it are asked for a long time. A relay without a
//! circuit to the service refuses at once, and the client goes on to another point; a circuit that is built and closed
//! in turns would swallow requests instead. So the circuits are closed once, and every attempt to build them again
//! before it succeeds. After the third attempt tor gives such a point up and takes another relay
//! (`MAX_INTRO_POINT_CIRCUIT_RETRIES`), under a key that no client has ever seen: that one may stay, and is the one to
//! come back with. Rendezvous circuits, and so all connections of clients, are left alone.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::proto::onion::descriptor::intro_point::IntroPoint;

/// How long every introduction circuit is closed. tor looks once a second whether one is missing and makes four
/// attempts, so its points are given up after some five seconds.
const CLOSING: Duration = Duration::from_secs(10);

/// One introduction circuit of the service at the serving tor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntroCircuit {
    /// tor's name for it.
    pub id: String,
    /// The relays so far by RSA identity; the last one of a finished circuit is the introduction point.
    pub path: Vec<[u8; 20]>,
}

/// Whether the node takes new clients.
#[derive(Debug, Default)]
pub struct Mute {
    muted: bool,
    /// Until then every introduction circuit is closed.
    closing_until: Option<Instant>,
    /// The relays of the points that clients may know of.
    known: BTreeSet<[u8; 20]>,
}

impl Mute {
    /// Whether the node's points are withdrawn.
    pub fn is_muted(&self) -> bool {
        self.muted
    }

    /// Withdraws the node's points, which clients may know, or takes that back. Whether the circuits that are there
    /// must be listed, to be closed.
    pub fn set(&mut self, now: Instant, muted: bool, points: &[IntroPoint]) -> bool {
        if muted == self.muted {
            return false;
        }
        self.muted = muted;
        self.known =
            if muted { points.iter().filter_map(IntroPoint::relay_id).collect() } else { BTreeSet::new() };
        self.closing_until = muted.then(|| now + CLOSING);
        muted
    }

    /// Whether this circuit, of which tor has just told, must be closed.
    pub fn closes(&self, now: Instant, circuit: &IntroCircuit) -> bool {
        let closing = self.closing_until.is_some_and(|until| now < until);
        let known = circuit.path.last().is_some_and(|relay| self.known.contains(relay));
        self.muted && (closing || known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(relay: u8) -> IntroPoint {
        let mut link_specifiers = vec![1, 2, 20];
        link_specifiers.extend([relay; 20]);
        IntroPoint { link_specifiers, onion_key: [0; 32], auth_key: [relay; 32], enc_key: [0; 32] }
    }

    fn circuit(path: &[u8]) -> IntroCircuit {
        IntroCircuit { id: "7".to_owned(), path: path.iter().map(|relay| [*relay; 20]).collect() }
    }

    #[test]
    fn all_circuits_are_closed_at_first_and_then_those_at_known_relays() {
        let now = Instant::now();
        let mut mute = Mute::default();
        assert!(!mute.closes(now, &circuit(&[9, 8, 1])), "nobody asked for it");
        assert!(mute.set(now, true, &[point(1), point(2)]));
        assert!(!mute.set(now, true, &[]), "it is already so");
        let during = now + CLOSING / 2;
        assert!(mute.closes(during, &circuit(&[9])) && mute.closes(during, &circuit(&[9, 8, 5])));
        let after = now + CLOSING;
        assert!(mute.closes(after, &circuit(&[9, 8, 2])), "clients may know the point there");
        assert!(!mute.closes(after, &circuit(&[9, 8, 5])), "nobody knows the point there");
        assert!(!mute.set(after, false, &[]));
        assert!(!mute.closes(after, &circuit(&[9, 8, 2])) && !mute.is_muted());
    }
}
