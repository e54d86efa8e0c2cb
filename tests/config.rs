//! The configuration file as operators write it: whole files in, typed values or one precise sentence out.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;
use rustbalance::config::endpoint::{Endpoint, Target};
use rustbalance::config::file::{Config, ConfigError};
use rustbalance::config::target::{ProxyTarget, Verify};
use rustbalance::config::tor::TorName;

const ADDRESS: &str = "pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscryd.onion";
const OTHER: &str = "25njqamcweflpvkl73j4szahhihoc4xt3ktcgjnpaingr5yhkenl5sid.onion";

/// Every section with every key.
fn full() -> String {
    format!(
        r#"
[node]
id = "alpha"
priority = 10

[service]
address = "{ADDRESS}"
master_key_file = "/etc/rustbalance/master.key"

[tor]
serving = "a"
[tor.a]
control = "unix:/run/rustbalance-tor/a/control/socket"
socks = "unix:/run/rustbalance-tor/a/socks/socket"
[tor.b]
control = "127.0.0.1:9151"
socks = "127.0.0.1:9150"
password_file = "/etc/rustbalance/tor-b.password"

[proxy]
listen = "unix:/run/rustbalance/onion.sock"
target = "http://{OTHER}:8080"
connect_timeout_secs = 30
idle_timeout_secs = 120
drain_timeout_secs = 5
max_connections = 500

[mesh]
interface = "wg-rb"
listen_port = 51820
datagram_port = 51821
private_key_file = "/etc/rustbalance/wireguard.key"
tunnel_address = "10.9.0.1"
prefix = "fd12:3456:789a::/48"
endpoint = "192.0.2.1:51820"
backend = "kernel"

[[mesh.peers]]
id = "beta"
public_key = "CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk="
endpoint = "192.0.2.2:51820"
tunnel_address = "10.9.0.2"

[[mesh.peers]]
id = "gamma"
public_key = "CgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgo="

[cluster]
token_file = "/etc/rustbalance/token"
heartbeat_interval_secs = 10
heartbeat_timeout_secs = 30
takeover_grace_secs = 90

[publisher]
refresh_interval_secs = 600
poll_interval_secs = 30

[ipc]
directory = "/run/rustbalance"
allowed_users = ["root", 1000]

[log]
level = "info,rustbalance::tor=debug"
journal = false
"#
    )
}

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, Path::new("/etc/rustbalance/config.toml"))
}

#[test]
fn the_example_is_a_configuration_and_shows_the_defaults() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/config.toml");
    let text = std::fs::read_to_string(file).unwrap();
    // Whatever looks like a key is one; the others are said to be examples.
    let is_default = |line: &&str| {
        line.strip_prefix("# ")
            .and_then(|line| line.split_once(" = "))
            .is_some_and(|(key, _)| key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'))
    };
    let without = |text: &str, section: &str| {
        let begin = text.find(section).unwrap();
        let end = begin + text[begin..].find("\n\n").unwrap();
        format!("{}{}", &text[..begin], &text[end..])
    };
    let without_peer = ["# [[mesh.peers]]", "# [[proxy.targets]]", "# [integrity]"]
        .iter()
        .fold(text.clone(), |text, section| without(&text, section));
    let shown: Vec<&str> =
        without_peer.lines().map(|line| if is_default(&line) { &line[2..] } else { line }).collect();
    let defaults = without_peer.lines().filter(is_default).count();
    assert!(defaults >= 15, "the example shows only {defaults} defaults");
    let shown = shown.join("\n");
    let sections = |text: &str| {
        let config = parse(text).unwrap();
        let part = |part: &dyn std::fmt::Debug| format!("{part:?}");
        [
            part(config.node("x").unwrap()),
            part(config.service("x").unwrap()),
            part(config.tor("x").unwrap()),
            part(config.proxy("x").unwrap()),
            part(config.mesh("x").unwrap()),
            part(config.cluster("x").unwrap()),
            part(config.join().unwrap()),
            part(&config.publisher),
            part(&config.ipc),
            part(&config.log),
            part(&config.vault),
        ]
    };
    assert_eq!(sections(&shown), sections(&text), "a value shown as the default is not the default");
}

