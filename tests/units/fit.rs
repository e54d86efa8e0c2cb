//! That the files fit each other and the daemons: no name is in one place only.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use rustbalance::config::file::Config;
use rustbalance::config::ipc::{COORDINATOR_USER, Ipc, PROXY_USER, WATCHDOG_USER};
use rustbalance::ctl::node_files;
use rustbalance::sys::exit::Exit;
use rustbalance::sys::listen::{CONTROL, ONION, WEB};

use crate::files::{SERVICES, Unit, kind, names, shipped, table, units};

/// Names that `sysusers.d` makes: of a user is a group, too.
fn made(kinds: &[&str]) -> BTreeSet<String> {
    let lines = table("sysusers.d/rustbalance.conf");
    lines.iter().filter(|line| kinds.contains(&line[0].as_str())).map(|line| line[1].clone()).collect()
}

/// Directories that `tmpfiles.d` makes.
fn directories() -> BTreeSet<String> {
    let lines = table("tmpfiles.d/rustbalance.conf");
    lines.iter().filter(|line| line[0] == "d").map(|line| line[1].clone()).collect()
}

/// The configuration of a new node.
fn example() -> Config {
    let text = include_str!("../data/config.toml");
    Config::parse(text, Path::new("/etc/rustbalance/config.toml")).unwrap()
}

#[test]
fn every_user_and_group_is_made_and_needed() {
    let (users, groups) = (made(&["u"]), made(&["u", "g"]));
    let units = units();
    let all = |setting: &str| -> BTreeSet<String> {
        let words = units.values().flat_map(|unit| unit.words(setting));
        words.map(str::to_owned).collect()
    };
    assert_eq!(all("User"), users);
    for group in all("SupplementaryGroups").union(&all("SocketGroup")) {
        assert!(groups.contains(group), "no group {group} in sysusers.d");
    }
    for line in table("tmpfiles.d/rustbalance.conf") {
        assert!(line[3] == "root" || users.contains(&line[3]), "{line:?}");
        assert!(line[4] == "root" || groups.contains(&line[4]), "{line:?}");
    }
    // A group that owns something is one that somebody is in, and the other way round.
    let owning: BTreeSet<String> =
        table("tmpfiles.d/rustbalance.conf").into_iter().map(|line| line[4].clone()).collect();
    for group in made(&["g"]) {
        assert!(all("SocketGroup").contains(&group) || owning.contains(&group), "{group} owns nothing");
        // This one is for people's own monitoring.
        let is_needed = all("SupplementaryGroups").contains(&group) || group == "rustbalance-web";
        assert!(is_needed, "nobody is in {group}");
    }
}

#[test]
fn every_directory_is_made() {
    let made = directories();
    for unit in units().values() {
        for path in unit.words("ReadWritePaths") {
            assert!(made.contains(path), "{}: {path}", unit.name);
        }
        for socket in unit.values("ListenStream") {
            let parent = Path::new(socket).parent().unwrap().display().to_string();
            assert!(made.contains(&parent), "{}: {parent}", unit.name);
        }
        for state in unit.values("StateDirectory") {
            assert!(state.starts_with("rustbalance/") && made.contains("/var/lib/rustbalance"));
        }
    }
    for instance in ["a", "b"] {
        let torrc = fs::read_to_string(shipped("tor").join(format!("{instance}.torrc"))).unwrap();
        for word in torrc.split([' ', '\n', ':']).filter(|word| word.starts_with("/run/")) {
            let parent = Path::new(word).parent().unwrap().display().to_string();
            assert!(made.contains(&parent) || made.contains(word), "{instance}.torrc: {word}");
        }
        let data = units()[&format!("rustbalance-tor@{instance}.service")].value("StateDirectory").to_owned();
        assert!(torrc.contains(&format!("\nDataDirectory /var/lib/{data}\n")), "{torrc}");
    }
}

