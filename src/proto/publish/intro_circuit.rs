//! An introduction circuit: what holds a point of the service up.

/// One introduction circuit of the service at the serving tor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntroCircuit {
    /// tor's name for it.
    pub id: String,
    /// The relays so far by RSA identity; the last one of a finished circuit is the introduction point.
    pub path: Vec<[u8; 20]>,
}
