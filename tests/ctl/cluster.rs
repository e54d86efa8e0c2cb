//! `rustbalance drain`, `undrain`, `rotate-token` and `leave`.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustbalance::ipc::coordinator::DrainWish;
use rustbalance::proto::cluster::drain::DrainPhase;
use rustbalance::proto::cluster::status::Lifecycle;

use crate::daemons::{Asked, Daemons};
use crate::terminal::on_terminal;
use crate::tool::{DATA, TEMPORARY, USAGE, answer, command, complaint, complaint_of};

fn wish(node: &str, draining: bool, deadline_secs: u32, after: Option<&str>) -> Asked {
    let node = Some(node.parse().unwrap());
    let after = after.map(|after| after.parse().unwrap());
    Asked::Drain(DrainWish { node, draining, deadline_secs, after })
}

#[test]
fn a_node_is_drained_and_taken_back() {
    let daemons = Daemons::started();
    let said = answer(&daemons.with(&["drain"]));
    assert!(said.starts_with("alpha is being drained;"), "{said}");
    answer(&daemons.with(&["drain", "beta", "--deadline", "90s", "--after", "gamma"]));
    answer(&daemons.with(&["undrain", "beta"]));
    answer(&daemons.with(&["undrain"]));
    let expected = [
        wish("alpha", true, 300, None),
        wish("beta", true, 90, Some("gamma")),
        wish("beta", false, 0, None),
        wish("alpha", false, 0, None),
    ];
    assert_eq!(daemons.asked(), expected);
}

#[test]
fn what_cannot_be_meant_is_refused_before_anything_is_asked() {
    let daemons = Daemons::started();
    for (arguments, reason, code) in [
        (&["drain", "delta"][..], "no node delta; it has alpha, beta, gamma", DATA),
        (&["drain", "--after", "delta"], "no node delta", DATA),
        (&["drain", "--after", "alpha"], "own place", DATA),
        (&["undrain", "delta"], "no node delta", DATA),
        (&["drain", "Beta"], "a-z", USAGE),
        (&["drain", "--deadline", "2days"], "up to a day", USAGE),
    ] {
        let said = complaint(code, &daemons.with(arguments));
        assert!(said.contains(reason), "{said}");
    }
    assert_eq!(daemons.asked(), []);
    daemons.said.lock().unwrap().refusal = Some("the night is too dark".to_owned());
    for arguments in [&["drain"][..], &["rotate-token"]] {
        let said = complaint(DATA, &daemons.with(arguments));
        assert!(said.contains("the coordinator says no: the night is too dark"), "{said}");
    }
}

#[test]
fn whoever_waits_is_told_each_step() {
    let daemons = Daemons::started();
    let phase = |phase| daemons.said.lock().unwrap().coordinator.cluster.nodes[1].drain_phase = Some(phase);
    let start = || {
        command(&daemons.with(&["drain", "beta", "--wait"]))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let mut child = start();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for (next, words) in [
        (DrainPhase::Draining, "beta serves until others are in the descriptor"),
        (DrainPhase::Muted, "beta takes no new clients"),
        (DrainPhase::Drained, "beta is drained, and may be stopped"),
    ] {
        phase(next);
        let line = lines.next().unwrap().unwrap();
        assert!(line.contains(words), "{line}");
    }
    assert_eq!(child.wait().unwrap().code(), Some(0));

    // Interrupted, the node goes on being drained; taken back by somebody else, there is nothing to wait for.
    phase(DrainPhase::Muted);
    let mut child = start();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().contains("no new clients"));
    kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGINT).unwrap();
    let said = complaint_of(TEMPORARY, child.wait_with_output().unwrap());
    assert!(said.contains("goes on being drained"), "{said}");
    let mut child = start();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().contains("no new clients"));
    daemons.said.lock().unwrap().coordinator.cluster.nodes[1].draining = false;
    let said = complaint_of(DATA, child.wait_with_output().unwrap());
    assert!(said.contains("somebody took it back"), "{said}");
}

#[test]
fn a_new_token_is_named_and_not_shown() {
    let daemons = Daemons::started();
    let said = answer(&daemons.with(&["rotate-token"]));
    assert!(said.contains("changes to token 3-0a0a0a0a"), "{said}");
    assert_eq!(daemons.asked(), [Asked::RotateToken]);
}

#[test]
fn a_node_leaves_only_when_it_is_meant() {
    let daemons = Daemons::started();
    let said = complaint(USAGE, &daemons.with(&["leave"]));
    assert!(said.contains("say so with --yes"), "{said}");
    let tool = env!("CARGO_BIN_EXE_rustbalance");
    let leave = daemons.with(&[tool, "leave"]);
    // Standard error must be the terminal for the question to be seen there.
    let arguments = [&["sh", "-c", "exec \"$0\" \"$@\" 2> /dev/tty"][..], &leave].concat();
    let (screen, output) = on_terminal(&arguments, &[("for good: ", "beta\n")]);
    assert_eq!(output.status.code(), Some(DATA), "{screen}");
    assert!(screen.contains("nothing was changed") && daemons.asked().is_empty(), "{screen}");
    let (screen, output) = on_terminal(&arguments, &[("for good: ", "alpha\n")]);
    assert!(output.status.success() && daemons.asked() == [Asked::Leave], "{screen} {output:?}");
    let said = answer(&daemons.with(&["leave", "--yes"]));
    assert!(said.starts_with("alpha leaves the cluster.") && said.contains("remove its keys"), "{said}");
}

#[test]
fn the_last_node_that_serves_is_told_that_it_is() {
    let daemons = Daemons::started();
    for other in &mut daemons.said.lock().unwrap().coordinator.cluster.nodes[1..] {
        other.lifecycle = Lifecycle::Dead;
    }
    let said = answer(&daemons.with(&["drain"]));
    assert!(said.contains("no other node serves now, and until one does, this one serves on"), "{said}");
    let said = answer(&daemons.with(&["leave", "--yes"]));
    assert!(said.contains("nobody answers") && said.contains("keep a copy of its keys"), "{said}");
    let leave = daemons.with(&[env!("CARGO_BIN_EXE_rustbalance"), "leave"]);
    let arguments = [&["sh", "-c", "exec \"$0\" \"$@\" 2> /dev/tty"][..], &leave].concat();
    let (screen, _) = on_terminal(&arguments, &[("for good: ", "no\n")]);
    assert!(screen.contains("No other node serves"), "{screen}");
}

#[test]
fn an_answer_that_cannot_be_written_is_a_complaint() {
    let daemons = Daemons::started();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = command(&daemons.with(&["rotate-token"])).stdout(full).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(71), "{error}");
    assert!(error.contains("cannot write the answer: No space left"), "{error}");
    assert!(error.contains("what was made or changed remains"), "{error}");
    assert_eq!(daemons.asked(), [Asked::RotateToken]);
}
