//! What the user sees while the lab works.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;

/// How often the wheel turns.
const TICK: Duration = Duration::from_millis(120);

/// A line that changes while something is going on, and lines that stay. Where there is no terminal, only the
/// latter.
#[derive(Clone, Debug)]
pub(super) struct Screen {
    bar: ProgressBar,
    began: Instant,
    /// The same with the time of day, to be laid beside the logs of tors and daemons.
    journal: Option<Arc<File>>,
}

impl Screen {
    /// The clock of the lab starts here. `journal` is a log of what is shown.
    pub(super) fn new(journal: &Path) -> Self {
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed:>4}  {msg}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(TICK);
        // The lab goes on without a journal.
        let journal = File::options().create(true).append(true).open(journal).ok().map(Arc::new);
        Self { bar, began: Instant::now(), journal }
    }

    /// Time since the lab began.
    pub(super) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// What is going on now.
    pub(super) fn doing(&self, what: impl Into<String>) {
        let what = what.into();
        self.note(&what);
        self.bar.set_message(what);
    }

    /// Something for the journal only.
    pub(super) fn note(&self, what: &str) {
        if let Some(mut journal) = self.journal.as_deref() {
            let _ = writeln!(journal, "{:.3} {what}", Timestamp::now());
        }
    }

    /// What has happened.
    #[allow(clippy::print_stderr)] // a terminal is this program's purpose
    pub(super) fn done(&self, what: impl AsRef<str>) {
        self.note(what.as_ref());
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