#[test]
fn every_key_arrives_as_its_type() {
    let config = parse(&full()).unwrap();
    assert_eq!(config.node("test").unwrap().id.to_string(), "alpha");
    assert_eq!(config.node("test").unwrap().priority.0, 10);
    assert_eq!(config.service("test").unwrap().address.to_string(), ADDRESS);
    let tor = config.tor("test").unwrap();
    assert_eq!(tor.serving, TorName::A);
    let order: Vec<TorName> = tor.outgoing().into_iter().map(|(name, _)| name).collect();
    assert_eq!(order, [TorName::B, TorName::A]);
    assert_eq!(tor.a.control, Endpoint::Unix(PathBuf::from("/run/rustbalance-tor/a/control/socket")));
    let proxy = config.proxy("test").unwrap();
    assert!(matches!(
        proxy.targets()[..],
        [ProxyTarget { address: Target::Onion { port: 8080, .. }, weight: 1, .. }]
    ));
    assert_eq!((proxy.max_connections, proxy.drain_timeout_secs), (500, Duration::from_secs(5)));
    let mesh = config.mesh("test").unwrap();
    assert_eq!(mesh.peers.len(), 2);
    assert_eq!(mesh.peers[0].public_key, [9; 32]);
    assert_eq!(mesh.peers[1].endpoint, None);
    // The seed's heartbeat values must go on working.
    let cluster = config.cluster("test").unwrap();
    assert_eq!(cluster.heartbeat_interval_secs, Duration::from_secs(10));
    assert_eq!(config.log.journal, Some(false));
}

#[test]
fn defaults_are_those_of_the_documentation() {
    let config = parse(&format!(
        "[node]\nid = \"a\"\n[proxy]\ntarget = \"http://{OTHER}\"\n[mesh]\nprivate_key_file = \"/k\"\n\
         [cluster]\ntoken_file = \"/t\"\n"
    ))
    .unwrap();
    let proxy = config.proxy("test").unwrap();
    assert_eq!(proxy.listen, None);
    assert_eq!(proxy.connect_timeout_secs, Duration::from_secs(30));
    assert_eq!(proxy.idle_timeout_secs, Duration::from_mins(2));
    assert_eq!(proxy.probe_interval_secs, Duration::from_mins(1));
    let mesh = config.mesh("test").unwrap();
    assert_eq!((mesh.interface.as_str(), mesh.listen_port, mesh.datagram_port), ("wg-rb", 51820, 51821));
    let cluster = config.cluster("test").unwrap();
    assert_eq!(cluster.heartbeat_interval_secs, Duration::from_millis(500));
    assert_eq!(cluster.heartbeat_timeout_secs, Duration::from_secs(2));
    assert_eq!(cluster.takeover_grace_secs, Duration::from_millis(500));
    assert_eq!((cluster.token_seq, cluster.token_overlap_secs), (0, Duration::from_hours(24)));
    assert_eq!(cluster.state_directory, Path::new("/var/lib/rustbalance/coordinator"));
    assert!(config.join().is_none());
    assert_eq!(config.publisher.refresh_interval_secs, Duration::from_mins(10));
    assert_eq!(config.ipc.proxy_socket(), Path::new("/run/rustbalance/proxy.sock"));
    assert_eq!(config.log.level, "info");
}

/// Replaces the first `old` of the full file and expects a refusal at that very line.
fn refused(old: &str, new: &str, key: &str, reason: &str) {
    let text = full();
    assert!(text.contains(old), "{old}");
    let at = text.find(old).unwrap();
    let expected_line = text[..at].matches('\n').count() + 1;
    let error = parse(&text.replacen(old, new, 1)).expect_err(new);
    let ConfigError::Invalid { line, key: found, reason: why, .. } = &error else { panic!("{new}: {error}") };
    assert_eq!(*line, Some(expected_line), "{new}: {error}");
    assert_eq!(found, key, "{new}: {error}");
    assert!(why.contains(reason), "{new}: {error}");
    let shown = error.to_string();
    assert!(shown.starts_with(&format!("/etc/rustbalance/config.toml:{expected_line}: ")), "{shown}");
    assert!(!shown.contains('\n'), "{shown}");
}

