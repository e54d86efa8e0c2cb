//! `rustbalance leave`.

use std::io::{self, BufRead, IsTerminal, Write};

use clap::Args;

use crate::ctl::daemons::{Node, runtime};
use crate::ctl::error::CtlError;
use crate::proto::node::NodeId;

/// Whether it is meant.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rustbalance drain --wait && rustbalance leave
  rustbalance leave --yes

The node stops serving and forgets the cluster; the others forget it, its name and its key. To come back it needs a new \
invitation. A node that is only stopped, or drained, needs none.")]
pub struct Arguments {
    /// Do not ask whether it is meant
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    node: Node,
}

impl Arguments {
    /// Has this node leave the cluster for good.
    pub fn run(&self, mut out: impl Write) -> Result<(), CtlError> {
        runtime()?.block_on(async {
            let mut coordinator = self.node.coordinator().await?;
            let node = match coordinator.client.status().await {
                Ok(status) => status.cluster.node,
                Err(error) => return Err(coordinator.explain(error)),
            };
            if !self.yes && !is_meant(&node)? {
                return Err(CtlError::NotMeant);
            }
            // It may have taken the operator longer to answer than the connection lasts.
            let mut coordinator = self.node.coordinator().await?;
            match coordinator.client.leave().await {
                Ok(_) => {}
                Err(error) => return Err(coordinator.explain(error)),
            }
            Ok(writeln!(
                out,
                "{node} leaves the cluster. Stop its daemons and its tors, and remove its keys and its configuration."
            )?)
        })
    }
}

/// Asks the operator for the node's name.
fn is_meant(node: &NodeId) -> Result<bool, CtlError> {
    if !io::stdin().is_terminal() {
        return Err(CtlError::NobodyToAsk);
    }
    let mut screen = io::stderr();
    write!(screen, "Type the name of this node, {node}, to have it leave the cluster for good: ")?;
    screen.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(answer.trim() == node.as_str())
}
