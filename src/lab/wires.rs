//! Interfaces: one bridge for Tor traffic, one for the mesh, and each node plugged into both.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use super::errand;
use super::error::LabError;
use super::place::Place;

/// Where authorities, relays, the target and the clients are: the lab's own end of the bridge for Tor traffic.
pub(super) const TOR_NETWORK: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
/// The bridge for Tor traffic.
const TOR_BRIDGE: &str = "tor0";
/// The bridge for the mesh. The lab has no address on it: nobody but the nodes speaks there.
const MESH_BRIDGE: &str = "mesh0";

/// Plugs and unplugs.
#[derive(Debug)]
pub(super) struct Wires {
    ip: PathBuf,
    nft: PathBuf,
}

/// A node's address on the bridge for Tor traffic. `number` counts from 1.
pub(super) fn tor_address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 1, number)
}

/// A node's address on the bridge for the mesh, below WireGuard.
pub(super) fn mesh_address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 78, 0, number)
}

impl Wires {
    /// Makes both bridges.
    pub(super) async fn lay(ip: &Path, nft: &Path) -> Result<Self, LabError> {
        let wires = Self { ip: ip.to_owned(), nft: nft.to_owned() };
        let lines = [
            "link set lo up".to_owned(),
            format!("link add name {TOR_BRIDGE} type bridge"),
            format!("addr add {TOR_NETWORK}/16 dev {TOR_BRIDGE}"),
            format!("link set {TOR_BRIDGE} up"),
            format!("link add name {MESH_BRIDGE} type bridge"),
            format!("link set {MESH_BRIDGE} up"),
        ];
        wires.batch(&Place::lab(), &lines).await?;
        Ok(wires)
    }

    /// Plugs a node into both bridges.
    pub(super) async fn plug(&self, number: u8, place: &Place) -> Result<(), LabError> {
        let Some(pid) = place.pid() else { return Ok(()) };
        let mut outside = Vec::new();
        let mut inside = vec!["link set lo up".to_owned()];
        for (cable, bridge, address) in [
            ("tor", TOR_BRIDGE, format!("{}/16", tor_address(number))),
            ("mesh", MESH_BRIDGE, format!("{}/24", mesh_address(number))),
        ] {
            outside.push(format!("link add name {cable}-{number} type veth peer name {cable} netns {pid}"));
            outside.push(format!("link set {cable}-{number} master {bridge} up"));
            inside.push(format!("addr add {address} dev {cable}"));
            inside.push(format!("link set {cable} up"));
        }
        self.batch(&Place::lab(), &outside).await?;
        self.batch(place, &inside).await
    }

    /// Cuts a node's cable to the mesh, or joins it again. Its Tor traffic goes on.
    pub(super) async fn mesh(&self, number: u8, joined: bool) -> Result<(), LabError> {
        self.cable("mesh", number, joined).await
    }

    /// Cuts a node's cable to the Tor network, or joins it again. Its mesh goes on.
    pub(super) async fn tor(&self, number: u8, joined: bool) -> Result<(), LabError> {
        self.cable("tor", number, joined).await
    }

    /// Loses so many hundredths of what goes through a node's cable to the mesh, each way, and sends as many of the others
    /// twice.
    pub(super) async fn disturb(&self, place: &Place, hundredths: u8) -> Result<(), LabError> {
        let some = format!("numgen random mod 100 < {hundredths}");
        let rules = format!(
            "table inet lossy {{\n\
             chain in {{ type filter hook input priority 0; iifname \"mesh\" {some} drop; }}\n\
             chain out {{ type filter hook output priority 0; oifname \"mesh\" {some} drop; }}\n}}\n\
             table ip twice {{\n\
             chain out {{ type filter hook postrouting priority 0; oifname \"mesh\" {some} \
             dup to ip daddr device \"mesh\"; }}\n}}\n"
        );
        self.filter(place, &rules).await
    }

    /// Carries everything once again.
    pub(super) async fn leave_alone(&self, place: &Place) -> Result<(), LabError> {
        self.filter(place, "delete table inet lossy\ndelete table ip twice\n").await
    }

    /// Takes a node's tunnel away.
    pub(super) async fn remove_tunnel(&self, place: &Place) -> Result<(), LabError> {
        self.batch(place, &["link delete wg-rb".to_owned()]).await
    }

    async fn cable(&self, cable: &str, number: u8, joined: bool) -> Result<(), LabError> {
        let state = if joined { "up" } else { "down" };
        self.batch(&Place::lab(), &[format!("link set {cable}-{number} {state}")]).await
    }

    /// Hands rules to `nft`.
    async fn filter(&self, place: &Place, rules: &str) -> Result<(), LabError> {
        let mut command = place.command(&self.nft);
        command.args(["-f", "-"]);
        errand::run(&format!("nft, told {rules:?},"), command, rules.as_bytes()).await.map(drop)
    }

    /// Runs commands of `ip`, one a line.
    async fn batch(&self, place: &Place, lines: &[String]) -> Result<(), LabError> {
        let text = lines.join("\n") + "\n";
        let mut command = place.command(&self.ip);
        command.args(["-batch", "-"]);
        errand::run(&format!("ip, told to {text:?},"), command, text.as_bytes()).await.map(drop)
    }
}
