//! Decisions: values in, values out. No tokio, no async, no clock, no randomness of its own, no I/O.

pub mod balance;
pub mod circuit;
pub mod cluster;
pub mod health;
pub mod http;
pub mod join;
pub mod manifest;
pub mod node;
pub mod onion;
pub mod publish;
