//! Tells WireGuard what the core wants, in a task of its own: an answer of the kernel may take its time, and the main
//! loop must not wait for it.

use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval};

use crate::ipc::coordinator::TunnelStatus;
use crate::mesh::interface::Interface;
use crate::mesh::peer::{KEEPALIVE_SECS, Peer as MeshPeer, PeerStatus};
use crate::mesh::wireguard_key::WireGuardPublicKey;
use crate::proto::cluster::record::MAX_NODES;
use crate::proto::cluster::roster::Peer;

/// Wishes that wait: every node may be removed and set again twice over before the core must drop one.
pub const WAITING_WISHES: usize = 4 * MAX_NODES;
/// How often the tunnel is asked about its peers: for people, so seconds are enough.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// A wish about a peer.
#[derive(Debug)]
pub enum Wish {
    /// Reach it so.
    Set(Peer),
    /// Forget it.
    Remove(Peer),
}

/// Fulfils wishes in order until there can be no more; then the interface is removed. Says what the tunnel knows of its
/// peers every few seconds.
pub async fn keep(
    mut interface: Interface,
    mut wishes: mpsc::Receiver<Wish>,
    seen: watch::Sender<Vec<TunnelStatus>>,
) {
    let mut look = interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            wish = wishes.recv() => match wish {
                Some(wish) => fulfil(&mut interface, wish).await,
                None => break,
            },
            _ = look.tick() => match interface.peers().await {
                Ok(peers) => _ = seen.send_replace(peers.iter().filter_map(status).collect()),
                Err(error) => tracing::warn!(%error, "the tunnel cannot be read"),
            },
        }
    }
    let name = interface.settings().name.clone();
    match interface.remove().await {
        Ok(()) => tracing::info!(interface = %name, "the tunnel is removed"),
        Err(error) => tracing::warn!(%error, interface = %name, "the tunnel could not be removed"),
    }
}

async fn fulfil(interface: &mut Interface, wish: Wish) {
    let (node, done) = match wish {
        Wish::Set(peer) => {
            let told = MeshPeer {
                key: WireGuardPublicKey(peer.wireguard_key),
                address: peer.tunnel_address,
                endpoint: peer.endpoint,
                keepalive_secs: Some(KEEPALIVE_SECS),
            };
            (peer.node, interface.set_peer(&told).await)
        }
        Wish::Remove(peer) => {
            let key = WireGuardPublicKey(peer.wireguard_key);
            (peer.node, interface.remove_peer(&key).await.map(|_| ()))
        }
    };
    if let Err(error) = done {
        tracing::error!(%node, %error, "the tunnel does not take a peer; it cannot be reached");
    }
}

fn status(peer: &PeerStatus) -> Option<TunnelStatus> {
    Some(TunnelStatus {
        tunnel_address: *peer.addresses.first()?,
        endpoint: peer.endpoint,
        handshake_secs_ago: peer.last_handshake_age.map(|age| age.as_secs()),
        received_bytes: peer.received_bytes,
        sent_bytes: peer.sent_bytes,
    })
}
