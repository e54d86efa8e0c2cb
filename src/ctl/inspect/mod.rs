//! `rustbalance inspect`: what the onion service protocol makes of keys, times and documents.

pub mod address;
pub mod command;
pub mod counter;
pub mod descriptor;
pub mod error;
pub mod hsdirs;
pub mod period;
pub mod point;
pub mod schedule;
