//! The operator's tool.

use std::process::ExitCode;

fn main() -> ExitCode {
    rustbalance::ctl::command::run(std::env::args_os())
}
