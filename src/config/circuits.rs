//! `[proxy.circuits]`: how much one client circuit may ask for.

use serde::Deserialize;
use serde::de::Deserializer;

use super::target::between;
use crate::proto::circuit::limiter::CircuitLimits;

/// More than this is no limit.
const MOST: u32 = 1_000_000;

/// `[proxy.circuits]`. That it is there says that tor tells which circuit each connection comes over.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Circuits {
    /// Requests in a second, on and on; where bytes are carried as they are, connections.
    #[serde(default = "Circuits::default_rate", deserialize_with = "some")]
    requests_per_second: u32,
    /// As many at once, after a pause.
    #[serde(default = "Circuits::default_burst", deserialize_with = "some")]
    burst: u32,
    /// Connections at the same time.
    #[serde(default = "Circuits::default_connections", deserialize_with = "some")]
    connections: u32,
    /// After so many refusals in a row the circuit is closed; 0: never.
    #[serde(default = "Circuits::default_refusals", deserialize_with = "some_or_none")]
    close_after: u32,
}

impl Circuits {
    /// The limits, as the proxy's core has them.
    pub fn limits(&self) -> CircuitLimits {
        CircuitLimits {
            per_second: self.requests_per_second,
            burst: self.burst,
            connections: self.connections,
            refusals: self.close_after,
        }
    }

    fn default_rate() -> u32 {
        CircuitLimits::default().per_second
    }

    fn default_burst() -> u32 {
        CircuitLimits::default().burst
    }

    fn default_connections() -> u32 {
        CircuitLimits::default().connections
    }

    fn default_refusals() -> u32 {
        CircuitLimits::default().refusals
    }
}

fn some<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    between(deserializer, 1, MOST)
}

fn some_or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    between(deserializer, 0, MOST)
}
