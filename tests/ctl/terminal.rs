//! The tool on a terminal: a pseudo-terminal of the test's own, which it is started from.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use nix::pty::openpty;
use nix::sys::termios::{LocalFlags, tcgetattr};

/// Far beyond what anything here takes, on a machine with other work.
const PATIENCE: Duration = Duration::from_mins(1);

/// Runs a program on a terminal; each time `.0` appears there, `.1` is typed. What stood on the terminal in the end, and
/// what it gave to its pipes.
pub fn on_terminal(arguments: &[&str], typed: &[(&str, &str)]) -> (String, Output) {
    let pair = openpty(None, None).unwrap();
    let (mut keyboard, terminal) = (File::from(pair.master), File::from(pair.slave));
    let child = Command::new("setsid")
        .args(["--ctty", "--wait"])
        .args(arguments)
        .stdin(terminal.try_clone().unwrap())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (told, appearing) = mpsc::channel();
    let mut shown = keyboard.try_clone().unwrap();
    std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        // An error means that nobody has the terminal open any more.
        while let Ok(read @ 1..) = shown.read(&mut bytes) {
            told.send(String::from_utf8(bytes[..read].to_vec()).unwrap()).unwrap();
        }
    });
    let mut screen = String::new();
    let mut from = 0;
    for (question, answer) in typed {
        while !screen[from..].contains(question) {
            let more = appearing.recv_timeout(PATIENCE);
            screen.push_str(&more.unwrap_or_else(|_| panic!("{question:?} was not asked: {screen:?}")));
        }
        from = screen.len();
        keyboard.write_all(answer.as_bytes()).unwrap();
    }
    let output = child.wait_with_output().unwrap();
    // Whatever happened, the next program on this terminal echoes again.
    let echo = tcgetattr(&terminal).unwrap().local_flags;
    assert!(echo.contains(LocalFlags::ECHO | LocalFlags::ICANON | LocalFlags::ISIG), "{echo:?}");
    drop(terminal);
    screen.extend(appearing.iter());
    (screen, output)
}

/// The same with the tool itself.
pub fn tool_on_terminal(arguments: &[&str], typed: &[(&str, &str)]) -> (String, Output) {
    on_terminal(&[&[env!("CARGO_BIN_EXE_rustbalance")], arguments].concat(), typed)
}
