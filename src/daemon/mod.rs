//! What every daemon does alike, from its command line to its main loop.
//!
//! [`front`] reads the command line and says why a daemon cannot run, [`begin`] does what comes first in each, and
//! [`failure`] knows for each error with which code the process ends. [`address`] is where a configured socket is.

pub mod address;
pub mod begin;
pub mod failure;
pub mod front;
