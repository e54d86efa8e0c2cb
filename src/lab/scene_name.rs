//! The scenes, by name.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// Something that happens to the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SceneName {
    /// Nothing happens: sixty pages, every node serves its share.
    Spread,
    /// Nothing happens, and web sockets go through the address in HTTP mode.
    WebSocket,
    /// One client floods a circuit, which is closed; the others notice nothing.
    Flood,
    /// A node's serving tor crashes and is started again.
    TorRestart,
    /// A node's serving tor hangs, and the watchdog kills it.
    TorHung,
    /// Both tors of a node crash and are started again.
    TorsKilled,
    /// The control connections of a node's serving tor break.
    ControlBroken,
    /// Both tors of a node lose the network, its mesh does not.
    TorCut,
    /// Both tors of a node change their guards, and then the shared random value changes.
    SilentGuard,
    /// One node loses its way to the target.
    TargetDown,
    /// The target is down for everybody.
    TargetsDown,
    /// The target takes everything and says nothing.
    TargetHangs,
    /// An HSDir forgets the descriptor.
    HsdirForgets,
    /// An HSDir hangs while the descriptor changes.
    HsdirHangs,
    /// An HSDir takes no descriptors while ours changes.
    HsdirRefuses,
    /// A standby node loses its serving tor, then everything.
    Kill,
    /// A killed node comes back.
    Return,
    /// The node that publishes is killed.
    KillHolder,
    /// The publisher of the node that holds the lease hangs, and again whenever it is started.
    PublisherHangs,
    /// A node's proxy does not come back, and the node stops serving.
    Fence,
    /// The onion's key on a node is damaged, and deleted.
    DamagedKey,
    /// A node's disk is full.
    FullDisk,
    /// Others could read the onion's key on a node.
    OpenKey,
    /// Everything on every node dies at once.
    AllKilled,
    /// A node hangs without closing anything.
    Freeze,
    /// A node is cut off from the others, but not from Tor.
    Partition,
    /// The holder's tunnel is deleted.
    TunnelGone,
    /// A part of the datagrams between the holder and the others is lost.
    Lossy,
    /// One more node comes, with nothing but an invitation, and leaves again.
    Join,
    /// One more node comes, and reaches nobody at first.
    JoinLate,
    /// One more node comes, while strangers ask to be let in without a pause.
    JoinFlood,
    /// Nodes that let each other in one after the other become a full mesh.
    Chain,
    /// A node is drained under load and long downloads, killed once it is, and taken back.
    Drain,
    /// A new node takes the place of the one that publishes, under load and long downloads.
    Replace,
    /// The cluster changes to a new token, while one node is away.
    RotateToken,
    /// Two nodes and no others: either may die and come back.
    TwoNodes,
    /// One node alone; others come and go.
    Lonely,
    /// Time period and shared random value change.
    Rotate,
    /// Something happens to some node every few seconds.
    Chaos,
    /// A relay at which a node has an introduction point dies.
    RelayGone,
    /// Such a relay dies, and the node's tor does not get another one for some time.
    RelayUnreplaced,
}

impl SceneName {
    /// All, in the order in which they are played. The death of a relay comes last: tors remember for long which of their
    /// guards has failed, and in a network of twelve relays that tells in whatever comes next.
    pub(super) fn all() -> &'static [Self] {
        Self::value_variants()
    }

    /// Fewer nodes than this cannot play it.
    pub(super) fn least_nodes(self) -> u8 {
        match self {
            // Nobody has to take over in these, or the one who does is a new node.
            Self::Spread
            | Self::WebSocket
            | Self::Flood
            | Self::TargetHangs
            | Self::Rotate
            | Self::Join
            | Self::JoinLate
            | Self::JoinFlood
            | Self::Chain
            | Self::Replace => 1,
            _ => 2,
        }
    }

    /// As on the command line.
    pub(super) fn word(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}
