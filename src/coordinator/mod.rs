//! Keeps the cluster: the mesh, membership, node records, the lease.
//!
//! ```text
//!              datagrams ┌───────────┐ SetPeer, RemovePeer ┌────────┐
//!   peers  ◄────────────►│           ├────────────────────►│ tunnel │ wg-rb
//!              timers    │   serve   │                     └────────┘
//!              ─────────►│ one loop, │ orders
//!              Status    │ one core  ├────────────────────►┌────────────────┐
//!   callers ◄───────────►│           │◄────────────────────┤ publisher_link │ publisher
//!                        └───────────┘ reports             └────────────────┘
//! ```
//!
//! [`serve`] turns what happens into events for [`crate::proto::cluster::core::Cluster`] and does what it wants done;
//! whatever may take time (the tunnel's configuration, the publisher) has a task of its own, so the loop never
//! waits and answers its peers' probes at once. [`start`] is the recipe of the process.

pub mod address_book;
pub mod publisher_link;
pub mod serve;
pub mod start;
pub mod tunnel;
