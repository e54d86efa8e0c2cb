//! `rustbalance-lab`: three nodes, a private Tor network, one command.

use std::process::ExitCode;

fn main() -> ExitCode {
    rustbalance::lab::front::main()
}
