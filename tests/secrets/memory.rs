//! The memory of a process, alive and as a core.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::place::Place;
use crate::search::files_below;

/// All memory of a process that it can write to.
pub fn of(pid: Pid) -> Vec<u8> {
    let memory = File::open(format!("/proc/{pid}/mem")).unwrap();
    let mut all = Vec::new();
    for line in std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap().lines() {
        let mut words = line.split(' ');
        let (range, rights) = (words.next().unwrap(), words.next().unwrap());
        let (begin, end) = range.split_once('-').unwrap();
        let [begin, end] = [begin, end].map(|number| u64::from_str_radix(number, 16).unwrap());
        if !rights.starts_with("rw") {
            continue;
        }
        // Reserved address space has nothing in it, and cannot be read.
        let mut part = vec![0; usize::try_from(end - begin).unwrap()];
        if let Ok(read) = memory.read_at(&mut part, begin) {
            all.extend_from_slice(&part[..read]);
        }
    }
    all
}

/// Aborts a process that has a secret in its environment and is not protected; how it ended, and what it left.
pub fn abort_unprotected(place: &Place, cores: &Path, secret: &str) -> (ExitStatus, Vec<Vec<u8>>) {
    let mut control = place
        .command("sh")
        .args(["-c", "cd \"$0\" && ulimit -c unlimited && exec sleep 1000"])
        .arg(cores)
        .env("SECRET", secret)
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let pid = Pid::from_raw(control.id().try_into().unwrap());
    while !std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap().starts_with("sleep") {
        std::thread::sleep(Duration::from_millis(10));
    }
    kill(pid, Signal::SIGABRT).unwrap();
    let status = control.wait().unwrap();
    (status, files_below(cores).into_iter().map(|(_, core)| core).collect())
}

/// Empties a directory.
pub fn clear(directory: &Path) {
    for (path, _) in files_below(directory) {
        std::fs::remove_file(path).unwrap();
    }
}
