//! `rustbalance status`, and what is said when daemons are away or do not talk to the caller.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustbalance::proto::cluster::drain::DrainPhase;
use rustbalance::proto::cluster::status::Lifecycle;
use rustbalance::proto::publish::report::{Alarm, Duty};
use serde_json::Value;
use tempfile::TempDir;

use crate::daemons::{Daemons, token};
use crate::terminal::on_terminal;
use crate::tool::{PERMISSION, UNAVAILABLE, answer, command, complaint, complaint_of, text};

#[test]
fn all_is_shown_in_columns_and_without_colour_in_a_pipe() {
    let daemons = Daemons::started();
    let shown = answer(&daemons.with(&["status"]));
    let expected = "\
node              alpha
lease             alpha, epoch 7
serving           3 of 3 nodes
token             2-0a0a0a0a
tunnel            wg-rb (kernel), fd00::10
datagrams         1234 accepted, 5 refused, 0 of these for their clock; 1 not sent
publisher         publishes, epoch 7; 0 introduction points; tor that serves ready, the other one ready
proxy             2 connections now, 100 finished, 0 refused, 3 failed; target 127.0.0.1:80; mostly (3): the target \
refuses or cannot be reached

NODE    STATE    LEASE  POINTS  ON HSDIRS  TARGET  PRIORITY  HEARD  TUNNEL  ENDPOINT           TOKEN
alpha*  healthy  7      3       yes        well    10        -      -       192.0.2.1:51820    2-0a0a0a0a
beta    healthy  -      3       yes        well    20        0.4 s  35 s    192.0.2.20:51820   2-0a0a0a0a
gamma   healthy  -      3       yes        well    100       0.4 s  2 min   192.0.2.100:51820  2-0a0a0a0a

DESCRIPTOR          PERIOD  POINTS  RENEWED  ACCEPTED  READ BACK  LAST READ  COUNTER
first, for clients  20780   9       ";
    assert!(shown.starts_with(expected), "{shown}\n-- expected:\n{expected}");
    assert!(shown.contains("2 of 3    1 of 3"), "{shown}");
    assert!(shown.contains("3 of 3    3 of 3"), "{shown}");
    assert!(shown.ends_with("2026-09-21T14:14:20Z  node beta is gone\n"), "{shown}");
    assert!(shown.lines().all(|line| line == line.trim_end()) && !shown.contains('\x1b'), "{shown:?}");
}

#[test]
fn json_has_everything_under_stable_keys() {
    let daemons = Daemons::started();
    let json: Value = serde_json::from_str(&answer(&daemons.with(&["status", "--json"]))).unwrap();
    assert_eq!(json["coordinator"]["cluster"]["holder"], "alpha");
    assert_eq!(json["coordinator"]["cluster"]["nodes"][1]["lifecycle"], "healthy");
    assert_eq!(json["coordinator"]["mesh"]["refused_for_clock"], 0);
    assert_eq!(json["publisher"]["slots"][0]["hsdirs"][0]["state"], "verified");
    assert_eq!(json["proxy"]["failed"]["target_unreachable"], 3);
    assert_eq!(json["silent"], Value::Array(Vec::new()));
    assert!(json["at"].as_str().unwrap().ends_with('Z'));
}

#[test]
fn what_is_wrong_is_said_in_words() {
    let daemons = Daemons::started();
    {
        let mut said = daemons.said.lock().unwrap();
        let nodes = &mut said.coordinator.cluster.nodes;
        (nodes[1].lifecycle, nodes[1].draining) = (Lifecycle::Draining, true);
        nodes[1].drain_phase = Some(DrainPhase::Muted);
        nodes[1].lease_epoch = Some(6);
        (nodes[2].lifecycle, nodes[2].token) = (Lifecycle::Dead, Some(token(1)));
        nodes[0].published.pop();
        said.coordinator.mesh.refused_for_clock = 12;
        said.publisher.alarms = vec![Alarm::HsDirsBehind];
        said.publisher.duty = Duty::Idle;
        said.proxy.target_well = false;
    }
    let shown = answer(&daemons.with(&["status"]));
    for expected in [
        "beta    draining, muted  6 ",
        "gamma   dead             -      3       no ",
        "!                 alpha, beta hold the lease at once",
        "!                 not yet on the newest cluster token: gamma",
        "!                 12 datagrams were refused since the start because their sender's clock",
        "!                 some HSDirs have not accepted the present descriptor",
        "!                 the target cannot be reached from this node",
        "publisher         another node publishes",
    ] {
        assert!(shown.contains(expected), "{expected:?} is not in\n{shown}");
    }
    assert!(!shown.contains("DESCRIPTOR"), "{shown}");
}

