//! `io.rustbalance.Watchdog`: how this node is, what fails, and what was done about it.

use std::path::Path;

use super::call::{Answer, Fault, Interface, Parameters, Responder};
use super::client::{Client, ClientError};
use crate::proto::health::report::HealthReport;

/// A call to the watchdog.
#[derive(Debug)]
pub enum WatchdogCall {
    /// `Status`: the health of this moment.
    Status(Responder<HealthReport>),
}

impl Interface for WatchdogCall {
    const NAME: &'static str = "io.rustbalance.Watchdog";

    fn accept(method: &str, parameters: Parameters) -> Result<(Self, Answer), Fault> {
        match method {
            "Status" => {
                parameters.none()?;
                let (reply, answer) = Responder::new();
                Ok((Self::Status(reply), answer))
            }
            other => Err(Fault::MethodNotFound(other.to_owned())),
        }
    }
}

/// The watchdog, as its callers see it.
#[derive(Debug)]
pub struct WatchdogClient(Client);

impl WatchdogClient {
    /// Connects to the watchdog's control socket.
    pub async fn connect(path: &Path) -> Result<Self, ClientError> {
        Client::connect(path).await.map(Self)
    }

    /// Asks how this node is.
    pub async fn status(&mut self) -> Result<HealthReport, ClientError> {
        self.0.call("io.rustbalance.Watchdog.Status", &()).await
    }
}
