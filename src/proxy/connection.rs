//! One client connection, from its acceptance to its end.

use std::time::Duration;

use tokio::sync::watch;

use super::dial::Dialer;
use super::relay::{Traffic, relay};
use crate::ipc::proxy::FailureReason;
use crate::tor::stream::Stream;

/// Reaches the target and carries bytes until the connection ends, or until `cut` says that it has to.
pub async fn carry(
    mut client: Stream,
    dialer: &Dialer,
    idle: Duration,
    traffic: &Traffic,
    mut cut: watch::Receiver<bool>,
) -> Result<(), FailureReason> {
    let dialled = tokio::select! {
        dialled = dialer.dial() => dialled,
        _ = cut.wait_for(|cut| *cut) => Err(FailureReason::CutByStop),
    };
    let mut target = match dialled {
        Ok(target) => target,
        Err(reason) => {
            // An orderly end would look like an empty answer.
            client.reset();
            return Err(reason);
        }
    };
    let carried = tokio::select! {
        carried = relay(&mut client, &mut target, idle, traffic) => carried,
        _ = cut.wait_for(|cut| *cut) => Err(FailureReason::CutByStop),
    };
    if let Err(FailureReason::Idle | FailureReason::CutByStop) = carried {
        // What is stuck on its way has had its time, and neither side may take this for an orderly end.
        client.reset();
        target.reset();
    }
    // Otherwise closed in order: what the kernel already has is still delivered to a side that is well.
    carried
}
