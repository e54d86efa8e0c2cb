//! What a node keeps over a restart.

use serde::{Deserialize, Serialize};

use super::note::Note;
use super::roster::Peer;

/// What a node keeps over a restart. It holds no secret: tokens in it are sealed. Without it, a node that has peers in
/// its configuration comes back all the same, and learns the rest from them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// Every other node and how it was reached, by name.
    pub peers: Vec<Peer>,
    /// What the whole cluster keeps.
    pub notes: Vec<Note>,
}
