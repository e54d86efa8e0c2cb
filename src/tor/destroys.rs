//! Gets DESTROY cells out of tor that it would keep to itself.
//!
//! When tor closes several circuits over one connection in the same moment, it sends the first DESTROY cell; the others wait
//! until any other cell goes the same way (`circuitmux_append_destroy_cell` tells no scheduler of them). With each new shared
//! random value tor closes all introduction circuits of the old descriptor at once. Where it has made a new connection to its
//! guard since, or has another guard, because the old one was silent for a moment, nothing else goes the old way: relays go on
//! acknowledging introductions that nobody hears, and a client with the old descriptor never learns that it should fetch a
//! new one.
//!
//! Each circuit more that is closed there sends one cell that waits, and a connection that was given up is closed with its
//! last circuit. So what goes the old way still, the introduction circuits of the present descriptor, is closed one by one;
//! tor makes them again, to the same relays and with the same keys, by the new way.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use tokio::time::sleep;
use tracing::{debug, info};

use crate::tor::controller::Controller;
use crate::tor::error::ControlError;
use crate::tor::event::{CircuitEvent, TorEvent};
use crate::tor::relay_name;

/// From the first of several circuits that are closed until what is left is looked at: tor has made others by then.
const WAIT: Duration = Duration::from_secs(3);
/// Fewer circuits do not have to wait for each other.
const SEVERAL: usize = 2;
/// Between two that are closed: the one before is there again, as a rule.
const PAUSE: Duration = Duration::from_secs(2);

/// Introduction circuits that tor has closed in the same moment, by itself.
#[derive(Debug, Clone, Default)]
pub struct Destroys {
    began: Option<Instant>,
    closed: Closed,
}

/// What happened around that moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Closed {
    /// How many there were.
    count: usize,
    /// The guards by which they went.
    guards: BTreeSet<[u8; 20]>,
    /// The circuits that tor has begun since, and the guards by which they go.
    begun: BTreeMap<String, [u8; 20]>,
}

impl Destroys {
    /// Takes in an event, tor's seconds among them, and has what waits sent when it is time.
    pub fn push(&mut self, tor: &Controller, event: &TorEvent) {
        if let Some(closed) = self.take(Instant::now(), event) {
            tokio::spawn(close_left_behind(tor.clone(), closed));
        }
    }

    /// Takes in an event; what was closed in the same moment, some time after that.
    fn take(&mut self, now: Instant, event: &TorEvent) -> Option<Closed> {
        if let TorEvent::Circ(circuit) = event
            && let Some(guard) = circuit.path.first()
        {
            // What this node closes is closed as REQUESTED.
            let by_itself = circuit.change == "CLOSED" && circuit.reason.as_deref() == Some("FINISHED");
            if by_itself && circuit.is_introduction() {
                self.began.get_or_insert(now);
                self.closed.count += 1;
                self.closed.guards.insert(*guard);
            } else if self.began.is_some() && circuit.change == "EXTENDED" && circuit.path.len() == 1 {
                self.closed.begun.insert(circuit.id.clone(), *guard);
            }
        }
        if self.began.is_none_or(|began| now.saturating_duration_since(began) < WAIT) {
            return None;
        }
        self.began = None;
        let closed = std::mem::take(&mut self.closed);
        (closed.count >= SEVERAL).then_some(closed)
    }
}

impl Closed {
    /// The circuits by which what waits can be sent. `connections`: the relays that tor is connected to, each as often as it is.
    fn left_behind(&self, circuits: Vec<CircuitEvent>, connections: &[[u8; 20]]) -> Vec<String> {
        let is_used = |guard: &[u8; 20]| {
            let once = connections.iter().filter(|relay| *relay == guard).count() == 1;
            once && self.begun.values().any(|begun| begun == guard)
        };
        let old: BTreeSet<_> = self.guards.iter().filter(|guard| !is_used(guard)).collect();
        let goes_there = |circuit: &CircuitEvent| {
            circuit.is_introduction()
                && circuit.introduces()
                && circuit.path.first().is_some_and(|guard| old.contains(guard))
                && !self.begun.contains_key(&circuit.id)
        };
        circuits.into_iter().filter(goes_there).map(|circuit| circuit.id).collect()
    }
}

/// Closes what goes where several circuits were closed and nothing goes any more, one by one.
async fn close_left_behind(tor: Controller, closed: Closed) {
    let asked = async { Ok::<_, ControlError>((tor.circuits().await?, connections(&tor).await?)) };
    let (circuits, connections) = match asked.await {
        Ok(answers) => answers,
        // It ends, and with it its connections.
        Err(error) => return debug!(%error, "tor does not tell its circuits and connections"),
    };
    for circuit in closed.left_behind(circuits, &connections) {
        info!(circuit, "tor goes by another guard now; the introduction circuit is made anew");
        if let Err(error) = tor.close_circuit(&circuit).await {
            debug!(%error, circuit, "it was not closed");
        }
        sleep(PAUSE).await;
    }
}

