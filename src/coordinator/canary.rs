//! The canary's way out: through the node's tors to the service, and back with an answer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use rand::RngExt;
use tokio::task::JoinSet;
use zeroize::Zeroizing;

use super::reach::{ReachLimits, ask};
use crate::proto::join::canary::{
    ANSWER_LIMIT, Canary, CanaryAction, CanaryEvent, CanaryStatus, REACH_LIMIT,
};
use crate::proto::join::joiner::TryFailure;
use crate::proto::join::keys::JoinKeys;
use crate::proto::node::NodeId;
use crate::proto::onion::address::HsId;
use crate::sys::clock::unix_ms;
use crate::sys::stop::until;
use crate::tor::address::SocketAddress;
use crate::tor::dial::SocksDialer;

/// Where the service is, and what leads there.
#[derive(Debug, Clone)]
pub struct CanaryWay {
    /// The service.
    pub address: HsId,
    /// Its port.
    pub port: u16,
    /// The SOCKS ports that may be used, in order.
    pub tors: Vec<SocketAddress>,
}

/// A canary and its tries.
pub struct CanaryLine {
    core: Canary,
    dialer: Arc<SocksDialer>,
    service: (String, u16),
    /// One at most.
    tries: JoinSet<CanaryEvent>,
}

impl CanaryLine {
    /// A canary that begins when it knows a token.
    pub fn new(way: CanaryWay) -> Self {
        let CanaryWay { address, port, tors } = way;
        Self {
            core: Canary::new(address, rand::rng().random(), Instant::now()),
            dialer: Arc::new(SocksDialer::new(tors, rand::rng().random())),
            service: (address.to_string(), port),
            tries: JoinSet::new(),
        }
    }

    /// The newest token is worth this.
    pub fn trust(&mut self, keys: JoinKeys) {
        self.handle(CanaryEvent::Trust(Arc::new(keys)));
    }

    /// These nodes are in the descriptor, each with so many points.
    pub fn expect(&mut self, points: BTreeMap<NodeId, usize>) {
        self.handle(CanaryEvent::Expect(points));
    }

    /// What happens to it next; nothing, if there is none. Safe to drop in a `select!`.
    pub async fn next_of(line: &mut Option<Self>) -> CanaryEvent {
        let Some(Self { core, tries, .. }) = line else { return std::future::pending().await };
        tokio::select! {
            Some(tried) = tries.join_next() => tried.unwrap_or_else(|error| {
                tracing::error!(%error, "a canary panicked; this is a mistake in rustbalance");
                CanaryEvent::Failed(TryFailure::NoTor("this node failed".to_owned()))
            }),
            () = until(core.next_timeout()) => CanaryEvent::Timer,
        }
    }

    /// Takes an event in, and does what follows.
    pub fn handle(&mut self, event: CanaryEvent) {
        for action in self.core.handle(Instant::now(), unix_ms(), event) {
            match action {
                CanaryAction::Try(request) => self.send(request),
                CanaryAction::Tell(news) if news.is_alarming() => tracing::warn!("{news}"),
                CanaryAction::Tell(news) => tracing::info!("{news}"),
            }
        }
    }

    /// What can be told.
    pub fn status(&self) -> CanaryStatus {
        self.core.status()
    }

    fn send(&mut self, request: Zeroizing<Vec<u8>>) {
        let (dialer, service) = (Arc::clone(&self.dialer), self.service.clone());
        self.tries.spawn(async move {
            let limits = ReachLimits { dial: REACH_LIMIT, answer: ANSWER_LIMIT };
            match ask(&dialer, (&service.0, service.1), &request, limits).await {
                Ok(answer) => CanaryEvent::Answered(answer),
                Err(failure) => CanaryEvent::Failed(failure),
            }
        });
    }
}
