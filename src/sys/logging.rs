//! Logs: to journald with its fields when the service manager connected us to it, otherwise to standard error.

use std::io::IsTerminal;

use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The level is not a filter that `tracing` understands.
    #[error("{0:?} is not a log level; expected error, warn, info, debug, trace, or target=level pairs")]
    BadLevel(String),
    /// journald was demanded and is not there.
    #[error("journald is not reachable: {0}; use `to = \"auto\"` or `\"stderr\"` in [log]")]
    NoJournal(std::io::Error),
    /// A second call.
    #[error("logging was set up twice; this is a mistake in rustbalance")]
    Twice,
}

/// Parses a log level as the configuration writes it (`info`, or `info,rustbalance::tor=debug`).
pub fn parse_level(level: &str) -> Result<Targets, LoggingError> {
    level.parse().map_err(|_| LoggingError::BadLevel(level.to_owned()))
}

/// Sends this process's logs to journald or standard error, filtered by `level`, marked with the daemon's name.
///
/// `journal` forces one or the other; `None` means journald exactly when standard error is connected to it, since a
/// daemon whose error output was redirected elsewhere must not log past that.
pub fn init(daemon: &str, level: &str, journal: Option<bool>) -> Result<(), LoggingError> {
    let filter = parse_level(level)?;
    let journal = match journal {
        Some(true) => Some(tracing_journald::layer().map_err(LoggingError::NoJournal)?),
        None if stderr_is_the_journal() => tracing_journald::layer().ok(),
        None | Some(false) => None,
    };
    let stderr = journal.is_none().then(|| {
        tracing_subscriber::fmt::layer()
            .with_writer(std::io::stderr)
            .with_ansi(std::io::stderr().is_terminal())
    });
    let journal =
        journal.map(|layer| layer.with_field_prefix(None).with_syslog_identifier(daemon.to_owned()));
    tracing_subscriber::registry()
        .with(filter)
        .with(journal)
        .with(stderr)
        .try_init()
        .map_err(|_| LoggingError::Twice)
}

/// Whether standard error is the stream that systemd connected to the journal: `JOURNAL_STREAM` names its device
/// and inode (systemd.exec(5)).
fn stderr_is_the_journal() -> bool {
    let Some((device, inode)) = std::env::var("JOURNAL_STREAM").ok().and_then(|stream| parse_stream(&stream))
    else {
        return false;
    };
    nix::sys::stat::fstat(std::io::stderr()).is_ok_and(|file| file.st_dev == device && file.st_ino == inode)
}

fn parse_stream(text: &str) -> Option<(u64, u64)> {
    let (device, inode) = text.split_once(':')?;
    Some((device.parse().ok()?, inode.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_checked_when_they_are_read() {
        for good in ["info", "warn,rustbalance::tor=debug", "off"] {
            assert!(parse_level(good).is_ok(), "{good}");
        }
        assert!(parse_level("rustbalance=loud").is_err());
    }

    #[test]
    fn the_journal_stream_is_two_numbers() {
        assert_eq!(parse_stream("8:123"), Some((8, 123)));
        assert_eq!(parse_stream("8"), None);
        assert_eq!(parse_stream("a:b"), None);
    }
}
