//! `rustbalance manifest`: the signed list of what is installed.

pub mod command;
pub mod create;
pub mod error;
pub mod verify;
