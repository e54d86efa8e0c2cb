//! The control port: against a scripted peer that misbehaves in every way a test can think of, and against a real
//! tor that is started for each test, offline.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod faults;
mod peer;
mod real_tor;
mod with_tor;
