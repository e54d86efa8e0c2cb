//! The watchdog: asks everyone, repairs through the service manager, and tells people and their monitoring.
//!
//! ```text
//! tor_link ×2 ───────┐                       ┌─ service_manager (D-Bus) ── units of this node
//! daemon_link ×3     ├─ observations ─ serve ┤
//! uses, host, key    │                       │
//! configuration──────┘      proto::health    ├─ web: metrics, page, events ── ipc: `rustbalance status --why`
//!            └────────── overview ───────────┘
//! ```
//!
//! It holds no key and decides nothing: what is wrong, what helps and when to stop is said by [`crate::proto::health`].

mod abusive;
mod configuration;
mod daemon_link;
mod events;
mod host;
mod key;
mod metrics;
mod overview;
mod page;
mod serve;
mod service_manager;
pub mod start;
mod tor_link;
mod uses;
mod web;
