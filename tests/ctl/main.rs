//! `rustbalance`, the real program, where it makes and changes things.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    unreachable_pub,
    missing_docs
)]

mod cluster;
mod configuration;
mod daemons;
mod documents;
mod init;
mod install_key;
mod invitation;
mod manifest;
mod seal;
mod status;
mod terminal;
mod tool;