#[test]
fn a_bad_value_is_refused_with_line_key_and_reason() {
    refused("id = \"alpha\"", "id = \"Alpha!\"", "node.id", "not allowed in a node name");
    refused("drain_timeout_secs = 5", "mode = \"udp\"", "proxy.mode", "unknown variant `udp`");
    refused("drain_timeout_secs = 5", "host = \"a/b\"", "proxy.host", "is no `host` or `host:port`");
    refused("drain_timeout_secs = 5", "host = \"a\"", "proxy.host", "set mode = \"http\"");
    refused("drain_timeout_secs = 5", "error_page = \"/e\"", "proxy.error_page", "set mode = \"http\"");
    refused(
        "drain_timeout_secs = 5",
        "rewrite_content = true",
        "proxy.rewrite_content",
        "set mode = \"http\"",
    );
    refused("drain_timeout_secs = 5", "probe_path = \"/e\"", "proxy.probe_path", "set mode = \"http\"");
    refused("drain_timeout_secs = 5", "probe_path = \"e\"", "proxy.probe_path", "is no path; expected `/`");
    refused("drain_timeout_secs = 5", "probe_path = \"/a b\"", "proxy.probe_path", "is no path");
    refused("drain_timeout_secs = 5", "probe_status = 100", "proxy.probe_status", "expected 200 to 599");
    refused(
        "drain_timeout_secs = 5",
        "probe_status = 204\nmode = \"http\"",
        "proxy.probe_status",
        "together with probe_path",
    );
    refused("drain_timeout_secs = 5", "eject_failures = 0", "proxy.eject_failures", "expected 1 to 1000");
    refused(
        "drain_timeout_secs = 5",
        "trial_interval_secs = 0",
        "proxy.trial_interval_secs",
        "expected 1 to 3600",
    );
    refused("priority = 10", "priority = -1", "node.priority", "expected u32");
    refused("priority = 10", "colour = 1", "node", "unknown field `colour`");
    refused(ADDRESS, "pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscryx.onion", "service.address", "");
    refused("\"/etc/rustbalance/master.key\"", "\"master.key\"", "service.master_key_file", "absolute");
    refused("serving = \"a\"", "serving = \"c\"", "tor.serving", "unknown variant `c`");
    refused("\"127.0.0.1:9151\"", "\"localhost:9151\"", "tor.b.control", "ip:port");
    refused(
        "idle_timeout_secs = 120",
        "idle_timeout_secs = 0",
        "proxy.idle_timeout_secs",
        "expected 0.1 to 86400",
    );
    refused("max_connections = 500", "max_connections = 0", "proxy.max_connections", "expected 1 to 100000");
    refused("listen_port = 51820", "listen_port = 70000", "mesh.listen_port", "expected u16");
    refused("CQkJCQkJCQkJ", "CQkJ", "mesh.peers.public_key", "44 characters");
    refused("level = \"info,", "level = \"info,=,", "log.level", "no log level");
    refused(
        "allowed_users = [\"root\", 1000]",
        "allowed_users = [-4]",
        "ipc.allowed_users",
        "no user number",
    );
    refused("directory = ", "directory == ", "", "");
}

/// Puts these targets in the place of the one of the full file and expects a refusal of this key.
fn targets_refused(targets: &str, key: &str, reason: &str) {
    let one = format!("target = \"http://{OTHER}:8080\"");
    let text = full();
    assert!(text.contains(&one));
    let error = parse(&format!("{}\n{targets}", text.replace(&one, ""))).expect_err(targets);
    let ConfigError::Invalid { key: found, reason: why, .. } = &error else { panic!("{targets}: {error}") };
    assert_eq!(found, key, "{targets}: {error}");
    assert!(why.contains(reason), "{targets}: {error}");
}

#[test]
fn targets_are_one_or_several_and_never_the_same_twice() {
    let table = |address: &str, more: &str| format!("[[proxy.targets]]\naddress = \"{address}\"\n{more}\n");
    let (one, two) = (table("unix:/a", ""), table("unix:/b", ""));
    targets_refused("", "proxy.target", "is missing");
    targets_refused(&[one.clone(), two.clone(), one.clone()].concat(), "proxy.targets.2.address", "target 0");
    targets_refused(&table("unix:/a", "weight = 0"), "proxy.targets.weight", "expected 1 to 1000");
    targets_refused(&table("unix:/a", "weight = 1001"), "proxy.targets.weight", "expected 1 to 1000");
    targets_refused(&table("unix:/a", "host = \"a\""), "proxy.targets.0.host", "set mode = \"http\"");
    targets_refused(&table("unix:/a", "colour = 1"), "proxy.targets", "unknown field `colour`");
    targets_refused("[[proxy.targets]]\nweight = 1", "proxy.targets", "missing field `address`");
    let own = table("unix:/run/rustbalance/onion.sock", "");
    targets_refused(&[one.clone(), own].concat(), "proxy.targets.1.address", "own listen address");
    targets_refused(&table(&format!("http://{ADDRESS}"), ""), "proxy.targets.0.address", "round");
    let many: String = (0..17).map(|number| table(&format!("unix:/{number}"), "")).collect();
    targets_refused(&many, "proxy.targets", "at most 16");
    let both = parse(&format!("{}\n{one}", full())).unwrap_err().to_string();
    assert!(both.contains("proxy.targets: cannot stand beside proxy.target"), "{both}");

    let text = format!(
        "[proxy]\nmode = \"http\"\nhost = \"a\"\n{one}{}",
        table("unix:/b", "host = \"b\"\nweight = 7")
    );
    let targets = parse(&text).unwrap().proxy("x").unwrap().targets();
    let facts: Vec<_> = targets.iter().map(|target| (target.weight, target.host.as_deref())).collect();
    assert_eq!(facts, [(1, Some("a")), (7, Some("b"))]);
}

