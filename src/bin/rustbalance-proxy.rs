//! The proxy daemon.

use std::process::ExitCode;

fn main() -> ExitCode {
    rustbalance::proxy::start::run(std::env::args_os())
}
