//! Reaching one target: directly, or over SOCKS through the first tor that is there.

use std::time::Duration;

use rand::RngExt;
use tokio::time::timeout;

use crate::config::endpoint::{Endpoint, Target};
use crate::config::proxy::ProxyTarget;
use crate::ipc::proxy::FailureReason;
use crate::proto::http::authority::{Authority, Scheme};
use crate::tor::address::SocketAddress;
use crate::tor::dial::SocksDialer;
use crate::tor::error::SocksError;
use crate::tor::stream::Stream;

/// Knows the way to a target.
#[derive(Debug)]
pub struct Dialer {
    target: ProxyTarget,
    name: Option<Authority>,
    socks: SocksDialer,
    timeout: Duration,
}

impl Dialer {
    /// `tors` are the SOCKS ports in order of preference, `timeout` bounds one whole dial.
    pub fn new(target: ProxyTarget, tors: &[Endpoint], timeout: Duration) -> Self {
        let tors = tors.iter().map(address).collect();
        Self {
            name: name(&target),
            target,
            socks: SocksDialer::new(tors, timeout, rand::rng().random()),
            timeout,
        }
    }

    /// Where it leads.
    pub fn target(&self) -> &ProxyTarget {
        &self.target
    }

    /// What the target calls itself, where it has a name of its own.
    pub fn name(&self) -> Option<&Authority> {
        self.name.as_ref()
    }

    /// How long a dial may take.
    pub fn limit(&self) -> Duration {
        self.timeout
    }

    /// Opens a connection to the target.
    pub async fn dial(&self) -> Result<Stream, FailureReason> {
        match &self.target.address {
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

/// A unix socket has no name.
fn name(target: &ProxyTarget) -> Option<Authority> {
    let own = match &target.address {
        Target::Local(Endpoint::Unix(_)) => None,
        Target::Local(Endpoint::Tcp(address)) => Some(address.to_string()),
        onion @ Target::Onion { .. } => Some(onion.to_string()),
    };
    target.host.clone().or(own).and_then(|name| Authority::new(Scheme::Http, &name))
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