#[test]
fn how_certificates_are_judged_is_said_and_fits() {
    let onion = format!("https://{OTHER}");
    let table = |address: &str, more: &str| format!("[[proxy.targets]]\naddress = \"{address}\"\n{more}\n");
    let pin = "\"sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\"";
    let pins = format!("verify = \"spki-pin\"\npins = [{pin}]");
    for more in ["verify = \"onion\"", "verify = \"webpki\"", "verify = \"webpki\"\nroots = \"/r\"", &pins] {
        parse(&table(&onion, more)).unwrap();
        let single = format!("[proxy]\ntarget = \"{onion}\"\n{more}\n");
        assert_eq!(
            parse(&single).unwrap().proxy("x").unwrap().targets()[0].address.to_string(),
            format!("{onion}:443")
        );
    }
    let without = parse(&format!("[proxy]\ntarget = \"{onion}\"\n")).unwrap_err().to_string();
    for way in [":1: proxy.verify: is missing", "\"webpki\"", "\"spki-pin\"", "\"onion\""] {
        assert!(without.contains(way), "{without}");
    }
    for (address, more, key, reason) in [
        (onion.as_str(), "", "proxy.targets.0.verify", "is missing"),
        (&onion, "verify = \"none\"", "proxy.targets.verify", "unknown variant `none`"),
        (&onion, "verify = \"spki-pin\"", "proxy.targets.0.pins", "is missing"),
        (&onion, "verify = \"spki-pin\"\npins = [\"sha256/AA==\"]", "proxy.targets.pins", "is no pin"),
        (&onion, &format!("verify = \"onion\"\npins = [{pin}]"), "proxy.targets.0.pins", "spki-pin"),
        (&onion, &format!("{pins}\nroots = \"/r\""), "proxy.targets.0.roots", "webpki"),
        (&onion, "verify = \"webpki\"\nroots = \"r\"", "proxy.targets.roots", "absolute"),
        (
            &onion,
            &format!("verify = \"spki-pin\"\npins = [{}]", [pin; 17].join(",")),
            "proxy.targets.0.pins",
            "at most 16",
        ),
        (
            "https://127.0.0.1",
            "verify = \"onion\"",
            "proxy.targets.0.verify",
            "only where the target is an onion",
        ),
        ("http://127.0.0.1", "verify = \"webpki\"", "proxy.targets.0.verify", "without https://"),
    ] {
        targets_refused(&table(address, more), key, reason);
    }
    refused("drain_timeout_secs = 5", "verify = \"webpki\"", "proxy.verify", "without https://");
    refused("drain_timeout_secs = 5", "roots = \"/r\"", "proxy.roots", "without https://");
    refused("drain_timeout_secs = 5", &format!("pins = [{pin}]"), "proxy.pins", "without https://");

    // What [proxy] says counts for those that say nothing.
    let text = format!(
        "[proxy]\n{pins}\n{}{}{}",
        table(&onion, ""),
        table("https://127.0.0.1", "verify = \"webpki\""),
        table("unix:/a", "")
    );
    let targets = parse(&text).unwrap().proxy("x").unwrap().targets();
    let facts: Vec<_> = targets.iter().map(|target| (target.verify, target.pins.len())).collect();
    assert_eq!(facts, [(Some(Verify::SpkiPin), 1), (Some(Verify::Webpki), 0), (None, 0)]);
}

