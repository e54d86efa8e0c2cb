//! The control protocol of C tor, and the consensus documents it hands out.
//!
//! ```text
//! bytes ─ reply ─┬─ answers ── controller (GETINFO, SETCONF, HSPOST, …)
//!                └─ event ──── queue of TorEvent
//! ```
//!
//! `reply`, `quoting`, `event`, `command`, `authentication` and `consensus` are pure; `connection` is the task
//! that owns a socket, `controller` what the shells hold, `reconnect` brings it back after tor has gone, and
//! `directory` fetches the view of the network through it.

pub mod address;
pub mod authentication;
pub mod command;
mod connection;
pub mod consensus;
pub mod controller;
pub mod directory;
pub mod error;
pub mod event;
pub mod quoting;
pub mod reconnect;
pub mod relay_name;
pub mod reply;
