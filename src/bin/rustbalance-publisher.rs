//! The publisher daemon.

use std::process::ExitCode;

fn main() -> ExitCode {
    rustbalance::publisher::start::run(std::env::args_os())
}
