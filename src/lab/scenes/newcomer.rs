//! A node that comes with nothing but an invitation.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::lab::error::LabError;
use crate::lab::world::{POLL, World};

/// What seals invitations here; on a real machine an operator types it.
const PASSPHRASE: &[u8] = b"correct horse battery staple, in the lab\n";

/// Has a running node make an invitation; its text.
pub(super) async fn invite(world: &World, by: usize) -> Result<String, LabError> {
    let machine = &world.nodes[by].machine;
    let passphrase = machine.files.keys.join("passphrase");
    machine.write(&passphrase, PASSPHRASE)?;
    world.operate(by, &["token", "create", "--passphrase-file", &passphrase.display().to_string()]).await
}

/// Gives the invitation to a new machine and starts everything there; the node's place among the nodes.
pub(super) async fn join(world: &mut World, invitation: &str) -> Result<usize, LabError> {
    let machine = world.new_machine().await?;
    let passphrase = machine.files.keys.join("passphrase");
    machine.write(&passphrase, PASSPHRASE)?;
    let (id, priority) = (machine.name.id.to_string(), machine.name.priority.0.to_string());
    let endpoint = machine.name.endpoint().to_string();
    let [keys, passphrase] = [&machine.files.keys, &passphrase].map(|path| path.display().to_string());
    let words = [
        ["join", "-"],
        ["--directory", &keys],
        ["--node-id", &id],
        ["--priority", &priority],
        ["--endpoint", &endpoint],
        ["--passphrase-file", &passphrase],
    ];
    machine.operate(&world.ground, words.as_flattened(), invitation.as_bytes()).await?;
    machine.adapt(world.plan.verbose)?;
    world.start_node(machine)
}

/// Has a node leave the cluster, and ends it; how long its points took to be gone everywhere, None if not within `limit`.
pub(super) async fn leave(
    world: &mut World,
    node: usize,
    limit: Duration,
) -> Result<Option<Duration>, LabError> {
    let points = world.known_points(node).await?;
    let told = Instant::now();
    world.operate(node, &["leave", "--yes"]).await?;
    let left = world.until_held(told, limit, |held| held.is_disjoint(&points)).await?;
    world.remove(node).await;
    Ok(left)
}

/// Waits until a node has been let in.
pub(super) async fn until_joined(world: &World, node: usize, limit: Duration) -> Result<(), LabError> {
    let machine = &world.nodes[node].machine;
    let (joined, began) = (machine.outside(&machine.files.joined()), Instant::now());
    while !joined.exists() {
        if began.elapsed() > limit {
            return Err(LabError::TimedOut { what: format!("letting {} in", machine.name), limit });
        }
        sleep(POLL).await;
    }
    world.note("is in", node);
    Ok(())
}

/// How long after `since` every node hears every other; None if not within `limit`.
pub(super) async fn until_full_mesh(world: &World, since: Instant, limit: Duration) -> Option<Duration> {
    while since.elapsed() < limit {
        if world.is_full_mesh().await {
            return Some(since.elapsed());
        }
        sleep(POLL).await;
    }
    None
}
