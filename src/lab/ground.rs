//! What nodes stand on.

use std::path::PathBuf;

use super::tor_network::TorNetwork;
use super::wires::Wires;

/// The Tor network, the interfaces, and our own programs.
#[derive(Debug)]
pub(super) struct Ground {
    /// Authorities, relays, and a way to add tors.
    pub(super) network: TorNetwork,
    /// Interfaces.
    pub(super) wires: Wires,
    /// The directory of our own programs.
    pub(super) programs: PathBuf,
}
