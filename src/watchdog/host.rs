//! Looking at the machine: is there room where the daemons keep their state?

use std::path::PathBuf;
use std::time::Duration;

use nix::sys::statvfs::statvfs;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tracing::debug;

use crate::proto::health::vitals::{Host, Observation};

/// A disk does not fill in less time than this without anybody's help.
const LOOK_EVERY: Duration = Duration::from_secs(15);

/// Looks again and again, until nobody listens.
pub(super) async fn watch(state: PathBuf, observations: mpsc::Sender<Observation>) {
    loop {
        // A call that a network file system could keep waiting; it must not keep our other work.
        let path = state.clone();
        let seen = tokio::task::spawn_blocking(move || look(&path)).await;
        if let Ok(Some(host)) = seen
            && observations.send(Observation::Host(host)).await.is_err()
        {
            return;
        }
        sleep(LOOK_EVERY).await;
    }
}

/// The file system of a directory; `None` while that is not there.
fn look(path: &std::path::Path) -> Option<Host> {
    let found = statvfs(path).inspect_err(|error| debug!(path = %path.display(), %error, "not seen")).ok()?;
    let unit = found.fragment_size();
    Some(Host {
        disk_free_bytes: found.blocks_available().saturating_mul(unit),
        disk_bytes: found.blocks().saturating_mul(unit),
        // Some file systems make room for files as they come, and say zero.
        inodes_free: (found.files() > 0).then(|| found.files_available()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_is_there_has_a_file_system() {
        let place = tempfile::tempdir().unwrap();
        let host = look(place.path()).unwrap();
        assert!(host.disk_bytes >= host.disk_free_bytes && host.disk_bytes > 0);
        assert_eq!(look(&place.path().join("none")), None);
    }
}
