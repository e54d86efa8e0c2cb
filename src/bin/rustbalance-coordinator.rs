//! The coordinator daemon.

use std::process::ExitCode;

fn main() -> ExitCode {
    rustbalance::coordinator::start::run(std::env::args_os())
}
