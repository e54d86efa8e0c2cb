//! The scenes, by name.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// Something that happens to the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SceneName {
    /// Nothing happens: sixty pages, every node serves its share.
    Spread,
    /// A node's serving tor crashes and is started again.
    TorRestart,
    /// A standby node loses its serving tor, then everything.
    Kill,
    /// A killed node comes back.
    Return,
    /// The node that publishes is killed.
    KillHolder,
    /// A node hangs without closing anything.
    Freeze,
    /// A node is cut off from the others, but not from Tor.
    Partition,
    /// Two nodes and no others: either may die and come back.
    TwoNodes,
    /// One node alone; others come and go.
    Lonely,
    /// Time period and shared random value change.
    Rotate,
}

impl SceneName {
    /// All, in the order in which they are played.
    pub(super) fn all() -> &'static [Self] {
        Self::value_variants()
    }

    /// Fewer nodes than this cannot play it.
    pub(super) fn least_nodes(self) -> u8 {
        match self {
            // Nobody dies in these.
            Self::Spread | Self::Rotate => 1,
            _ => 2,
        }
    }

    /// As on the command line.
    pub(super) fn word(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}
