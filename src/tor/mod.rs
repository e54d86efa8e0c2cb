//! The control protocol of C tor, the consensus documents it hands out, and its SOCKS port.
//!
//! ```text
//! bytes ─ reply ─┬─ answers ── controller (GETINFO, SETCONF, HSPOST, …)
//!                └─ event ──── queue of TorEvent
//! ```
//!
//! `reply`, `quoting`, `event`, `command`, `authentication` and `consensus` are pure; `connection` is the task
//! that owns a socket, `controller` what the shells hold, `reconnect` brings it back after tor has gone, and
//! `directory` fetches the view of the network through it. `pulse` tells whether anything comes to tor from the network,
//! `destroys` sends what tor would keep to itself, `dial` reaches onion services through the SOCKS ports (`socks`, over a
//! `stream`).

pub mod address;
pub mod authentication;
pub mod command;
mod connection;
pub mod consensus;
pub mod controller;
pub mod destroys;
pub mod dial;
pub mod directory;
pub mod error;
pub mod event;
pub mod pulse;
pub mod quoting;
pub mod reconnect;
pub mod relay_name;
pub mod reply;
pub mod socks;
pub mod stream;
