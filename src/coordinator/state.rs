//! What is kept on disk over a restart: what the cluster remembers, and whether this node belongs to it.
//!
//! ```text
//! memory.json   peers and notes; tokens in it are sealed, so it holds no secret in the clear
//! joined        the node is in: its serving tor may run, and does so even while rustbalance is down
//! left          the node has left for good: nothing of rustbalance runs here until it is invited again
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use crate::config::cluster::MEMORY_FILE as MEMORY;
use crate::proto::cluster::memory::Memory;

/// The largest memory is below half a megabyte: 128 nodes, and some hundred notes of some hundred bytes.
const MAX_MEMORY_BYTES: u64 = 8 * 1024 * 1024;
/// Pause after a write failed: a full disk does not become empty within milliseconds.
const WRITE_PAUSE: Duration = Duration::from_secs(5);

const JOINED: &str = "joined";
const LEFT: &str = "left";

/// Why the state cannot be used. What is on disk is as before.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {file}: {source}; see [cluster] state_directory", file = file.display())]
pub struct StateError {
    action: &'static str,
    file: PathBuf,
    source: io::Error,
}

/// The state directory.
#[derive(Debug)]
pub struct State {
    directory: PathBuf,
}

impl State {
    /// Opens the directory; makes it, for this user only, where it is not there.
    pub fn open(directory: PathBuf) -> Result<Self, StateError> {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory);
        made.map_err(|source| StateError { action: "make the directory", file: directory.clone(), source })?;
        Ok(Self { directory })
    }

    /// What was remembered; `None` before anything was. What cannot be read is put aside, so that somebody can look at
    /// it, and is an error.
    pub fn memory(&self) -> Result<Option<Memory>, StateError> {
        let path = self.file(MEMORY);
        let failed = |source| StateError { action: "read", file: path.clone(), source };
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let mut text = Vec::new();
        file.take(MAX_MEMORY_BYTES).read_to_end(&mut text).map_err(failed)?;
        serde_json::from_slice(&text).map(Some).map_err(|error| {
            let _ = fs::rename(&path, path.with_extension("broken"));
            failed(error.into())
        })
    }

    /// Remembers this instead of what was remembered before: either is there whole, whatever happens meanwhile.
    pub fn remember(&self, memory: &Memory) -> Result<(), StateError> {
        let text = serde_json::to_vec(memory);
        let text = text.map_err(|error| StateError {
            action: "write",
            file: self.file(MEMORY),
            source: error.into(),
        })?;
        self.write(MEMORY, &text)
    }

    /// Whether this node belongs to a cluster.
    pub fn is_joined(&self) -> bool {
        self.file(JOINED).exists()
    }

    /// From now on it does.
    pub fn mark_joined(&self) -> Result<(), StateError> {
        if self.is_joined() { Ok(()) } else { self.write(JOINED, b"") }
    }

    /// With which ticket the node had joined that has left; empty for one that had none, `None` if it has not left.
    pub fn left(&self) -> Option<String> {
        fs::read_to_string(self.file(LEFT)).ok()
    }

    /// This node, which had joined with this ticket, has left: all is forgotten but that.
    pub fn leave(&self, ticket: &str) -> Result<(), StateError> {
        self.write(LEFT, ticket.as_bytes())?;
        self.remove(JOINED)?;
        self.remove(MEMORY)
    }

    /// It has been invited again.
    pub fn come_back(&self) -> Result<(), StateError> {
        self.remove(LEFT)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn write(&self, name: &str, content: &[u8]) -> Result<(), StateError> {
        let path = self.file(name);
        let new = path.with_extension("new");
        let written = || {
            let mut file =
                OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
            file.write_all(content)?;
            file.sync_all()?;
            fs::rename(&new, &path)?;
            sync_directory(&self.directory)
        };
        written().map_err(|source| StateError { action: "write", file: path.clone(), source })
    }

    fn remove(&self, name: &str) -> Result<(), StateError> {
        let path = self.file(name);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(StateError { action: "remove", file: path, source })
            }
            _ => sync_directory(&self.directory).map_err(|source| StateError {
                action: "remove",
                file: path,
                source,
            }),
        }
    }
}