#[test]
fn colours_are_for_terminals_and_for_those_who_want_them() {
    let daemons = Daemons::started();
    let config = text(&daemons.config);
    let watch = ["status", "--watch", "--config", config];
    // The tool's standard output must be the terminal too.
    let shell = |before: &str| format!("{before} exec \"$0\" \"$@\" > /dev/tty");
    let run = |before: &str, typed: &[(&str, &str)]| {
        let script = shell(before);
        let arguments = [&["sh", "-c", &script, env!("CARGO_BIN_EXE_rustbalance")][..], &watch].concat();
        on_terminal(&arguments, typed)
    };
    let (screen, output) = run("TERM=xterm", &[("LATELY", ""), ("\x1b[H", "\x03")]);
    assert_eq!(output.status.code(), Some(0), "{screen:?} {output:?}");
    assert!(
        screen.starts_with("\x1b[?1049h\x1b[?25l") && screen.ends_with("\x1b[?25h\x1b[?1049l"),
        "{screen:?}"
    );
    assert!(screen.contains("\x1b[32mhealthy\x1b[0m") && !screen.contains("\x1b[2J"), "{screen:?}");
    let (screen, _) = run("TERM=xterm NO_COLOR=1", &[("LATELY", "\x03")]);
    assert!(screen.contains("healthy") && !screen.contains("\x1b[32m"), "{screen:?}");
}

#[test]
fn watching_in_a_pipe_goes_on_until_told_to_stop() {
    let daemons = Daemons::started();
    let mut child =
        command(&daemons.with(&["status", "--watch", "--json"])).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || serde_json::from_str::<Value>(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!(next()["coordinator"]["cluster"]["epoch"], 7);
    daemons.said.lock().unwrap().coordinator.cluster.epoch = 8;
    while next()["coordinator"]["cluster"]["epoch"] != 8 {}
    kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGINT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    // A reader that has seen enough ends it too.
    let mut child = command(&daemons.with(&["status", "--watch"])).stdout(Stdio::piped()).spawn().unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_coordinator_that_is_away_is_named_and_the_rest_is_shown() {
    let daemons = Daemons::new();
    let said = complaint(UNAVAILABLE, &daemons.with(&["status"]));
    assert!(
        said.contains("coordinator of this node is not running") && said.contains("systemctl start"),
        "{said}"
    );
    assert!(said.contains(text(&daemons.place.path().join("coordinator.sock"))), "{said}");
    daemons.start_others();
    let output = command(&daemons.with(&["status"])).output().unwrap();
    assert_eq!(output.status.code(), Some(UNAVAILABLE));
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(
        shown.contains("2 connections now") && shown.contains("! ") && shown.contains("not running"),
        "{shown}"
    );
    for arguments in [&["drain"][..], &["undrain"], &["rotate-token"], &["leave", "--yes"]] {
        complaint(UNAVAILABLE, &daemons.with(arguments));
    }
}

#[test]
fn a_daemon_that_ends_while_it_is_asked_is_asked_again() {
    let daemons = Daemons::new();
    daemons.start_coordinator(true);
    let socket = daemons.bind("proxy.sock");
    let child = command(&daemons.with(&["status"])).stdout(Stdio::piped()).spawn().unwrap();
    // Killed with the question in its hands, while the service manager keeps its socket.
    drop(socket.accept().unwrap());
    daemons.start_proxy(socket);
    let output = child.wait_with_output().unwrap();
    assert!(String::from_utf8(output.stdout).unwrap().contains("2 connections now"));
}

#[test]
fn a_user_who_may_not_learns_who_may() {
    let daemons = Daemons::new();
    daemons.start_coordinator(false);
    for arguments in [&["status"][..], &["drain"]] {
        let said = complaint(PERMISSION, &daemons.with(arguments));
        assert!(said.contains("does not talk to user ") && said.contains("ipc.allowed_users"), "{said}");
    }
    // The directory keeps others away: needs another user, so root, or a directory closed to oneself.
    let place = TempDir::new().unwrap();
    let (program, config) = (place.path().join("rustbalance"), place.path().join("config.toml"));
    std::fs::copy(env!("CARGO_BIN_EXE_rustbalance"), &program).unwrap();
    let closed = place.path().join("closed");
    std::fs::create_dir(&closed).unwrap();
    std::fs::write(&config, format!("[ipc]\ndirectory = {:?}\n", closed.join("sockets"))).unwrap();
    let mode = |path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    let mut tool = Command::new(&program);
    tool.args(["status", "--config", text(&config)]);
    mode(place.path(), 0o755);
    if nix::unistd::geteuid().is_root() {
        mode(&closed, 0o700);
        tool.uid(65534);
    } else {
        mode(&closed, 0);
    }
    let said = complaint_of(PERMISSION, tool.output().unwrap());
    let owner = if nix::unistd::geteuid().is_root() { "user root (0) and group root" } else { "user " };
    assert!(said.contains(&format!("may not use {}, which belongs to {owner}", closed.display())), "{said}");
}
