//! Serving a daemon's control socket: who may connect, how many, and how long anything may take.
//!
//! Every connection is a task of its own. The daemon's main loop meets only typed calls, through a bounded channel,
//! and answers into channels that never make it wait.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::call::{Answer, Fault, Interface, Parameters, Updates};
use super::frame::{CallFrame, FrameError, Frames, MAX_FRAME_BYTES, frames};
use super::process;

/// Pause after a failed accept: out of files, trying again at once would only burn the processor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Bounds of a server.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections at once. Three daemons, the operator's tool and a monitor need about ten.
    pub connections: usize,
    /// How long a connection may be without a whole call.
    pub idle: Duration,
    /// How long the main loop may take to answer. It should take microseconds.
    pub answer: Duration,
    /// How long a reader may take to read a reply before it is given up.
    pub write: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 32,
            idle: Duration::from_mins(1),
            answer: Duration::from_secs(5),
            write: Duration::from_secs(10),
        }
    }
}

/// Accepts connections of `allowed` users for ever and passes their calls to the daemon. Dropping the future closes
/// all connections.
pub async fn serve<I: Interface>(
    listener: UnixListener,
    allowed: BTreeSet<u32>,
    calls: mpsc::Sender<I>,
    limits: Limits,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => match admit(&stream, &allowed, connections.len(), limits.connections) {
                    Ok(()) => {
                        connections.spawn(converse(frames(stream), calls.clone(), limits.clone()));
                    }
                    Err(fault) => turn_away(&stream, fault),
                },
                Err(error) => {
                    tracing::warn!(%error, "the control socket cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Decides at the door: the uid is the kernel's word about who connected.
fn admit(stream: &UnixStream, allowed: &BTreeSet<u32>, connected: usize, most: usize) -> Result<(), Fault> {
    let uid = stream.peer_cred().map_err(|_| Fault::PermissionDenied)?.uid();
    if !allowed.contains(&uid) {
        tracing::warn!(uid, "a user who may not use the control socket was refused; see ipc.allowed_users");
        return Err(Fault::PermissionDenied);
    }
    if connected >= most {
        tracing::warn!(most, "all connections to the control socket are taken; one more was refused");
        return Err(Fault::TooManyConnections);
    }
    Ok(())
}

/// Says why, as far as the socket's buffer takes it without waiting, and hangs up.
fn turn_away(stream: &UnixStream, fault: Fault) {
    let mut text = reply_text(Err(fault), false);
    text.push('\0');
    let _ = stream.try_write(text.as_bytes());
}

/// One connection: call, reply, call, reply, until it ends, misbehaves or is idle.
async fn converse<I: Interface>(mut frames: Frames, calls: mpsc::Sender<I>, limits: Limits) {
    while let Ok(Some(frame)) = timeout(limits.idle, frames.next()).await {
        let call = match frame {
            Ok(frame) => serde_json::from_slice::<CallFrame>(&frame)
                .map_err(|error| Fault::Malformed(error.to_string())),
            Err(error @ FrameError::TooLong) => Err(Fault::Malformed(error.to_string())),
            Err(FrameError::Truncated | FrameError::Io(_)) => return,
        };
        let call = match call {
            Ok(call) => call,
            Err(fault) => {
                // Nothing after a broken frame can be trusted to be a frame: answer, then hang up.
                let _ = send(&mut frames, Err(fault), false, &limits).await;
                return;
            }
        };
        let more = call.more;
        let reply = match ask(call, &calls, &limits).await {
            Ok(Reply::Many(updates)) if more => return stream(&mut frames, updates, &limits).await,
            Ok(Reply::Many(mut updates)) => updates.next().await.unwrap_or(Err(Fault::Stopping)),
            Ok(Reply::One(value)) => Ok(value),
            Err(fault) => Err(fault),
        };
        if send(&mut frames, reply, false, &limits).await.is_err() {
            return;
        }
    }
}

/// What the daemon answered.
enum Reply {
    One(Value),
    Many(Updates),
}

/// Passes a call to the daemon's main loop and waits for the answer, for a bounded time in all.
async fn ask<I: Interface>(
    call: CallFrame,
    calls: &mpsc::Sender<I>,
    limits: &Limits,
) -> Result<Reply, Fault> {
    let (interface, method) =
        call.method.rsplit_once('.').ok_or_else(|| Fault::InterfaceNotFound(call.method.clone()))?;
    if interface == process::NAME {
        let answer = process::answer(method, Parameters::new(call.parameters));
        return timeout(limits.answer, answer).await.unwrap_or(Err(Fault::TimedOut)).map(Reply::One);
    }
    if interface != I::NAME {
        return Err(Fault::InterfaceNotFound(interface.to_owned()));
    }
    let (call, answer) = I::accept(method, Parameters::new(call.parameters))?;
    let answered = async {
        calls.send(call).await.map_err(|_| Fault::Stopping)?;
        match answer {
            Answer::One(answer) => answer.await.unwrap_or(Err(Fault::Stopping)).map(Reply::One),
            Answer::Many(answer) => answer.await.map(Reply::Many).map_err(|_| Fault::Stopping),
        }
    };
    timeout(limits.answer, answered).await.unwrap_or(Err(Fault::TimedOut))
}

/// Sends states until the caller hangs up, stops reading, or the daemon stops.
async fn stream(frames: &mut Frames, mut updates: Updates, limits: &Limits) {
    loop {
        let update = tokio::select! {
            update = updates.next() => update.unwrap_or(Err(Fault::Stopping)),
            // Only an end is expected here: a stream has its connection to itself.
            frame = frames.next() => match frame {
                Some(Ok(_)) => Err(Fault::Malformed("this connection carries a stream; use another".to_owned())),
                Some(Err(_)) | None => return,
            },
        };
        let last = update.is_err();
        if send(frames, update, true, limits).await.is_err() || last {
            return;
        }
    }
}

/// Writes one reply, for a bounded time.
async fn send(
    frames: &mut Frames,
    reply: Result<Value, Fault>,
    continues: bool,
    limits: &Limits,
) -> Result<(), FrameError> {
    let mut text = reply_text(reply, continues);
    if text.len() > MAX_FRAME_BYTES {
        tracing::error!(bytes = text.len(), "a reply is too long for the control socket");
        text = reply_text(Err(Fault::Refused("the reply is too long".to_owned())), false);
    }
    match timeout(limits.write, frames.send(text)).await {
        Ok(sent) => sent,
        Err(_) => Err(FrameError::Io(std::io::ErrorKind::TimedOut.into())),
    }
}

fn reply_text(reply: Result<Value, Fault>, continues: bool) -> String {
    match reply {
        Ok(value) if continues => json!({ "parameters": value, "continues": true }).to_string(),
        Ok(value) => json!({ "parameters": value }).to_string(),
        Err(fault) => json!({ "error": fault.name(), "parameters": fault.parameters() }).to_string(),
    }
}
