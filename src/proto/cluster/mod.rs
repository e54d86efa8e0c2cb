//! The cluster: who is there, what each node says about itself, and who holds the lease.
//!
//! ```text
//! cluster      the whole: event in, actions out                    (events.rs: its grammar)
//!   membership   who is there: foca (SWIM) as a pure state machine
//!   gossip       records spread: push, digest, pull, parts           (assembly.rs: parts to record)
//!   election     who holds the lease
//!   roster       how each node is reached: WireGuard keys and addresses
//!   record       what a node says about itself, newest wins
//!   message      the datagrams, bounded
//!   timing       every period and patience, and why
//! ```
//!
//! Two lease holders at once are harmless: merging is a function of the records, revision counters are ordered
//! by time, and the newer descriptor wins. That is why no quorum is needed and two nodes work.

pub mod assembly;
pub mod election;
pub mod gossip;
pub mod membership;
pub mod message;
pub mod record;
pub mod roster;
pub mod timing;
