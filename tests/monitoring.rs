//! That alert rules and dashboard are well-formed, and name only metrics that a watchdog serves.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The names of metrics in a text.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("rustbalance_")).map(str::to_owned).collect()
}

/// What the watchdog serves, by the names of its samples: a counter's ends in `_total`.
fn served() -> BTreeSet<String> {
    let source = read("src/watchdog/metrics.rs");
    let sampled = source.split("page.sample(").skip(1).filter_map(|rest| rest.split('"').nth(1));
    let names: BTreeSet<String> = sampled.map(|name| format!("rustbalance_{name}")).collect();
    assert!(names.len() > 20, "{names:?}");
    names
}

#[test]
fn whatever_is_named_is_served() {
    let served = served();
    for file in ["nixos/monitoring/rules.yaml", "nixos/monitoring/dashboard.json"] {
        let named = named(&read(file));
        assert!(named.len() > 8, "{file}: {named:?}");
        let unknown: Vec<_> = named.difference(&served).collect();
        assert!(unknown.is_empty(), "{file} names {unknown:?}");
    }
}

#[test]
fn the_dashboard_is_one() {
    let dashboard: Value = serde_json::from_str(&read("nixos/monitoring/dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<u64> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "each panel has a number of its own");
    for panel in panels {
        assert!(panel["gridPos"]["w"].as_u64().unwrap() + panel["gridPos"]["x"].as_u64().unwrap() <= 24);
        for target in panel["targets"].as_array().unwrap() {
            let expression = target["expr"].as_str().unwrap();
            let count = |letter| expression.matches(letter).count();
            assert_eq!(
                (count('('), count('{'), count('[')),
                (count(')'), count('}'), count(']')),
                "{expression}"
            );
        }
    }
}

#[test]
fn every_alert_says_what_it_means_and_how_urgent_it_is() {
    let rules = read("nixos/monitoring/rules.yaml");
    assert!(!rules.contains('\t'), "YAML knows no tabs");
    let alerts: Vec<&str> = rules.split("- alert: ").skip(1).collect();
    assert!(alerts.len() > 8);
    for alert in alerts {
        for key in ["expr: ", "severity: ", "summary: ", "description: "] {
            assert_eq!(alert.matches(key).count(), 1, "{key}{alert}");
        }
    }
}

#[test]
fn what_takes_capacity_from_clients_calls_somebody() {
    let rules = read("nixos/monitoring/rules.yaml");
    let expressions: Vec<&str> =
        rules.lines().filter_map(|line| line.trim().strip_prefix("expr: ")).collect();
    for (metric, compared) in [
        ("rustbalance_target_up", "== 0"),
        ("rustbalance_targets_up", "< rustbalance_targets "),
        ("rustbalance_fenced", "== 1"),
        ("rustbalance_hsdirs_holding", "< rustbalance_hsdirs"),
    ] {
        let watched = expressions
            .iter()
            .any(|expression| named(expression).contains(metric) && expression.contains(compared));
        assert!(watched, "no alert compares {metric} with {compared}");
    }
}

#[test]
fn prometheus_itself_takes_the_rules() {
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("nixos/monitoring/rules.yaml");
    match Command::new("promtool").args(["check", "rules"]).arg(rules).output() {
        Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr)),
        // Debian's package prometheus has it, and a hundred megabytes besides.
        Err(error) => {
            println!("there is no promtool here ({error}): the rules were looked at by this test only");
        }
    }
}
