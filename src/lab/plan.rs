//! What the outer process hands to the lab inside: the user's wishes and where the programs are.

use std::ffi::OsString;

use serde::{Deserialize, Serialize};

use super::arguments::Arguments;
use super::matrix::machines::{Machines, UnreadableMeasures};
use super::requirements::{RequirementError, Tools, TorTools};
use super::torrc::Site;

/// Everything the lab inside needs to know.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Plan {
    /// A Tor network, nodes, and scenes with them.
    Scenes(Box<ScenePlan>),
    /// A Tor network alone, for nodes elsewhere.
    Network(NetworkPlan),
}

/// A lab with nodes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ScenePlan {
    /// What the user asked for.
    pub(super) arguments: Arguments,
    /// What virtual machines have measured, for the matrix.
    pub(super) machines: Machines,
    /// The programs of others.
    pub(super) tools: Tools,
}

/// A Tor network on this machine's own network.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct NetworkPlan {
    /// Where it shall be.
    pub(super) site: Site,
    /// Whether the logs tell more.
    pub(super) verbose: bool,
    /// The programs of others.
    pub(super) tools: TorTools,
}

/// What was asked for cannot be done here.
#[derive(Debug, thiserror::Error)]
pub(super) enum PlanError {
    /// Something is missing on this machine.
    #[error(transparent)]
    Requirement(#[from] RequirementError),
    /// What machines have measured is damaged.
    #[error(transparent)]
    Measures(#[from] UnreadableMeasures),
}

impl Plan {
    /// What the user asked for, if this machine has what it takes.
    pub(super) fn of(arguments: &Arguments) -> Result<Self, PlanError> {
        Ok(match arguments.network_only {
            None => Self::Scenes(Box::new(ScenePlan {
                arguments: arguments.clone(),
                machines: arguments.machines.as_deref().map(Machines::read).transpose()?.unwrap_or_default(),
                tools: Tools::find()?,
            })),
            Some(address) => Self::Network(NetworkPlan {
                site: Site { address, slowness: arguments.slowness.into() },
                verbose: arguments.verbose,
                tools: TorTools::find()?,
            }),
        })
    }

    /// As one argument of a process.
    pub(super) fn to_text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Back from the first argument; `None` if it is not a plan.
    pub(super) fn from_arguments(arguments: &[OsString]) -> Option<Self> {
        serde_json::from_str(arguments.first()?.to_str()?).ok()
    }
}
