//! What comes first in every daemon.

use crate::config::file::Config;
use crate::daemon::failure::StartError;
use crate::daemon::front::Arguments;
use crate::sys::integrity::verify_self;
use crate::sys::listen::InheritedSockets;
use crate::sys::logging::{self, LogLevel};
use crate::sys::process::{self, Swap};

/// A process that has begun: nothing secret has been read, nothing is logged or listened to yet.
pub struct Begun {
    /// What the service manager handed over.
    pub inherited: InheritedSockets,
    /// The configuration.
    pub config: Config,
    /// Whether secrets can get into swap, for [`log`] to tell.
    pub swap: Swap,
}

/// Hardens the process, takes the `sockets` that may be handed over, reads the configuration, and, where that says so,
/// makes sure that this program is what was signed.
pub fn begin(arguments: &Arguments, sockets: &[&str]) -> Result<Begun, StartError> {
    let swap = process::harden()?;
    let inherited = InheritedSockets::take(sockets)?;
    let config = Config::load(&arguments.config)?;
    if let Some(integrity) = &config.integrity {
        verify_self(&integrity.manifest, integrity.public_key)?;
    }
    Ok(Begun { inherited, config, swap })
}

/// Logs from now on, and says there what the operator should know of the process itself.
pub fn log(daemon: &str, config: &Config, swap: Swap) -> Result<LogLevel, StartError> {
    let level = logging::init(daemon, &config.log.level, config.log.journal)?;
    swap.tell();
    Ok(level)
}