#[test]
fn the_target_starts_all_there_is_and_ends_it() {
    let units = units();
    let target = &units["rustbalance.target"];
    let wanted = target.words("Wants");
    // These are pulled in by those that need them.
    let needed = [
        "rustbalance-onion-key.service",
        "rustbalance-onion-key.timer",
        "run-rustbalance-onion.mount",
        "run-rustbalance-onion-a.mount",
    ];
    for name in units.keys().filter(|name| kind(name) != "slice" && *name != "rustbalance.target") {
        assert_ne!(wanted.contains(name.as_str()), needed.contains(&name.as_str()), "{name}");
        if kind(name) == "mount" {
            assert_eq!(units[name].value("StopWhenUnneeded"), "yes");
        } else {
            // Where nothing serves the onion there is no key of it.
            let whole =
                if kind(name) == "timer" { "rustbalance-tor@a.service" } else { "rustbalance.target" };
            assert_eq!(units[name].value("PartOf"), whole, "{name}");
        }
    }
    for service in SERVICES {
        assert_eq!(units[service].value("Slice"), "rustbalance.slice");
    }
}

#[test]
fn sockets_are_the_ones_that_daemons_look_for() {
    let units = units();
    let ipc = example().ipc;
    let sockets = [
        (
            "rustbalance-proxy-onion.socket",
            "/run/rustbalance/onion.sock".into(),
            ONION,
            "rustbalance-proxy.service",
        ),
        ("rustbalance-proxy-control.socket", ipc.proxy_socket(), CONTROL, "rustbalance-proxy.service"),
        (
            "rustbalance-coordinator.socket",
            ipc.coordinator_socket(),
            CONTROL,
            "rustbalance-coordinator.service",
        ),
        ("rustbalance-publisher.socket", ipc.publisher_socket(), CONTROL, "rustbalance-publisher.service"),
        ("rustbalance-watchdog.socket", ipc.watchdog_socket(), CONTROL, "rustbalance-watchdog.service"),
        ("rustbalance-watchdog-web.socket", ipc.web_socket(), WEB, "rustbalance-watchdog.service"),
    ];
    for (name, path, known_as, service) in sockets {
        let socket = &units[name];
        assert_eq!(Path::new(socket.value("ListenStream")), path);
        assert_eq!(socket.value("FileDescriptorName"), known_as);
        assert_eq!(socket.value("SocketMode"), "0660");
        let starts = socket
            .values("Service")
            .first()
            .map_or_else(|| name.replace(".socket", ".service"), ToString::to_string);
        assert_eq!(starts, service);
        assert!(
            units[service].words("Requires").contains(name) && units[service].words("After").contains(name)
        );
        let listed = units[service].words("Sockets");
        assert!(listed.is_empty() || listed.contains(name), "{service}");
    }
    assert_eq!(example().ipc.directory, Ipc::default().directory);
}

#[test]
fn who_calls_whom_may() {
    let units = units();
    let user = |service: &str| units[service].value("User").to_owned();
    assert_eq!(user("rustbalance-proxy.service"), PROXY_USER);
    assert_eq!(user("rustbalance-coordinator.service"), COORDINATOR_USER);
    assert_eq!(user("rustbalance-watchdog.service"), WATCHDOG_USER);
    let calls = [
        ("rustbalance-proxy.service", "rustbalance-coordinator.socket"),
        ("rustbalance-coordinator.service", "rustbalance-proxy-control.socket"),
        ("rustbalance-coordinator.service", "rustbalance-publisher.socket"),
        ("rustbalance-tor@a.service", "rustbalance-proxy-onion.socket"),
        ("rustbalance-watchdog.service", "rustbalance-proxy-control.socket"),
        ("rustbalance-watchdog.service", "rustbalance-coordinator.socket"),
        ("rustbalance-watchdog.service", "rustbalance-publisher.socket"),
    ];
    let sockets: Vec<&Unit> = units.values().filter(|unit| kind(&unit.name) == "socket").collect();
    for service in SERVICES {
        let groups = units[service].words("SupplementaryGroups");
        for socket in &sockets {
            let may = groups.contains(socket.value("SocketGroup"));
            assert_eq!(may, calls.contains(&(service, &socket.name)), "{service} and {}", socket.name);
        }
    }
    // Tor's ports: who has them in the configuration and a group for them.
    let groups = |service: &str| units[service].words("SupplementaryGroups");
    for (service, control, socks) in [
        ("rustbalance-proxy.service", false, true),
        ("rustbalance-coordinator.service", false, true),
        ("rustbalance-publisher.service", true, false),
        ("rustbalance-watchdog.service", true, false),
    ] {
        assert_eq!(groups(service).contains("rustbalance-tor-control"), control, "{service}");
        assert_eq!(groups(service).contains("rustbalance-tor-socks"), socks, "{service}");
    }
}

