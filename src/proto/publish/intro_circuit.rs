//! Introduction circuits: what holds the points of the service up.

/// One introduction circuit of the service at the serving tor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntroCircuit {
    /// tor's name for it.
    pub id: String,
    /// The relays so far by RSA identity; the last one of a finished circuit is the introduction point.
    pub path: Vec<[u8; 20]>,
}

impl IntroCircuit {
    /// The relay that it has come to; that of the introduction point, if it is finished.
    pub fn relay(&self) -> Option<[u8; 20]> {
        self.path.last().copied()
    }
}

/// All introduction circuits of the service that a tor has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IntroCircuits {
    /// Those whose relay has agreed to introduce.
    pub established: Vec<IntroCircuit>,
    /// The others.
    pub building: Vec<IntroCircuit>,
}
