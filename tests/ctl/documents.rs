//! `rustbalance completions`, `manuals` and `--help`: each names every command.

use std::process::Command;

use tempfile::TempDir;

use crate::tool::{answer, content, text};

/// All commands, as `--help` names them, with the words that lead to each.
fn commands() -> Vec<Vec<String>> {
    let mut all = vec![Vec::new()];
    let mut next = 0;
    while let Some(words) = all.get(next).cloned() {
        next += 1;
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let help = answer(&[&words[..], &["--help"]].concat());
        assert!(help.contains("Usage: rustbalance"), "{help}");
        let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
        for line in listed.take_while(|line| !line.is_empty()) {
            let name = line.split_whitespace().next().unwrap();
            if line.starts_with("  ") && !line.starts_with("   ") {
                all.push(words.iter().copied().chain([name]).map(str::to_owned).collect());
            }
        }
    }
    all
}

#[test]
fn every_command_has_a_page_that_the_typesetter_takes() {
    let commands = commands();
    assert!(commands.len() > 8, "{commands:?}");
    let place = TempDir::new().unwrap();
    let directory = place.path().join("man8");
    let told = answer(&["manuals", text(&directory)]);
    let pages = content(&directory);
    assert_eq!((pages.len(), told.lines().count()), (commands.len(), commands.len()));
    for words in commands {
        let name = [&["rustbalance".to_owned()][..], &words].concat().join("-");
        let page = String::from_utf8(pages[&format!("{name}.8")].1.clone()).unwrap();
        for section in [".SH NAME", ".SH SYNOPSIS", ".SH DESCRIPTION", ".SH \"EXIT STATUS\""] {
            assert!(page.contains(section), "{name} has no {section}");
        }
        let is_leaf = !page.contains(".SH SUBCOMMANDS");
        assert!(page.contains(".SH EXAMPLES") || !is_leaf, "{name} shows no example");
    }
    // Where the typesetter is installed, it has nothing to say.
    let Ok(groff) = Command::new("groff").arg("--version").output() else { return };
    if groff.status.success() {
        for page in pages.keys() {
            let set =
                Command::new("groff").args(["-man", "-ww", "-z"]).arg(directory.join(page)).output().unwrap();
            assert!(
                set.status.success() && set.stderr.is_empty(),
                "{}",
                String::from_utf8_lossy(&set.stderr)
            );
        }
    }
}

#[test]
fn every_shell_completes_every_command() {
    let commands = commands();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = answer(&["completions", shell]);
        for name in commands.iter().filter_map(|words| words.last()) {
            assert!(script.contains(name.as_str()), "{shell}: {name}");
        }
    }
    // And bash takes it.
    let place = TempDir::new().unwrap();
    let script = place.path().join("rustbalance");
    std::fs::write(&script, answer(&["completions", "bash"])).unwrap();
    let check = Command::new("bash")
        .args(["-c", "source \"$0\" && complete -p rustbalance", text(&script)])
        .output()
        .unwrap();
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));
}

#[test]
fn the_help_of_a_daemon_says_what_that_daemon_does() {
    let daemons = [
        (env!("CARGO_BIN_EXE_rustbalance-proxy"), "target"),
        (env!("CARGO_BIN_EXE_rustbalance-coordinator"), "mesh"),
        (env!("CARGO_BIN_EXE_rustbalance-publisher"), "descriptor"),
        (env!("CARGO_BIN_EXE_rustbalance-watchdog"), "repairs"),
    ];
    for (program, word) in daemons {
        for option in ["-h", "--help"] {
            let output = Command::new(program).arg(option).output().unwrap();
            let help = String::from_utf8(output.stdout).unwrap();
            assert!(help.lines().next().is_some_and(|line| line.contains(word)), "{help}");
        }
    }
}
