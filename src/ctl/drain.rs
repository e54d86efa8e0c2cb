//! `rustbalance drain` and `undrain`: a node leaves the descriptor, or comes back into it, without losing a client.

use std::io::{self, Write};
use std::time::Duration;

use clap::Args;
use tokio::time::{Instant, sleep};

use crate::ctl::daemons::{Coordinator, Node, runtime};
use crate::ctl::error::CtlError;
use crate::ctl::names::names;
use crate::ctl::span;
use crate::ipc::coordinator::DrainWish;
use crate::proto::cluster::drain::{DrainPhase, MUTE_PATIENCE};
use crate::proto::cluster::status::ClusterStatus;
use crate::proto::node::NodeId;
use crate::sys::stop::Stop;

/// Longest time for the connections of a drained node: beyond a day somebody has forgotten it.
const MAX_DEADLINE: Duration = Duration::from_hours(24);
/// How often the cluster is asked while waiting.
const EVERY: Duration = Duration::from_millis(500);
/// How much longer than promised draining may take before waiting for it is given up: the others have to publish, which
/// takes a while when HSDirs are slow, and the node they wait for may have to come first.
const PATIENCE: Duration = Duration::from_mins(2);

/// Which node goes, and how.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rustbalance drain
  rustbalance drain beta --deadline 30m --wait
  rustbalance drain beta --after gamma --wait

Its introduction points leave the descriptor once others are in it; clients that it has go on until they are done, or \
until the deadline. Nobody is drained without another node to serve. It lasts until undrain, also over restarts.")]
pub struct Arguments {
    /// The node [default: this one]
    #[arg(value_name = "NODE")]
    drained: Option<NodeId>,
    /// How long its connections may last once its introduction points are out, for example 90s, 5m or 1h
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = deadline)]
    deadline: Duration,
    /// The node that takes its place: it goes only when this one is in the descriptor
    #[arg(long, value_name = "NODE")]
    after: Option<NodeId>,
    /// Wait until it may be stopped, and tell how far it is
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    node: Node,
}

/// Which node comes back.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rustbalance undrain
  rustbalance undrain beta")]
pub struct UndrainArguments {
    /// The node [default: this one]
    #[arg(value_name = "NODE")]
    drained: Option<NodeId>,
    #[command(flatten)]
    node: Node,
}

fn deadline(text: &str) -> Result<Duration, String> {
    let deadline = span::parse(text)?;
    if deadline <= MAX_DEADLINE { Ok(deadline) } else { Err("a drain may take up to a day".to_owned()) }
}

impl Arguments {
    /// Has the node drained, and waits for it if that is wished.
    pub fn run(&self, mut out: impl Write) -> Result<(), CtlError> {
        runtime()?.block_on(async {
            let mut coordinator = self.node.coordinator().await?;
            let cluster = status(&mut coordinator).await?;
            let node = known(&cluster, self.drained.as_ref())?;
            if let Some(after) = &self.after {
                known(&cluster, Some(after))?;
            }
            if self.after.as_ref() == Some(&node) {
                return Err(CtlError::AfterItself { node });
            }
            let deadline_secs = u32::try_from(self.deadline.as_secs()).unwrap_or(u32::MAX);
            let after = self.after.clone();
            let wish = DrainWish { node: Some(node.clone()), draining: true, deadline_secs, after };
            ask(&mut coordinator, &wish).await?;
            if !self.wait {
                let meanwhile = if cluster.serves_besides(&node) {
                    ""
                } else {
                    "; no other node serves now, and until one does, this one serves on"
                };
                return Ok(writeln!(
                    out,
                    "{node} is being drained{meanwhile}; see how it goes: rustbalance status"
                )?);
            }
            drop(coordinator);
            self.wait(&node).await
        })
    }

    /// Tells each step of the node on its way out, until it may be stopped. A coordinator that is away for a while, or
    /// restarts, does not matter: the wish is kept by the whole cluster.
    async fn wait(&self, node: &NodeId) -> Result<(), CtlError> {
        let mut stop = Stop::new()?;
        let until = Instant::now() + MUTE_PATIENCE + self.deadline + PATIENCE;
        let (mut told, mut seen) = (None, false);
        while Instant::now() < until {
            match self.progress(node).await {
                Ok(Progress::InUse) if seen => return Err(CtlError::TakenBack { node: node.clone() }),
                // The wish is noted before it shows.
                Ok(Progress::InUse) | Err(_) => {}
                Ok(Progress::Drains(phase)) => {
                    seen = true;
                    if phase.is_some() && phase != told {
                        told = phase;
                        tell(node, phase)?;
                    }
                }
            }
            if told == Some(DrainPhase::Drained) {
                return Ok(());
            }
            tokio::select! {
                () = sleep(EVERY) => {}
                () = stop.wanted() => break,
            }
        }
        Err(CtlError::NotDrained { node: node.clone() })
    }

    async fn progress(&self, node: &NodeId) -> Result<Progress, CtlError> {
        let cluster = status(&mut self.node.coordinator().await?).await?;
        let state = cluster.nodes.into_iter().find(|other| other.node == *node && other.draining);
        Ok(state.map_or(Progress::InUse, |state| Progress::Drains(state.drain_phase)))
    }
}

/// How far a drained node is.
enum Progress {
    /// It is not drained, or not yet.
    InUse,
    /// It is, and says how far.
    Drains(Option<DrainPhase>),
}

impl UndrainArguments {
    /// Has the node serve again.
    pub fn run(&self, mut out: impl Write) -> Result<(), CtlError> {
        runtime()?.block_on(async {
            let mut coordinator = self.node.coordinator().await?;
            let cluster = status(&mut coordinator).await?;
            let node = known(&cluster, self.drained.as_ref())?;
            let wish = DrainWish { node: Some(node.clone()), draining: false, deadline_secs: 0, after: None };
            ask(&mut coordinator, &wish).await?;
            Ok(writeln!(out, "{node} serves again; its introduction points come back into the descriptor")?)
        })
    }
}

async fn status(coordinator: &mut Coordinator) -> Result<ClusterStatus, CtlError> {
    match coordinator.client.status().await {
        Ok(status) => Ok(status.cluster),
        Err(error) => Err(coordinator.explain(error)),
    }
}

async fn ask(coordinator: &mut Coordinator, wish: &DrainWish) -> Result<(), CtlError> {
    match coordinator.client.drain(wish).await {
        Ok(_) => Ok(()),
        Err(error) => Err(coordinator.explain(error)),
    }
}

/// A node that the cluster has; the one that is asked where none is named.
fn known(cluster: &ClusterStatus, named: Option<&NodeId>) -> Result<NodeId, CtlError> {
    let node = named.unwrap_or(&cluster.node);
    if cluster.nodes.iter().any(|other| other.node == *node) {
        return Ok(node.clone());
    }
    Err(CtlError::NoSuchNode {
        node: node.clone(),
        known: names(cluster.nodes.iter().map(|node| &node.node)),
    })
}

/// Says at once how far it is: whoever waits wants to know.
fn tell(node: &NodeId, phase: Option<DrainPhase>) -> io::Result<()> {
    let words = match phase {
        None | Some(DrainPhase::Draining) => "serves until others are in the descriptor in its place",
        Some(DrainPhase::Muted) => "takes no new clients, and goes on with those it has",
        Some(DrainPhase::Drained) => "is drained, and may be stopped",
    };
    let mut out = io::stdout().lock();
    writeln!(out, "{node} {words}")?;
    out.flush()
}
