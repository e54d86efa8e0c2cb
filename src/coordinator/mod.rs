//! Keeps the cluster: the mesh, membership, node records, the lease.
//!
//! ```text
//!              datagrams ┌───────────┐ SetPeer, RemovePeer ┌────────┐
//!   peers  ◄────────────►│           ├────────────────────►│ tunnel │ wg-rb
//!              timers    │   serve   │                     └────────┘
//!              ─────────►│ one loop, │ orders, mute
//!              Status, … │ one core  ├────────────────────►┌────────────────┐
//!   callers ◄───────────►│           │◄────────────────────┤ publisher_link │ publisher
//!            calls, door │           │ reports             └────────────────┘
//!                        │           │◄───────────────────►┌────────────┐
//!                        └─────┬─────┘ target, connections │ proxy_link │ proxy
//!                              ▼ memory                    └────────────┘
//!                            state
//! ```
//!
//! [`serve`] turns what happens into events for [`crate::proto::cluster::core::Cluster`] and does what it wants done;
//! whatever may take time (the tunnel's configuration, the other daemons, the disk) has a task of its own, so the loop
//! never waits and answers its peers' probes at once; [`heard`] is what the daemons say, in the core's words. An invited node first asks to be let in ([`joining`]); whoever is
//! asked answers through the [`door`], at which also the
//! [`canary`]s of all nodes are answered: through Tor, as [`reach`] does it. [`start`] is the recipe of the process, [`plan`] what its configuration comes to, and
//! [`reload`] what of it changes while it runs.

pub mod address_book;
mod calls;
pub mod canary;
pub mod clocks;
pub mod door;
pub mod heard;
pub mod joining;
pub mod link;
pub mod plan;
pub mod proxy_link;
pub mod publisher_link;
pub mod reach;
pub mod reload;
pub mod serve;
pub mod start;
pub mod state;
pub mod tunnel;
