//! What goes into the merged descriptor, and when it is posted to which HSDir.

pub mod collect;
pub mod order;
pub mod report;
pub mod select;
