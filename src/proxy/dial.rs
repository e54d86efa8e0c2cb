//! Reaching the target: directly, or over SOCKS through the first tor that is there.

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use tokio::time::timeout;

use super::health::Health;
use crate::config::endpoint::{Endpoint, Target};
use crate::ipc::proxy::FailureReason;
use crate::tor::address::SocketAddress;
use crate::tor::dial::SocksDialer;
use crate::tor::error::SocksError;
use crate::tor::stream::Stream;

/// Knows the way to the target.
#[derive(Debug)]
pub struct Dialer {
    target: Target,
    socks: SocksDialer,
    timeout: Duration,
    health: Arc<Health>,
}

impl Dialer {
    /// `tors` are the SOCKS ports in order of preference, `timeout` bounds one whole dial. `before` is the dialer whose
    /// place this one takes: what is known about the same target stays known.
    pub fn new(target: Target, tors: &[Endpoint], timeout: Duration, before: Option<&Self>) -> Self {
        let tors = tors.iter().map(address).collect();
        let health = before.filter(|before| before.target == target).map(|before| Arc::clone(&before.health));
        Self {
            target,
            socks: SocksDialer::new(tors, timeout, rand::rng().random()),
            timeout,
            health: health.unwrap_or_default(),
        }
    }

    /// What the dials so far say about the target.
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// Where it leads.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Opens a connection to the target.
    pub async fn dial(&self) -> Result<Stream, FailureReason> {
        let dialled = self.reach().await;
        self.health.note(dialled.as_ref().map(|_| ()).map_err(|reason| *reason));
        dialled
    }

    async fn reach(&self) -> Result<Stream, FailureReason> {
        match &self.target {
            Target::Local(endpoint) => {
                let address = address(endpoint);
                match timeout(self.timeout, Stream::connect(&address)).await {
                    Ok(connected) => connected.map_err(|_| FailureReason::TargetUnreachable),
                    Err(_) => Err(FailureReason::ConnectTimedOut),
                }
            }
            Target::Onion { address, port } => {
                self.socks.dial(&address.to_string(), *port).await.map_err(reason)
            }
        }
    }
}

fn address(endpoint: &Endpoint) -> SocketAddress {
    match endpoint {
        Endpoint::Tcp(address) => SocketAddress::Tcp(*address),
        Endpoint::Unix(path) => SocketAddress::Unix(path.clone()),
    }
}

fn reason(error: SocksError) -> FailureReason {
    match error {
        SocksError::NoTor => FailureReason::NoTor,
        SocksError::TorFailed => FailureReason::TorFailed,
        SocksError::SocksBroken => FailureReason::SocksBroken,
        SocksError::DescriptorNotFound => FailureReason::DescriptorNotFound,
        SocksError::DescriptorInvalid => FailureReason::DescriptorInvalid,
        SocksError::IntroductionFailed => FailureReason::IntroductionFailed,
        SocksError::RendezvousFailed => FailureReason::RendezvousFailed,
        SocksError::AuthorisationNeeded => FailureReason::AuthorisationNeeded,
        SocksError::BadAddress => FailureReason::BadAddress,
        SocksError::IntroductionTimedOut => FailureReason::IntroductionTimedOut,
        SocksError::Unreachable => FailureReason::TargetUnreachable,
        SocksError::TimedOut => FailureReason::ConnectTimedOut,
    }
}
