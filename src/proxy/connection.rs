//! One client connection, from its acceptance to its end.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::dial::Dialer;
use super::doorway::{Doorway, Said};
use super::relay::{Traffic, relay};
use crate::ipc::proxy::FailureReason;
use crate::proto::join::http::{HttpAnswer, write_answer};
use crate::tor::stream::Stream;

/// How long a client may take for its first bytes when the target cannot be reached: one that asks to join can be
/// answered all the same, and bytes that come with the connection are there at once.
const WITHOUT_TARGET: Duration = Duration::from_secs(1);

/// How a connection came to a good end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Both sides ended it in order.
    Carried,
    /// It asked to join, and was answered.
    Joined,
}

/// What a connection needs of the rest of the proxy.
#[derive(Debug)]
pub struct Ways {
    /// The way to the target.
    pub dialer: Dialer,
    /// The way to the coordinator.
    pub doorway: Doorway,
    /// See `idle_timeout_secs`.
    pub idle: Duration,
}

/// What a connection turned out to be.
enum Opened {
    /// It is to be carried to this target, after what has been read of it.
    Target(Stream, Vec<u8>),
    /// It asked to join, and this is the answer.
    Join(HttpAnswer),
}

/// Reaches the target and carries bytes until the connection ends, or until `cut` says that it has to.
pub async fn carry(
    mut client: Stream,
    ways: &Ways,
    traffic: &Traffic,
    mut cut: watch::Receiver<bool>,
) -> Result<Ending, FailureReason> {
    let opened = tokio::select! {
        opened = open(&mut client, ways) => opened,
        _ = cut.wait_for(|cut| *cut) => Err(FailureReason::CutByStop),
    };
    let (mut target, held) = match opened {
        Ok(Opened::Target(target, held)) => (target, held),
        Ok(Opened::Join(answer)) => return tell(client, &answer, ways.idle).await,
        Err(reason) => {
            // An orderly end would look like an empty answer.
            client.reset();
            return Err(reason);
        }
    };
    let carried = tokio::select! {
        carried = carry_on(&mut client, &mut target, &held, ways.idle, traffic) => carried,
        _ = cut.wait_for(|cut| *cut) => Err(FailureReason::CutByStop),
    };
    if let Err(FailureReason::Idle | FailureReason::CutByStop) = carried {
        // What is stuck on its way has had its time, and neither side may take this for an orderly end.
        client.reset();
        target.reset();
    }
    // Otherwise closed in order: what the kernel already has is still delivered to a side that is well.
    carried.map(|()| Ending::Carried)
}

/// Reaches the target while the client's first bytes tell whether it wants that.
async fn open(client: &mut Stream, ways: &Ways) -> Result<Opened, FailureReason> {
    let mut held = Vec::new();
    let dial = ways.dialer.dial();
    tokio::pin!(dial);
    let (said, dialled) = {
        let look = Doorway::look(client, &mut held);
        tokio::pin!(look);
        tokio::select! {
            said = &mut look => (said, None),
            dialled = &mut dial => match dialled {
                Ok(target) => {
                    let said = tokio::select! {
                        said = &mut look => said,
                        // A target that speaks first does not wait for a request.
                        _ = target.readable() => Said::Other,
                        () = sleep(ways.idle) => return Err(FailureReason::Idle),
                    };
                    (said, Some(Ok(target)))
                }
                Err(reason) => (timeout(WITHOUT_TARGET, look).await.unwrap_or(Said::Other), Some(Err(reason))),
            },
        }
    };
    match said {
        Said::MayJoin(secret) => {
            if let Some(answer) = ways.doorway.answer(&secret, client, &mut held).await {
                return Ok(Opened::Join(answer));
            }
        }
        Said::Other => {}
        Said::Broke => return Err(FailureReason::ClientBroke),
    }
    let target = match dialled {
        Some(dialled) => dialled?,
        None => dial.await?,
    };
    Ok(Opened::Target(target, held))
}

/// Carries what has been read of the client, then all that follows.
async fn carry_on(
    client: &mut Stream,
    target: &mut Stream,
    held: &[u8],
    idle: Duration,
    traffic: &Traffic,
) -> Result<(), FailureReason> {
    match timeout(idle, target.write_all(held)).await {
        Ok(Ok(())) => _ = traffic.to_target.fetch_add(held.len() as u64, Ordering::Relaxed),
        Ok(Err(_)) => return Err(FailureReason::TargetBroke),
        Err(_) => return Err(FailureReason::Idle),
    }
    relay(client, target, idle, traffic).await
}

/// Answers a request to join and ends the connection.
async fn tell(mut client: Stream, answer: &HttpAnswer, limit: Duration) -> Result<Ending, FailureReason> {
    let bytes = write_answer(answer);
    let told = async {
        client.write_all(&bytes).await?;
        client.shutdown().await
    };
    match timeout(limit, told).await {
        Ok(Ok(())) => Ok(Ending::Joined),
        Ok(Err(_)) => Err(FailureReason::ClientBroke),
        Err(_) => Err(FailureReason::Idle),
    }
}
