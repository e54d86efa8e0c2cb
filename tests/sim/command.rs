//! `cargo run --release --example sim -- soak`: the simulated cluster for as long as one likes, its speed, its figures,
//! and the proof that its laws can be broken.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]
#![allow(missing_docs, unreachable_pub, dead_code)] // the modules are shared with the tests, which use all of them

mod deeds;
mod faults;
mod figures;
mod hsdirs;
mod laws;
mod life;
mod merged;
mod mutants;
mod network;
mod node;
mod picture;
mod publishing;
mod queue;
mod soak;
mod stories;
mod timer;
mod world;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::life::Life;

/// The cluster in virtual time: real cores, and everything around them from a seed.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Random lives full of faults for so long, on all processors; ends at the first law that is broken
    Soak {
        /// How long, in minutes
        #[arg(long, default_value_t = 10.0)]
        minutes: f64,
        /// The first seed
        #[arg(long, default_value_t = 0)]
        from: u64,
    },
    /// One life from each of these seeds: the short lives of the tests, or longer ones
    Seeds {
        /// The first seed
        from: u64,
        /// One after the last
        to: u64,
        /// Twenty minutes each
        #[arg(long)]
        long: bool,
    },
    /// Simulated cluster-hours per minute of processor time, five nodes
    Speed,
    /// How long detection, takeover, healing and return take, as a table and a picture
    Figures {
        /// Where the picture goes
        #[arg(long, default_value = "tests/sim/figures.svg")]
        picture: PathBuf,
    },
    /// Breaks the mechanism behind each law, one at a time, and shows that a simulated cluster notices
    Mutants,
}

fn main() -> std::process::ExitCode {
    match Arguments::parse().task {
        Task::Soak { minutes, from } => soak::soak(Duration::from_secs_f64(minutes * 60.0), from),
        Task::Seeds { from, to, long } => {
            soak::seeds(from..to, if long { Life::long() } else { Life::short() })
        }
        Task::Speed => soak::speed(),
        Task::Figures { picture } => figures::draw(&picture),
        Task::Mutants => mutants::try_all(),
    }
}
