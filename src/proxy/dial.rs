//! Reaching one target: directly, or over SOCKS through the first tor that is there.

use std::io;
use std::time::Duration;

use nix::errno::Errno;
use rand::RngExt;
use tokio::time::timeout;

use super::tls::{TargetStream, Tls, TlsError};
use crate::config::endpoint::{Endpoint, Target};
use crate::config::target::ProxyTarget;
use crate::ipc::proxy::{FailureReason, Validity};
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
    /// What it is called by those who know where it is.
    address: Option<Authority>,
    tls: Option<Tls>,
    socks: SocksDialer,
    timeout: Duration,
}

impl Dialer {
    /// `tors` are the SOCKS ports in order of preference, `timeout` is what one whole dial may take.
    /// Fails if the target's certificate could not be judged.
    pub fn new(target: ProxyTarget, tors: &[Endpoint], timeout: Duration) -> Result<Self, TlsError> {
        let tors = tors.iter().map(address).collect();
        Ok(Self {
            name: name(&target, target.host.clone().or_else(|| target.address.authority())),
            address: name(&target, target.address.authority()),
            tls: Tls::of(&target)?,
            target,
            socks: SocksDialer::new(tors, rand::rng().random()),
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

    /// Its name and its address, as far as it has them.
    pub fn names(&self) -> impl Iterator<Item = &Authority> {
        self.name.iter().chain(&self.address)
    }

    /// How long the target's certificate is valid, if that matters and is known.
    pub fn certificate(&self) -> Option<Validity> {
        self.tls.as_ref().and_then(Tls::certificate)
    }

    /// How long a dial may take.
    pub fn limit(&self) -> Duration {
        self.timeout
    }

    /// Opens a connection to the target within `limit`.
    pub async fn dial(&self, limit: Duration) -> Result<TargetStream, FailureReason> {
        let connected = timeout(limit, async {
            let stream = self.reach(limit).await?;
            match &self.tls {
                Some(tls) => tls.begin(stream).await,
                None => Ok(TargetStream::Plain(stream)),
            }
        });
        connected.await.unwrap_or(Err(FailureReason::ConnectTimedOut))
    }

    async fn reach(&self, limit: Duration) -> Result<Stream, FailureReason> {
        match &self.target.address {
            Target::Local { endpoint, .. } => {
                Stream::connect(&address(endpoint)).await.map_err(|error| local_reason(&error))
            }
            Target::Onion { address, port, .. } => {
                self.socks.dial(&address.to_string(), *port, limit).await.map_err(reason)
            }
        }
    }
}

/// Who refused: the target, or this node's kernel before it was asked.
fn local_reason(error: &io::Error) -> FailureReason {
    match error.raw_os_error().map(Errno::from_raw) {
        // EAGAIN of TCP: no route can be remembered.
        Some(
            Errno::EMFILE
            | Errno::ENFILE
            | Errno::ENOBUFS
            | Errno::ENOMEM
            | Errno::EADDRNOTAVAIL
            | Errno::EAGAIN,
        ) => FailureReason::NodeExhausted,
        _ => FailureReason::TargetUnreachable,
    }
}

/// A unix socket has no name.
fn name(target: &ProxyTarget, name: Option<String>) -> Option<Authority> {
    let scheme = if target.address.is_tls() { Scheme::Https } else { Scheme::Http };
    Authority::new(scheme, &name?)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_this_node_lacks_is_not_the_targets_fault() {
        for (errno, reason) in [
            (Errno::EMFILE, FailureReason::NodeExhausted),
            (Errno::ENFILE, FailureReason::NodeExhausted),
            (Errno::ENOBUFS, FailureReason::NodeExhausted),
            (Errno::EADDRNOTAVAIL, FailureReason::NodeExhausted),
            (Errno::ECONNREFUSED, FailureReason::TargetUnreachable),
            (Errno::ENOENT, FailureReason::TargetUnreachable),
        ] {
            let error = io::Error::from_raw_os_error(errno as i32);
            assert_eq!(local_reason(&error), reason, "{errno}");
            assert_eq!(reason.is_about_this_node(), reason == FailureReason::NodeExhausted);
        }
    }
}
