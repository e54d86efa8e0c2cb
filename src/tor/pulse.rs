//! Whether a tor hears anything of the network.
//!
//! When a cable is cut nobody closes anything. Tor goes on believing in its circuits for minutes, and so do the relays at which
//! it has introduction points: clients that come to them wait for nothing. Tor itself tells, though, how many bytes it has
//! read within each second. Both ends of a connection pad it when it is idle, after 9.5 seconds at most (padding-spec,
//! section 2), so longer silence is suspicious. Then tor is asked for a circuit: any answer to that proves that there is a
//! network.

use std::time::Duration;

use tokio::time::sleep;
use tracing::debug;

use crate::tor::controller::Controller;
use crate::tor::event::{EventKind, TorEvent};

/// What a connection must be told to feel the pulse of its tor.
pub const PULSE_EVENTS: [EventKind; 2] = [EventKind::Bandwidth, EventKind::Circ];

/// After so many seconds without a byte tor is asked for a circuit, and again after as many more.
const SUSPICIOUS: u32 = 10;
/// So many seconds after tor has begun a circuit something must have come: a first answer takes one round trip to its guard.
const ANSWER: u32 = 5;
/// A circuit that was only asked for to hear something is closed after this.
const PROBE_LIFE: Duration = Duration::from_secs(10);

/// The pulse of one tor, over one control connection. Its clock is tor's own, which tells its bytes once a second: a tor that
/// stands still, or an observer that does, proves nothing.
#[derive(Debug, Clone)]
pub struct Pulse {
    /// Whether the bytes that tor tells are the network's alone.
    bytes_count: bool,
    /// Seconds since something was heard.
    silent: u32,
    /// Seconds since tor has begun a circuit, if it has since then.
    waited: Option<u32>,
    deaf: bool,
}

impl Pulse {
    /// Begins to feel. `bytes_count`: what tor reads comes from the network; not so where it counts its own machine's
    /// connections, too (`CountPrivateBandwidth`, as in a private network for tests).
    pub fn new(bytes_count: bool) -> Self {
        Self { bytes_count, silent: 0, waited: None, deaf: false }
    }

    /// Asks tor what its bytes are, and begins.
    pub async fn of(tor: &Controller) -> Self {
        let counted = tor.getconf("CountPrivateBandwidth").await.unwrap_or_default();
        Self::new(counted.iter().any(|(_, value)| value.as_deref() == Some("0")))
    }

    /// Whether tor hears the network, as far as is known.
    pub fn hears(&self) -> bool {
        !self.deaf
    }

    /// Takes in an event, and asks tor for a circuit where that is needed. Whether [`Self::hears`] has changed.
    pub fn feel(&mut self, tor: &Controller, event: &TorEvent) -> bool {
        let before = self.deaf;
        if self.take(event) {
            tokio::spawn(probe(tor.clone()));
        }
        self.deaf != before
    }

    /// Takes in an event; whether tor must be asked for a circuit.
    fn take(&mut self, event: &TorEvent) -> bool {
        match event {
            TorEvent::Circ(circuit) if matches!(circuit.change.as_str(), "EXTENDED" | "BUILT") => {
                self.heard();
            }
            TorEvent::Bandwidth { read } if *read > 0 && self.bytes_count => self.heard(),
            TorEvent::Bandwidth { .. } => return self.beat(),
            TorEvent::Circ(circuit) if circuit.change == "LAUNCHED" => _ = self.waited.get_or_insert(0),
            // Something heard may have been among these.
            TorEvent::Missed { .. } => (self.silent, self.waited) = (0, None),
            _ => {}
        }
        false
    }

    fn heard(&mut self) {
        *self = Self::new(self.bytes_count);
    }

    /// One more second without a byte; whether tor must be asked for a circuit.
    fn beat(&mut self) -> bool {
        self.silent = self.silent.saturating_add(1);
        self.waited = self.waited.map(|secs| secs.saturating_add(1));
        self.deaf |= self.silent >= SUSPICIOUS && self.waited.is_some_and(|secs| secs >= ANSWER);
        self.silent.is_multiple_of(SUSPICIOUS)
    }
}

/// Asks for a circuit, only to see whether anything comes.
async fn probe(tor: Controller) {
    match tor.extend_circuit().await {
        Ok(circuit) => {
            sleep(PROBE_LIFE).await;
            let closed = tor.close_circuit(&circuit).await;
            debug!(circuit, ?closed, "a circuit was asked for, since tor had heard nothing");
        }
        Err(error) => debug!(%error, "tor begins no circuit"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tor::event;

    const SILENT: TorEvent = TorEvent::Bandwidth { read: 0 };
    const BUSY: TorEvent = TorEvent::Bandwidth { read: 514 };

    fn circuit(change: &str) -> TorEvent {
        TorEvent::Circ(event::circuit(&format!("7 {change} PURPOSE=GENERAL")).unwrap())
    }

    /// The seconds, counted from 1, at which tor is asked, and at which it begins to be deaf. It begins a circuit when it is
    /// asked for one, if it does.
    fn told(pulse: &mut Pulse, seconds: u32, event: &TorEvent, begins: bool) -> (Vec<u32>, Option<u32>) {
        let (mut asked, mut deaf) = (Vec::new(), None);
        for second in 1..=seconds {
            if pulse.take(event) {
                asked.push(second);
                if begins {
                    assert!(!pulse.take(&circuit("LAUNCHED")));
                }
            }
            deaf = deaf.or_else(|| (!pulse.hears()).then_some(second));
        }
        (asked, deaf)
    }

    #[test]
    fn silence_is_suspicious_and_no_answer_is_deafness() {
        let mut pulse = Pulse::new(true);
        assert_eq!(told(&mut pulse, 35, &SILENT, true), (vec![10, 20, 30], Some(15)));
        assert!(!pulse.take(&BUSY) && pulse.hears());
        assert_eq!(told(&mut pulse, 9, &SILENT, true), (vec![], None), "it begins anew");
    }

    #[test]
    fn a_tor_that_begins_no_circuit_proves_nothing() {
        assert_eq!(told(&mut Pulse::new(true), 25, &SILENT, false), (vec![10, 20], None));
    }

    #[test]
    fn a_circuit_that_tor_has_begun_by_itself_is_as_good() {
        let mut pulse = Pulse::new(true);
        pulse.take(&circuit("LAUNCHED"));
        assert_eq!(told(&mut pulse, 20, &SILENT, false).1, Some(10));
    }

    #[test]
    fn any_answer_ends_the_suspicion() {
        for (event, answers) in [
            (BUSY, true),
            (circuit("EXTENDED"), true),
            (circuit("BUILT"), true),
            (circuit("LAUNCHED"), false),
            (circuit("FAILED"), false),
            (TorEvent::NewConsensus, false),
        ] {
            let mut pulse = Pulse::new(true);
            told(&mut pulse, 12, &SILENT, true);
            pulse.take(&event);
            assert_eq!(told(&mut pulse, 4, &SILENT, true).1.is_none(), answers, "{event:?}");
        }
    }

    #[test]
    fn bytes_of_the_own_machine_prove_nothing() {
        assert_eq!(told(&mut Pulse::new(false), 20, &BUSY, true), (vec![10, 20], Some(15)));
    }

    #[test]
    fn events_that_were_missed_may_have_been_the_answer() {
        let mut pulse = Pulse::new(true);
        told(&mut pulse, 12, &SILENT, true);
        pulse.take(&TorEvent::Missed { count: 3 });
        assert_eq!(told(&mut pulse, 9, &SILENT, true), (vec![], None));
    }
}
