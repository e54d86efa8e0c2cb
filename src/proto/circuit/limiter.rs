//! How much one circuit may ask for.
//!
//! Each circuit has a bucket of requests, which fills steadily up to a brim; a request takes one out of it. One that finds it
//! empty is refused. A circuit that goes on asking all the same is to be closed: its client needs a new one for more, and
//! building that costs it, and the network's proof of work if that is switched on, more than us.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::line::CircuitId;

/// Circuits that are remembered. Each takes some fifty bytes; connections that are open keep theirs, of which there are no
/// more than `max_connections`.
pub const MOST_CIRCUITS: usize = 8192;
/// One request, as buckets count: in millionths, since they fill by less than one.
const REQUEST: u64 = 1_000_000;

/// What one circuit may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CircuitLimits {
    /// Requests in a second, on and on.
    pub per_second: u32,
    /// Requests at once, after a pause.
    pub burst: u32,
    /// Connections that are open at the same time.
    pub connections: u32,
    /// After so many refusals, with none granted from a full bucket in between, it is to be closed; 0: it never is.
    pub refusals: u32,
}

impl Default for CircuitLimits {
    /// A browser that opens a page asks for some fifty things at once, over six connections, and then for nothing.
    fn default() -> Self {
        Self { per_second: 20, burst: 200, connections: 64, refusals: 200 }
    }
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It may be carried.
    Pass,
    /// It is too much.
    Refuse,
    /// It is too much, and has been for long: the circuit is to be closed. Said again after as many refusals more: it may not
    /// have come to that.
    Close,
}

/// The circuits of one tor.
#[derive(Debug)]
pub struct Limiter {
    limits: CircuitLimits,
    circuits: BTreeMap<CircuitId, Circuit>,
}

#[derive(Debug, Clone, Copy)]
struct Circuit {
    /// What is in its bucket, in millionths of a request, when it was looked at last.
    level: u64,
    looked: Instant,
    /// When it last asked for something.
    asked: Instant,
    connections: u32,
    refusals: u32,
}

impl Limiter {
    /// Knows no circuit yet.
    pub fn new(limits: CircuitLimits) -> Self {
        Self { limits, circuits: BTreeMap::new() }
    }

    /// Other limits, from now on.
    pub fn limit(&mut self, limits: CircuitLimits) {
        self.limits = limits;
    }

    /// A connection over that circuit, which counts as a request. If it passes, [`Limiter::end`] must follow.
    pub fn begin(&mut self, now: Instant, id: CircuitId) -> Verdict {
        let limits = self.limits;
        let circuit = self.circuit(now, id);
        if circuit.connections >= limits.connections {
            return circuit.refuse(&limits);
        }
        let verdict = circuit.take(&limits);
        if verdict == Verdict::Pass {
            circuit.connections += 1;
        }
        verdict
    }

    /// One more request over a connection of that circuit.
    pub fn request(&mut self, now: Instant, id: CircuitId) -> Verdict {
        let limits = self.limits;
        self.circuit(now, id).take(&limits)
    }

    /// A connection that had passed has ended.
    pub fn end(&mut self, id: CircuitId) {
        if let Some(circuit) = self.circuits.get_mut(&id) {
            circuit.connections = circuit.connections.saturating_sub(1);
        }
    }

    /// How many circuits are remembered.
    pub fn len(&self) -> usize {
        self.circuits.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.circuits.is_empty()
    }

    /// That circuit as it is now; a new one has a full bucket.
    fn circuit(&mut self, now: Instant, id: CircuitId) -> &mut Circuit {
        let limits = self.limits;
        if !self.circuits.contains_key(&id) {
            self.make_room(now);
        }
        let new = Circuit { level: limits.brim(), looked: now, asked: now, connections: 0, refusals: 0 };
        let circuit = self.circuits.entry(id).or_insert(new);
        circuit.fill(now, &limits);
        circuit.asked = now;
        circuit
    }

    /// Forgets circuits without connections: all that would be the same if they came as new ones, and if that is not enough,
    /// the half that was looked at longest ago. Many at a time, so that it is rarely done.
    fn make_room(&mut self, now: Instant) {
        if self.circuits.len() < MOST_CIRCUITS {
            return;
        }
        let limits = self.limits;
        self.circuits.retain(|_, circuit| {
            circuit.fill(now, &limits);
            circuit.connections > 0 || circuit.level < limits.brim()
        });
        if self.circuits.len() < MOST_CIRCUITS / 2 {
            return;
        }
        let idle = self.circuits.values().filter(|circuit| circuit.connections == 0);
        let mut asked: Vec<Instant> = idle.map(|circuit| circuit.asked).collect();
        let middle = asked.len() / 2;
        if let Some((_, middle, _)) = (middle < asked.len()).then(|| asked.select_nth_unstable(middle)) {
            let middle = *middle;
            self.circuits.retain(|_, circuit| circuit.connections > 0 || circuit.asked > middle);
        }
    }
}

impl CircuitLimits {
    /// A full bucket.
    fn brim(&self) -> u64 {
        u64::from(self.burst) * REQUEST
    }
}

