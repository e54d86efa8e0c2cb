//! One client connection, from its acceptance to its end.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};

use super::caller::{Caller, Client};
use super::circuits::Circuits;
use super::door::Door;
use super::http::naming::Naming;
use super::http::pages::Pages;
use super::link::Link;
use super::pool::{Place, Pool};
use super::relay::{Traffic, relay};
use crate::ipc::proxy::FailureReason;
use crate::tor::stream::Stream;

/// How long a client may take to say its first word while the target cannot be reached: it may be a new node, whose
/// request comes a round trip after its connection. Nobody else gains anything by waiting.
const FIRST_WORD: Duration = Duration::from_secs(10);
/// Room for what a target says before its client does. More waits in the kernel.
const GREETING_BYTES: usize = 1024;

/// Where connections lead.
#[derive(Debug, Clone)]
pub struct Ways {
    /// To the targets.
    pub pool: Arc<Pool>,
    /// To the coordinator, for those who ask to join; `None`: nobody joins here.
    pub door: Option<Arc<Door>>,
    /// See `idle_timeout_secs`.
    pub idle: Duration,
    /// Which circuits clients come over, if tor tells.
    pub circuits: Option<Arc<Circuits>>,
    /// In HTTP mode, what both sides are called; `None`: bytes are carried as they are.
    pub naming: Option<Arc<Naming>>,
    /// In HTTP mode, what a client sees for whom there is no response.
    pub pages: Pages,
    /// See `rewrite_content`: places for bodies that are looked through; `None`: bodies pass as they are.
    pub rewriting: Option<Arc<Semaphore>>,
}

/// How a connection ended well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// Everything was carried.
    Carried,
    /// No target had to be asked: the client said nothing, or only what is answered here.
    Unasked,
    /// It was a join request, and was answered.
    Answered,
}

/// Whether connections have to end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ending {
    /// They may go on.
    #[default]
    NotYet,
    /// They may finish what is under way: the proxy is stopping.
    Soon,
    /// They are cut.
    Now,
}

/// Reaches the target and carries bytes until the connection ends, or until it has to.
pub async fn carry(
    client: Stream,
    ways: &Ways,
    traffic: &Traffic,
    mut ending: watch::Receiver<Ending>,
) -> Result<Finish, FailureReason> {
    let mut caller = Caller::new(client, ways.door.clone());
    let mut target = None;
    let met = tokio::select! {
        met = meet(&mut caller, &mut target, ways, traffic) => met,
        () = cut(&mut ending) => Err(FailureReason::CutByStop),
    };
    let client = caller.into_client();
    match (met, target) {
        (Ok(Some(finish)), _) => Ok(finish),
        (Ok(None), Some((target, _place))) => {
            carry_bytes(client, Client::new(target), ways.idle, traffic, ending).await?;
            Ok(Finish::Carried)
        }
        (Ok(None), None) => Ok(Finish::Unasked),
        (Err(reason), target) => {
            // An orderly end would look like an empty answer.
            client.into_stream().reset();
            if let Some((target, _)) = target {
                target.reset();
            }
            Err(reason)
        }
    }
}

/// Carries bytes both ways until both sides have ended, one breaks, or the connection has to end.
pub async fn carry_bytes(
    mut client: Client<Stream>,
    mut target: Client<Link>,
    idle: Duration,
    traffic: &Traffic,
    mut ending: watch::Receiver<Ending>,
) -> Result<(), FailureReason> {
    let carried = tokio::select! {
        carried = relay(&mut client, &mut target, idle, traffic) => carried,
        () = cut(&mut ending) => Err(FailureReason::CutByStop),
    };
    if let Err(FailureReason::Idle | FailureReason::CutByStop) = carried {
        // What is stuck on its way has had its time, and neither side may take this for an orderly end.
        client.into_stream().reset();
        target.into_stream().reset();
    }
    // Otherwise closed in order: what the kernel already has is still delivered to a side that is well.
    carried
}

/// Waits until connections are cut.
pub async fn cut(ending: &mut watch::Receiver<Ending>) {
    // Who can say so lives as long as the connections.
    let _ = ending.wait_for(|ending| *ending == Ending::Now).await;
}

/// Reaches the target, and finds out who calls, both at once. Done when the target is there and the caller is known, or
/// has been answered.
async fn meet(
    caller: &mut Caller<Stream>,
    target: &mut Option<(Link, Place)>,
    ways: &Ways,
    traffic: &Traffic,
) -> Result<Option<Finish>, FailureReason> {
    let dial = Link::open(&ways.pool, &[]);
    tokio::pin!(dial);
    let mut known = false;
    let target = loop {
        tokio::select! {
            knows = caller.knows_secret(), if !known => {
                if knows && caller.serve().await {
                    return Ok(Some(Finish::Answered));
                }
                known = true;
            }
            dialled = &mut dial => match dialled {
                Ok(linked) => break &mut target.insert(linked).0,
                Err(reason) if known => return Err(reason),
                // New nodes can be let in although the target is down.
                Err(reason) => {
                    let knows = timeout(FIRST_WORD, caller.knows_secret()).await;
                    let answered = knows == Ok(true) && caller.serve().await;
                    return if answered { Ok(Some(Finish::Answered)) } else { Err(reason) };
                }
            },
        }
    };
    if known {
        return Ok(None);
    }
    let mut greeting = vec![0; GREETING_BYTES];
    let mut ended = false;
    loop {
        tokio::select! {
            knows = caller.knows_secret() => {
                let answered = knows && caller.serve().await;
                return Ok(answered.then_some(Finish::Answered));
            }
            // Where the target speaks first, nobody asks to join.
            said = target.read(&mut greeting), if !ended => match said {
                Ok(0) => ended = true,
                Ok(length) => {
                    let written = timeout(ways.idle, caller.write_all(&greeting[..length])).await;
                    written.map_err(|_| FailureReason::Idle)?.map_err(|_| FailureReason::ClientBroke)?;
                    traffic.to_client.fetch_add(length as u64, Ordering::Relaxed);
                    return Ok(None);
                }
                Err(_) => return Err(FailureReason::TargetBroke),
            },
            () = sleep(ways.idle) => return Err(FailureReason::Idle),
        }
    }
}
