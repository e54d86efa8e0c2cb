//! The failures that are told apart: how long each may last, what helps, and how it is called. What follows from what is in
//! `causes`.

use std::fmt;
use std::time::Duration;

use super::part::{Daemon, Part, Tor};

/// Something that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Failure {
    /// A part is there and says nothing.
    Silent(Part),
    /// A part is not there.
    Away(Part),
    /// A part is there, but nothing is known of it, as it refuses to tell.
    Unwatched(Part),
    /// Neither tor builds circuits: it is the network, or the clock, and no tor's fault.
    NoNetwork,
    /// A tor does not get through its start.
    Unbootstrapped(Tor),
    /// A tor is through with its start, and builds no circuits.
    NoCircuits(Tor),
    /// A tor's consensus is not valid any more.
    OldConsensus(Tor),
    /// The tor that serves has no introduction points.
    NoPoints,
    /// It has all of them, but the publisher knows of none.
    UntoldPoints,
    /// It has fewer than it should have.
    FewPoints,
    /// Relays of some of them have left the network, and it has not taken others.
    LostPoints,
    /// Some HSDirs do not have the present descriptor.
    HsDirsBehind,
    /// No HSDir has, or it cannot be made or read.
    StaleDescriptor,
    /// The certificates of the onion's descriptor, or of this node's introduction points, expire soon.
    OldCertificates,
    /// Nobody holds the lease.
    NoLease,
    /// Other nodes do not answer.
    LostNodes,
    /// The target cannot be reached.
    TargetAway,
    /// A target's certificate expires soon.
    OldTargetCertificate,
    /// At the service's own address nobody answers through Tor.
    Unreachable,
    /// At the service's own address some nodes never answer, though they are in the descriptor.
    UnmetNodes,
    /// This machine's clock is wrong.
    WrongClock,
    /// It is about to be: others still believe it.
    DriftingClock,
    /// There is hardly any room where daemons keep their state.
    FullDisk,
    /// A part uses nearly all the memory, or all the files, that it may.
    NearLimit(Part),
    /// Others could read the onion's key, or tor could not.
    OpenKeyDirectory,
    /// The onion's key could not be put where tor reads it, nor compared with what is there.
    UninstalledKey,
    /// The configuration's file is wrong: no daemon could be started again.
    WrongConfiguration,
    /// The configuration's file was changed, and the daemons were not told.
    UnreadConfiguration,
}

/// What can be done about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Remedy {
    /// End it at once, without a word: who hangs hears none. The service manager starts it again.
    Kill(Part),
    /// Start it, as the service manager has not done so.
    Start(Part),
    /// End it in good order, and start it again.
    Restart(Part),
    /// Stop the tor that serves: clients get a quick refusal and go to another node.
    Fence,
    /// Let it serve again.
    Unfence,
}

impl Failure {
    /// For how long it is no failure yet: what mends itself in this time needs nobody.
    pub fn patience(self) -> Duration {
        match self {
            // Whoever asks has waited already, and clients hang as long as relays believe in its circuits.
            Self::Silent(Part::Tor(_) | Part::KeyInstaller) | Self::OpenKeyDirectory | Self::FullDisk => {
                Duration::ZERO
            }
            // The service manager starts who has died within a second, and slows down from there; to a daemon that hangs
            // it gives twice as long (`WatchdogSec=`).
            // To a machine that stood still, what waited for it looks as if its clock were wrong, for a moment.
            Self::Away(_) | Self::Silent(Part::Daemon(_)) | Self::WrongClock => Duration::from_secs(10),
            // Tor tries by itself for some minutes with growing pauses, and knows better what.
            Self::NoCircuits(_) | Self::NoNetwork => Duration::from_mins(2),
            // Whoever changes the configuration is not ready yet.
            // And a rush of clients may pass.
            Self::Unbootstrapped(_)
            | Self::NearLimit(_)
            | Self::WrongConfiguration
            | Self::UnreadConfiguration => Duration::from_mins(5),
            // Tor takes others by itself; when it has tried too many within five minutes, it waits until they are over.
            Self::FewPoints | Self::LostPoints | Self::OldConsensus(_) => Duration::from_mins(10),
            // R1.5 gives 120 s; a start takes its part of it.
            Self::NoPoints | Self::UntoldPoints => Duration::from_mins(3),
            Self::NoLease
            | Self::LostNodes
            | Self::Unwatched(_)
            | Self::UninstalledKey
            | Self::DriftingClock
            | Self::OldCertificates
            | Self::OldTargetCertificate => Duration::from_secs(30),
            // Whoever says so has waited already.
            Self::HsDirsBehind
            | Self::StaleDescriptor
            | Self::TargetAway
            | Self::Unreachable
            | Self::UnmetNodes => Duration::from_secs(1),
        }
    }

