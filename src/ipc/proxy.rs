//! `io.rustbalance.Proxy`: what the proxy carries. Numbers only, nothing about clients.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::call::{Answer, Fault, Interface, Parameters, Responder, Taken, Watcher};
use super::client::{Client, ClientError, Watch};

/// A call to the proxy.
#[derive(Debug)]
pub enum ProxyCall {
    /// `Status`: the counters of this moment.
    Status(Responder<ProxyStatus>),
    /// `Watch`: the counters, and again whenever they change.
    Watch(Watcher<ProxyStatus>),
    /// `Finish`: cut the connections that are being carried; new ones are carried as before.
    Finish(Responder<Taken>),
}

/// The proxy's counters since it started.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProxyStatus {
    /// Where connections are carried to, all targets in one line.
    pub target: String,
    /// The targets one by one, in the configuration's order.
    #[serde(default)]
    pub targets: Vec<TargetStatus>,
    /// Connections accepted from tor, the refused ones included.
    pub accepted: u64,
    /// Connections being carried now.
    pub active: u64,
    /// Connections refused because `max_connections` were being carried.
    pub refused: u64,
    /// Connections that both sides ended in order.
    pub finished: u64,
    /// Connections that asked to join and were answered.
    pub joins: u64,
    /// Whether any target could be reached when it was last tried, a failure or two aside.
    pub target_well: bool,
    /// Connections that failed, by reason.
    pub failed: BTreeMap<FailureReason, u64>,
    /// Bytes carried from clients to the target.
    pub bytes_to_target: u64,
    /// Bytes carried from the target to clients.
    pub bytes_to_client: u64,
    /// Requests and connections refused because their circuit asked for too much.
    #[serde(default)]
    pub over_limit: u64,
    /// Circuits of the serving tor that are to be closed since they went on asking, by tor's numbers; the latest ones, for
    /// some seconds each.
    #[serde(default)]
    pub abusive_circuits: Vec<u32>,
    /// Whether the proxy is stopping and accepts nothing more.
    pub draining: bool,
}

/// One of the targets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetStatus {
    /// Its address.
    pub target: String,
    /// How many connections it gets, compared to the others.
    pub weight: u32,
    /// Whether it gets connections.
    pub well: bool,
    /// Why it could not be reached when it was last tried, if it could not.
    pub trouble: Option<FailureReason>,
    /// Connections on their way to it, or with it; in HTTP mode, requests.
    pub connections: u32,
    /// How long the certificate that it showed last is valid; `None` where no certificate, or only its key, is looked at, or
    /// none was shown yet.
    #[serde(default)]
    pub certificate: Option<Validity>,
}

/// How long a certificate is valid, in Unix seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validity {
    /// From then.
    pub from: u64,
    /// Until then.
    pub until: u64,
}

/// Why a connection failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureReason {
    /// No tor accepts SOCKS connections, or none says a word.
    NoTor,
    /// tor itself failed: it hung up, or has no way into the network.
    TorFailed,
    /// tor answers something that is not SOCKS5.
    SocksBroken,
    /// tor could not get the target's descriptor (extended error F0).
    DescriptorNotFound,
    /// tor got a descriptor of the target that it cannot use (F1).
    DescriptorInvalid,
    /// The target's introduction points do not answer (F2).
    IntroductionFailed,
    /// The rendezvous with the target failed (F3).
    RendezvousFailed,
    /// The target wants client authorisation that tor does not have, or has wrong (F4, F5).
    AuthorisationNeeded,
    /// The target's address is no onion address (F6).
    BadAddress,
    /// The target's introduction points took too long (F7).
    IntroductionTimedOut,
    /// The target, or tor on its way to it, refused or could not be reached.
    TargetUnreachable,
    /// The target took longer than `connect_timeout_secs`.
    ConnectTimedOut,
    /// The target does not speak TLS, or none that is known here.
    TlsFailed,
    /// The target's certificate is not one that `verify` accepts.
    CertificateRefused,
    /// This node has no file, port or memory left for another connection.
    NodeExhausted,
    /// A probe was not answered as `probe_status` says, or not in time. No client's connection fails for it.
    WrongAnswer,
    /// Its circuit asked for too much.
    OverLimit,
    /// tor did not say which circuit it came over.
    NoCircuit,
    /// No byte in either direction for `idle_timeout_secs`.
    Idle,
    /// The client's side broke.
    ClientBroke,
    /// The target's side broke.
    TargetBroke,
    /// It had not finished when the proxy had to stop, or when its node was drained and the time for that was up.
    CutByStop,
}

