//! Columns below each other.

use std::fmt::Write;

use crate::ctl::status::paint::{Paint, Tone};

/// Spaces between columns.
const GAP: usize = 2;

/// Rows of cells; the first row names the columns.
#[derive(Debug)]
pub struct Table {
    rows: Vec<Vec<Cell>>,
}

/// One cell.
#[derive(Debug)]
pub struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// A cell with a colour.
    pub fn new(text: impl Into<String>, tone: Tone) -> Self {
        Self { text: text.into(), tone }
    }

    /// A cell as text is.
    pub fn plain(text: impl Into<String>) -> Self {
        Self::new(text, Tone::Plain)
    }

    /// A cell for what may not be known.
    pub fn maybe(text: Option<impl ToString>) -> Self {
        Self::plain(text.map_or_else(|| "-".to_owned(), |text| text.to_string()))
    }

    /// A cell with a number.
    pub fn number(number: impl Into<u64>) -> Self {
        Self::plain(number.into().to_string())
    }
}

impl Table {
    /// A table with these columns.
    pub fn new(columns: &[&str]) -> Self {
        Self { rows: vec![columns.iter().map(|name| Cell::new(*name, Tone::Head)).collect()] }
    }

    /// One more row.
    pub fn add(&mut self, row: Vec<Cell>) {
        self.rows.push(row);
    }

    /// The table as lines.
    pub fn lines(&self, paint: Paint) -> String {
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.text.chars().count()).max().unwrap_or(0)
        };
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut lines = String::new();
        for row in &self.rows {
            for (column, cell) in row.iter().enumerate() {
                lines.push_str(&paint.tone(cell.tone, &cell.text));
                // No spaces at the end of a line.
                if column + 1 < row.len() {
                    let pad = widths[column] - cell.text.chars().count() + GAP;
                    let _ = write!(lines, "{:pad$}", "");
                }
            }
            lines.push('\n');
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_each_other_with_and_without_colour() {
        let mut table = Table::new(&["NODE", "STATE", "POINTS"]);
        table.add(vec![Cell::plain("alpha"), Cell::new("healthy", Tone::Good), Cell::number(3_u64)]);
        table.add(vec![Cell::plain("b"), Cell::maybe(None::<String>), Cell::number(12_u64)]);
        let expected = "NODE   STATE    POINTS\nalpha  healthy  3\nb      -        12\n";
        assert_eq!(table.lines(Paint(false)), expected);
        let coloured = table.lines(Paint(true));
        assert!(coloured.contains("\x1b[32mhealthy\x1b[0m  3"), "{coloured:?}");
        assert_eq!(console::strip_ansi_codes(&coloured), expected);
    }
}