    /// What may help; `None`: only people can, or time.
    pub fn remedy(self) -> Option<Remedy> {
        match self {
            Self::Silent(part) => Some(Remedy::Kill(part)),
            Self::Away(part) => Some(Remedy::Start(part)),
            Self::Unbootstrapped(tor) | Self::NoCircuits(tor) => Some(Remedy::Restart(Part::Tor(tor))),
            Self::NoPoints => Some(Remedy::Restart(Part::Tor(Tor::Serving))),
            // It leaves alone what is right, so tor serves on.
            Self::OpenKeyDirectory | Self::UninstalledKey => Some(Remedy::Start(Part::KeyInstaller)),
            // Its tor serves, and a restart of that would only end clients' connections.
            Self::UntoldPoints => Some(Remedy::Restart(Part::Daemon(Daemon::Publisher))),
            // That of the standby tor may help where its view of the onion is wrong, and ends every connection to a target that
            // goes through it: it is for people to see first whether other nodes get through (`Unreachable`).
            // Tor goes on with an old consensus for a day and asks for a new one all the time: a restart would only end
            // the circuits that it still has, on all nodes at once when the directory authorities fail. One with some
            // points serves, and a restart would end its clients' connections; so would one of a part that grows, where it
            // may be the clients who need all that. At the limit of memory the kernel kills it, and it is started again.
            Self::Unwatched(_)
            | Self::OldConsensus(_)
            | Self::FewPoints
            | Self::LostPoints
            | Self::NoNetwork
            | Self::HsDirsBehind
            | Self::StaleDescriptor
            | Self::OldCertificates
            | Self::NoLease
            | Self::LostNodes
            | Self::TargetAway
            | Self::OldTargetCertificate
            | Self::Unreachable
            | Self::UnmetNodes
            | Self::WrongClock
            | Self::DriftingClock
            | Self::FullDisk
            | Self::NearLimit(_)
            | Self::WrongConfiguration
            | Self::UnreadConfiguration => None,
        }
    }

    /// What an operator can do where nothing else helps.
    pub fn advice(self) -> &'static str {
        match self {
            Self::Silent(_) | Self::Away(_) => {
                "see its journal (journalctl -u), and whether its unit is masked"
            }
            Self::Unwatched(_) => {
                "the watchdog's journal says why: its user must be in the groups that its unit names, and a tor must write a cookie"
            }
            Self::NoNetwork => "look after this machine's network, firewall and clock",
            Self::Unbootstrapped(_) | Self::NoCircuits(_) => {
                "see that tor's journal; a firewall may keep it from its relays"
            }
            Self::OldConsensus(_) => {
                "see that tor's journal, and whether the Tor network's authorities are well"
            }
            Self::NoPoints => "see the journal of the tor that serves, and whether it has the onion's key",
            Self::FewPoints | Self::LostPoints => {
                "clients come in by the others, and it goes on trying; see the journal of the tor that serves"
            }
            Self::HsDirsBehind => "nothing need be done: they are tried again and again",
            Self::UntoldPoints | Self::StaleDescriptor => "see the publisher's journal",
            Self::OldCertificates => {
                "they are renewed all the time, so something keeps them from it: see the journals of the publisher and of the tor that serves"
            }
            Self::NoLease => "see the coordinator's journal, and whether other nodes reach this one",
            Self::LostNodes => "see whether these nodes run, and whether UDP goes both ways",
            Self::TargetAway => "start the target, or correct [proxy] target",
            Self::OldTargetCertificate => "renew it: the target is refused from then on",
            Self::Unreachable => {
                "see whether other nodes get through: if they do, restart this one's standby tor; if none does, clients hardly can"
            }
            Self::UnmetNodes => {
                "clients come in by the other nodes; see there the journal of the tor that serves, and restart it"
            }
            Self::WrongClock | Self::DriftingClock => "look after the time service (NTP) of this machine",
            Self::FullDisk => "make room in the file system of /var/lib/rustbalance",
            Self::NearLimit(_) => {
                "if it goes on growing without more clients, restart it; else raise MemoryMax= or LimitNOFILE= (systemctl edit) or add nodes"
            }
            Self::OpenKeyDirectory => "the onion's directory must be its tor's, with mode 0700",
            Self::UninstalledKey => {
                "the journal of rustbalance-onion-key.service says why; a tor that runs serves on, but could not be started again; if it is your key file, that service runs anew as soon as you put it right, else start it then"
            }
            Self::WrongConfiguration => {
                "the daemons go on with what they have loaded, but could not be started again: `rustbalance check-config` tells what is wrong"
            }
            Self::UnreadConfiguration => {
                "tell the daemons (systemctl reload rustbalance-{proxy,coordinator,publisher,watchdog}), or change the file back"
            }
        }
    }

    /// Its name where space and letters are few: in metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Silent(_) => "silent",
            Self::Away(_) => "away",
            Self::Unwatched(_) => "unwatched",
            Self::NoNetwork => "no_network",
            Self::Unbootstrapped(_) => "unbootstrapped",
            Self::NoCircuits(_) => "no_circuits",
            Self::OldConsensus(_) => "old_consensus",
            Self::NoPoints => "no_points",
            Self::UntoldPoints => "untold_points",
            Self::FewPoints => "few_points",
            Self::LostPoints => "lost_points",
            Self::HsDirsBehind => "hsdirs_behind",
            Self::StaleDescriptor => "stale_descriptor",
            Self::OldCertificates => "old_certificates",
            Self::NoLease => "no_lease",
            Self::LostNodes => "lost_nodes",
            Self::TargetAway => "target_away",
            Self::OldTargetCertificate => "old_target_certificate",
            Self::Unreachable => "unreachable",
            Self::UnmetNodes => "unmet_nodes",
            Self::WrongClock => "wrong_clock",
            Self::DriftingClock => "drifting_clock",
            Self::FullDisk => "full_disk",
            Self::NearLimit(_) => "near_limit",
            Self::OpenKeyDirectory => "open_key_directory",
            Self::UninstalledKey => "uninstalled_key",
            Self::WrongConfiguration => "wrong_configuration",
            Self::UnreadConfiguration => "unread_configuration",
        }
    }

    /// Which part fails, if it is one.
    pub fn part(self) -> Option<Part> {
        match self {
            Self::Silent(part) | Self::Away(part) | Self::Unwatched(part) | Self::NearLimit(part) => {
                Some(part)
            }
            Self::Unbootstrapped(tor) | Self::NoCircuits(tor) | Self::OldConsensus(tor) => {
                Some(Part::Tor(tor))
            }
            Self::UninstalledKey => Some(Part::KeyInstaller),
            _ => None,
        }
    }
}

