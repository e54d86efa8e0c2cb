//! Reaching one target: directly, or over SOCKS through the first tor that is there.

use std::time::Duration;

use rand::RngExt;
use tokio::time::timeout;

use super::tls::{TargetStream, Tls, TlsError};
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
    tls: Option<Tls>,
    socks: SocksDialer,
    timeout: Duration,
}

impl Dialer {
    /// `tors` are the SOCKS ports in order of preference, `timeout` bounds one whole dial.
    /// Fails if the target's certificate could not be judged.
    pub fn new(target: ProxyTarget, tors: &[Endpoint], timeout: Duration) -> Result<Self, TlsError> {
        let tors = tors.iter().map(address).collect();
        Ok(Self {
            name: name(&target),
            tls: Tls::of(&target)?,
            target,
            socks: SocksDialer::new(tors, timeout, rand::rng().random()),
            timeout,
        })
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
    pub async fn dial(&self) -> Result<TargetStream, FailureReason> {
        let connected = timeout(self.timeout, async {
            let stream = self.reach().await?;
            match &self.tls {
                Some(tls) => tls.begin(stream).await,
                None => Ok(TargetStream::Plain(stream)),
            }
        });
        connected.await.unwrap_or(Err(FailureReason::ConnectTimedOut))
    }

    async fn reach(&self) -> Result<Stream, FailureReason> {
        match &self.target.address {
            Target::Local { endpoint, .. } => {
                let connected = Stream::connect(&address(endpoint)).await;
                connected.map_err(|_| FailureReason::TargetUnreachable)
            }
            Target::Onion { address, port, .. } => {
                self.socks.dial(&address.to_string(), *port).await.map_err(reason)
            }
        }
    }
}

/// A unix socket has no name.
fn name(target: &ProxyTarget) -> Option<Authority> {
    let scheme = if target.address.is_tls() { Scheme::Https } else { Scheme::Http };
    let name = target.host.clone().or_else(|| target.address.authority())?;
    Authority::new(scheme, &name)
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
