//! Which failure follows from which, and which keeps one from knowing of another.

use super::failure::Failure;
use super::part::{Daemon, Part, Tor};

impl Failure {
    /// Whether this part is the one to tell of it, so that nobody knows whether it is over while that says nothing.
    pub(super) fn is_told_by(self, part: Part) -> bool {
        match self {
            Self::Unbootstrapped(tor) | Self::NoCircuits(tor) | Self::OldConsensus(tor) => {
                part == Part::Tor(tor)
            }
            Self::FewPoints | Self::OpenKeyDirectory => part == Part::Tor(Tor::Serving),
            Self::UninstalledKey => part == Part::KeyInstaller,
            Self::NoPoints => matches!(part, Part::Tor(Tor::Serving) | Part::Daemon(Daemon::Publisher)),
            Self::UntoldPoints
            | Self::LostPoints
            | Self::HsDirsBehind
            | Self::StaleDescriptor
            | Self::OldCertificates => part == Part::Daemon(Daemon::Publisher),
            Self::NoLease | Self::LostNodes | Self::Unreachable | Self::UnmetNodes => {
                part == Part::Daemon(Daemon::Coordinator)
            }
            Self::TargetAway | Self::OldTargetCertificate => part == Part::Daemon(Daemon::Proxy),
            Self::Silent(_)
            | Self::Away(_)
            | Self::Unwatched(_)
            | Self::NoNetwork
            | Self::WrongClock
            | Self::DriftingClock
            | Self::FullDisk
            | Self::NearLimit(_)
            | Self::WrongConfiguration
            | Self::UnreadConfiguration => false,
        }
    }

    /// Whether with this failure nobody tells any more whether that one is over.
    pub fn silences(self, other: Self) -> bool {
        match self {
            Self::Silent(part) | Self::Away(part) | Self::Unwatched(part) => other.is_told_by(part),
            _ => false,
        }
    }

    /// Whether this failure explains that one, so that nothing need be done about that one.
    pub fn explains(self, other: Self) -> bool {
        let serving = Part::Tor(Tor::Serving);
        let lacks_points =
            matches!(other, Self::NoPoints | Self::UntoldPoints | Self::FewPoints | Self::LostPoints);
        match self {
            Self::NoNetwork => {
                lacks_points
                    || matches!(
                        other,
                        Self::Unbootstrapped(_)
                            | Self::NoCircuits(_)
                            | Self::OldConsensus(_)
                            | Self::HsDirsBehind
                            | Self::StaleDescriptor
                            | Self::OldCertificates
                            | Self::TargetAway
                            | Self::Unreachable
                    )
            }
            // With a wrong clock neither a consensus nor another node is believed.
            Self::WrongClock => matches!(
                other,
                Self::Unbootstrapped(_)
                    | Self::OldConsensus(_)
                    | Self::LostNodes
                    | Self::OldCertificates
                    | Self::OldTargetCertificate
                    | Self::Unreachable
            ),
            // A tor that is not there, or gets nowhere, serves at no point, and carries no canary.
            Self::Silent(part @ Part::Tor(_)) | Self::Away(part @ Part::Tor(_)) => {
                self.silences(other) || other == Self::Unreachable || (part == serving && lacks_points)
            }
            Self::Unbootstrapped(tor) | Self::NoCircuits(tor) | Self::OldConsensus(tor) => {
                other == Self::Unreachable || (Part::Tor(tor) == serving && lacks_points)
            }
            Self::Silent(_) | Self::Away(_) | Self::Unwatched(_) => self.silences(other),
            // Without its key it is not started.
            Self::UninstalledKey => other == Self::Away(serving),
            Self::StaleDescriptor => {
                matches!(other, Self::HsDirsBehind | Self::OldCertificates | Self::Unreachable)
            }
            Self::NoLease => matches!(other, Self::HsDirsBehind | Self::Unreachable),
            // It may be the only node.
            Self::NoPoints => (lacks_points && other != self) || other == Self::Unreachable,
            Self::UntoldPoints
            | Self::FewPoints
            | Self::LostPoints
            | Self::HsDirsBehind
            | Self::OldCertificates
            | Self::LostNodes
            | Self::TargetAway
            | Self::OldTargetCertificate
            | Self::Unreachable
            | Self::UnmetNodes
            | Self::DriftingClock
            | Self::FullDisk
            | Self::NearLimit(_)
            | Self::OpenKeyDirectory
            | Self::WrongConfiguration
            | Self::UnreadConfiguration => false,
        }
    }
}
