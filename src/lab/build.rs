//! Builds the lab: the Tor network first, everything else as soon as there is a consensus.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{try_join_all, try_join3};
use rand::Rng;

use super::cluster::{ClusterPlan, Member};
use super::error::{LabError, io as doing};
use super::ground::Ground;
use super::machine::Machine;
use super::namespaces::STATE;
use super::node::Node;
use super::observer::Observer;
use super::place::Place;
use super::plan::ScenePlan;
use super::pool::{ClientTor, Memory};
use super::requirements::TorTools;
use super::screen::Screen;
use super::supervisor::Supervised;
use super::target::Target;
use super::tor_network::{TorNetwork, make_private, tor_directory};
use super::torrc::{Service, Site};
use super::traffic;
use super::wires::{TOR_NETWORK, Wires};
use super::world::World;
use crate::proto::onion::identity::HsIdKeypair;

/// How long a tor may take from its start to a usable view of the network. It takes two to twelve seconds.
const TOR_LIMIT: Duration = Duration::from_mins(1);
/// SOCKS port of the first client.
const FIRST_SOCKS_PORT: u16 = 9050;

/// Builds everything; what is left is to wait for the first page.
pub(super) async fn build(plan: &ScenePlan, screen: Screen) -> Result<World, LabError> {
    let place = Arc::new(Place::lab());
    let tools = &plan.tools;
    screen.doing("laying wires");
    let wires = Wires::lay(&tools.ip, &tools.nft).await?;
    let site = Site { address: TOR_NETWORK, slowness: 1 };
    let network = build_network(&tools.tor, &place, site, plan.arguments.verbose, &screen).await?;

    screen.doing("starting target, nodes and clients");
    let mut rng = rand::rng();
    let mut seed = [0; 32];
    rng.fill_bytes(&mut seed);
    let target_key = HsIdKeypair::from_seed(seed).map_err(|_| LabError::Address)?;
    let mut cluster = ClusterPlan::new(plan.arguments.nodes, target_key.hs_id(), &mut rng)
        .map_err(|_| LabError::Address)?;
    cluster.verbose = plan.arguments.verbose;
    let web = Path::new(STATE).join("target.sock");
    let target = Target::start(&web)?;
    let target_tor = start_target(&network, &place, &target_key, &web)?;
    traffic::begin(&network, &place, TOR_LIMIT).await?;
    let ground = Ground { network, wires, programs: tools.programs.clone() };
    let nodes = cluster.members.iter().map(|member| start_node(&ground, &cluster, member));
    let memories = [Memory::Cached, Memory::Fresh];
    let clients = (FIRST_SOCKS_PORT..)
        .zip(memories)
        .map(|(port, memory)| start_client(&ground.network, &place, port, memory));
    let observer = async {
        let directory = tor_directory("observer");
        let torrc = ground.network.torrc("observer", &directory).no_socks();
        ground.network.run("observer", &place, &directory, &torrc)?;
        Observer::connect(&directory, cluster.address, TOR_LIMIT).await
    };
    let (nodes, clients, observer) = try_join3(try_join_all(nodes), try_join_all(clients), observer).await?;
    screen.done("target, nodes and clients started");
    let machines = plan.arguments.nodes;
    Ok(World { screen, ground, plan: cluster, nodes, machines, clients, observer, target, target_tor })
}

/// Builds the Tor network, until it is one that everybody can use.
pub(super) async fn build_network(
    tools: &TorTools,
    place: &Arc<Place>,
    site: Site,
    verbose: bool,
    screen: &Screen,
) -> Result<TorNetwork, LabError> {
    screen.doing("making keys");
    let network = TorNetwork::start(tools, place, site, verbose).await?;
    screen.done("authorities and relays started");
    screen.doing("waiting for the first consensus");
    network.consensus().await?;
    screen.done("consensus with every relay");
    Ok(network)
}

async fn start_node(ground: &Ground, plan: &ClusterPlan, member: &Member) -> Result<Node, LabError> {
    let machine = Machine::open(ground, member.name.clone()).await?;
    machine.configure(plan, member)?;
    Node::start(ground, machine)
}

fn start_target(
    network: &TorNetwork,
    place: &Arc<Place>,
    key: &HsIdKeypair,
    web: &Path,
) -> Result<Supervised, LabError> {
    let directory = tor_directory("target");
    let service = Service { directory: directory.join("service"), port: web.to_owned() };
    make_private(&service.directory)?;
    fs::write(service.directory.join("hs_ed25519_secret_key"), *key.to_tor_secret_key_file())
        .map_err(doing("writing the target's key"))?;
    let torrc = network.torrc("target", &directory).no_socks().service(&service);
    network.run("target", place, &directory, &torrc)
}

async fn start_client(
    network: &TorNetwork,
    place: &Arc<Place>,
    port: u16,
    memory: Memory,
) -> Result<ClientTor, LabError> {
    let name = match memory {
        Memory::Cached => "client-cached",
        Memory::Fresh => "client-fresh",
    };
    let socks = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let directory = tor_directory(name);
    // A nickname has no hyphen.
    let torrc = network.torrc("client", &directory).socks(socks);
    network.run(name, place, &directory, &torrc)?;
    ClientTor::connect(directory, socks, memory, TOR_LIMIT).await
}
