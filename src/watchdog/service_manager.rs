//! Remedies, carried out by systemd, and what it knows of memory: calls over D-Bus, for the units of this node and no others.
//!
//! What this process may ask for is said by a rule of polkit that is shipped beside the units, so that a watchdog that has
//! gone mad can restart this node and do nothing else. To look needs no permission.

use std::time::Duration;

use tokio::time::timeout;
use zbus::connection::Builder;
use zbus::zvariant::DynamicType;
use zbus::{Connection, OwnedObjectPath, OwnedVariant};

use crate::config::tor::TorName;
use crate::proto::health::failure::Remedy;
use crate::proto::health::part::{Daemon, Part, Tor};
use crate::proto::health::vitals::Share;

/// How long the bus and the service manager may take together. They start a job and do not wait for its end.
const CALL_LIMIT: Duration = Duration::from_secs(5);
/// Longest reason that is repeated, in letters: a sentence.
const MAX_REASON_LETTERS: usize = 200;

/// Where systemd is on the bus.
const NAME: &str = "org.freedesktop.systemd1";
const OBJECT: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const SERVICE: &str = "org.freedesktop.systemd1.Service";
const UNIT: &str = "org.freedesktop.systemd1.Unit";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
/// What systemd says where there is no number: the unit does not run, or has no limit.
const NO_NUMBER: u64 = u64::MAX;
/// A unit that has no process.
const NO_SUCH_PROCESS: &str = "org.freedesktop.systemd1.NoSuchProcess";
/// A unit that was not even loaded: it has not run yet.
const NO_SUCH_UNIT: &str = "org.freedesktop.systemd1.NoSuchUnit";
/// A new job takes the place of one that waits.
const REPLACE: &str = "replace";
/// Every process of the unit; an error if there is none.
const ALL: &str = "all-fail";

/// Why a remedy could not be carried out. Nothing was changed, or nobody knows.
#[derive(Debug, thiserror::Error)]
pub(super) enum OrderError {
    /// No bus, or the call did not get through.
    #[error("{0}")]
    Bus(String),
    /// The service manager, or polkit for it, says no.
    #[error("{name}: {reason}")]
    Refused {
        /// The D-Bus error.
        name: String,
        /// Its words, shortened.
        reason: String,
    },
    /// No answer in time; the job may have been started.
    #[error("no answer within {} s", CALL_LIMIT.as_secs())]
    TimedOut,
}

/// The units of this node.
#[derive(Debug, Clone, Copy)]
pub(super) struct Units {
    /// Which tor serves.
    pub(super) serving: TorName,
}

impl Units {
    /// The unit of a part.
    pub(super) fn name(self, part: Part) -> &'static str {
        let (serving, standby) = match self.serving {
            TorName::A => ("rustbalance-tor@a.service", "rustbalance-tor@b.service"),
            TorName::B => ("rustbalance-tor@b.service", "rustbalance-tor@a.service"),
        };
        match part {
            Part::Tor(Tor::Serving) => serving,
            Part::Tor(Tor::Standby) => standby,
            Part::Daemon(Daemon::Proxy) => "rustbalance-proxy.service",
            Part::Daemon(Daemon::Coordinator) => "rustbalance-coordinator.service",
            Part::Daemon(Daemon::Publisher) => "rustbalance-publisher.service",
            Part::KeyInstaller => "rustbalance-onion-key.service",
        }
    }

    /// Carries a remedy out. Each goes over a connection of its own: there are few, and a bus that was restarted meanwhile
    /// makes no difference.
    pub(super) async fn perform(self, remedy: Remedy) -> Result<(), OrderError> {
        let unit = self.name(remedy.part());
        let order = async {
            let bus = Builder::system().build().await.map_err(bus_error)?;
            match remedy {
                Remedy::Kill(_) => kill(&bus, unit).await,
                Remedy::Start(_) | Remedy::Unfence => job(&bus, "StartUnit", unit).await,
                Remedy::Restart(_) => job(&bus, "RestartUnit", unit).await,
                Remedy::Fence => job(&bus, "StopUnit", unit).await,
            }
        };
        timeout(CALL_LIMIT, order).await.unwrap_or(Err(OrderError::TimedOut))
    }

    /// The memory that each part uses, beside its unit's limit; `None` if it does not run, or has no limit.
    pub(super) async fn memory(self) -> Result<Vec<(Part, Option<Share>)>, OrderError> {
        let asked = async {
            let bus = Builder::system().build().await.map_err(bus_error)?;
            let mut found = Vec::new();
            for part in Part::ALL {
                found.push((part, memory_of(&bus, self.name(part)).await?));
            }
            Ok(found)
        };
        timeout(CALL_LIMIT, asked).await.unwrap_or(Err(OrderError::TimedOut))
    }

    /// Whether what installs the onion's key has not failed when it ran last, if ever; `None` while it runs, or is not loaded.
    pub(super) async fn key_installed(self) -> Result<Option<bool>, OrderError> {
        let asked = async {
            let bus = Builder::system().build().await.map_err(bus_error)?;
            let Some(unit) = unit(&bus, self.name(Part::KeyInstaller)).await? else { return Ok(None) };
            let state = property(&bus, &unit, (UNIT, "ActiveState")).await?;
            Ok(match String::try_from(state).map_err(bus_error)?.as_str() {
                "failed" => Some(false),
                // It does not remain.
                "inactive" => Some(true),
                _ => None,
            })
        };
        timeout(CALL_LIMIT, asked).await.unwrap_or(Err(OrderError::TimedOut))
    }
}

