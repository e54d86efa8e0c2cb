//! `rustbalance-lab` as a user starts it: what it says when something is missing, and that it leaves nothing behind.
//!
//! Whole scenes are played by `tests/lab`; here only the first seconds of a lab are.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long a lab may take until its first tors run.
const STARTING: Duration = Duration::from_mins(1);
/// How long the kernel may take to clear up. It takes a tenth of a second on a machine that does nothing else.
const CLEARING: Duration = Duration::from_secs(10);

fn lab() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rustbalance-lab"));
    command.stdin(Stdio::null());
    command
}

/// It must fail with this code and with a sentence on standard error that has these words.
fn refuses(output: &Output, code: i32, words: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    for word in words {
        assert!(said.contains(word), "{word:?} is not in: {said}");
    }
}

#[test]
fn mistaken_arguments_are_refused_with_the_usage_code() {
    refuses(&lab().args(["--nodes", "0"]).output().unwrap(), 64, &["--nodes"]);
    let kill_alone = lab().args(["--nodes", "1", "--scene", "kill"]).output().unwrap();
    refuses(&kill_alone, 64, &["kill", "--nodes 2"]);
    refuses(&lab().args(["--scene", "earthquake"]).output().unwrap(), 64, &["earthquake", "kill-holder"]);
    refuses(&lab().args(["--network-only", "127.0.0.1"]).output().unwrap(), 64, &["--torrc"]);
    refuses(&lab().arg("--no-such-option").output().unwrap(), 64, &["--no-such-option"]);
    // The roles it plays for itself do nothing without what they need.
    for role in ["@enter", "@inside", "@hold", "@join"] {
        assert!(!lab().arg(role).output().unwrap().status.success(), "{role}");
    }
}

#[test]
fn help_names_every_scene() {
    let output = lab().arg("--help").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success());
    for scene in [
        "spread",
        "web-socket",
        "flood",
        "tor-restart",
        "tor-hung",
        "tors-killed",
        "control-broken",
        "tor-cut",
        "silent-guard",
        "target-down",
        "targets-down",
        "target-hangs",
        "hsdir-forgets",
        "hsdir-hangs",
        "hsdir-refuses",
        "kill",
        "return",
        "kill-holder",
        "publisher-hangs",
        "fence",
        "damaged-key",
        "full-disk",
        "open-key",
        "all-killed",
        "freeze",
        "partition",
        "tunnel-gone",
        "lossy",
        "join",
        "join-late",
        "join-flood",
        "chain",
        "drain",
        "replace",
        "rotate-token",
        "two-nodes",
        "lonely",
        "rotate",
        "chaos",
        "relay-gone",
        "relay-unreplaced",
    ] {
        assert!(said.contains(&format!("- {scene}:")), "{scene} is not in: {said}");
    }
}

#[test]
fn a_file_that_cannot_be_written_is_named_before_anything_starts() {
    let output = lab().args(["--json", "/nonexistent/report.json"]).output().unwrap();
    refuses(&output, 73, &["--json", "/nonexistent/report.json"]);
    let output = lab().args(["--log-dir", "/proc/nonexistent"]).output().unwrap();
    refuses(&output, 73, &["--log-dir"]);
    let network = ["--network-only", "127.0.0.1", "--torrc", "/nonexistent/torrc"];
    refuses(&lab().args(network).output().unwrap(), 73, &["--torrc", "/nonexistent/torrc"]);
}

#[test]
fn a_missing_tor_is_said_with_what_to_install() {
    let empty = tempfile::tempdir().unwrap();
    let output = lab().env("PATH", empty.path()).output().unwrap();
    refuses(&output, 69, &["`tor` is not in PATH", "apt install tor"]);
}

