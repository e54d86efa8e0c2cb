//! Where a node's files are.

use std::path::{Path, PathBuf};

/// Where a node's files are, as the node sees them. It is the same on every node, as on real machines.
#[derive(Debug)]
pub(super) struct NodeFiles {
    /// The serving tor's directory.
    pub(super) tor_a: PathBuf,
    /// The other tor's directory.
    pub(super) tor_b: PathBuf,
    /// Control sockets, and where the onion port leads.
    pub(super) ipc: PathBuf,
    /// Configuration and keys.
    pub(super) keys: PathBuf,
    /// What the coordinator remembers; like everything here, it outlives the node's death.
    pub(super) state: PathBuf,
}

impl Default for NodeFiles {
    /// All below `/run`, which is the node's own; sockets where a configuration has them that `rustbalance` has written.
    fn default() -> Self {
        let run = Path::new("/run");
        Self {
            tor_a: run.join("rustbalance-tor/a"),
            tor_b: run.join("rustbalance-tor/b"),
            ipc: run.join("rustbalance"),
            keys: run.join("keys"),
            state: run.join("state/coordinator"),
        }
    }
}

impl NodeFiles {
    /// The configuration.
    pub(super) fn configuration(&self) -> PathBuf {
        self.keys.join("config.toml")
    }

    /// The onion identity.
    pub(super) fn master_key(&self) -> PathBuf {
        self.keys.join("hs_ed25519_secret_key")
    }

    /// The cluster token.
    pub(super) fn token(&self) -> PathBuf {
        self.keys.join("cluster.token")
    }

    /// The secret of the path at which joining is answered.
    pub(super) fn join_secret(&self) -> PathBuf {
        self.keys.join("join.secret")
    }

    /// The WireGuard key.
    pub(super) fn wireguard_key(&self) -> PathBuf {
        self.keys.join("wireguard.key")
    }

    /// The serving tor's `HiddenServiceDir`.
    pub(super) fn service(&self) -> PathBuf {
        self.ipc.join("onion/a")
    }

    /// The serving tor's control socket.
    pub(super) fn tor_a_control(&self) -> PathBuf {
        self.tor_a.join("control/socket")
    }

    /// What `tmpfiles.d` makes for both tors' sockets.
    pub(super) fn tor_sockets(&self) -> [PathBuf; 4] {
        let [a, b] = [&self.tor_a, &self.tor_b];
        [a.join("control"), a.join("socks"), b.join("control"), b.join("socks")]
    }

    /// What is below `/var/lib` on a real node, and so on its disk: what the coordinator and the tors keep.
    pub(super) fn on_disk(&self) -> [PathBuf; 3] {
        [self.state.clone(), self.tor_a.join("data"), self.tor_b.join("data")]
    }

    /// The marker of a node that is in the cluster: its serving tor may run.
    pub(super) fn joined(&self) -> PathBuf {
        self.state.join("joined")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::torrc::{TORRC_A, TORRC_B};
    use crate::lab::unit_file::PROXY_CONTROL;

    #[test]
    fn they_are_where_the_shipped_units_and_torrcs_have_them() {
        let files = NodeFiles::default();
        let [control_a, socks_a, control_b, socks_b] =
            files.tor_sockets().map(|directory| directory.join("socket").display().to_string());
        for (torrc, control, socks) in [(TORRC_A, &control_a, socks_a), (TORRC_B, &control_b, socks_b)] {
            assert!(torrc.contains(&format!("\nControlPort unix:{control} ")), "{torrc}");
            assert!(torrc.contains(&format!("\nSocksPort unix:{socks} ")), "{torrc}");
        }
        assert_eq!(control_a, files.tor_a_control().display().to_string());
        assert!(TORRC_A.contains(&format!("\nHiddenServiceDir {}\n", files.service().display())));
        assert_eq!(PROXY_CONTROL.path("ListenStream").unwrap().parent(), Some(files.ipc.as_path()));
    }
}
