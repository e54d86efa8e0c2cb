//! Why a daemon does not run, and the code it ends with, which tells the service manager whether trying again may help.

use std::error::Error;
use std::fmt;

use crate::config::file::ConfigError;
use crate::config::ipc::UnknownUser;
use crate::config::secret::SecretError;
use crate::mesh::error::InterfaceError;
use crate::mesh::socket::MeshSocketError;
use crate::sys::capabilities::CapabilityError;
use crate::sys::confine::ConfineError;
use crate::sys::exit::Exit;
use crate::sys::integrity::IntegrityError;
use crate::sys::listen::ListenError;
use crate::sys::logging::LoggingError;
use crate::sys::process::HardenError;

/// An error with which a daemon does not run.
pub trait Fatal: Error {
    /// The code to end with.
    fn exit(&self) -> Exit;
}

/// Any such error.
#[derive(Debug)]
pub struct StartError {
    exit: Exit,
    reason: Box<dyn Error>,
}

impl StartError {
    /// The code to end with.
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// What went wrong.
    pub fn reason(&self) -> &dyn Error {
        &*self.reason
    }
}

impl<E: Fatal + 'static> From<E> for StartError {
    fn from(error: E) -> Self {
        Self { exit: error.exit(), reason: Box::new(error) }
    }
}

impl From<std::io::Error> for StartError {
    fn from(error: std::io::Error) -> Self {
        Self { exit: Exit::Os, reason: Box::new(Refused(error)) }
    }
}

/// What the operating system says where nothing else is known.
#[derive(Debug)]
struct Refused(std::io::Error);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the operating system refused: {}", self.0)
    }
}

impl Error for Refused {}

/// These errors always end with this code.
macro_rules! fatal {
    ($($error:ty => $exit:ident),* $(,)?) => {
        $(impl Fatal for $error {
            fn exit(&self) -> Exit {
                Exit::$exit
            }
        })*
    };
}

fatal! {
    HardenError => Os,
    ListenError => Os,
    ConfineError => Os,
    CapabilityError => Permission,
    ConfigError => Config,
    UnknownUser => Config,
    SecretError => Config,
    LoggingError => Config,
    MeshSocketError => Unavailable,
}

impl Fatal for IntegrityError {
    fn exit(&self) -> Exit {
        Self::exit(self)
    }
}

impl Fatal for InterfaceError {
    fn exit(&self) -> Exit {
        match self {
            Self::NotPermitted { .. } => Exit::Permission,
            _ => Exit::Unavailable,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_keeps_its_words_and_its_code() {
        let denied = StartError::from(std::io::Error::from(std::io::ErrorKind::PermissionDenied));
        assert_eq!(denied.exit(), Exit::Os);
        assert_eq!(denied.reason().to_string(), "the operating system refused: permission denied");
        let cut = StartError::from(InterfaceError::NotPermitted { action: "create wg-rb" });
        assert_eq!(cut.exit(), Exit::Permission);
        let taken = StartError::from(InterfaceError::NameTaken("wg-rb".into()));
        assert_eq!(taken.exit(), Exit::Unavailable);
        assert!(taken.reason().to_string().contains("ip link delete wg-rb"), "{}", taken.reason());
    }
}
