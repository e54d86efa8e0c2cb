//! `io.rustbalance.Publisher`: introduction points out, publish orders in.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::call::{Answer, Fault, Interface, Parameters, Responder, Taken, Watcher};
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
    /// `Mute`: give this node's introduction points up, or take them back. Lasts until the next such call, or until
    /// the publisher ends; whoever wants it must say it again to the next one.
    Mute {
        /// Whether to give them up.
        muted: bool,
        /// To say that it was heard.
        reply: Responder<Taken>,
    },
}

/// Parameters of `Publish`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Publish {
    order: Option<Order>,
}

/// Parameters of `Mute`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Mute {
    muted: bool,
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
            "Mute" => {
                let Mute { muted } = parameters.parse()?;
                let (reply, answer) = Responder::new();
                Ok((Self::Mute { muted, reply }, answer))
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

    /// Has this node's introduction points given up, or taken back.
    pub async fn mute(&mut self, muted: bool) -> Result<Taken, ClientError> {
        self.0.call("io.rustbalance.Publisher.Mute", &Mute { muted }).await
    }

    /// Follows the report; the connection is used up by it.
    pub async fn watch(self) -> Result<Watch<PublisherReport>, ClientError> {
        self.0.watch("io.rustbalance.Publisher.Watch", &()).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipc::frame::MAX_FRAME_BYTES;
    use crate::proto::cluster::record::{MAX_NODES, MAX_POINTS};
    use crate::proto::onion::descriptor::capabilities::Capabilities;
    use crate::proto::onion::descriptor::intro_point::{IntroPoint, MAX_LINK_SPECIFIERS_LEN};
    use crate::proto::publish::order::Candidate;

    #[test]
    fn the_order_of_the_largest_cluster_fits_into_a_frame() {
        let keys = [255; 32];
        let link_specifiers = vec![255; MAX_LINK_SPECIFIERS_LEN];
        let point = IntroPoint { link_specifiers, onion_key: keys, auth_key: keys, enc_key: keys };
        let node = "n".repeat(32).parse().unwrap();
        let candidate = Candidate { node, points: vec![point; MAX_POINTS] };
        let candidates = vec![candidate; MAX_NODES + 1];
        let order = Order {
            epoch: u64::MAX,
            candidates,
            last_counters: vec![(u64::MAX, u64::MAX); 4],
            capabilities: Some(Capabilities::default()),
        };
        let call = serde_json::to_string(&Publish { order: Some(order) }).unwrap();
        assert!(call.len() + 100 < MAX_FRAME_BYTES, "{}", call.len());
        assert!(call.len() > MAX_FRAME_BYTES / 3, "{}", call.len());
    }
}
