//! What the user sees while the lab works.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// How often the wheel turns.
const TICK: Duration = Duration::from_millis(120);

/// A line that changes while something is going on, and lines that stay. Where there is no terminal, only the
/// latter.
#[derive(Clone, Debug)]
pub(super) struct Screen {
    bar: ProgressBar,
    began: Instant,
}

impl Screen {
    /// The clock of the lab starts here.
    pub(super) fn new() -> Self {
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed:>4}  {msg}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(TICK);
        Self { bar, began: Instant::now() }
    }

    /// Time since the lab began.
    pub(super) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// What is going on now.
    pub(super) fn doing(&self, what: impl Into<String>) {
        self.bar.set_message(what.into());
    }

    /// What has happened.
    #[allow(clippy::print_stderr)] // a terminal is this program's purpose
    pub(super) fn done(&self, what: impl AsRef<str>) {
        let line = format!("{:7.1} s  {}", self.elapsed().as_secs_f64(), what.as_ref());
        if self.bar.is_hidden() {
            eprintln!("{line}");
        } else {
            self.bar.println(line);
        }
    }

    /// The result, on standard output.
    #[allow(clippy::print_stdout)] // a terminal is this program's purpose
    pub(super) fn print(&self, text: &str) {
        self.bar.suspend(|| println!("{text}"));
    }

    /// Takes the changing line away.
    pub(super) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}
