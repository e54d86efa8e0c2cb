//! `rustbalance check-config` and `merge-config`.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::tool::{CONFIG, DATA, USAGE, answer, complaint, text};

/// What `init` writes; its secrets are nowhere on this machine.
const EXAMPLE: &str = include_str!("../data/config.toml");

fn written(place: &TempDir, name: &str, content: &str) -> PathBuf {
    let file = place.path().join(name);
    std::fs::write(&file, content).unwrap();
    file
}

fn merged(base: &Path, over: &Path) -> String {
    answer(&["merge-config", text(base), text(over)])
}

#[test]
fn a_configuration_is_right_where_no_secret_and_no_user_of_it_is_known() {
    let place = TempDir::new().unwrap();
    let users = EXAMPLE.replace("# allowed_users = []", "allowed_users = [\"nobody-here-has-this-name\"]");
    for content in [EXAMPLE, &users] {
        let said = answer(&["check-config", text(&written(&place, "config.toml", content))]);
        for expected in
            ["alpha", "25njqamcweflpvkl73j4szahhihoc4xt3ktcgjnpaingr5yhkenl5sid.onion", "pg6mmjiy"]
        {
            assert!(said.contains(expected), "{said}");
        }
    }
}

#[test]
fn what_is_wrong_is_named_with_its_line_and_its_daemon() {
    let place = TempDir::new().unwrap();
    let without = |section: &str| {
        let from = EXAMPLE.find(&format!("\n[{section}]\n")).unwrap();
        let next = EXAMPLE[from + 2..].find("\n[").map_or(EXAMPLE.len(), |at| from + 2 + at);
        format!("{}{}", &EXAMPLE[..from], &EXAMPLE[next..])
    };
    let with = |from: &str, to: &str| {
        assert!(EXAMPLE.contains(from), "{from}");
        EXAMPLE.replacen(from, to, 1)
    };
    for (content, expected) in [
        (without("node"), "section [node] is missing; rustbalance-coordinator needs it"),
        (without("service"), "section [service] is missing; rustbalance-publisher needs it"),
        (without("proxy"), "section [proxy] is missing; rustbalance-proxy needs it"),
        (without("mesh"), "section [mesh] is missing; rustbalance-coordinator needs it"),
        (without("cluster"), "section [cluster] is missing; rustbalance-coordinator needs it"),
        (with("id = \"alpha\"", "id = \"Alpha!\""), "config.toml:6: "),
        (with("[node]", "[node]\nprioritty = 1"), "prioritty"),
        (with("listen_port = 51820", "listen_port = 0"), "mesh.listen_port"),
        (
            with("token_file = \"/etc/rustbalance/cluster.token\"", "token = \"hunter2hunter2\""),
            "in the clear",
        ),
        (with("[log]", "[log"), "config.toml:"),
    ] {
        let file = written(&place, "config.toml", &content);
        let said = complaint(CONFIG, &["check-config", text(&file)]);
        assert!(said.contains(expected) && said.contains("config.toml"), "{expected}: {said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
    complaint(CONFIG, &["check-config", text(&place.path().join("missing.toml"))]);
    complaint(USAGE, &["check-config", "one", "two"]);
}

#[test]
fn settings_lie_over_a_configuration() {
    let place = TempDir::new().unwrap();
    let base = written(&place, "base.toml", EXAMPLE);
    let over = "[node]\nid = \"beta\"\n[mesh]\nendpoint = \"192.0.2.2:4000\"\n[log]\nlevel = \"debug\"\n";
    let result = merged(&base, &written(&place, "over.toml", over));
    for expected in [
        "id = \"beta\"",
        "priority = 10",
        "endpoint = \"192.0.2.2:4000\"",
        "private_key_file = \"/etc/rustbalance/wireguard.key\"",
        "level = \"debug\"",
    ] {
        assert!(result.contains(expected), "{expected}: {result}");
    }
    let result = written(&place, "result.toml", &result);
    assert!(answer(&["check-config", text(&result)]).contains("beta"));
    // The same again changes nothing, and nothing laid over is the same in another form.
    assert_eq!(
        merged(&result, &written(&place, "over.toml", over)),
        std::fs::read_to_string(&result).unwrap()
    );
    let same = written(&place, "same.toml", &merged(&base, &written(&place, "empty.toml", "")));
    assert!(answer(&["check-config", text(&same)]).contains("alpha"));
}

#[test]
fn what_is_no_toml_is_told_and_not_repeated() {
    let place = TempDir::new().unwrap();
    let base = written(&place, "base.toml", EXAMPLE);
    let bad = written(&place, "bad.toml", "[node]\nid = hunter2hunter2\n");
    for pair in [[&base, &bad], [&bad, &base]] {
        let said = complaint(CONFIG, &["merge-config", text(pair[0]), text(pair[1])]);
        assert!(said.contains("bad.toml is no TOML") && !said.contains("hunter2"), "{said}");
    }
    let missing = place.path().join("missing.toml");
    complaint(DATA, &["merge-config", text(&base), text(&missing)]);
}
