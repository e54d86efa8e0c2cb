//! Calling a daemon. Every wait is bounded; connecting again is the caller's decision.

use std::marker::PhantomData;
use std::path::Path;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::call::Fault;
use super::frame::{CallFrame, FrameError, Frames, ReplyFrame, frames};

/// How long connecting, sending and the answer may take together. The server gives its daemon 5 s.
const CALL_TIMEOUT: Duration = Duration::from_secs(8);

/// Why a call has no result.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens there: the daemon and its socket unit are down. Nothing was sent.
    #[error("cannot connect to {path}: {source}")]
    Connect {
        /// The socket's path.
        path: String,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// The daemon answered with an error; the connection goes on.
    #[error("the daemon answered {error}{}", Details(parameters))]
    Refused {
        /// The Varlink error's name.
        error: String,
        /// Its parameters.
        parameters: Value,
    },
    /// No answer in time; whether the call had an effect is unknown. Connect again.
    #[error("no answer within {} seconds", CALL_TIMEOUT.as_secs())]
    TimedOut,
    /// The connection ended or broke; whether the call had an effect is unknown. Connect again.
    #[error("the connection ended: {0}")]
    Broken(String),
    /// The call or the answer is not what this version of the interface promises, or is too long for a frame.
    #[error("the call or its answer does not fit the interface ({0}); do both sides have the same version?")]
    Misunderstood(String),
}

impl ClientError {
    /// Whether the daemon took the call and said nothing: it hangs.
    pub fn is_silence(&self) -> bool {
        match self {
            Self::TimedOut => true,
            Self::Refused { error, .. } => error == Fault::TimedOut.name(),
            Self::Connect { .. } | Self::Broken(_) | Self::Misunderstood(_) => false,
        }
    }

    /// Whether the daemon ended before it answered. Where its socket is the service manager's, the next one answers.
    pub fn is_an_end(&self) -> bool {
        match self {
            Self::Broken(_) => true,
            Self::Refused { error, .. } => error == Fault::Stopping.name(),
            Self::Connect { .. } | Self::TimedOut | Self::Misunderstood(_) => false,
        }
    }
}

struct Details<'a>(&'a Value);

impl std::fmt::Display for Details<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.as_object() {
            Some(object) if !object.is_empty() => {
                object.iter().try_for_each(|(key, value)| write!(f, ", {key}: {value}"))
            }
            _ => Ok(()),
        }
    }
}

/// A connection to a daemon, one call at a time.
#[derive(Debug)]
pub struct Client {
    frames: Frames,
    /// A call was given up half-way: its answer may still come and would be taken for the next one's.
    out_of_step: bool,
}

impl Client {
    /// Connects to a control socket.
    pub async fn connect(path: &Path) -> Result<Self, ClientError> {
        let failed = |source| ClientError::Connect { path: path.display().to_string(), source };
        let stream = timeout(CALL_TIMEOUT, UnixStream::connect(path))
            .await
            .map_err(|_| failed(std::io::ErrorKind::TimedOut.into()))?
            .map_err(failed)?;
        Ok(Self { frames: frames(stream), out_of_step: false })
    }

    /// Calls a method and waits for its result.
    pub async fn call<P: Serialize, R: DeserializeOwned>(
        &mut self,
        method: &str,
        parameters: &P,
    ) -> Result<R, ClientError> {
        if self.out_of_step {
            return Err(ClientError::Broken("an earlier call on it was given up".to_owned()));
        }
        self.out_of_step = true;
        let exchange = async {
            // A daemon that turned us away has said why before it hung up: that is worth more than a broken pipe.
            match self.send(method, parameters, false).await {
                Ok(()) => receive(&mut self.frames).await,
                Err(broken @ ClientError::Broken(_)) => receive(&mut self.frames).await.map_err(|_| broken),
                Err(error) => Err(error),
            }
        };
        let reply = timeout(CALL_TIMEOUT, exchange).await.unwrap_or(Err(ClientError::TimedOut))?;
        self.out_of_step = false;
        result(reply)
    }

    /// Calls a method that answers with a state and its changes; the connection is used up by it.
    pub async fn watch<P: Serialize, R: DeserializeOwned>(
        mut self,
        method: &str,
        parameters: &P,
    ) -> Result<Watch<R>, ClientError> {
        if self.out_of_step {
            return Err(ClientError::Broken("an earlier call on it was given up".to_owned()));
        }
        match timeout(CALL_TIMEOUT, self.send(method, parameters, true)).await {
            // What a daemon said before it hung up can still be read.
            Ok(Ok(()) | Err(ClientError::Broken(_))) => {}
            Ok(Err(error)) => return Err(error),
            Err(_) => return Err(ClientError::TimedOut),
        }
        Ok(Watch { frames: self.frames, kind: PhantomData })
    }

    async fn send<P: Serialize>(
        &mut self,
        method: &str,
        parameters: &P,
        more: bool,
    ) -> Result<(), ClientError> {
        let misunderstood = |error: serde_json::Error| ClientError::Misunderstood(error.to_string());
        let parameters: Map<String, Value> = match serde_json::to_value(parameters).map_err(misunderstood)? {
            Value::Object(object) => object,
            Value::Null => Map::new(),
            other => return Err(ClientError::Misunderstood(format!("{other} is no set of parameters"))),
        };
        let call = CallFrame { method: method.to_owned(), parameters: Some(parameters), more };
        let text = serde_json::to_string(&call).map_err(misunderstood)?;
        self.frames.send(text).await.map_err(|error| match error {
            FrameError::TooLong => ClientError::Misunderstood(error.to_string()),
            FrameError::Truncated | FrameError::Io(_) => ClientError::Broken(error.to_string()),
        })
    }
}

/// A state that is told again whenever it changes.
#[derive(Debug)]
pub struct Watch<R> {
    frames: Frames,
    kind: PhantomData<fn() -> R>,
}

impl<R: DeserializeOwned> Watch<R> {
    /// Waits for the next state, for as long as it takes; the first one comes at once. After an error the stream has
    /// ended. Safe to drop in a `select!`.
    pub async fn next(&mut self) -> Result<R, ClientError> {
        let reply = receive(&mut self.frames).await?;
        result(reply)
    }
}

async fn receive(frames: &mut Frames) -> Result<ReplyFrame, ClientError> {
    match frames.next().await {
        Some(Ok(frame)) => {
            serde_json::from_slice(&frame).map_err(|error| ClientError::Misunderstood(error.to_string()))
        }
        Some(Err(error @ FrameError::TooLong)) => Err(ClientError::Misunderstood(error.to_string())),
        Some(Err(error)) => Err(ClientError::Broken(error.to_string())),
        None => Err(ClientError::Broken("the daemon closed it".to_owned())),
    }
}

fn result<R: DeserializeOwned>(reply: ReplyFrame) -> Result<R, ClientError> {
    if let Some(error) = reply.error {
        return Err(ClientError::Refused { error, parameters: reply.parameters });
    }
    serde_json::from_value(reply.parameters).map_err(|error| ClientError::Misunderstood(error.to_string()))
}
