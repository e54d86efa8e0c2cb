//! `rustbalance leave`.

use std::io::{self, BufRead, IsTerminal, Write};

use clap::Args;

use crate::ctl::daemons::{Node, runtime};
use crate::ctl::error::CtlError;
use crate::proto::node::NodeId;

/// What is left to do where others go on.
const AFTERWARDS: &str = "Stop its daemons and its tors, and remove its keys and its configuration.";
/// What is left to do where nobody does: with the last copy of the key the address would be gone.
const AFTER_THE_LAST: &str = "No other node serves: nobody answers at the service's address from now on. Stop its daemons and \
                              its tors, and keep a copy of its keys: who has lost all of them has lost the address.";

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
            let cluster = match coordinator.client.status().await {
                Ok(status) => status.cluster,
                Err(error) => return Err(coordinator.explain(error)),
            };
            let node = &cluster.node;
            let is_last = !cluster.serves_besides(node);
            if !self.yes && !is_meant(node, is_last)? {
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
                "{node} leaves the cluster. {}",
                if is_last { AFTER_THE_LAST } else { AFTERWARDS }
            )?)
        })
    }
}

/// Asks the operator for the node's name.
fn is_meant(node: &NodeId, is_last: bool) -> Result<bool, CtlError> {
    if !io::stdin().is_terminal() {
        return Err(CtlError::NobodyToAsk);
    }
    let mut screen = io::stderr();
    if is_last {
        writeln!(screen, "No other node serves: nobody would answer at the service's address.")?;
    }
    write!(screen, "Type the name of this node, {node}, to have it leave the cluster for good: ")?;
    screen.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(answer.trim() == node.as_str())
}