impl Circuit {
    /// Lets flow in what was due since it was looked at.
    fn fill(&mut self, now: Instant, limits: &CircuitLimits) {
        let since = now.saturating_duration_since(self.looked);
        // In whole microseconds, which bring whole millionths: nothing is lost however often one looks.
        let micros = u64::try_from(since.as_micros()).unwrap_or(u64::MAX);
        let due = micros.saturating_mul(u64::from(limits.per_second));
        self.level = self.level.saturating_add(due).min(limits.brim());
        self.looked += Duration::from_micros(micros);
    }

    fn take(&mut self, limits: &CircuitLimits) -> Verdict {
        if self.level < REQUEST {
            return self.refuse(limits);
        }
        if self.level >= limits.brim() {
            // It had rested.
            self.refusals = 0;
        }
        self.level -= REQUEST;
        Verdict::Pass
    }

    fn refuse(&mut self, limits: &CircuitLimits) -> Verdict {
        self.refusals = self.refusals.saturating_add(1);
        let is_due = limits.refusals > 0 && self.refusals.is_multiple_of(limits.refusals);
        if is_due { Verdict::Close } else { Verdict::Refuse }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: CircuitLimits = CircuitLimits { per_second: 5, burst: 10, connections: 3, refusals: 20 };
    const ONE: CircuitId = CircuitId(1);

    fn after(start: Instant, ms: u64) -> Instant {
        start + Duration::from_millis(ms)
    }

    #[test]
    fn a_burst_passes_and_then_what_flows_in() {
        let (start, mut limiter) = (Instant::now(), Limiter::new(LIMITS));
        assert_eq!(limiter.begin(start, ONE), Verdict::Pass);
        for _ in 1..10 {
            assert_eq!(limiter.request(start, ONE), Verdict::Pass);
        }
        assert_eq!(limiter.request(start, ONE), Verdict::Refuse);
        assert_eq!(limiter.request(after(start, 199), ONE), Verdict::Refuse);
        assert_eq!(limiter.request(after(start, 200), ONE), Verdict::Pass);
        assert_eq!(limiter.request(after(start, 201), ONE), Verdict::Refuse);
        assert_eq!(
            limiter.begin(after(start, 201), CircuitId(2)),
            Verdict::Pass,
            "another one's bucket is its own"
        );
    }

    #[test]
    fn connections_at_once_are_bounded_and_end() {
        let (start, mut limiter) = (Instant::now(), Limiter::new(LIMITS));
        for _ in 0..3 {
            assert_eq!(limiter.begin(start, ONE), Verdict::Pass);
        }
        assert_eq!(limiter.begin(start, ONE), Verdict::Refuse);
        limiter.end(ONE);
        assert_eq!(limiter.begin(start, ONE), Verdict::Pass);
        limiter.end(CircuitId(9));
    }

    #[test]
    fn who_goes_on_asking_is_to_be_closed_and_who_rests_is_forgiven() {
        let (start, mut limiter) = (Instant::now(), Limiter::new(LIMITS));
        let mut verdicts = Vec::new();
        for _ in 0..60 {
            verdicts.push(limiter.request(start, ONE));
        }
        let closed: Vec<usize> = (0..60).filter(|number| verdicts[*number] == Verdict::Close).collect();
        assert_eq!(closed, [10 + 19, 10 + 39]);
        // Another one asks too much as often, but rests in between.
        for round in 0..10 {
            let then = after(start, round * 2_000);
            for _ in 0..25 {
                assert_ne!(limiter.request(then, CircuitId(2)), Verdict::Close);
            }
        }
        let never = CircuitLimits { refusals: 0, ..LIMITS };
        let mut limiter = Limiter::new(never);
        assert!((0..1000).all(|_| limiter.request(start, ONE) != Verdict::Close));
    }

    #[test]
    fn circuits_are_forgotten_before_there_are_too_many_but_not_those_that_are_open() {
        let (start, mut limiter) = (Instant::now(), Limiter::new(LIMITS));
        limiter.begin(start, CircuitId(0));
        for number in 1..3 * u32::try_from(MOST_CIRCUITS).unwrap() {
            limiter.request(after(start, u64::from(number) / 1000), CircuitId(number));
            assert!(limiter.len() <= MOST_CIRCUITS);
        }
        for _ in 0..2 {
            assert_eq!(limiter.begin(start, CircuitId(0)), Verdict::Pass);
        }
        assert_eq!(
            limiter.begin(start, CircuitId(0)),
            Verdict::Refuse,
            "its three connections are still known"
        );
    }

    proptest! {
        /// However requests come, no more pass than the burst and what has flowed in.
        #[test]
        fn no_circuit_gets_more_than_its_share(
            steps in proptest::collection::vec((0_u64..300, any::<bool>()), 1..400),
        ) {
            let (start, mut limiter) = (Instant::now(), Limiter::new(LIMITS));
            let (mut ms, mut passed) = (0, 0);
            for (pause, connect) in steps {
                ms += pause;
                let now = after(start, ms);
                let verdict = if connect { limiter.begin(now, ONE) } else { limiter.request(now, ONE) };
                passed += u64::from(verdict == Verdict::Pass);
                prop_assert!(passed * 1000 <= 10_000 + 5 * ms);
                if connect && verdict == Verdict::Pass {
                    limiter.end(ONE);
                }
            }
        }
    }
}
