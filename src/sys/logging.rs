//! Logs: to journald with its fields when the service manager connected us to it, otherwise to standard error.

use std::io::IsTerminal;
use std::path::Path;

use tracing::Level;
use tracing_subscriber::Registry;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;

use super::journal::{Journal, SOCKET};

/// This crate warns of every attribute that a newer kernel has added to what it knows, a dozen lines at each look at a
/// link. Nothing is wrong then: what it does know is read all the same.
const TALKATIVE: &str = "netlink_packet_route";

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
    /// What filters the log is gone; what is logged is as before.
    #[error("the level of the log cannot be changed: {0}; this is a mistake in rustbalance")]
    Fixed(#[from] reload::Error),
}

/// How much is logged, which may change while the process runs.
#[derive(Debug)]
pub struct LogLevel(reload::Handle<Targets, Registry>);

impl LogLevel {
    /// Logs at this level from now on.
    pub fn set(&self, level: &str) -> Result<(), LoggingError> {
        Ok(self.0.reload(filter(level)?)?)
    }
}

/// Parses a log level as the configuration writes it (`info`, or `info,rustbalance::tor=debug`).
pub fn parse_level(level: &str) -> Result<Targets, LoggingError> {
    level.parse().map_err(|_| LoggingError::BadLevel(level.to_owned()))
}

/// What is logged at a level: [`TALKATIVE`] warns only where the configuration names it.
fn filter(level: &str) -> Result<Targets, LoggingError> {
    let filter = parse_level(level)?;
    let named = filter.iter().any(|(target, _)| target.starts_with(TALKATIVE));
    if named || !filter.would_enable(TALKATIVE, &Level::WARN) {
        return Ok(filter);
    }
    Ok(filter.with_target(TALKATIVE, LevelFilter::ERROR))
}

/// Sends this process's logs to journald or standard error, filtered by `level`, marked with the daemon's name. The level
/// can be changed by what is returned.
///
/// `journal` forces one or the other; `None` means journald exactly when standard error is connected to it, since a
/// daemon whose error output was redirected elsewhere must not log past that.
pub fn init(daemon: &str, level: &str, journal: Option<bool>) -> Result<LogLevel, LoggingError> {
    let (filter, handle) = reload::Layer::new(filter(level)?);
    let journal_of = || Journal::connect(Path::new(SOCKET), daemon);
    let journal = match journal {
        Some(true) => Some(journal_of().map_err(LoggingError::NoJournal)?),
        None if stderr_is_the_journal() => journal_of().ok(),
        None | Some(false) => None,
    };
    let stderr = journal.is_none().then(|| {
        tracing_subscriber::fmt::layer()
            .with_writer(std::io::stderr)
            .with_ansi(std::io::stderr().is_terminal())
    });
    tracing_subscriber::registry()
        .with(filter)
        .with(journal)
        .with(stderr)
        .try_init()
        .map_err(|_| LoggingError::Twice)?;
    Ok(LogLevel(handle))
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
    fn a_newer_kernel_is_no_reason_to_warn() {
        let enabled = |level: &str, of: Level| {
            filter(level).unwrap().would_enable("netlink_packet_route::link::buffer_tool", &of)
        };
        assert!(!enabled("info", Level::WARN) && !enabled("debug", Level::WARN));
        assert!(enabled("info", Level::ERROR) && !enabled("off", Level::ERROR));
        assert!(enabled("info,netlink_packet_route=debug", Level::WARN));
        assert!(filter("info").unwrap().would_enable("rustbalance::mesh", &Level::WARN));
    }

    #[test]
    fn the_journal_stream_is_two_numbers() {
        assert_eq!(parse_stream("8:123"), Some((8, 123)));
        assert_eq!(parse_stream("8"), None);
        assert_eq!(parse_stream("a:b"), None);
    }
}
