//! Running the tool, and looking at what it left.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// The exit codes the tool promises (sysexits).
pub const USAGE: i32 = 64;
pub const DATA: i32 = 65;
pub const UNAVAILABLE: i32 = 69;
pub const CANNOT_CREATE: i32 = 73;
pub const TEMPORARY: i32 = 75;
pub const PERMISSION: i32 = 77;
pub const CONFIG: i32 = 78;

pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rustbalance"));
    command.args(arguments).stdin(Stdio::null()).env_remove("CREDENTIALS_DIRECTORY");
    command
}

/// The tool's answer, which must be a success without any complaint.
pub fn answer(arguments: &[&str]) -> String {
    let output = command(arguments).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && error.is_empty(), "{arguments:?}: {} {error}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// The tool's complaint; it must not answer as well.
pub fn complaint(code: i32, arguments: &[&str]) -> String {
    complaint_of(code, command(arguments).output().unwrap())
}

pub fn complaint_of(code: i32, output: Output) -> String {
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{error}");
    assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(code == USAGE || error.trim_end().lines().count() == 1, "{error}");
    error
}

/// Runs it with something on its standard input.
pub fn with_input(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = command(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap()
}

/// Everything in a directory: names, modes and contents.
pub fn content(directory: &Path) -> BTreeMap<String, (u32, Vec<u8>)> {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
    entries
        .map(|entry| {
            let mode = entry.metadata().unwrap().permissions().mode() & 0o7777;
            let bytes = std::fs::read(entry.path()).unwrap_or_default();
            (entry.file_name().into_string().unwrap(), (mode, bytes))
        })
        .collect()
}

pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A file that only its owner can read.
pub fn private(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}
