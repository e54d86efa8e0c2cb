//! rustbalance: a self-healing, multi-node load balancer for Tor v3 onion services.
//!
//! The house has five floors. Arrows only go down, siblings do not import each other, and
//! `tests/architecture.rs` proves it.
//!
//! ```text
//! 5  bin/                                              front doors, a few lines each
//! 4  proxy  coordinator  publisher  watchdog  ctl  lab shells: sockets, timers, processes; no decisions
//! 3  daemon                                            what every daemon does alike until its main loop runs
//! 2  ipc  tor  mesh  config  vault  sys                edges: outside bytes <-> typed values
//! 1  proto/{onion cluster join publish health}         decisions: values in, values out; pure
//! ```
//!
//! Every core on floor 1 speaks one grammar, so that tests are tables and bug reports are event logs:
//! `handle(&mut self, now, event) -> Vec<Action>`, `next_timeout(&self) -> Option<Instant>` and
//! `status(&self)`. Every shell on floor 4 is the same loop: select an event, `handle` it, perform the actions.

pub mod proto;

pub mod config;
pub mod ipc;
pub mod mesh;
pub mod sys;
pub mod tor;
pub mod vault;

pub mod daemon;

pub mod coordinator;
pub mod ctl;
pub mod lab;
pub mod proxy;
pub mod publisher;
pub mod watchdog;