#[test]
fn the_configuration_of_a_new_node_is_where_the_units_are() {
    let (units, config) = (units(), example());
    let state = units["rustbalance-coordinator.service"].value("StateDirectory").to_owned();
    let cluster = config.cluster("x").unwrap();
    assert_eq!(cluster.state_directory, Path::new("/var/lib").join(&state));
    let joined = cluster.state_directory.join("joined").display().to_string();
    assert!(units["rustbalance-tor@a.service"].values("ConditionPathExists").contains(&joined.as_str()));
    assert!(!units["rustbalance-tor@b.service"].values("ConditionPathExists").contains(&joined.as_str()));
    assert_eq!(units["rustbalance-joined.path"].value("PathChanged"), joined);
    assert_eq!(units["rustbalance-joined.path"].value("Unit"), "rustbalance-tor@a.service");
    assert_eq!(units["rustbalance-onion-key.timer"].value("Unit"), "rustbalance-onion-key.service");
    assert!(units["rustbalance-tor@a.service"].words("Wants").contains("rustbalance-onion-key.timer"));
    assert_eq!(units["rustbalance-onion-key.path"].value("Unit"), "rustbalance-onion-key.service");

    let tor = config.tor("x").unwrap();
    for (instance, ports) in [("a", &tor.a), ("b", tor.b.as_ref().unwrap())] {
        let torrc = fs::read_to_string(shipped("tor").join(format!("{instance}.torrc"))).unwrap();
        assert!(torrc.contains(&format!("\nControlPort {} ", ports.control)), "{torrc}");
        assert!(torrc.contains(&format!("\nSocksPort {} ", ports.socks)), "{torrc}");
        assert_eq!(torrc.contains("\nHiddenServiceDir "), tor.serving.to_string() == instance);
    }
    let torrc = fs::read_to_string(shipped("tor/a.torrc")).unwrap();
    let service = &units["rustbalance-onion-key.service"];
    let directory = service.value("RequiresMountsFor");
    assert!(torrc.contains(&format!("\nHiddenServiceDir {directory}\n")));
    assert!(service.value("ExecStart").ends_with(&format!(" {directory}")));
    assert_eq!(units["run-rustbalance-onion-a.mount"].value("Where"), directory);
    assert_eq!(
        Some(Path::new(units["run-rustbalance-onion.mount"].value("Where"))),
        Path::new(directory).parent()
    );
    let onion = units["rustbalance-proxy-onion.socket"].value("ListenStream").to_owned();
    assert!(torrc.contains(&format!("\nHiddenServicePort {} unix:{onion}\n", node_files::DEFAULT_PORT)));
    let key = Path::new("/etc/rustbalance").join(node_files::MASTER_KEY).display().to_string();
    assert!(service.words("LoadCredential").contains(format!("{}:{key}", node_files::MASTER_KEY).as_str()));
    assert_eq!(units["rustbalance-onion-key.path"].value("PathChanged"), key);

    // Each secret is for the daemon that opens it.
    for (name, group) in [
        (node_files::CONFIG, "rustbalance"),
        (node_files::MASTER_KEY, "rustbalance-publisher"),
        (node_files::TOKEN, "rustbalance-coordinator"),
        (node_files::WIREGUARD_KEY, "rustbalance-coordinator"),
        (node_files::JOIN_SECRET, "rustbalance-coordinator"),
        (node_files::TICKET, "rustbalance-coordinator"),
    ] {
        let path = format!("/etc/rustbalance/{name}");
        let lines = table("tmpfiles.d/rustbalance.conf");
        let line = lines.iter().find(|line| line[1] == path).unwrap_or_else(|| panic!("{path}"));
        assert_eq!((line[2].as_str(), line[3].as_str(), line[4].as_str()), ("0640", "root", group), "{path}");
    }
}

