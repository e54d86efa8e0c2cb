//! Why an inspection gave no answer.

use std::io;
use std::path::PathBuf;

use crate::ctl::input::InputError;
use crate::ctl::moment::Moment;
use crate::proto::onion::blinding::BlindError;
use crate::proto::onion::descriptor::client_auth::ClientKeyError;
use crate::proto::onion::descriptor::hsdesc::OpenError;
use crate::proto::onion::descriptor::outer::OuterError;
use crate::sys::exit::Exit;
use crate::tor::consensus::ConsensusError;

/// Why an inspection gave no answer. Nothing was changed anywhere. The whole reason is this message and those of its
/// sources, one after the other.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InspectError {
    /// A file that was named is not what it should be.
    #[error(transparent)]
    Input(#[from] InputError),
    /// A client's key file holds no key.
    #[error("{}", path.display())]
    ClientKey {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: ClientKeyError,
    },
    /// The key cannot be blinded.
    #[error(transparent)]
    Blind(#[from] BlindError),
    /// The consensus cannot be used.
    #[error("{}", path.display())]
    Consensus {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: ConsensusError,
    },
    /// The consensus and the microdescriptors do not belong together.
    #[error(
        "no HSDir of the consensus has its microdescriptor in {}; take both from the same tor at the same time",
        microdescs.display()
    )]
    NoHsDirs {
        /// The file with the microdescriptors.
        microdescs: PathBuf,
    },
    /// The hash ring of the time asked about depends on shared random values that the consensus does not have.
    #[error(
        "the consensus' shared random values are those from {from} to before {until}, not of {at}; \
         give a consensus of that time, or --at within it"
    )]
    OtherRun {
        /// What was asked about.
        at: Moment,
        /// From when on the values are in use.
        from: Moment,
        /// When others take their place.
        until: Moment,
    },
    /// The descriptor's outer document is refused.
    #[error("refused, as of {at}")]
    Outer {
        /// The time it was judged at.
        at: Moment,
        /// What is wrong with it.
        source: OuterError,
    },
    /// The descriptor cannot be opened, or what is inside is refused.
    #[error("signed well, but refused, as of {at}")]
    Open {
        /// The time it was judged at.
        at: Moment,
        /// What is wrong with it.
        source: OpenError,
    },
    /// The answer could not be written.
    #[error("the answer could not be written")]
    Write(#[from] io::Error),
}

impl InspectError {
    /// The exit code: 65 for bad input, 77 for a file one may not read, 71 for other troubles of the system.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Input(error) => error.exit(),
            Self::Write(_) => Exit::Os,
            _ => Exit::Data,
        }
    }
}
