//! The unit files, `sysusers.d`, `tmpfiles.d` and torrcs in `nixos/units`: that systemd and tor take them, that they fit each
//! other, and that they fit the daemons.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    unreachable_pub,
    missing_docs
)]

mod calls;
mod files;
mod fit;
mod root;
mod systemd;
mod tor;
