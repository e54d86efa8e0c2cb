//! A call on its way to a daemon's main loop, and the answer on its way back.

use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;

use futures_util::stream::{self, Stream, StreamExt};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::sync::{oneshot, watch};

/// The calls of one daemon, as an enum; each variant carries what is needed to answer it.
pub trait Interface: Sized + Send + 'static {
    /// Name of the Varlink interface, for instance `io.rustbalance.Publisher`.
    const NAME: &'static str;

    /// Turns a method's name (without the interface) and its parameters into a typed call and the awaited answer.
    fn accept(method: &str, parameters: Parameters) -> Result<(Self, Answer), Fault>;
}

/// Why a call is not answered with its result. It becomes a Varlink error; the connection goes on unless noted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// This daemon has no such interface.
    InterfaceNotFound(String),
    /// The interface has no such method.
    MethodNotFound(String),
    /// A parameter is missing, unknown or wrong.
    InvalidParameter(String),
    /// The caller's user may not talk to this daemon. The connection ends.
    PermissionDenied,
    /// What came is no call. The connection ends.
    Malformed(String),
    /// All connections are taken; try again later. The connection ends.
    TooManyConnections,
    /// The daemon's main loop did not answer in time; whether it acted is unknown.
    TimedOut,
    /// The daemon is stopping.
    Stopping,
    /// The daemon understood and says no.
    Refused(String),
}

impl Fault {
    /// The Varlink error's name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::InterfaceNotFound(_) => "org.varlink.service.InterfaceNotFound",
            Self::MethodNotFound(_) => "org.varlink.service.MethodNotFound",
            Self::InvalidParameter(_) => "org.varlink.service.InvalidParameter",
            Self::PermissionDenied => "org.varlink.service.PermissionDenied",
            Self::Malformed(_) => "io.rustbalance.Malformed",
            Self::TooManyConnections => "io.rustbalance.TooManyConnections",
            Self::TimedOut => "io.rustbalance.TimedOut",
            Self::Stopping => "io.rustbalance.Stopping",
            Self::Refused(_) => "io.rustbalance.Refused",
        }
    }

    /// The Varlink error's parameters.
    pub fn parameters(&self) -> Value {
        match self {
            Self::InterfaceNotFound(interface) => json!({ "interface": interface }),
            Self::MethodNotFound(method) => json!({ "method": method }),
            Self::InvalidParameter(parameter) => json!({ "parameter": parameter }),
            Self::Malformed(reason) | Self::Refused(reason) => json!({ "reason": reason }),
            Self::PermissionDenied | Self::TooManyConnections | Self::TimedOut | Self::Stopping => json!({}),
        }
    }
}

/// The parameters of a call, not yet typed.
#[derive(Debug, Default)]
pub struct Parameters(Map<String, Value>);

impl Parameters {
    /// Wraps the object of a frame.
    pub fn new(object: Option<Map<String, Value>>) -> Self {
        Self(object.unwrap_or_default())
    }

    /// Types them; the error names the parameter that is wrong.
    pub fn parse<T: DeserializeOwned>(self) -> Result<T, Fault> {
        serde_json::from_value(Value::Object(self.0))
            .map_err(|error| Fault::InvalidParameter(error.to_string()))
    }

    /// Checks that there are none.
    pub fn none(self) -> Result<(), Fault> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(unexpected) => Err(Fault::InvalidParameter(unexpected.clone())),
        }
    }
}

/// An order was taken. It says nothing about what became of it: states and reports do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {}

/// An answer that has not come yet.
#[derive(Debug)]
pub enum Answer {
    /// One result.
    One(oneshot::Receiver<Result<Value, Fault>>),
    /// A present state, and every later one that the reader is quick enough to see.
    Many(oneshot::Receiver<Updates>),
}

/// States to be sent one after the other, always the latest one.
pub struct Updates(Pin<Box<dyn Stream<Item = Result<Value, Fault>> + Send>>);

impl Updates {
    /// The next state; `None` once there will be no more. Safe to drop in a `select!`.
    pub async fn next(&mut self) -> Option<Result<Value, Fault>> {
        self.0.next().await
    }
}

impl fmt::Debug for Updates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Updates")
    }
}

/// The means to answer a call once. Dropped unused, the caller hears that the daemon is stopping.
#[derive(Debug)]
pub struct Responder<T> {
    to: oneshot::Sender<Result<Value, Fault>>,
    kind: PhantomData<fn(T)>,
}

impl<T: Serialize> Responder<T> {
    /// A responder and the answer it will give.
    pub fn new() -> (Self, Answer) {
        let (to, from) = oneshot::channel();
        (Self { to, kind: PhantomData }, Answer::One(from))
    }

    /// Answers. It does not matter whether the caller still listens.
    pub fn answer(self, value: &T) {
        let _ = self.to.send(to_json(value));
    }

    /// Says no, with a reason for people.
    pub fn refuse(self, reason: &str) {
        let _ = self.to.send(Err(Fault::Refused(reason.to_owned())));
    }
}

/// The means to answer a call with a state and its changes.
#[derive(Debug)]
pub struct Watcher<T> {
    to: oneshot::Sender<Updates>,
    kind: PhantomData<fn(T)>,
}

impl<T: Serialize + Send + Sync + 'static> Watcher<T> {
    /// A watcher and the answer it will give.
    pub fn new() -> (Self, Answer) {
        let (to, from) = oneshot::channel();
        (Self { to, kind: PhantomData }, Answer::Many(from))
    }

    /// Sends the present value and then each change, from a channel that only keeps the latest value: a caller that
    /// reads slowly misses some in between, and never makes the daemon wait.
    pub fn follow(self, mut latest: watch::Receiver<T>) {
        latest.mark_changed();
        let updates = stream::unfold(latest, |mut latest| async move {
            latest.changed().await.ok()?;
            let value = to_json(&*latest.borrow_and_update());
            Some((value, latest))
        });
        let _ = self.to.send(Updates(Box::pin(updates)));
    }
}

fn to_json<T: Serialize>(value: &T) -> Result<Value, Fault> {
    serde_json::to_value(value).map_err(|error| {
        tracing::error!(%error, "a reply cannot be written as JSON; this is a mistake in rustbalance");
        Fault::Refused("the reply cannot be written as JSON".to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_watcher_sees_the_present_then_only_the_latest() {
        let (sender, receiver) = watch::channel(1);
        let (watcher, answer) = Watcher::new();
        watcher.follow(receiver);
        let Answer::Many(answer) = answer else { panic!() };
        let mut updates = answer.await.unwrap();
        assert_eq!(updates.next().await, Some(Ok(json!(1))));
        sender.send(2).unwrap();
        sender.send(3).unwrap();
        assert_eq!(updates.next().await, Some(Ok(json!(3))));
        drop(sender);
        assert_eq!(updates.next().await, None);
    }

    #[test]
    fn parameters_name_what_is_wrong() {
        #[derive(Debug, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Wanted {
            #[serde(rename = "epoch")]
            _epoch: u64,
        }
        let object = |value: Value| Parameters::new(value.as_object().cloned());
        assert!(object(json!({"epoch": 1})).parse::<Wanted>().is_ok());
        for bad in [json!({}), json!({"epoch": "x"}), json!({"epoch": 1, "other": 2})] {
            let fault = object(bad.clone()).parse::<Wanted>().unwrap_err();
            assert!(matches!(fault, Fault::InvalidParameter(_)), "{bad}");
        }
        assert_eq!(object(json!({"x": 1})).none(), Err(Fault::InvalidParameter("x".into())));
        assert_eq!(Parameters::new(None).none(), Ok(()));
    }
}
