//! The failure matrix: every failure a cluster must live with, where it is shown, and what was measured.
//!
//! ```text
//! rows ──┬─ scenes to play ─► outcomes ─┐
//!        ├─ machines' measures ─────────┤
//!        └──────────────────────────────┴─► entries ─► Markdown, JSON, picture
//! ```
//!
//! A row is good only if a scene of the lab was played to its end, met all its figures, and measured this row's time
//! within its limit. What takes a whole machine is made by tests in virtual ones, which leave what they measured in files.

pub(super) mod entry;
pub(super) mod machines;
pub(super) mod papers;
mod picture;
pub(super) mod row;
mod rows;
mod table;

use super::scene_name::SceneName;
use row::Made;

/// The scenes that the rows name, in the order in which scenes are played.
pub(super) fn scenes() -> Vec<SceneName> {
    let named = |name: &&SceneName| rows::ROWS.iter().any(|row| row.made == Made::Lab(**name));
    SceneName::all().iter().filter(named).copied().collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;

    fn source(directory: &str) -> String {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
        let files = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
        files.filter(|file| file.is_file()).map(|file| fs::read_to_string(file).unwrap()).collect()
    }

    #[test]
    fn every_row_of_the_seed_is_there_once() {
        let ids: Vec<_> = rows::ROWS.iter().map(|row| row.id).collect();
        let seed = (1..=17).map(|row| format!("5.{row}")).chain((1..=15).map(|row| format!("6.{row}")));
        for id in seed {
            assert_eq!(ids.iter().filter(|found| **found == id).count(), 1, "{id}");
        }
    }

    #[test]
    fn what_a_row_points_at_is_measured() {
        let home = Path::new(env!("CARGO_MANIFEST_DIR"));
        let (scenes, catalogue) = (source("src/lab/scenes"), source("tests/vm/harness"));
        for row in rows::ROWS {
            let scripts = match row.made {
                Made::Lab(_) => scenes.clone(),
                Made::Machines(test) => {
                    assert!(catalogue.contains(&format!("\"{test}\": Test(")), "{test}");
                    fs::read_to_string(home.join(format!("nixos/tests/{test}.py"))).unwrap()
                }
            };
            for measure in [Some(row.clear), row.mended].into_iter().flatten() {
                let words = match row.made {
                    Made::Lab(_) => measure.split(": ").last().unwrap(),
                    Made::Machines(_) => measure,
                };
                assert!(scripts.contains(&format!("{words}\"")), "{}: {measure}", row.id);
            }
        }
    }

    #[test]
    fn each_scene_is_played_once() {
        let scenes = scenes();
        let words: BTreeSet<_> = scenes.iter().map(|scene| scene.word()).collect();
        assert_eq!(words.len(), scenes.len());
        assert!(words.contains("kill") && words.contains("tor-hung"));
    }
}