/// A directory whose `tor` says what it is told to say.
fn another_tor(says: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tor");
    fs::write(&path, format!("#!/bin/sh\necho '{says}'\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    directory
}

#[test]
fn too_old_a_tor_and_something_else_by_that_name_are_refused() {
    let old = another_tor("Tor version 0.4.8.21.");
    let output = lab().env("PATH", old.path()).output().unwrap();
    refuses(&output, 69, &["0.4.8.21", "0.4.9"]);
    let other = another_tor("hello");
    let output = lab().env("PATH", other.path()).output().unwrap();
    refuses(&output, 69, &["does not say which tor it is"]);
}

/// A process, told from a later one with the same number by when it started.
type Process = (i32, String);

/// Every process of the machine: its number, its start, its parent and its name.
fn processes() -> Vec<(Process, i32, String)> {
    let numbers = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    let describe = |pid: i32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (head, tail) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = tail.split_whitespace().collect();
        let name = head.split_once('(')?.1.to_owned();
        Some(((pid, (*fields.get(19)?).to_owned()), fields.get(1)?.parse().ok()?, name))
    };
    numbers.filter_map(describe).collect()
}

/// All descendants of a process, and how many of them are a tor.
fn family(root: i32) -> (BTreeSet<Process>, usize) {
    let all = processes();
    let mut members = BTreeSet::from([root]);
    while let Some(((pid, _), ..)) =
        all.iter().find(|((pid, _), parent, _)| members.contains(parent) && !members.contains(pid))
    {
        members.insert(*pid);
    }
    let tors = all.iter().filter(|((pid, _), _, name)| members.contains(pid) && name == "tor").count();
    (
        all.into_iter().filter(|((pid, _), ..)| members.contains(pid)).map(|(process, ..)| process).collect(),
        tors,
    )
}

/// Everything that the lab could leave behind outside: its mounts and its interfaces.
fn traces() -> (Vec<String>, Vec<String>) {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let point = |line: &str| line.split(' ').nth(4).unwrap_or_default().to_owned();
    let mounts = mounts.lines().filter(|line| point(line) == "/run" || point(line).starts_with("/run/lab"));
    let interfaces = fs::read_dir("/sys/class/net").unwrap();
    let names = interfaces.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let ours = |name: &String| ["tor", "mesh"].iter().any(|prefix| name.starts_with(prefix));
    (mounts.map(str::to_owned).collect(), names.filter(ours).collect())
}

/// Starts a lab, as another user if one is given, and waits until tors run in it.
fn started(directory: &Path, user: Option<u32>) -> (Child, BTreeSet<Process>) {
    let mut command = lab();
    if let Some(user) = user {
        command.uid(user).gid(user);
    }
    command.current_dir(directory).env("TMPDIR", directory).arg("--keep");
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let root = i32::try_from(child.id()).unwrap();
    let began = Instant::now();
    loop {
        let (members, tors) = family(root);
        if tors >= 3 {
            return (child, members);
        }
        if let Some(status) = child.try_wait().unwrap() {
            let output = child.wait_with_output().unwrap();
            panic!("the lab ended ({status}): {}", String::from_utf8_lossy(&output.stderr));
        }
        assert!(began.elapsed() < STARTING, "no tor after {STARTING:?}: {members:?}");
        sleep(Duration::from_millis(50));
    }
}

/// No process of the family is there any more, or soon none will be.
fn all_gone(family: &BTreeSet<Process>) {
    let began = Instant::now();
    loop {
        let left: Vec<_> = processes().into_iter().filter(|(process, ..)| family.contains(process)).collect();
        if left.is_empty() {
            return;
        }
        assert!(began.elapsed() < CLEARING, "left behind: {left:?}");
        sleep(Duration::from_millis(50));
    }
}

/// Ends a lab by a signal to its outermost process while its network is starting, and looks around.
fn ends_without_a_trace(signal: Signal, code: Option<i32>, user: Option<u32>) {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let before = traces();
    let (mut child, family) = started(directory.path(), user);
    // Otherwise the rest of this test would show nothing.
    assert!(family.len() > 6, "{family:?}");
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
    assert_eq!(child.wait().unwrap().code(), code, "{signal}");
    all_gone(&family);
    assert_eq!(traces(), before, "mounts or interfaces after {signal}");
    let files: Vec<_> = fs::read_dir(directory.path()).unwrap().collect();
    assert!(files.is_empty(), "{files:?}");
}

#[test]
fn nothing_is_left_behind_after_kill_9() {
    ends_without_a_trace(Signal::SIGKILL, None, None);
}

#[test]
fn nothing_is_left_behind_after_ctrl_c_or_kill() {
    ends_without_a_trace(Signal::SIGINT, Some(130), None);
    ends_without_a_trace(Signal::SIGTERM, Some(130), None);
}

#[test]
fn an_ordinary_user_may_run_it_and_leaves_nothing_behind_either() {
    /// Debian's `nobody`.
    const NOBODY: u32 = 65534;
    let as_nobody =
        |command: &mut Command| command.uid(NOBODY).gid(NOBODY).output().is_ok_and(|o| o.status.success());
    if !nix::unistd::geteuid().is_root() {
        // Then the other tests have shown it already.
        return;
    }
    let forbidden = !as_nobody(Command::new("unshare").args(["--user", "--map-root-user", "true"]));
    if forbidden || !as_nobody(lab().arg("--version")) {
        eprintln!("skipped: nobody may not have namespaces here, or cannot reach the program");
        return;
    }
    ends_without_a_trace(Signal::SIGKILL, None, Some(NOBODY));
}
