//! The rows: sections 5 and 6 of the older system's description (S17, S18), and the failures that were added.

use super::row::Row;
use crate::lab::scene_name::SceneName;

/// All rows, in the order of the table.
pub(super) const ROWS: &[Row] = &[
    // What the older system recovered from by itself.
    Row::lab(
        "5.1",
        "a node is cut off from the others for a while",
        SceneName::Partition,
        "one holder again",
    )
    .seed(30.0)
    .limit(5.0),
    Row::lab("5.2", "heartbeats are lost", SceneName::Lossy, "points missing, at most").seed(30.0).limit(0.0),
    Row::lab("5.3", "the node that publishes dies", SceneName::KillHolder, "has published everywhere")
        .seed(120.0)
        .limit(5.0),
    Row::lab(
        "5.4",
        "the node that published comes back",
        SceneName::TwoNodes,
        "holder started: both nodes' points everywhere",
    )
    .seed(10.0)
    .limit(10.0),
    Row::lab("5.5", "a node joins", SceneName::Join, "invitation to its points everywhere")
        .seed(600.0)
        .limit(30.0),
    Row::lab("5.6", "introduction points change", SceneName::TorRestart, "dead points gone everywhere")
        .seed(630.0)
        .limit(2.0)
        .mended("its new points everywhere"),
    Row::lab(
        "5.7",
        "a node has fewer introduction points, as a relay dies",
        SceneName::RelayGone,
        "the dead relay's point gone",
    )
    .seed(60.0)
    .limit(30.0),
    Row::lab("5.8", "one node becomes several", SceneName::Lonely, "comes: its points everywhere")
        .seed(600.0)
        .limit(30.0),
    Row::lab("5.9", "several nodes become one", SceneName::Lonely, "is killed: its points gone everywhere")
        .seed(600.0)
        .limit(5.0),
    Row::lab("5.10", "a datagram comes twice", SceneName::Lossy, "points missing, at most").limit(0.0),
    Row::machines("5.11", "a datagram has a wrong time", "clock", "a clock a minute fast: told")
        .limit(300.0)
        .mended("the clock is right: all nodes in one descriptor"),
    Row::lab("5.12", "an upload fails", SceneName::HsdirRefuses, "it has the present descriptor")
        .seed(600.0)
        .limit(60.0),
    Row::lab(
        "5.13",
        "a control connection breaks",
        SceneName::ControlBroken,
        "its points everywhere for good",
    )
    .seed(600.0)
    .limit(5.0)
    .mended("connected again"),
    Row::lab(
        "5.14",
        "nodes know each other in a chain only",
        SceneName::Chain,
        "a chain of three to a full mesh",
    )
    .seed(20.0)
    .limit(15.0),
    Row::lab(
        "5.15",
        "a node that is to join reaches nobody",
        SceneName::JoinLate,
        "reached Tor: its points everywhere",
    )
    .limit(120.0),
    Row::lab("5.16", "a peer cannot be reached", SceneName::Kill, "node killed: dead points gone everywhere")
        .seed(660.0)
        .limit(5.0),
    Row::lab("5.17", "tor restarts", SceneName::TorRestart, "dead points gone everywhere")
        .seed(60.0)
        .limit(2.0)
        .mended("its new points everywhere"),
    // What it did not recover from.
    Row::lab("6.1", "tor dies", SceneName::Kill, "its tor killed: dead points gone everywhere").limit(2.0),
    Row::lab(
        "6.2",
        "tor's control port says nothing any more",
        SceneName::TorHung,
        "dead points gone everywhere",
    )
    .limit(5.0)
    .mended("its new points everywhere"),
    Row::lab(
        "6.3",
        "three attempts of one node to reach the target have failed",
        SceneName::TargetDown,
        "its points gone everywhere",
    )
    .limit(10.0)
    .mended("its points back everywhere"),
    Row::lab("6.4", "the tunnel's interface is gone", SceneName::TunnelGone, "the mesh is whole again")
        .limit(10.0),
    Row::lab("6.5", "the onion's directory has other permissions", SceneName::OpenKey, "private again")
        .limit(15.0)
        .mended("the watchdog knows"),
    Row::lab(
        "6.6",
        "the onion's key is damaged or deleted, and tor restarts",
        SceneName::DamagedKey,
        "its points back everywhere",
    )
    .limit(30.0),
    Row::lab("6.7", "the disk is full", SceneName::FullDisk, "to an alarm")
        .limit(20.0)
        .mended("the alarm is over"),
    Row::machines("6.8", "the machine reboots", "reboot", "rebooted: it serves").limit(300.0),
    Row::machines("6.9", "the clock is wrong", "clock", "a clock three seconds fast: told")
        .limit(300.0)
        .mended("the clock is right: told no more"),
    Row::lab("6.10", "the configuration is damaged, and the proxy dies", SceneName::Fence, "gone everywhere")
        .limit(30.0)
        .mended("its points back everywhere"),
    Row::machines("6.11", "a daemon is ended for want of memory", "watchdog", "without memory: it is back")
        .limit(60.0),
    Row::lab(
        "6.12",
        "no introduction points yet at the start",
        SceneName::Lonely,
        "started alone: its points everywhere",
    )
    .limit(10.0),
    Row::lab(
        "6.13",
        "everything on all nodes dies at once",
        SceneName::AllKilled,
        "all points everywhere again",
    )
    .limit(60.0),
    Row::lab("6.14", "the target hangs", SceneName::TargetHangs, "a client is told")
        .limit(15.0)
        .mended("up again: every node knows"),
    Row::lab("6.15", "many ask to join at once", SceneName::JoinFlood, "invitation to its points everywhere")
        .limit(30.0),
    // What was added.
    Row::lab("X2", "a node dies", SceneName::Kill, "node killed: dead points gone everywhere").limit(15.0),
    Row::lab("X2", "a whole node hangs", SceneName::Freeze, "frozen points gone everywhere").limit(15.0),
    Row::lab(
        "R3.3",
        "the publisher of the node that holds the lease hangs, and again whenever it is started",
        SceneName::PublisherHangs,
        "another node has published everywhere",
    )
    .limit(20.0)
    .mended("it holds the lease again"),
    Row::lab("X2", "both tors of a node die", SceneName::TorsKilled, "dead points gone everywhere")
        .limit(2.0)
        .mended("its new points everywhere"),
    Row::lab(
        "X2",
        "both tors of a node lose the network",
        SceneName::TorCut,
        "cut off: its points gone everywhere",
    )
    .limit(20.0)
    .mended("it reaches Tor: its points back everywhere"),
    Row::lab(
        "R3.3",
        "both tors of the node that publishes lose the network",
        SceneName::TorCut,
        "the one that publishes, cut off: gone everywhere",
    )
    .limit(20.0)
    .mended("that reaches Tor: its points back everywhere"),
    Row::lab(
        "X2",
        "the tors of a node change their guards shortly before its introduction points change",
        SceneName::SilentGuard,
        "a page after the change, slowest",
    )
    .limit(10.0),
    Row::lab(
        "X2",
        "a relay with an introduction point dies, and the node's tor gets no other one for a while",
        SceneName::RelayUnreplaced,
        "the dead relay's point gone",
    )
    .limit(30.0),
    Row::machines(
        "X2",
        "the power of the node that publishes is cut",
        "failover",
        "crashed: dead points gone everywhere",
    )
    .limit(15.0)
    .mended("switched on: its points back everywhere"),
    Row::machines("R1.1", "a machine's power is cut and comes back", "reboot", "switched on: it serves")
        .limit(300.0),
    Row::lab("X3", "all of it at random", SceneName::Chaos, "all well again").limit(60.0),
    Row::lab("R2.1", "nobody can reach the target", SceneName::TargetsDown, "every node knows")
        .limit(60.0)
        .mended("up again: every node knows"),
    Row::lab(
        "R4.6",
        "an HSDir forgets the descriptor",
        SceneName::HsdirForgets,
        "it has the present descriptor",
    )
    .limit(60.0),
    Row::lab("R3.6", "an HSDir hangs", SceneName::HsdirHangs, "it has the present descriptor").limit(60.0),
    Row::lab(
        "R4.4",
        "a node is away while the token changes",
        SceneName::RotateToken,
        "started: it has it too",
    ),
    Row::lab("R4.7", "a node is taken out of service", SceneName::Drain, "its points gone everywhere")
        .limit(5.0),
    Row::lab("S8", "time period and shared random value change", SceneName::Rotate, "a page, slowest"),
];
