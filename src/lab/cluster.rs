//! What all nodes share, and the secrets that make them one cluster.

use std::fmt::Write;

use data_encoding::BASE64;
use rand::CryptoRng;
use zeroize::Zeroizing;

use super::name::{Name, WIREGUARD_PORT};
use super::node_files::NodeFiles;
use crate::mesh::wireguard_key::{WireGuardKey, WireGuardPublicKey};
use crate::proto::join::secret::JoinSecret;
use crate::proto::onion::address::HsId;
use crate::proto::onion::identity::{HsIdKeypair, KeyError};

/// A member, as every other member's configuration names it.
#[derive(Debug)]
pub(super) struct Member {
    /// What it is called.
    pub(super) name: Name,
    /// Its WireGuard key.
    pub(super) key: WireGuardKey,
}

impl Member {
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
    /// The path at which joining is answered.
    pub(super) join_secret: JoinSecret,
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
        let members = (1..=nodes)
            .filter_map(|number| Some(Member { name: Name::of(number)?, key: WireGuardKey::generate(rng) }));
        let members = members.collect();
        Ok(Self {
            address: master.hs_id(),
            master_key: Zeroizing::new(master.to_tor_secret_key_file().to_vec()),
            token: Zeroizing::new(BASE64.encode(&*bytes)),
            join_secret: JoinSecret::generate(rng),
            members,
            target,
            verbose: false,
        })
    }

    /// The configuration file of a member. `files` is where its files are.
    pub(super) fn configuration(&self, member: &Member, files: &NodeFiles) -> String {
        let NodeFiles { tor_a, tor_b, ipc, .. } = files;
        let Name { id, priority, .. } = &member.name;
        let (address, target) = (self.address, self.target);
        let level = if self.verbose { "debug" } else { "info" };
        let [tor_a, tor_b, ipc] = [tor_a, tor_b, ipc].map(|path| path.display());
        let secrets = [files.master_key(), files.token(), files.join_secret(), files.wireguard_key()];
        let [master_key, token, join_secret, wireguard_key] = secrets.each_ref().map(|path| path.display());
        let state = files.state.display();
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
control = "unix:{tor_a}/control/socket"
socks = "unix:{tor_a}/socks/socket"
[tor.b]
control = "unix:{tor_b}/control/socket"
socks = "unix:{tor_b}/socks/socket"

[proxy]
target = "http://{target}"

[cluster]
token_file = "{token}"
state_directory = "{state}"

[join]
secret_file = "{join_secret}"

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
        for peer in self.members.iter().filter(|peer| peer.name.number != member.name.number) {
            let (id, key, endpoint) = (&peer.name.id, peer.public_key(), peer.name.endpoint());
            // Writing to a string cannot fail.
            let _ = write!(
                text,
                "\n[[mesh.peers]]\nid = \"{id}\"\npublic_key = \"{key}\"\nendpoint = \"{endpoint}\"\n"
            );
        }
        text
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
            let files = NodeFiles::default();
            let text = plan.configuration(member, &files);
            let config =
                Config::parse(&text, &files.configuration()).unwrap_or_else(|e| panic!("{e}\n{text}"));
            assert_eq!(config.node("x").unwrap().priority, member.name.priority);
            assert_eq!(config.service("x").unwrap().address, plan.address);
            assert_eq!(config.mesh("x").unwrap().peers.len(), 2);
            assert_eq!(config.cluster("x").unwrap().state_directory, files.state);
            assert!(config.tor("x").is_ok() && config.proxy("x").is_ok() && config.cluster("x").is_ok());
        }
        let master = HsIdKeypair::from_any_form(&plan.master_key).unwrap();
        assert_eq!(master.hs_id(), plan.address);
    }
}
