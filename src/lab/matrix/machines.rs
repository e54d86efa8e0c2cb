//! What tests in virtual machines have measured, as `tests/vm/run` leaves it: one file for each test that has passed.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::row::Made;
use super::rows::ROWS;

/// The file's name in the directory of its test.
const FILE: &str = "measures.json";

/// What was measured, in seconds or a number of things, by its name.
pub(super) type Measures = BTreeMap<String, f64>;

/// What the tests have measured that rows point at.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(in crate::lab) struct Machines {
    by_test: BTreeMap<String, Measures>,
}

/// A file is there, and says nothing.
#[derive(Debug, thiserror::Error)]
#[error("--machines: cannot read {}: {source}; nothing was started; run `tests/vm/run {test}` again", path.display())]
pub(in crate::lab) struct UnreadableMeasures {
    test: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl Machines {
    /// Everything in the directory where the tests have theirs. A test that has no file there was not run, or failed.
    pub(in crate::lab) fn read(directory: &Path) -> Result<Self, UnreadableMeasures> {
        let mut by_test = BTreeMap::new();
        for row in ROWS {
            let Made::Machines(test) = row.made else { continue };
            let path = directory.join(test).join(FILE);
            let unreadable = |source| UnreadableMeasures { test, path: path.clone(), source };
            match std::fs::read(&path) {
                Ok(text) => {
                    let measures = serde_json::from_slice(&text).map_err(|error| unreadable(error.into()))?;
                    by_test.insert(test.to_owned(), measures);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(unreadable(error)),
            }
        }
        Ok(Self { by_test })
    }

    /// What this test has measured.
    pub(super) fn of(&self, test: &str) -> Option<&Measures> {
        self.by_test.get(test)
    }

    /// With one more test's.
    #[cfg(test)]
    pub(super) fn with(mut self, test: &str, measures: &[(&str, f64)]) -> Self {
        let measures = measures.iter().map(|(what, value)| ((*what).to_owned(), *value)).collect();
        self.by_test.insert(test.to_owned(), measures);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_read_and_what_is_damaged_refused() {
        let directory = tempfile::tempdir().unwrap();
        let file = |test: &str, text: &str| {
            std::fs::create_dir_all(directory.path().join(test)).unwrap();
            std::fs::write(directory.path().join(test).join(FILE), text).unwrap();
        };
        file("clock", r#"{"told": 3.5}"#);
        let machines = Machines::read(directory.path()).unwrap();
        assert_eq!(machines.of("clock").unwrap()["told"].to_string(), "3.5");
        assert!(machines.of("reboot").is_none());
        for damaged in ["", "{", r#"{"told": "soon"}"#, "[1]"] {
            file("reboot", damaged);
            let refused = Machines::read(directory.path()).unwrap_err().to_string();
            assert!(
                refused.contains("reboot/measures.json") && refused.contains("vm/run reboot"),
                "{refused}"
            );
        }
    }
}
