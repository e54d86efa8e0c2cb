//! Whether the onion's key was put where tor reads it. Systemd knows how that ended: what does it is tor's user, and nobody else
//! may look at the key.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::sleep;
use tracing::debug;

use super::service_manager::Units;
use crate::proto::health::vitals::Observation;

/// How often systemd is asked: a tor that runs has its key already.
const ASK_EVERY: Duration = Duration::from_secs(10);

/// Asks again and again, until nobody listens.
pub(super) async fn watch(units: Units, observations: mpsc::Sender<Observation>) {
    loop {
        match units.key_installed().await {
            Ok(Some(success)) => {
                if observations.send(Observation::KeyInstalled(success)).await.is_err() {
                    return;
                }
            }
            Ok(None) => {}
            Err(error) => {
                debug!(%error, "the service manager does not tell whether the onion's key was installed");
            }
        }
        sleep(ASK_EVERY).await;
    }
}
