//! A scratch root in which everything is installed as the README says, and systemd's own tools at work on it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::files::shipped;

/// Programs that the units run, by the names that they use.
const PROGRAMS: [&str; 8] = [
    "rustbalance",
    "rustbalance-proxy",
    "rustbalance-coordinator",
    "rustbalance-publisher",
    "rustbalance-watchdog",
    "tor",
    "systemd-tmpfiles",
    "kill",
];

/// The root. It goes with this.
pub struct Root(tempfile::TempDir);

impl Root {
    /// With our files, and systemd's own units, of which ours name some.
    pub fn new() -> Self {
        let root = Self(tempfile::tempdir().unwrap());
        copy(&shipped("system"), &root.path("etc/systemd/system"));
        copy(&shipped("sysusers.d"), &root.path("etc/sysusers.d"));
        copy(&shipped("tmpfiles.d"), &root.path("etc/tmpfiles.d"));
        copy(&shipped("tor"), &root.path("etc/rustbalance-tor"));
        copy(Path::new("/usr/lib/systemd/system"), &root.path("usr/lib/systemd/system"));
        fs::create_dir_all(root.path("usr/bin")).unwrap();
        for program in PROGRAMS {
            let file = root.path("usr/bin").join(program);
            fs::write(&file, "#!/bin/sh\n").unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        }
        root
    }

    /// A path in it.
    pub fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path.trim_start_matches('/'))
    }

    /// Runs a tool of systemd's on it, and gives what it said.
    pub fn systemd(&self, program: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new(program);
        command.arg(format!("--root={}", self.0.path().display())).args(arguments).env("LC_ALL", "C");
        command.output().unwrap_or_else(|error| {
            panic!("{program}: {error}; these tests need Debian's package systemd, which tests/all installs")
        })
    }
}

/// The number of the installed systemd.
pub fn version() -> u32 {
    let output = Command::new("systemd-analyze").arg("--version").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_whitespace().nth(1).and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{text}"))
}

/// Copies a folder with all that is in it, links as links.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    let status = Command::new("cp").arg("-a").arg(from.join(".")).arg(to).status().unwrap();
    assert!(status.success());
}
