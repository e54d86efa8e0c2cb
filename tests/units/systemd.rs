//! What systemd says of the units, users and directories.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use crate::files::{SERVICES, names, shipped, table, units};
use crate::root::{Root, copy, version};

/// What an older systemd complains of and ignores, and since which version it is known. Without it a unit works as well:
/// restarts come at an even pace then, and processes are not in a user namespace.
const NEWER: [(&str, u32); 3] = [
    ("Unknown key 'RestartSteps' in section [Service], ignoring.", 254),
    ("Unknown key 'RestartMaxDelaySec' in section [Service], ignoring.", 254),
    ("Failed to parse boolean value, ignoring: identity", 257),
];

/// The exposure that each service may have at most, in tenths as systemd counts it.
const EXPOSURE: [(&str, u32); 7] = [
    ("rustbalance-proxy.service", 4),
    // The machine's network, internet sockets and a capability are a coordinator's work.
    ("rustbalance-coordinator.service", 15),
    ("rustbalance-publisher.service", 4),
    ("rustbalance-watchdog.service", 4),
    ("rustbalance-onion-key.service", 2),
    // Tor is on the network, and relays are anywhere.
    ("rustbalance-tor@a.service", 11),
    ("rustbalance-tor@b.service", 11),
];

/// What systemd says of all units, but for what this version of it may not know.
fn complaints(root: &Root) -> Vec<String> {
    let units: Vec<String> = units().into_keys().collect();
    let mut arguments = vec!["verify", "--man=no"];
    arguments.extend(units.iter().map(String::as_str));
    let output = root.systemd("systemd-analyze", &arguments);
    let said = String::from_utf8(output.stderr).unwrap();
    let version = version();
    let known = |line: &str| NEWER.iter().any(|(text, since)| version < *since && line.ends_with(text));
    let mut complaints: Vec<_> = said.lines().filter(|line| !known(line)).map(str::to_owned).collect();
    if !output.status.success() {
        complaints.push(output.status.to_string());
    }
    complaints
}

#[test]
fn systemd_has_nothing_to_complain_of() {
    let root = Root::new();
    assert_eq!(complaints(&root), Vec::<String>::new());
    // Nor with what may be added.
    copy(&shipped("optional"), &root.path("etc/systemd/system"));
    assert_eq!(complaints(&root), Vec::<String>::new());
    // And it would, had it a reason.
    let file = root.path("etc/systemd/system/rustbalance-proxy.service");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("\nType=notify\n", "\nType=notfiy\n")).unwrap();
    assert!(!complaints(&root).is_empty());
}

/// The exposure of a service, in tenths.
fn exposure(root: &Root, service: &str) -> u32 {
    let output = root.systemd("systemd-analyze", &["security", "--offline=true", "--no-pager", service]);
    let said = String::from_utf8(output.stdout).unwrap();
    let line = said.lines().find(|line| line.contains("Overall exposure level"));
    let number =
        line.and_then(|line| line.split(": ").nth(1)?.split(' ').next()).unwrap_or_else(|| panic!("{said}"));
    number.replace('.', "").parse().unwrap()
}

#[test]
fn no_service_is_exposed_more_than_it_must_be() {
    let root = Root::new();
    assert_eq!(EXPOSURE.map(|(service, _)| service), SERVICES);
    let mut exposed = Vec::new();
    for (service, most) in EXPOSURE {
        let found = exposure(&root, service);
        println!("{service}: {}.{}", found / 10, found % 10);
        if found > most {
            exposed.push((service, found));
        }
    }
    assert!(exposed.is_empty(), "{exposed:?}");
    // With what may be added the proxy reaches a network.
    copy(&shipped("optional"), &root.path("etc/systemd/system"));
    for service in ["rustbalance-proxy.service", "rustbalance-coordinator.service"] {
        let found = exposure(&root, service);
        println!("{service} with what is optional: {}.{}", found / 10, found % 10);
        assert!(found <= 25, "{service}: {found}");
    }
}

/// Runs as root, like an operator: what is made must be somebody's.
#[test]
fn users_and_directories_are_made_as_the_units_need_them() {
    let root = Root::new();
    let output = root.systemd("systemd-sysusers", &[]);
    assert!(output.status.success(), "{output:?}");
    let passwd = fs::read_to_string(root.path("etc/passwd")).unwrap();
    let group = fs::read_to_string(root.path("etc/group")).unwrap();
    let number = |file: &str, name: &str| -> u32 {
        let line = file.lines().find(|line| line.starts_with(&format!("{name}:")));
        line.and_then(|line| line.split(':').nth(2)?.parse().ok())
            .unwrap_or_else(|| panic!("{name} in {file}"))
    };
    for user in table("sysusers.d/rustbalance.conf") {
        number(if user[0] == "u" { &passwd } else { &group }, &user[1]);
    }
    if !nix::unistd::geteuid().is_root() {
        println!("not root: systemd-tmpfiles cannot give files to users, and was not run");
        return;
    }
    init(&root.path("etc/rustbalance"));
    // Twice: at every boot it finds what it made before.
    for _ in 0..2 {
        let output = root.systemd("systemd-tmpfiles", &["--create", "rustbalance.conf"]);
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    }
    for line in table("tmpfiles.d/rustbalance.conf") {
        let [_, path, mode, user, of_group, _] = line.try_into().unwrap();
        if path.ends_with("join.ticket") {
            continue; // Only an invited node has one.
        }
        let found = fs::metadata(root.path(&path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        assert_eq!(format!("{:04o}", found.mode() & 0o7777), mode, "{path}");
        let owner = |file: &str, name: &str| if name == "root" { 0 } else { number(file, name) };
        assert_eq!((found.uid(), found.gid()), (owner(&passwd, &user), owner(&group, &of_group)), "{path}");
    }
    // What init made is all in the list.
    let listed = table("tmpfiles.d/rustbalance.conf");
    for name in names(&root.path("etc/rustbalance")) {
        let path = format!("/etc/rustbalance/{name}");
        assert!(listed.iter().any(|line| line[1] == path), "{path} is nobody's");
    }
}

/// What `rustbalance init` makes there.
fn init(directory: &Path) {
    let status = Command::new(env!("CARGO_BIN_EXE_rustbalance"))
        .args(["init", "--node-id", "alpha", "--target", "unix:/run/web.sock", "--directory"])
        .arg(directory)
        .output()
        .unwrap();
    assert!(status.status.success(), "{status:?}");
}
