//! What goes into the merged descriptor, and when it is posted to which HSDir.

pub mod collect;
pub mod event;
pub mod exchange;
pub mod intro_circuit;
pub mod lapse;
pub mod ledger;
pub mod mute;
pub mod order;
pub mod place;
pub mod plan;
pub mod publication;
mod refetch;
pub mod report;
pub mod schedule;
pub mod select;
pub mod slot;
pub mod uplink;
pub mod waiting;
