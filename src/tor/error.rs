//! What can go wrong with a control connection, and with a connection through tor's SOCKS port.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::tor::reply::FramingError;

/// Why a control connection ended. Whatever was under way may or may not have happened in tor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CloseReason {
    /// Tor closed it: it ended, crashed, or was told to.
    #[error("tor closed the connection")]
    Eof,
    /// The operating system reports an error; also what a crash of tor may look like.
    #[error("the connection broke: {0}")]
    Io(io::ErrorKind),
    /// Tor left a command unanswered and the answers can no longer be told apart, so we closed it.
    #[error("tor did not answer {command} in time")]
    TimedOut {
        /// The command's keyword.
        command: &'static str,
    },
    /// What came is not the control protocol, so we closed it.
    #[error("the peer does not speak the control protocol: {0}")]
    Framing(#[from] FramingError),
    /// An answer came that no command had asked for, so we closed it.
    #[error("the peer answered what was not asked")]
    Unasked,
    /// Every `Controller` of it was dropped, so we closed it.
    #[error("the connection was given up")]
    Dropped,
}

/// Why a connection could not be made, or a command has no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// Nothing listens at the address, or we may not use it. Start tor, or correct the address.
    #[error("cannot connect to tor's control port at {address}: {source}")]
    Connect {
        /// The address.
        address: String,
        /// What the operating system says.
        source: io::Error,
    },
    /// No connection within the time limit.
    #[error("tor's control port at {address} did not accept a connection within {limit:?}")]
    ConnectTimedOut {
        /// The address.
        address: String,
        /// The time limit.
        limit: Duration,
    },
    /// Tor offers no way of authentication that we can use. Set `CookieAuthentication 1`, or give the password.
    #[error("tor's control port offers {offered:?}, and none of it can be used with what is configured")]
    NoUsableAuth {
        /// What tor offers.
        offered: Vec<String>,
    },
    /// The cookie file cannot be read. Usually this user must join tor's group (`CookieAuthFileGroupReadable 1`).
    #[error("cannot read tor's cookie file {path}: {source}")]
    Cookie {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The file named by the peer is not a cookie. It was not sent. Whoever listens there may not be tor.
    #[error("{path} is not a cookie file of tor: a cookie is a plain file of 32 bytes")]
    NotACookie {
        /// The file.
        path: PathBuf,
    },
    /// The peer cannot prove that it knows the cookie: it is another tor, or not tor. The cookie was not sent.
    #[error("the peer does not know the cookie of tor's cookie file; it may not be tor")]
    WrongServerHash,
    /// The configured password is empty. Nothing was sent.
    #[error("the password for tor's control port is empty")]
    EmptyPassword,
    /// Tor did not accept cookie or password. Tor's words are left out: a false peer could put the secret there.
    #[error("tor refused our authentication with status {status}; check cookie file or password")]
    AuthRefused {
        /// The status.
        status: u16,
    },
    /// An argument cannot be written into a command. Nothing was sent.
    #[error("{command} was not sent: {what}")]
    Argument {
        /// The command's keyword.
        command: &'static str,
        /// What is wrong.
        what: &'static str,
    },
    /// Tor refused the command; it changed nothing. The connection goes on.
    #[error("tor refused {command}: {status} {text}")]
    Refused {
        /// The command's keyword.
        command: &'static str,
        /// The status: 5xx.
        status: u16,
        /// Tor's words, shortened.
        text: String,
    },
    /// Tor accepted the command, but its answer lacks what it must have. The connection goes on.
    #[error("tor's answer to {command} cannot be used: {what}")]
    Answer {
        /// The command's keyword.
        command: &'static str,
        /// What is wrong.
        what: &'static str,
    },
    /// Tor did not answer within the time limit. It may still act on the command. The connection was closed.
    #[error("tor did not answer {command} within {limit:?}")]
    TimedOut {
        /// The command's keyword.
        command: &'static str,
        /// The time limit.
        limit: Duration,
    },
    /// The connection ended before the answer. Tor may have acted on the command. Connect again and look.
    #[error("the control connection is closed: {reason}")]
    Closed {
        /// Why.
        reason: CloseReason,
    },
}

/// Why tor did not give a connection through its SOCKS port. There is none; another tor, or a later try, may give one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SocksError {
    /// No tor accepts SOCKS connections, or none says a word.
    #[error("no tor accepts SOCKS connections")]
    NoTor,
    /// tor itself failed: it hung up, or has no way into the network.
    #[error("tor failed or has no way into the network")]
    TorFailed,
    /// tor answers something that is not SOCKS5.
    #[error("tor's SOCKS port does not speak SOCKS5")]
    SocksBroken,
    /// tor could not get the service's descriptor (extended error F0).
    #[error("tor cannot find the service's descriptor (F0)")]
    DescriptorNotFound,
    /// tor got a descriptor that it cannot use (F1).
    #[error("the service's descriptor is not valid (F1)")]
    DescriptorInvalid,
    /// The introduction points do not answer (F2).
    #[error("the service's introduction points refuse (F2)")]
    IntroductionFailed,
    /// The rendezvous failed (F3).
    #[error("the rendezvous with the service failed (F3)")]
    RendezvousFailed,
    /// The service wants client authorisation that tor does not have, or has wrong (F4, F5).
    #[error("the service wants client authorisation that tor does not have (F4, F5)")]
    AuthorisationNeeded,
    /// The address is no onion address (F6).
    #[error("the service's address is no onion address (F6)")]
    BadAddress,
    /// The introduction points took too long (F7).
    #[error("the service's introduction points do not answer (F7)")]
    IntroductionTimedOut,
    /// The service refused, or tor could not reach it.
    #[error("the service refuses or cannot be reached")]
    Unreachable,
    /// It took longer than the caller allows.
    #[error("reaching the service took too long")]
    TimedOut,
}