#[test]
fn what_only_two_keys_together_tell_is_refused_too() {
    refused(
        &format!("target = \"http://{OTHER}"),
        &format!("target = \"http://{ADDRESS}"),
        "proxy.target",
        "round",
    );
    refused(
        &format!("target = \"http://{OTHER}:8080\""),
        "target = \"unix:/run/rustbalance/onion.sock\"",
        "proxy.target",
        "own listen address",
    );
    refused(
        "control = \"127.0.0.1:9151\"",
        "control = \"unix:/run/rustbalance-tor/a/control/socket\"",
        "tor.b.control",
        "same as tor.a.control",
    );
    refused(
        "heartbeat_timeout_secs = 30",
        "heartbeat_timeout_secs = 10",
        "cluster.heartbeat_timeout_secs",
        "three times",
    );
    refused("id = \"beta\"", "id = \"alpha\"", "mesh.peers.0.id", "this node's own id");
    refused("id = \"gamma\"", "id = \"beta\"", "mesh.peers.1.id", "peer 0");
    refused(
        "public_key = \"CgoK",
        "public_key = \"CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk=\" #",
        "mesh.peers.1.public_key",
        "beta",
    );
    refused(
        "tunnel_address = \"10.9.0.2\"",
        "tunnel_address = \"10.9.0.1\"",
        "mesh.peers.0.tunnel_address",
        "this node",
    );
    let without_b = full().replace("serving = \"a\"", "serving = \"b\"");
    let (start, end) = (without_b.find("[tor.b]").unwrap(), without_b.find("[proxy]").unwrap());
    let error = parse(&format!("{}{}", &without_b[..start], &without_b[end..])).unwrap_err();
    assert!(error.to_string().contains(":11: tor.serving: is b, but there is no [tor.b]"), "{error}");
}

#[test]
fn a_daemon_can_refuse_a_value_with_its_line() {
    let config = parse(&full()).unwrap();
    let error = config.refuse(&["mesh", "peers", "1", "endpoint"], "is missing").to_string();
    // The key is not there, so the line of its table is named.
    let line = full().lines().position(|line| line == "id = \"gamma\"").unwrap();
    assert_eq!(error, format!("/etc/rustbalance/config.toml:{line}: mesh.peers.1.endpoint: is missing"));
    let error = config.refuse(&["mesh", "tunnel_address"], "is strange").to_string();
    let line = full().lines().position(|line| line.starts_with("tunnel_address")).unwrap() + 1;
    assert_eq!(error, format!("/etc/rustbalance/config.toml:{line}: mesh.tunnel_address: is strange"));
}

#[test]
fn a_missing_section_is_named_with_the_daemon_that_needs_it() {
    let error = parse("").unwrap().proxy("rustbalance-proxy").unwrap_err().to_string();
    assert_eq!(error, "/etc/rustbalance/config.toml: section [proxy] is missing; rustbalance-proxy needs it");
}

#[test]
fn an_error_does_not_print_the_line_it_is_about() {
    // An operator who writes the secret itself into the file should not find it in the journal afterwards.
    let text = "[cluster]\ntoken = \"hunter2-hunter2\"\ntoken_file = \"/t\"\n";
    let error = parse(text).unwrap_err();
    assert!(!error.to_string().contains("hunter2"), "{error}");
    assert!(
        error.to_string().contains("config.toml:2: cluster.token: expected the absolute path"),
        "{error}"
    );
}

#[test]
fn files_are_bounded_and_missing_ones_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.toml");
    let missing = Config::load(&path).unwrap_err().to_string();
    assert!(missing.contains("config.toml: cannot read the configuration"), "{missing}");
    assert!(missing.contains("`rustbalance init` or `rustbalance join` makes one"), "{missing}");
    std::fs::write(&path, full()).unwrap();
    Config::load(&path).unwrap();
    std::fs::write(&path, "#".repeat(1024 * 1024 + 1)).unwrap();
    assert!(Config::load(&path).unwrap_err().to_string().contains("larger than"));
    std::fs::write(&path, b"[node]\nid = \"\xff\"\n").unwrap();
    assert!(Config::load(&path).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,200}|[\\[\\]a-z_.=\"0-9\n #{},-]{0,300}") {
        let _ = parse(&text).map_err(|error| error.to_string());
    }

    #[test]
    fn no_damage_to_a_good_file_makes_it_panic(at in 0_usize..2000, length in 0_usize..40, junk in "\\PC{0,10}") {
        let full = full();
        let boundary = |mut at: usize| {
            at = at.min(full.len());
            while !full.is_char_boundary(at) { at -= 1; }
            at
        };
        let (start, end) = (boundary(at), boundary(at + length));
        if let Err(error) = parse(&format!("{}{junk}{}", &full[..start], &full[end..])) {
            prop_assert!(error.to_string().starts_with("/etc/rustbalance/config.toml"));
        }
    }
}
