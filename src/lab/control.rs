//! The control ports of the lab's tors, and descriptors as they hold them.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::error::LabError;
use super::torrc::CONTROL_PASSWORD;
use crate::proto::onion::address::HsId;
use crate::proto::onion::descriptor::outer::{Outer, VerifiedOuter};
use crate::sys::clock::unix_secs;
use crate::tor::address::{ControlAuth, SocketAddress};
use crate::tor::controller::Controller;
use crate::tor::event::TorEvent;

/// Between two attempts at something that is about to be ready.
const POLL: Duration = Duration::from_millis(100);

/// Auth keys of introduction points: they tell one from another.
pub(super) type AuthKeys = BTreeSet<[u8; 32]>;

/// What a descriptor says that the lab looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Held {
    /// Orders the descriptors of a period.
    pub(super) counter: u64,
    /// Its introduction points.
    pub(super) points: AuthKeys,
}

/// Connects to the tor that has this control socket, or will have it: it may still be starting.
pub(super) async fn connect(
    socket: &Path,
    limit: Duration,
) -> Result<(Controller, mpsc::Receiver<TorEvent>), LabError> {
    let address = SocketAddress::Unix(socket.to_owned());
    let auth = ControlAuth::Password(CONTROL_PASSWORD.into());
    let connected = async {
        loop {
            match Controller::connect(&address, &auth).await {
                Ok(connected) => return connected,
                Err(_) => sleep(POLL).await,
            }
        }
    };
    let what = format!("the control port {}", socket.display());
    timeout(limit, connected).await.map_err(|_| LabError::TimedOut { what, limit })
}

/// What a client would find in a descriptor of this service; None if it could not use it.
pub(super) fn open(text: &str, service: &HsId) -> Option<Held> {
    let outer: VerifiedOuter = Outer::parse(text).ok()?.verify(unix_secs()).ok()?;
    let subcredential = service.subcredential(&outer.blind_id);
    let opened = outer.open_with(&subcredential, None).ok()?;
    let points = opened.points.iter().map(|point| point.auth_key).collect();
    Some(Held { counter: outer.counter.0, points })
}

/// The relays that a tor's circuits begin with, by RSA identity: the guards that it uses.
pub(super) async fn first_hops(controller: &Controller) -> Result<BTreeSet<[u8; 20]>, LabError> {
    let circuits = controller.circuits().await?;
    Ok(circuits.iter().filter_map(|circuit| circuit.path.first().copied()).collect())
}

/// The introduction points that a serving tor has now; empty when it has none or is not there.
pub(super) async fn serving_points(controller: &Controller, service: &HsId) -> AuthKeys {
    let key = format!("hs/service/desc/id/{}", service.service_id());
    let text = controller.getinfo(&key).await.unwrap_or_default();
    open(&text, service).map(|held| held.points).unwrap_or_default()
}
