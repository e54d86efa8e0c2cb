//! The operating system: inherited sockets, notifications to the service manager, capabilities, exit codes.
//!
//! This is the only room where `unsafe` may appear, line by line, each with its reason.
//!
//! The order in which a daemon's `main` calls it matters, because capabilities belong to threads and the
//! asynchronous runtime starts threads:
//! [`process::harden`] → [`listen::InheritedSockets::take`] → configuration → [`logging::init`] → listeners of its own →
//! [`capabilities::trim`] → [`confine::confine`] → runtime → [`notify::notify`] (`Ready`) once the daemon really serves.

pub mod capabilities;
pub mod clock;
pub mod confine;
pub mod exit;
pub mod integrity;
pub mod journal;
pub mod link_watch;
pub mod listen;
pub mod logging;
pub mod notify;
pub mod process;
pub mod stop;
