//! `io.rustbalance.Publisher`: introduction points out, publish orders in.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::call::{Answer, Fault, Interface, Parameters, Responder, Watcher};
use super::client::{Client, ClientError, Watch};
use crate::proto::publish::order::Order;
use crate::proto::publish::report::PublisherReport;

/// A call to the publisher.
#[derive(Debug)]
pub enum PublisherCall {
    /// `Status`: the report of this moment.
    Status(Responder<PublisherReport>),
    /// `Watch`: the report, and again whenever it changes.
    Watch(Watcher<PublisherReport>),
    /// `Publish`: take over publishing, go on with news, or stand down.
    Publish {
        /// What to publish; `None` stands down.
        order: Option<Order>,
        /// To say that the order was taken.
        reply: Responder<Taken>,
    },
}

/// An order was taken. It says nothing about what became of it: the report does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {}

/// Parameters of `Publish`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Publish {
    order: Option<Order>,
}

impl Interface for PublisherCall {
    const NAME: &'static str = "io.rustbalance.Publisher";

    fn accept(method: &str, parameters: Parameters) -> Result<(Self, Answer), Fault> {
        match method {
            "Status" => {
                parameters.none()?;
                let (reply, answer) = Responder::new();
                Ok((Self::Status(reply), answer))
            }
            "Watch" => {
                parameters.none()?;
                let (watcher, answer) = Watcher::new();
                Ok((Self::Watch(watcher), answer))
            }
            "Publish" => {
                let Publish { order } = parameters.parse()?;
                let (reply, answer) = Responder::new();
                Ok((Self::Publish { order, reply }, answer))
            }
            other => Err(Fault::MethodNotFound(other.to_owned())),
        }
    }
}

/// The publisher, as its callers see it.
#[derive(Debug)]
pub struct PublisherClient(Client);

impl PublisherClient {
    /// Connects to the publisher's control socket.
    pub async fn connect(path: &Path) -> Result<Self, ClientError> {
        Client::connect(path).await.map(Self)
    }

    /// Asks for the report.
    pub async fn status(&mut self) -> Result<PublisherReport, ClientError> {
        self.0.call("io.rustbalance.Publisher.Status", &()).await
    }

    /// Hands over an order, or takes it back with `None`.
    pub async fn publish(&mut self, order: Option<Order>) -> Result<Taken, ClientError> {
        self.0.call("io.rustbalance.Publisher.Publish", &Publish { order }).await
    }

    /// Follows the report; the connection is used up by it.
    pub async fn watch(self) -> Result<Watch<PublisherReport>, ClientError> {
        self.0.watch("io.rustbalance.Publisher.Watch", &()).await
    }
}
