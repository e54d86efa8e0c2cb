//! Holds the onion identity: collects introduction points, signs and posts the merged descriptor.
//!
//! ```text
//!  control socket ──calls──┐                         ┌──► reads, posts, looks (tasks) ──┐
//!  tor that serves ─events─┼─► Publication (pure) ───┤                                  ├─► events ─► …
//!  tor that uploads ─events┘                         └──► report, for those who watch   │
//!        ▲                                                                              │
//!        └──────────────────────────────── commands ───────────────────────────────────┘
//! ```
//!
//! All decisions are in [`crate::proto::publish::publication`]. This room is the only one that has the master key,
//! and it never touches the network: it speaks with two tors and, over its control socket, with the coordinator.

pub mod identity;
pub mod link;
pub mod news;
pub mod reload;
pub mod serve;
pub mod start;
pub mod work;