/// A new name of a file is on the disk only once its directory is.
fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Remembers what comes, always the latest, until no more can come and the last is on the disk. A disk may take its time,
/// and the main loop must not wait for it.
pub async fn keep(state: Arc<State>, mut memories: watch::Receiver<Option<Memory>>) {
    while memories.changed().await.is_ok() {
        loop {
            let Some(memory) = memories.borrow_and_update().clone() else { break };
            let state = Arc::clone(&state);
            let written = tokio::task::spawn_blocking(move || state.remember(&memory)).await;
            match written {
                Ok(Ok(())) => break,
                Ok(Err(error)) => {
                    tracing::error!(%error, "what the cluster knows cannot be kept; trying again");
                }
                Err(error) => {
                    tracing::error!(%error, "keeping the state panicked; this is a mistake in rustbalance");
                }
            }
            tokio::select! {
                () = sleep(WRITE_PAUSE) => {}
                changed = memories.changed() => if changed.is_err() { return },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::proto::cluster::note::{Departure, Note};

    fn memory(node: &str) -> Memory {
        let departure = Departure { node: node.parse().unwrap(), wireguard_key: [7; 32], at_ms: 5 };
        Memory { peers: Vec::new(), notes: vec![Note::Departure(departure)] }
    }

    #[test]
    fn what_is_remembered_is_there_after_a_restart_and_is_nobody_elses() {
        let place = tempfile::tempdir().unwrap();
        let directory = place.path().join("a/b");
        let state = State::open(directory.clone()).unwrap();
        assert_eq!(state.memory().unwrap(), None);
        for node in ["n1", "n2"] {
            state.remember(&memory(node)).unwrap();
            assert_eq!(State::open(directory.clone()).unwrap().memory().unwrap(), Some(memory(node)));
        }
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&directory), mode(&directory.join(MEMORY))), (0o700, 0o600));
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1, "something was left behind");
    }

    #[test]
    fn a_broken_memory_is_an_error_once_and_is_put_aside() {
        let place = tempfile::tempdir().unwrap();
        let state = State::open(place.path().to_owned()).unwrap();
        fs::write(place.path().join(MEMORY), "{\"peers\":").unwrap();
        assert!(state.memory().unwrap_err().to_string().contains("memory.json"));
        assert_eq!(state.memory().unwrap(), None);
        assert!(place.path().join("memory.broken").exists());
    }

    #[test]
    fn joining_and_leaving_leave_their_marks() {
        let place = tempfile::tempdir().unwrap();
        let state = State::open(place.path().to_owned()).unwrap();
        assert!(!state.is_joined() && state.left().is_none());
        state.mark_joined().unwrap();
        state.mark_joined().unwrap();
        state.remember(&memory("n1")).unwrap();
        assert!(state.is_joined());
        state.leave("ticket").unwrap();
        assert!(!state.is_joined() && state.memory().unwrap().is_none());
        assert_eq!(state.left().as_deref(), Some("ticket"));
        state.come_back().unwrap();
        assert_eq!(state.left(), None);
    }

    #[tokio::test]
    async fn the_latest_is_kept_before_the_end() {
        let place = tempfile::tempdir().unwrap();
        let state = Arc::new(State::open(place.path().to_owned()).unwrap());
        let (memories, kept) = watch::channel(None);
        let keeping = tokio::spawn(keep(Arc::clone(&state), kept));
        for node in ["n1", "n2", "n3"] {
            memories.send_replace(Some(memory(node)));
        }
        drop(memories);
        keeping.await.unwrap();
        assert_eq!(state.memory().unwrap(), Some(memory("n3")));
    }
}