/// The relays that tor is connected to, each as often as it is.
async fn connections(tor: &Controller) -> Result<Vec<[u8; 20]>, ControlError> {
    let status = tor.getinfo("orconn-status").await?;
    let connected = status.lines().filter_map(|line| line.strip_suffix(" CONNECTED"));
    Ok(connected.filter_map(relay_name::parse).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tor::event;

    fn circuit(line: &str) -> CircuitEvent {
        let mut line = line.to_owned();
        for relay in ["A", "B", "C"] {
            line = line.replace(&format!("${relay}"), &format!("${}~{relay}", relay.repeat(40)));
        }
        event::circuit(&line.replace('@', "PURPOSE=HS_SERVICE_INTRO HS_STATE=HSSI_ESTABLISHED")).unwrap()
    }

    /// What is told by the end of the last of these events, each so many milliseconds after the first.
    fn told(events: &[(u64, &str)]) -> Option<Closed> {
        let (mut destroys, began) = (Destroys::default(), Instant::now());
        let mut told = None;
        for (after, line) in events {
            let now = began + Duration::from_millis(*after);
            let event = match *line {
                "second" => TorEvent::Bandwidth { read: 1 },
                line => TorEvent::Circ(circuit(line)),
            };
            told = destroys.take(now, &event);
        }
        told
    }

    #[test]
    fn circuits_that_tor_closes_together_are_told_once_others_are_begun() {
        let [first, second] = ["7 CLOSED $A,$C @ REASON=FINISHED", "8 CLOSED $A,$C @ REASON=FINISHED"];
        let begun = "9 EXTENDED $B PURPOSE=HS_SERVICE_INTRO";
        // Begun before, by the old guard.
        let further = "6 EXTENDED $A,$C PURPOSE=HS_SERVICE_INTRO";
        let closed = told(&[(0, first), (1, second), (9, begun), (12, further), (3_000, "second")]).unwrap();
        assert_eq!((closed.count, closed.guards), (2, BTreeSet::from([[0xaa; 20]])));
        assert_eq!(closed.begun, BTreeMap::from([("9".to_owned(), [0xbb; 20])]));
        assert_eq!(told(&[(0, first), (1, second), (2_999, "second")]), None, "not yet");
        assert_eq!(told(&[(0, first), (3_000, "second")]), None, "one alone");
        assert_eq!(told(&[(0, first), (1, second), (3_000, "second"), (6_000, "second")]), None, "only once");
        let requested = "8 CLOSED $A,$C @ REASON=REQUESTED";
        assert_eq!(told(&[(0, first), (1, requested), (3_000, "second")]), None, "its own doing");
        let other = "8 CLOSED $A,$C PURPOSE=HS_SERVICE_REND REASON=FINISHED";
        assert_eq!(told(&[(0, first), (1, other), (3_000, "second")]), None, "of another kind");
    }

    #[test]
    fn what_goes_where_nothing_is_begun_any_more_is_left_behind() {
        let [a, b] = [[0xaa; 20], [0xbb; 20]];
        let circuits = || {
            let lines = [
                "3 BUILT $A,$C @",
                "4 BUILT $B,$C @",
                "5 BUILT $A,$C PURPOSE=HS_SERVICE_INTRO HS_STATE=HSSI_CONNECTING",
                "6 BUILT $A,$C PURPOSE=HS_SERVICE_REND HS_STATE=HSSR_JOINED",
                "9 BUILT $A,$B,$C @",
                "10 BUILT $A,$C @",
            ];
            lines.map(circuit).to_vec()
        };
        let closed = |begun: &[(&str, [u8; 20])]| Closed {
            count: 3,
            guards: BTreeSet::from([a]),
            begun: begun.iter().map(|(id, guard)| ((*id).to_owned(), *guard)).collect(),
        };
        // Another guard by now.
        assert_eq!(closed(&[("11", b)]).left_behind(circuits(), &[a, b]), ["3", "9", "10"]);
        // The same one, as ever.
        assert!(closed(&[("10", a)]).left_behind(circuits(), &[a, b]).is_empty());
        // The same one, by a new connection beside the old one.
        assert_eq!(closed(&[("10", a)]).left_behind(circuits(), &[a, b, a]), ["3", "9"]);
    }
}
