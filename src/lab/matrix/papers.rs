//! What a run of the matrix leaves: files for people, for machines and for the documentation.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::entry::Entry;
use super::machines::Machines;
use super::{picture, rows, table};
use crate::lab::measure::Outcome;

/// The matrix in three forms.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::lab) struct Papers {
    /// For people.
    pub(in crate::lab) markdown: String,
    json: String,
    picture: String,
}

impl Papers {
    /// The matrix after these scenes, with so many nodes, and these machines. `judged`: whether the scenes' times were.
    pub(in crate::lab) fn new(outcomes: &[Outcome], nodes: u8, machines: &Machines, judged: bool) -> Self {
        let entries: Vec<_> =
            rows::ROWS.iter().map(|row| Entry::new(row, outcomes, machines, judged)).collect();
        Self {
            markdown: table::markdown(&entries, nodes),
            json: serde_json::to_string_pretty(&entries).unwrap_or_default() + "\n",
            picture: picture::draw(&entries),
        }
    }

    /// Writes all of them into a directory.
    pub(in crate::lab) fn write(&self, directory: &Path) -> std::io::Result<()> {
        for (name, text) in
            [("matrix.md", &self.markdown), ("matrix.json", &self.json), ("matrix.svg", &self.picture)]
        {
            std::fs::write(directory.join(name), text)?;
        }
        Ok(())
    }
}
