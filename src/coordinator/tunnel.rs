//! Tells WireGuard what the core wants, in a task of its own: an answer of the kernel may take its time, and the main
//! loop must not wait for it.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::ipc::coordinator::TunnelStatus;
use crate::mesh::error::{Fault, InterfaceError};
use crate::mesh::interface::Interface;
use crate::mesh::peer::{KEEPALIVE_SECS, Peer as MeshPeer, PeerStatus};
use crate::mesh::wireguard_key::WireGuardPublicKey;
use crate::proto::cluster::record::MAX_NODES;
use crate::proto::cluster::roster::Peer;
use crate::sys::link_watch::LinkWatch;

/// Wishes that wait: every node may be removed and set again twice over before the core must drop one.
pub const WAITING_WISHES: usize = 4 * MAX_NODES;
/// How often the tunnel is asked about its peers, and told again what it did not take.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// A wish about a peer.
#[derive(Debug)]
pub enum Wish {
    /// Reach it so.
    Set(Peer),
    /// Forget it.
    Remove(Peer),
}

impl Wish {
    fn peer(&self) -> &Peer {
        match self {
            Self::Set(peer) | Self::Remove(peer) => peer,
        }
    }
}

/// Wishes that the tunnel did not take: the latest one for each key.
#[derive(Debug, Default)]
struct Unfulfilled(BTreeMap<[u8; 32], Wish>);

impl Unfulfilled {
    /// The tunnel has been asked for this: an older wish about the same key is moot, and this one waits if it failed.
    fn asked(&mut self, wish: Wish, failed: bool) {
        let key = wish.peer().wireguard_key;
        self.0.remove(&key);
        // Keys that nodes gave up and the tunnel does not let go of could become many.
        if failed && self.0.len() < WAITING_WISHES {
            self.0.insert(key, wish);
        }
    }

    fn take(&mut self) -> Vec<Wish> {
        std::mem::take(&mut self.0).into_values().collect()
    }
}

/// Fulfils wishes in order until there can be no more; then the interface is removed. Every few seconds it repeats those
/// that failed, and says what the tunnel knows of its peers.
///
/// Ends sooner when the interface is not any more what was created. `seen` is dropped then, which tells the main loop.
pub async fn keep(
    mut interface: Interface,
    mut links: LinkWatch,
    mut wishes: mpsc::Receiver<Wish>,
    seen: watch::Sender<Vec<TunnelStatus>>,
) {
    let mut look = interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut unfulfilled = Unfulfilled::default();
    loop {
        tokio::select! {
            wish = wishes.recv() => match wish {
                Some(wish) => fulfil(&mut interface, wish, &mut unfulfilled).await,
                None => break,
            },
            changed = links.changed() => {
                if let Err(error) = changed {
                    tracing::warn!(%error, "the kernel does not tell when links change");
                    sleep(LOOK_EVERY).await;
                }
                if is_lost(&interface).await {
                    break;
                }
            }
            _ = look.tick() => {
                if is_lost(&interface).await {
                    break;
                }
                for wish in unfulfilled.take() {
                    fulfil(&mut interface, wish, &mut unfulfilled).await;
                }
                match interface.peers().await {
                    Ok(peers) => _ = seen.send_replace(peers.iter().filter_map(status).collect()),
                    Err(error) => tracing::warn!(%error, "the tunnel cannot be read"),
                }
            }
        }
    }
    let name = interface.settings().name.clone();
    match interface.remove().await {
        Ok(()) => tracing::info!(interface = %name, "the tunnel is removed"),
        Err(error) => tracing::warn!(%error, interface = %name, "the tunnel could not be removed"),
    }
}

/// Whether the tunnel can carry nothing any more, and will not by itself.
async fn is_lost(interface: &Interface) -> bool {
    match interface.check().await {
        // One that is silent may answer again; who asked it for something says so.
        Ok(()) | Err(Fault::Silent(_)) => false,
        Err(fault) => {
            tracing::error!(interface = %interface.settings().name, error = %fault, "the tunnel is lost");
            true
        }
    }
}

async fn fulfil(interface: &mut Interface, wish: Wish, unfulfilled: &mut Unfulfilled) {
    let done = match &wish {
        Wish::Set(peer) => {
            let told = MeshPeer {
                key: WireGuardPublicKey(peer.wireguard_key),
                address: peer.tunnel_address,
                endpoint: peer.endpoint,
                keepalive_secs: Some(KEEPALIVE_SECS),
            };
            interface.set_peer(&told).await
        }
        Wish::Remove(peer) => {
            interface.remove_peer(&WireGuardPublicKey(peer.wireguard_key)).await.map(|_| ())
        }
    };
    if let Err(error) = &done {
        let node = &wish.peer().node;
        tracing::error!(%node, %error, "the tunnel does not take a change of a peer, which may be out of reach");
    }
    unfulfilled.asked(wish, done.is_err_and(|error| may_pass(&error)));
}

/// Whether the same wish may succeed later: not where the peer itself is impossible.
fn may_pass(error: &InterfaceError) -> bool {
    !matches!(error, InterfaceError::OwnKey(_) | InterfaceError::OutsideNetwork { .. })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(key: u8, last: u8) -> Peer {
        Peer {
            node: "n1".parse().unwrap(),
            wireguard_key: [key; 32],
            endpoint: None,
            tunnel_address: [10, 9, 9, last].into(),
        }
    }

    #[test]
    fn what_failed_is_asked_again_unless_something_newer_was_asked() {
        let mut unfulfilled = Unfulfilled::default();
        unfulfilled.asked(Wish::Set(peer(1, 1)), true);
        unfulfilled.asked(Wish::Set(peer(2, 2)), true);
        unfulfilled.asked(Wish::Remove(peer(1, 1)), true);
        unfulfilled.asked(Wish::Set(peer(2, 3)), false);
        let again = unfulfilled.take();
        assert!(matches!(&again[..], [Wish::Remove(gone)] if *gone == peer(1, 1)), "{again:?}");
        assert!(unfulfilled.take().is_empty());
    }

    #[test]
    fn a_peer_that_is_impossible_stays_so() {
        assert!(!may_pass(&InterfaceError::OwnKey(WireGuardPublicKey([1; 32]))));
        let limit = Duration::from_secs(5);
        assert!(may_pass(&InterfaceError::TimedOut { action: "set a peer", limit }));
    }
}
