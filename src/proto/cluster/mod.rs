//! The cluster: who is there, what each node says about itself, and who holds the lease.
//!
//! ```text
//! core         the whole: event in, actions out        events: its grammar   status, describe: what it can tell
//!   tenure       taking the lease, letting go, what to publish      election: who should hold it
//!   gossip       records spread: push, digest, pull                 assembly: pieces to record
//!   membership   who is there: foca (SWIM) as a pure state machine
//!   roster       how each node is reached: WireGuard keys and addresses
//!   publisher    whether this node's publisher is there             pulse: whether we ran at all
//!   absence      who is gone, since when
//!   record       what a node says about itself, newest wins         message: the datagrams, bounded
//!   timing       every period and patience, and why
//! ```
//!
//! Two lease holders at once are harmless: merging is a function of the records, revision counters are ordered
//! by time, and the newer descriptor wins. That is why no quorum is needed and two nodes work.

pub mod absence;
pub mod assembly;
pub mod core;
pub mod describe;
pub mod election;
pub mod events;
pub mod gossip;
pub mod membership;
pub mod message;
pub mod publisher;
pub mod pulse;
pub mod record;
pub mod roster;
pub mod status;
pub mod tenure;
pub mod timing;