/// Where a unit is on the bus; `None` if it is not loaded.
async fn unit(bus: &Connection, name: &str) -> Result<Option<OwnedObjectPath>, OrderError> {
    match call(bus, "GetUnit", &(name,)).await {
        Err(OrderError::Refused { name, .. }) if name == NO_SUCH_UNIT => Ok(None),
        reply => reply?.body().deserialize().map(Some).map_err(bus_error),
    }
}

/// The memory of one unit. Of one that is not loaded nothing is known.
async fn memory_of(bus: &Connection, name: &str) -> Result<Option<Share>, OrderError> {
    let Some(unit) = unit(bus, name).await? else { return Ok(None) };
    let used = number(bus, &unit, "MemoryCurrent").await?;
    let limit = number(bus, &unit, "MemoryMax").await?;
    Ok((used != NO_NUMBER && limit != NO_NUMBER).then_some(Share { used, limit }))
}

async fn number(bus: &Connection, unit: &OwnedObjectPath, name: &str) -> Result<u64, OrderError> {
    u64::try_from(property(bus, unit, (SERVICE, name)).await?).map_err(bus_error)
}

/// A property of a unit, by its interface and its name.
async fn property(
    bus: &Connection,
    unit: &OwnedObjectPath,
    which: (&str, &str),
) -> Result<OwnedVariant, OrderError> {
    let reply = bus.call_method(Some(NAME), unit.as_str(), Some(PROPERTIES), "Get", &which).await;
    reply.map_err(bus_error)?.body().deserialize::<OwnedVariant>().map_err(bus_error)
}

/// SIGKILL: who hangs hears no other. `Restart=` brings it back; where nothing runs that could end, it is started.
async fn kill(bus: &Connection, unit: &str) -> Result<(), OrderError> {
    match call(bus, "KillUnit", &(unit, ALL, nix::libc::SIGKILL)).await {
        Err(OrderError::Refused { name, .. }) if name == NO_SUCH_PROCESS || name == NO_SUCH_UNIT => {
            job(bus, "StartUnit", unit).await
        }
        Err(error) => Err(error),
        Ok(_) => Ok(()),
    }
}

async fn job(bus: &Connection, method: &str, unit: &str) -> Result<(), OrderError> {
    let reply = call(bus, method, &(unit, REPLACE)).await?;
    // Only that there is one: the job's end is seen by what the unit does then.
    reply.body().deserialize::<OwnedObjectPath>().map(drop).map_err(bus_error)
}

async fn call<B: serde::Serialize + DynamicType + Sync>(
    bus: &Connection,
    method: &str,
    body: &B,
) -> Result<zbus::Message, OrderError> {
    bus.call_method(Some(NAME), OBJECT, Some(MANAGER), method, body).await.map_err(bus_error)
}

fn bus_error(error: impl Into<zbus::Error>) -> OrderError {
    let short = |text: &str| -> String {
        text.chars().filter(|c| !c.is_control()).take(MAX_REASON_LETTERS).collect()
    };
    match error.into() {
        zbus::Error::MethodError(name, reason, _) => {
            OrderError::Refused { name: name.to_string(), reason: short(&reason.unwrap_or_default()) }
        }
        other => OrderError::Bus(short(&other.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_has_its_unit_whichever_tor_serves() {
        let units = |serving| Part::ALL.map(|part| Units { serving }.name(part));
        let (a, b) = (units(TorName::A), units(TorName::B));
        assert_eq!(a[..2], ["rustbalance-tor@a.service", "rustbalance-tor@b.service"]);
        assert_eq!(b[..2], ["rustbalance-tor@b.service", "rustbalance-tor@a.service"]);
        assert_eq!(a[2..], b[2..]);
    }
}
