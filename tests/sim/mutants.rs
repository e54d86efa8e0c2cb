//! Breaking the mechanism behind each law, and seeing that the simulated cluster notices.
//!
//! A copy of the source is made in which each expression below reads `if mutant::is(N) { wrong } else { right }`. It is
//! built once; then random lives are lived with one mutant at a time, until a law is found broken: the right one. The
//! product itself has no such switches.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};

/// So many lives must be enough to notice: first short ones, then long ones, for what takes its time.
const LIVES: [&[&str]; 2] = [&["seeds", "0", "1000"], &["seeds", "0", "40", "--long"]];
/// Where the copy lies, from the project's root.
const COPY: &str = "target/mutants";
/// What is copied.
const PARTS: [&str; 6] = ["Cargo.toml", "Cargo.lock", "nixos", "src", "tests/sim", "tests/bench"];

/// One thing done wrong.
struct Mutant {
    /// A part of the law that is broken by it.
    law: &'static str,
    /// What it does.
    what: &'static str,
    file: &'static str,
    /// The expression; it stands in the file once.
    right: &'static str,
    wrong: &'static str,
}

const MUTANTS: [Mutant; 14] = [
    Mutant {
        law: "exactly one node of a component holds the lease",
        what: "a holder does not step down for a better one",
        file: "src/proto/cluster/election.rs",
        right: "holders.iter().any(|holder| holder.is_better_than(me))",
        wrong: "false",
    },
    Mutant {
        law: "the best node holds the lease",
        what: "a better node never takes the lease over",
        file: "src/proto/cluster/election.rs",
        right: "!electable || others.iter().any(|other| other.is_better_than(me))",
        wrong: "!electable || !holders.is_empty() || others.iter().any(|other| other.is_better_than(me))",
    },
    Mutant {
        law: "who cannot publish leaves the lease to others",
        what: "a node that stands back is as good as any",
        file: "src/proto/cluster/election.rs",
        right: "record.stands_back.is_none()",
        wrong: "true",
    },
    Mutant {
        law: "the holder orders every serving node's points, and nobody else's",
        what: "a node whose target is down stays in the descriptor",
        file: "src/proto/cluster/lineup.rs",
        right: "records.values().any(|record| record.serves() && record.target_well)",
        wrong: "false",
    },
    Mutant {
        law: "everyone in a component knows the same of it",
        what: "nobody pulls what a digest shows to be newer",
        file: "src/proto/cluster/gossip.rs",
        right: "self.may_pull(now, entry)",
        wrong: "false",
    },
    Mutant {
        law: "everyone in a component lets everyone else in",
        what: "whom another node has told of is not entered into WireGuard",
        file: "src/proto/cluster/bookkeeping.rs",
        right: "actions.push(Action::SetPeer(peer))",
        wrong: "if self.phase == super::core::Phase::Idle { actions.push(Action::SetPeer(peer)) }",
    },
    Mutant {
        law: "everyone in a component speaks under the newest token",
        what: "whoever was away is not given the notes that it lacks",
        file: "src/proto/cluster/courier.rs",
        right: "hash == known.ledger.hash()",
        wrong: "true",
    },
    Mutant {
        law: "an invitation lets in as many as it is for",
        what: "a ticket is good for any number",
        file: "src/proto/cluster/ledger.rs",
        right: "Standing::Lost,",
        wrong: "Standing::Stands,",
    },
    Mutant {
        law: "clients find every serving node's points, and nobody else's",
        what: "an HSDir that has any descriptor gets no newer one",
        file: "src/proto/publish/place.rs",
        right: "self.held.is_some_and(|held| held.generation == generation)",
        wrong: "self.held.is_some()",
    },
    Mutant {
        law: "a drained node gives up its points once others are published",
        what: "a drained node waits for its replacement for ever",
        file: "src/proto/cluster/drain.rs",
        right: "!view.replaced",
        wrong: "true",
    },
    Mutant {
        law: "revision counters rise",
        what: "two posts within a second use the same counter",
        file: "src/proto/publish/ledger.rs",
        right: "tors_own.0.max(after_last)",
        wrong: "tors_own.0",
    },
    Mutant {
        law: "a descriptor has 1 to 20 points, and no relay twice",
        what: "the last round of the selection goes on beyond twenty",
        file: "src/proto/publish/select.rs",
        right: "taken.by_relay.len() < MAX_POINTS && taken.give(&offers, node, &mut BTreeSet::new())",
        wrong: "taken.give(&offers, node, &mut BTreeSet::new())",
    },
    Mutant {
        law: "memory is bounded",
        what: "the same admission, heard of under another time, is another note",
        file: "src/proto/cluster/ledger.rs",
        right: "(new.expires_ms, new.ticket, new.node.clone(), new.wireguard_key)",
        wrong: "(new.at_ms, new.ticket, new.node.clone(), new.wireguard_key)",
    },
    Mutant {
        law: "sent too many datagrams",
        what: "absent nodes are called all the time",
        file: "src/proto/cluster/timing.rs",
        right: "self.heartbeat_interval.clamp(Duration::from_millis(250), Duration::from_secs(2))",
        wrong: "Duration::from_millis(2)",
    },
];