#[test]
fn lives_of_daemons_are_as_they_expect() {
    let units = units();
    let seconds = |unit: &Unit, setting: &str| humantime::parse_duration(unit.value(setting)).unwrap();
    for service in [
        "rustbalance-proxy.service",
        "rustbalance-coordinator.service",
        "rustbalance-publisher.service",
        "rustbalance-watchdog.service",
    ] {
        let unit = &units[service];
        assert!(unit.value("Type").starts_with("notify"), "{service}");
        // What no restart mends: a program that is not what was signed, a wrong configuration.
        let for_good = [Exit::Data, Exit::Config].map(|exit| exit.code().to_string()).join(" ");
        assert_eq!(unit.value("RestartPreventExitStatus"), for_good, "{service}");
        assert_eq!(unit.value("ExecReload"), "+kill -HUP $MAINPID");
        assert_eq!(unit.value("LimitMEMLOCK"), "infinity", "a daemon locks all of its memory or none");
        assert_eq!(unit.value("ExecStart"), service.trim_end_matches(".service"));
        assert_eq!(unit.value("StartLimitIntervalSec"), "0");
        assert_eq!(unit.value("Restart"), "on-failure");
        assert!(seconds(unit, "RestartSec") < seconds(unit, "RestartMaxDelaySec"));
    }
    let passphrase = example().vault.passphrase_credential;
    for (service, sealed) in [
        ("rustbalance-publisher.service", true),
        ("rustbalance-coordinator.service", true),
        ("rustbalance-onion-key.service", true),
        ("rustbalance-proxy.service", false),
        ("rustbalance-watchdog.service", false),
    ] {
        assert_eq!(units[service].words("LoadCredential").contains(passphrase.as_str()), sealed, "{service}");
        let encrypted = shipped("optional").join(format!("{service}.d/encrypted-passphrase.conf"));
        assert_eq!(encrypted.exists(), sealed, "{service}");
    }
    let drain = example().proxy("x").unwrap().drain_timeout_secs;
    assert!(seconds(&units["rustbalance-proxy.service"], "TimeoutStopSec") > drain);
    // In this order a node ends: each is started after those that it needs until its end.
    for (first, then) in [
        // What ends on purpose must not be repaired.
        ("rustbalance-watchdog.service", "rustbalance-proxy.service"),
        ("rustbalance-watchdog.service", "rustbalance-coordinator.service"),
        ("rustbalance-watchdog.service", "rustbalance-publisher.service"),
        ("rustbalance-watchdog.service", "rustbalance-tor@a.service"),
        ("rustbalance-watchdog.service", "rustbalance-tor@b.service"),
        ("rustbalance-proxy.service", "rustbalance-coordinator.service"),
        ("rustbalance-coordinator.service", "rustbalance-publisher.service"),
        ("rustbalance-publisher.service", "rustbalance-tor@a.service"),
        ("rustbalance-publisher.service", "rustbalance-tor@b.service"),
        ("rustbalance-tor@a.service", "rustbalance-onion-key.service"),
    ] {
        assert!(units[first].words("After").contains(then), "{first} ends before {then}");
    }
}

#[test]
fn what_is_optional_belongs_to_a_unit() {
    let units = units();
    for folder in names(&shipped("optional")) {
        assert!(units.contains_key(folder.trim_end_matches(".d")), "{folder}");
    }
}

#[test]
fn the_watchdog_may_repair_every_other_part_and_nothing_else() {
    let rule = fs::read_to_string(shipped("polkit/rustbalance.rules")).unwrap();
    let quoted: BTreeSet<&str> = rule.split('"').skip(1).step_by(2).collect();
    let named: BTreeSet<&str> = quoted.iter().copied().filter(|word| word.ends_with(".service")).collect();
    let repaired = |service: &&str| *service != "rustbalance-watchdog.service";
    assert_eq!(named, SERVICES.into_iter().filter(repaired).collect());
    let others: BTreeSet<&str> = quoted.difference(&named).copied().collect();
    let action = "org.freedesktop.systemd1.manage-units";
    assert_eq!(
        others,
        BTreeSet::from([action, WATCHDOG_USER, "kill", "restart", "start", "stop", "unit", "verb"])
    );
}
