//! The watchdog daemon.

use std::process::ExitCode;

fn main() -> ExitCode {
    rustbalance::watchdog::start::run(std::env::args_os())
}