impl FailureReason {
    /// What it is called in calls and metrics.
    pub fn name(self) -> String {
        let name = serde_json::to_value(self).ok();
        name.and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
    }

    /// Whether the target could not be reached (and not: a connection that had been made ended badly).
    pub fn is_about_the_target(self) -> bool {
        !matches!(
            self,
            Self::OverLimit
                | Self::NoCircuit
                | Self::Idle
                | Self::ClientBroke
                | Self::TargetBroke
                | Self::CutByStop
        )
    }

    /// Whether this node could not even try to reach a target, which may be well.
    pub fn is_about_this_node(self) -> bool {
        matches!(self, Self::NoTor | Self::TorFailed | Self::SocksBroken | Self::NodeExhausted)
    }
}

impl fmt::Display for FailureReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoTor => "no tor accepts SOCKS connections",
            Self::TorFailed => "tor failed or has no way into the network",
            Self::SocksBroken => "tor's SOCKS port does not speak SOCKS5",
            Self::DescriptorNotFound => "tor cannot find the target's descriptor (F0)",
            Self::DescriptorInvalid => "the target's descriptor is not valid (F1)",
            Self::IntroductionFailed => "the target's introduction points refuse (F2)",
            Self::RendezvousFailed => "the rendezvous with the target failed (F3)",
            Self::AuthorisationNeeded => {
                "the target wants client authorisation that tor does not have (F4, F5)"
            }
            Self::BadAddress => "the target's address is no onion address (F6)",
            Self::IntroductionTimedOut => "the target's introduction points do not answer (F7)",
            Self::TargetUnreachable => "the target refuses or cannot be reached",
            Self::ConnectTimedOut => "reaching the target took longer than connect_timeout_secs",
            Self::TlsFailed => "the target does not speak TLS, or none that is known here",
            Self::CertificateRefused => "the target's certificate is not one that `verify` accepts",
            Self::NodeExhausted => "this node has no file, port or memory left for another connection",
            Self::WrongAnswer => "the target does not answer the probe as it should",
            Self::OverLimit => "its circuit asked for too much",
            Self::NoCircuit => {
                "tor does not say which circuit it is (HiddenServiceExportCircuitID haproxy is missing in its torrc)"
            }
            Self::Idle => "no byte moved for idle_timeout_secs",
            Self::ClientBroke => "the client's side broke",
            Self::TargetBroke => "the target's side broke",
            Self::CutByStop => "cut because the proxy had to stop, or its node was drained",
        })
    }
}

impl Interface for ProxyCall {
    const NAME: &'static str = "io.rustbalance.Proxy";

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
            "Finish" => {
                parameters.none()?;
                let (reply, answer) = Responder::new();
                Ok((Self::Finish(reply), answer))
            }
            other => Err(Fault::MethodNotFound(other.to_owned())),
        }
    }
}

/// The proxy, as its callers see it.
#[derive(Debug)]
pub struct ProxyClient(Client);

impl ProxyClient {
    /// Connects to the proxy's control socket.
    pub async fn connect(path: &Path) -> Result<Self, ClientError> {
        Client::connect(path).await.map(Self)
    }

    /// Asks for the counters.
    pub async fn status(&mut self) -> Result<ProxyStatus, ClientError> {
        self.0.call("io.rustbalance.Proxy.Status", &()).await
    }

    /// Follows the counters; the connection is used up by it.
    pub async fn watch(self) -> Result<Watch<ProxyStatus>, ClientError> {
        self.0.watch("io.rustbalance.Proxy.Watch", &()).await
    }

    /// Has the connections that are being carried now cut.
    pub async fn finish(&mut self) -> Result<Taken, ClientError> {
        self.0.call("io.rustbalance.Proxy.Finish", &()).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_called_as_in_calls() {
        assert_eq!(FailureReason::DescriptorNotFound.name(), "descriptor_not_found");
    }
}
