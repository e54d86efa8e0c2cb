//! What all nodes share, and the secrets that make them one cluster.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use data_encoding::BASE64;
use rand::CryptoRng;
use zeroize::Zeroizing;

use super::wires::mesh_address;
use crate::mesh::wireguard_key::{WireGuardKey, WireGuardPublicKey};
use crate::proto::node::{NodeId, Priority};
use crate::proto::onion::address::HsId;
use crate::proto::onion::identity::{HsIdKeypair, KeyError};

/// Names of the nodes, in the order of their priority.
const NAMES: [&str; 6] = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta"];
/// WireGuard's port on the mesh bridge.
const WIREGUARD_PORT: u16 = 51820;

/// A member, as every other member's configuration names it.
#[derive(Debug)]
pub(super) struct Member {
    /// Counts from 1.
    pub(super) number: u8,
    /// Its name.
    pub(super) id: NodeId,
    /// The first one's is the lowest: it holds the lease while all are well.
    pub(super) priority: Priority,
    /// Its WireGuard key.
    pub(super) key: WireGuardKey,
}

impl Member {
    /// Where its WireGuard is reached.
    fn endpoint(&self) -> SocketAddr {
        SocketAddr::from((mesh_address(self.number), WIREGUARD_PORT))
    }

    fn public_key(&self) -> WireGuardPublicKey {
        self.key.public()
    }
}

/// The secrets of one cluster, made anew for each run, and the target it carries to.
#[derive(Debug)]
pub(super) struct ClusterPlan {
    /// The address that all nodes serve.
    pub(super) address: HsId,
    /// Its key, as a file of tor's.
    pub(super) master_key: Zeroizing<Vec<u8>>,
    /// What seals datagrams between nodes.
    pub(super) token: Zeroizing<String>,
    /// The members.
    pub(super) members: Vec<Member>,
    /// Address of the target's onion service.
    pub(super) target: HsId,
    /// Whether the daemons' logs tell more.
    pub(super) verbose: bool,
}

impl ClusterPlan {
    /// A cluster of so many nodes.
    pub(super) fn new(nodes: u8, target: HsId, rng: &mut impl CryptoRng) -> Result<Self, KeyError> {
        let mut bytes = Zeroizing::new([0; 32]);
        rng.fill_bytes(&mut *bytes);
        let master = HsIdKeypair::from_seed(*bytes)?;
        rng.fill_bytes(&mut *bytes);
        let members = (1..).zip(NAMES).take(nodes.into()).filter_map(|(number, name)| {
            let (id, priority) = (name.parse().ok()?, Priority(u32::from(number) * 10));
            Some(Member { number, id, priority, key: WireGuardKey::generate(rng) })
        });
        let members = members.collect();
        Ok(Self {
            address: master.hs_id(),
            master_key: Zeroizing::new(master.to_tor_secret_key_file().to_vec()),
            token: Zeroizing::new(BASE64.encode(&*bytes)),
            members,
            target,
            verbose: false,
        })
    }

    /// The configuration file of a member. `files` is where its files are.
    pub(super) fn configuration(&self, member: &Member, files: &NodeFiles) -> String {
        let NodeFiles { tor_a, tor_b, ipc, master_key, token, wireguard_key, state, .. } = files;
        let Member { id, priority, .. } = member;
        let (address, target) = (self.address, self.target);
        let level = if self.verbose { "debug" } else { "info" };
        let [tor_a, tor_b, ipc] = [tor_a, tor_b, ipc].map(|path| path.display());
        let [master_key, token, wireguard_key, state] =
            [master_key, token, wireguard_key, state].map(|path| path.display());
        let mut text = format!(
            r#"[node]
id = "{id}"
priority = {priority}

[service]
address = "{address}"
master_key_file = "{master_key}"

[tor]
serving = "a"
[tor.a]
control = "unix:{tor_a}/control"
socks = "unix:{tor_a}/socks"
[tor.b]
control = "unix:{tor_b}/control"
socks = "unix:{tor_b}/socks"

[proxy]
target = "http://{target}"

[cluster]
token_file = "{token}"
state_directory = "{state}"

[ipc]
directory = "{ipc}"

[log]
level = "{level}"
journal = false

[mesh]
listen_port = {WIREGUARD_PORT}
private_key_file = "{wireguard_key}"
"#
        );
        for peer in self.members.iter().filter(|peer| peer.number != member.number) {
            let (id, key, endpoint) = (&peer.id, peer.public_key(), peer.endpoint());
            // Writing to a string cannot fail.
            let _ = write!(
                text,
                "\n[[mesh.peers]]\nid = \"{id}\"\npublic_key = \"{key}\"\nendpoint = \"{endpoint}\"\n"
            );
        }
        text
    }
}

/// Where a node's files are, as the node sees them. It is the same on every node, as on real machines.
#[derive(Debug)]
pub(super) struct NodeFiles {
    /// The serving tor's directory.
    pub(super) tor_a: PathBuf,
    /// The other tor's directory.
    pub(super) tor_b: PathBuf,
    /// Control sockets, and where the onion port leads.
    pub(super) ipc: PathBuf,
    /// The onion identity.
    pub(super) master_key: PathBuf,
    /// The cluster token.
    pub(super) token: PathBuf,
    /// The WireGuard key.
    pub(super) wireguard_key: PathBuf,
    /// The configuration.
    pub(super) configuration: PathBuf,
    /// What the coordinator remembers; like everything here, it outlives the node's death.
    pub(super) state: PathBuf,
}

impl NodeFiles {
    /// All below `/run`, which is the node's own.
    pub(super) fn new() -> Self {
        let run = Path::new("/run");
        Self {
            tor_a: run.join("tor-a"),
            tor_b: run.join("tor-b"),
            ipc: run.join("rustbalance"),
            master_key: run.join("keys/master.key"),
            token: run.join("keys/token"),
            wireguard_key: run.join("keys/wireguard.key"),
            configuration: run.join("keys/config.toml"),
            state: run.join("state/coordinator"),
        }
    }

    /// The marker of a node that is in the cluster: its serving tor may run.
    pub(super) fn joined(&self) -> PathBuf {
        self.state.join("joined")
    }

    /// Where the serving tor's onion port leads.
    pub(super) fn onion_socket(&self) -> PathBuf {
        self.ipc.join("onion.sock")
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;
    use crate::config::file::Config;

    #[test]
    fn the_configuration_is_one_that_the_daemons_take() {
        let mut rng = StdRng::seed_from_u64(7);
        let target = HsIdKeypair::from_seed([9; 32]).unwrap().hs_id();
        let plan = ClusterPlan::new(3, target, &mut rng).unwrap();
        assert_eq!(plan.members.len(), 3);
        for member in &plan.members {
            let files = NodeFiles::new();
            let text = plan.configuration(member, &files);
            let config = Config::parse(&text, &files.configuration).unwrap_or_else(|e| panic!("{e}\n{text}"));
            assert_eq!(config.node("x").unwrap().priority, member.priority);
            assert_eq!(config.service("x").unwrap().address, plan.address);
            assert_eq!(config.mesh("x").unwrap().peers.len(), 2);
            assert!(config.tor("x").is_ok() && config.proxy("x").is_ok() && config.cluster("x").is_ok());
        }
        let master = HsIdKeypair::from_any_form(&plan.master_key).unwrap();
        assert_eq!(master.hs_id(), plan.address);
    }
}