/// The switch in the copy.
const SWITCH: &str = "
/// Which mutant is alive in this copy.
pub mod mutant {
    /// Whether this one is.
    pub fn is(number: usize) -> bool {
        static ALIVE: std::sync::LazyLock<Option<usize>> =
            std::sync::LazyLock::new(|| std::env::var(\"SIM_MUTANT\").ok()?.parse().ok());
        *ALIVE == Some(number)
    }
}
";

/// Planted expressions have parentheses that are not needed everywhere.
const QUIET: &str = "#![allow(unused_parens, unused_qualifications)]\n";

/// Makes the copy, builds it, and tries one mutant after the other; fails if one is not noticed.
pub fn try_all() -> ExitCode {
    let program = match prepare() {
        Ok(program) => program,
        Err(error) => {
            eprintln!("The mutants could not be built: {error}. Run this in the project's root.");
            return ExitCode::FAILURE;
        }
    };
    // Without any of them the copy is as good as the original.
    let mut missed = usize::from(!judge(None, &program));
    for number in 0..MUTANTS.len() {
        missed += usize::from(!judge(Some(number), &program));
    }
    println!("{} mutants, {missed} not as expected", MUTANTS.len());
    if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Whether the lives end as they should: well without a mutant, and with the mutant's law broken.
fn judge(number: Option<usize>, program: &Path) -> bool {
    let mutant = number.and_then(|number| MUTANTS.get(number));
    let broken = LIVES.iter().find_map(|lives| broken_law(number, program, lives));
    let story = broken.as_deref().unwrap_or("no law is broken");
    let expected = mutant.map_or(broken.is_none(), |mutant| story.contains(mutant.law));
    let verdict = if expected { "✓" } else { "✗" };
    println!("{verdict} {}\n    {story}", mutant.map_or("nothing is done wrong", |mutant| mutant.what));
    expected
}

/// What the first life that goes wrong is told to have broken.
fn broken_law(number: Option<usize>, program: &Path, lives: &[&str]) -> Option<String> {
    let mut command = Command::new(program);
    command.args(lives).env_remove("SIM_MUTANT").env("RUST_BACKTRACE", "0");
    command.envs(number.map(|number| ("SIM_MUTANT", number.to_string())));
    match command.output() {
        Ok(Output { status, .. }) if status.success() => None,
        Ok(Output { stderr, .. }) => {
            let told = String::from_utf8_lossy(&stderr);
            let story = told.lines().find(|line| line.starts_with("seed "));
            Some(story.unwrap_or("it ended without a story").to_owned())
        }
        Err(error) => Some(format!("it could not be run: {error}")),
    }
}

/// The program of the copy.
fn prepare() -> io::Result<PathBuf> {
    let copy = Path::new(COPY);
    if copy.exists() {
        fs::remove_dir_all(copy)?;
    }
    for part in PARTS {
        copy_all(Path::new(part), &copy.join(part))?;
    }
    for (number, mutant) in MUTANTS.iter().enumerate() {
        plant(number, mutant, &copy.join(mutant.file))?;
    }
    let library = copy.join("src/lib.rs");
    let text = fs::read_to_string(&library)?;
    fs::write(library, [QUIET, &text, SWITCH].concat())?;
    let mut build = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    build
        .args(["build", "--locked", "--example", "sim"])
        .current_dir(copy)
        .env("CARGO_TARGET_DIR", "../../target");
    let release = !cfg!(debug_assertions);
    if release {
        build.arg("--release");
    }
    if !build.status()?.success() {
        return Err(io::Error::other("cargo failed"));
    }
    let folder = if release { "release" } else { "debug" };
    // The original's program has the same place.
    let program = copy.join("sim");
    fs::copy(Path::new("target").join(folder).join("examples/sim"), &program)?;
    program.canonicalize()
}

fn plant(number: usize, mutant: &Mutant, file: &Path) -> io::Result<()> {
    let text = fs::read_to_string(file)?;
    let Mutant { right, wrong, .. } = mutant;
    if text.matches(right).count() != 1 {
        return Err(io::Error::other(format!("`{right}` does not stand in {} once", mutant.file)));
    }
    // A comma or semicolon at the end only serves to find the right place.
    let (right, end) = right.strip_suffix(',').map_or((*right, ""), |right| (right, ","));
    let wrong = wrong.trim_end_matches(',');
    let both = format!("(if crate::mutant::is({number}) {{ {wrong} }} else {{ {right} }}){end}");
    fs::write(file, text.replace(mutant.right, &both))
}

fn copy_all(from: &Path, to: &Path) -> io::Result<()> {
    if from.is_dir() {
        fs::create_dir_all(to)?;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            copy_all(&entry.path(), &to.join(entry.file_name()))?;
        }
        return Ok(());
    }
    to.parent().map_or(Ok(()), fs::create_dir_all)?;
    fs::copy(from, to).map(|_| ())
}
