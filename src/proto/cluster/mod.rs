//! The cluster: who is there, what each node says about itself, what all of them keep, and who holds the lease.
//!
//! ```text
//! core         the whole: event in, actions out        events: its grammar   status, describe, history: what it can tell
//!   hearing      what arrives                            own: what this node says of itself, and how it goes
//!   tenure       taking the lease, letting go            election: who should hold it
//!   lineup       what to publish, and for whom           drain: a drained node's way out
//!   gossip       records spread: push, digest, pull      assembly: pieces to record
//!   courier      notes spread: push, hash, everything    ledger: notes merged   note: the facts themselves
//!   bookkeeping  what follows from notes                 register: who belongs to the cluster
//!     admission    letting nodes in                        applicants: who waits for an answer
//!     rotation     new tokens                              token: which are held, which to speak under
//!   membership   who is there: foca (SWIM) as a pure state machine
//!   roster       how each node is reached: WireGuard keys and addresses
//!   publisher    whether this node's publisher is there  fitness: whether it can publish  pulse: whether we ran at all
//!   absence      who is gone, since when                 memory: what is kept over a restart
//!   record       what a node says about itself, newest wins         message: the datagrams, bounded
//!   timing       every period and patience, and why
//! ```
//!
//! Two lease holders at once are harmless: merging is a function of the records, revision counters are ordered
//! by time, and the newer descriptor wins. That is why no quorum is needed and two nodes work.

pub mod absence;
pub mod admission;
pub mod applicants;
pub mod assembly;
pub mod bookkeeping;
pub mod core;
pub mod courier;
pub mod describe;
pub mod drain;
pub mod election;
pub mod events;
pub mod fitness;
pub mod gossip;
pub mod hearing;
pub mod history;
pub mod ledger;
pub mod lineup;
pub mod membership;
pub mod memory;
pub mod message;
pub mod note;
pub mod own;
pub mod publisher;
pub mod pulse;
pub mod record;
pub mod register;
pub mod roster;
pub mod rotation;
pub mod status;
pub mod tenure;
pub mod timing;
pub mod token;