impl Remedy {
    /// What it is done to.
    pub fn part(self) -> Part {
        match self {
            Self::Kill(part) | Self::Start(part) | Self::Restart(part) => part,
            Self::Fence | Self::Unfence => Part::Tor(Tor::Serving),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent(part) => write!(f, "{part} is there but does not answer: it hangs"),
            Self::Away(part) => write!(f, "{part} is not there"),
            Self::Unwatched(part) => {
                write!(f, "{part} is there, but tells the watchdog nothing, so nobody knows how it is")
            }
            Self::NoNetwork => {
                f.write_str("neither tor builds circuits: this machine seems to have no network")
            }
            Self::Unbootstrapped(tor) => write!(f, "{} does not get through its start", Part::Tor(*tor)),
            Self::NoCircuits(tor) => write!(f, "{} builds no circuits", Part::Tor(*tor)),
            Self::OldConsensus(tor) => {
                write!(f, "{} has a consensus that is not valid any more", Part::Tor(*tor))
            }
            Self::NoPoints => f.write_str("this node has no introduction points"),
            Self::UntoldPoints => {
                f.write_str("the publisher knows no introduction points of this node, though its tor has all")
            }
            Self::FewPoints => f.write_str("this node has fewer introduction circuits than it should have"),
            Self::LostPoints => {
                f.write_str("introduction points of this node are at relays that have left the network")
            }
            Self::HsDirsBehind => f.write_str("some HSDirs do not have the present descriptor"),
            Self::StaleDescriptor => {
                f.write_str("a descriptor has not reached any HSDir for long, or cannot be made or read")
            }
            Self::OldCertificates => f.write_str("certificates of the onion's descriptor expire soon"),
            Self::NoLease => f.write_str("nobody holds the lease, so nobody publishes the descriptor"),
            Self::LostNodes => f.write_str("other nodes do not answer"),
            Self::TargetAway => f.write_str("the target cannot be reached from this node"),
            Self::OldTargetCertificate => f.write_str("a target's certificate expires soon, or has expired"),
            Self::Unreachable => {
                f.write_str("at the service's own address no node of the cluster answers through Tor")
            }
            Self::UnmetNodes => f.write_str(
                "nodes that are in the descriptor were not met at the service's own address for longer than can be chance",
            ),
            Self::WrongClock => f.write_str("this machine's clock is wrong, or that of its peers"),
            Self::DriftingClock => f.write_str("this machine's clock drifts, or that of its peers"),
            Self::FullDisk => f.write_str("there is hardly any room left where the daemons keep their state"),
            Self::NearLimit(part) => write!(f, "{part} uses nearly all that it may"),
            Self::OpenKeyDirectory => {
                f.write_str("the directory of the onion's key is not private to its tor")
            }
            Self::UninstalledKey => f.write_str(
                "the onion's key could not be installed for its tor, or compared with what that has",
            ),
            Self::WrongConfiguration => f.write_str("the file of the configuration is wrong"),
            Self::UnreadConfiguration => {
                f.write_str("the configuration was changed in its file, but not loaded")
            }
        }
    }
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill(part) => write!(f, "kill {part}, so that it is started anew"),
            Self::Start(part) => write!(f, "start {part}"),
            Self::Restart(part) => write!(f, "restart {part}"),
            Self::Fence => f.write_str("stop the tor that serves, so that clients go to other nodes"),
            Self::Unfence => f.write_str("let this node serve again"),
        }
    }
}
